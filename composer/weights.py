"""A weight from what people used and advised."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median, quantiles

from ..records import AdapterRecord

DEFAULT = 0.8
"""Where nothing is known: Stylus's default, and close to what people use (its section 3.4)."""

_OWN = ("preferred", "tips")
"""What the owner of the file stored counts before what strangers used."""
_USED = ("civitaiResources", "resources", "prompt")
_ADVISED = ("header", "prose")


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """A weight and where it comes from, in words."""

    weight: float
    reason: str


def advise(adapter: AdapterRecord) -> Advice:
    """Return the weight to lay the adapter on at.

    The owner's own stored weight first, then the median of the weights that example images used, then the author's
    advice, then a default.

    >>> from ..records import WeightEvidence
    >>> used = tuple(WeightEvidence(weight=w, source="prompt") for w in (0.6, 0.7, 0.7, 1.0))
    >>> advise(AdapterRecord(source="folder", key="a", title="A", weights=used))
    Advice(weight=0.7, reason='median of 4 uses, mostly 0.67 to 0.77')
    """
    for sources, phrase in ((_OWN, "stored for this file"), (_USED, ""), (_ADVISED, "advised by its author")):
        weights = [evidence.weight for evidence in adapter.weights if evidence.source in sources]
        if not weights:
            continue
        weight = round(median(weights), 2)
        if sources is not _USED:
            return Advice(weight=weight, reason=phrase)
        return Advice(weight=weight, reason=_spread(weights))
    return Advice(weight=DEFAULT, reason="default, no weight is known")


def _spread(weights: list[float]) -> str:
    if len(weights) == 1:
        return "used once at this weight"
    if len(weights) < 4 or min(weights) == max(weights):
        return f"median of {len(weights)} uses"
    low, _, high = quantiles(weights, n=4, method="inclusive")
    return f"median of {len(weights)} uses, mostly {low:.2g} to {high:.2g}"
