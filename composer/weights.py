"""The weight to lay an adapter on at: what people used, its author advises or a probe found, else what is usual."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Literal

from ..categories import tool_of
from ..fenced import line
from ..probe_rules import cap_of, checkpoint_of
from ..records import AdapterRecord, Probe, RefinedAdapter, WeightEvidence
from .once import once

Rule = Literal["evidence", "stylus", "stylus-released", "constant"]
"""How weights are set. `evidence` is ours. `stylus` is the paper's (its section 3.3): what is recommended, or 0.8, over
the number of adapters of the same task that the mask leaves on. `stylus-released` is what its released code does: the
same times 0.8 once more. `constant` is 0.8 for everything."""

STYLUS = 0.8
"""The weight where none is recommended, and what the released code multiplies every weight by."""
FARTHEST = 10.0
"""Sliders go so far; no evidence is followed beyond."""
MOST = 2.0
"""Whatever draws something breaks pictures beyond: evidence that says more is a picture made to mislead, or a slip of
the pen, and a describer has misread."""

_OWN = ("preferred", "tips")
"""What the owner of the file stored counts before what strangers used."""
_USED = ("civitaiResources", "resources", "prompt")
_ADVISED = ("prose", "header")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """What people use where nothing is known of an adapter; `benchmarks/weights.py --fit` finds these."""

    alone: float = 0.9
    several: float = 0.8
    """The most, where several adapters are laid on together."""
    categories: tuple[tuple[str, float], ...] = (("clothing", 0.8),)
    """Where a category has its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """A weight and where it comes from, in words."""

    weight: float
    reason: str


def advise(
    adapter: RefinedAdapter,
    together: int = 1,
    rule: Rule = "evidence",
    *,
    usual: Usual = Usual(),
    probe: Probe | None = None,
) -> Advice:
    """Return the weight to lay the adapter on at.

    By evidence that is the owner's own stored weight, then the median of the weights that example pictures used, then
    the middle of what its author advises, then what a describer made of it, then what is usual. A median of one use
    is not drawn towards what is usual, and pictures with a like prompt do not count more: neither brings weights any
    nearer to people's own (`benchmarks/weights.py`).

    The best weight that a probe found stands after what people used and advise, and before a describer's: a single use
    is 0.06 from what others use and an author's advice 0.09, a probe 0.14 from the truth of the playground's files, and
    what is usual 0.18 from what people use where nothing is known (`benchmarks/probe.py`). Where the probe found the
    adapter too strong, no weight but the owner's own is more than the last at which pictures kept their variety. That
    it found no effect is told beside whatever the weight is.

    Args:
        adapter: With its refinement, where it has one.
        together: How many adapters are laid on at once; for Stylus's rules, how many of the same task.
        rule: How the weight is set.
        usual: What to take where nothing is known.
        probe: What it really does, where that was probed on the model's base; it counts by evidence alone.

    >>> from ..records import AdapterRecord
    >>> used = tuple(WeightEvidence(weight=w, source="prompt") for w in (0.6, 0.7, 0.7, 1.0))
    >>> page = RefinedAdapter(id=1, record=AdapterRecord(source="folder", key="a", title="A", weights=used))
    >>> advise(page)
    Advice(weight=0.7, reason='median of 4 uses, mostly 0.67 to 0.77')
    >>> advise(page, together=2, rule="stylus")
    Advice(weight=0.35, reason='Stylus: 0.7 (median of 4 uses, mostly 0.67 to 0.77), over 2 adapters')
    """
    if rule == "constant":
        return Advice(weight=STYLUS, reason="the same for all")
    if rule == "evidence":
        advice = _stored(adapter) or _capped(_known(adapter, probe) or _usual(adapter, together, usual), probe)
        if probe is not None and "no effect" in probe.flags:
            return Advice(
                weight=advice.weight, reason=f"{advice.reason}; its probe on {checkpoint_of(probe)}: no effect"
            )
        return advice
    known = _known(adapter)
    weight, reason = (known.weight, known.reason) if known else (STYLUS, "its default")
    parts = [f"Stylus: {weight:g} ({reason})"]
    if rule == "stylus-released":
        weight *= STYLUS
        parts.append(f"times {STYLUS:g} as its released code does")
    if together > 1:
        weight /= together
        parts.append(f"over {together} adapters")
    return Advice(weight=round(weight, 3), reason=", ".join(parts))


@once
def farthest(record: AdapterRecord) -> float:
    """Return the largest weight, either way, at which evidence of an adapter is believed.

    >>> farthest(AdapterRecord(source="folder", key="a", title="Age Slider"))
    10.0
    >>> farthest(AdapterRecord(source="folder", key="b", title="Red Fox"))
    2.0
    """
    tool = tool_of(record)
    return FARTHEST if tool is not None and tool.kind != "speed" else MOST


def bears(record: AdapterRecord) -> float:
    """Return the weight up to which an adapter does no more than others do at 1, as far as evidence tells; at least 1.

    A tool may have any: its scale is its trainer's own.
    """
    if farthest(record) == FARTHEST:
        return math.inf
    known = _known(RefinedAdapter(id=0, record=record))
    return max(1.0, abs(known.weight)) if known is not None else 1.0


def _known(adapter: RefinedAdapter, probe: Probe | None = None) -> Advice | None:
    """Return what is known of this very adapter, from the surest place that tells it."""
    if stored := _stored(adapter):
        return stored
    seen = _believed(adapter.record)
    both = _of(seen, (*_USED, *_ADVISED))
    if used := _one_side(_of(seen, _USED), both):
        return _advice(used, _spread(used))
    if advised := _one_side(_of(seen, _ADVISED), both):
        return _advice(advised, f"advised by its author{_range(advised)}")
    if probe is not None and probe.best is not None and 0 < probe.best <= farthest(adapter.record):
        return _advice([probe.best], f"its probe on {checkpoint_of(probe)}: does most of what it can there")
    told = adapter.refinement.weight
    if told is not None and 0 < abs(told) <= MOST:
        because = line(adapter.refinement.evidence or "", 80)
        return _advice([told], f"told by its describer{f' ({because})' if because else ''}")
    return None


def _stored(adapter: RefinedAdapter) -> Advice | None:
    """Return the weight that the owner stored for the file."""
    stored = _of(_believed(adapter.record), _OWN)
    return _advice(_one_side(stored, stored), "stored for this file") if stored else None


def _believed(record: AdapterRecord) -> list[WeightEvidence]:
    # A weight of 0 is a picture that shows how it looks without.
    return [evidence for evidence in record.weights if 0 < abs(evidence.weight) <= farthest(record)]


def _capped(advice: Advice, probe: Probe | None) -> Advice:
    """Return the advice with no more weight than a probe found pictures to bear; a negative one was not probed."""
    cap = cap_of(probe) if probe is not None else None
    if probe is None or cap is None or advice.weight <= cap:
        return advice
    which = "the least weight that was tried" if probe.best is None else "the last that keeps their variety"
    why = f"too strong at 1 by its probe on {checkpoint_of(probe)}: no more than {which}"
    return Advice(weight=round(cap, 2), reason=f"{advice.weight:g} ({advice.reason}), {why}")


def _of(seen: Sequence[WeightEvidence], sources: tuple[str, ...]) -> list[float]:
    return [evidence.weight for evidence in seen if evidence.source in sources]


def _one_side(weights: list[float], both: Sequence[float]) -> list[float]:
    """Return the weights of the side of zero that most evidence is on; where that is even, of the side of more.

    A slider works both ways, and its author shows both; the median of the two would be near nothing.
    """
    sign = -1.0 if sum(math.copysign(1, weight) for weight in both) < 0 else 1.0
    return [weight for weight in weights if weight * sign > 0]


def _advice(weights: Sequence[float], reason: str) -> Advice:
    return Advice(weight=round(median(weights), 2), reason=reason)


def _usual(adapter: RefinedAdapter, together: int, usual: Usual) -> Advice:
    category = adapter.refinement.category
    for name, own in usual.categories:
        if name == category or (category is None and name in adapter.record.tags):
            weight, of = own, f" of {name}"
            break
    else:
        weight, of = usual.alone, ""
    if together > 1 and weight >= usual.several:
        weight, of = usual.several, f" of one of {together}"
    return Advice(weight=weight, reason=f"usual weight{of}, none is known")


def _range(weights: Sequence[float]) -> str:
    low, high = min(weights), max(weights)
    return "" if low == high else f", {low:g} to {high:g}"


def _spread(weights: list[float]) -> str:
    if len(weights) == 1:
        return "used once at this weight"
    if len(weights) < 4 or min(weights) == max(weights):
        return f"median of {len(weights)} uses"
    low, _, high = quantiles(weights, n=4, method="inclusive")
    return f"median of {len(weights)} uses, mostly {low:.2g} to {high:.2g}"
