"""What can be said of the differences once all that were tested are counted, and the words for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from ..records import CellName, Difference
from ..stats import detectable_difference, holm
from ..tables import Number, decimals
from .numbers import likely, probability, with_ends
from .results import Results

Kind = Literal["better", "worse", "unclear", "untested"]
SIGNS: Final[dict[Kind, str]] = {"better": "▲", "worse": "▼", "unclear": "≈", "untested": "·"}
"""What marks each beside its colour."""

LEVEL: Final = 0.05
"""Of the family of all tests together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """A difference, and what is left of it when all that were tested are counted."""

    difference: Difference
    adjusted: float | None
    """Holm's p over all differences with a p-value; None without one."""

    @property
    def kind(self) -> Kind:
        """What can be said; `unclear` also where its own interval leaves zero and Holm's p does not."""
        own = self.difference.verdict
        if self.adjusted is None:
            return "untested"
        return own if self.adjusted <= LEVEL else "unclear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What can be said of one method against its baseline in one metric, over all guidances."""

    metric: str
    method: str
    baseline: str
    tested: tuple[Tested, ...]

    def of(self, kind: Kind) -> tuple[Tested, ...]:
        """Return those of which that can be said."""
        return tuple(one for one in self.tested if one.kind == kind)


def tested(results: Results) -> tuple[Tested, ...]:
    """Return all differences, their p-values adjusted together after Holm."""
    family = holm([one.p for one in results.differences])
    return tuple(
        Tested(difference=one, adjusted=adjusted) for one, adjusted in zip(results.differences, family, strict=True)
    )


def lines(judged: Iterable[Tested]) -> tuple[Line, ...]:
    """Return differences grouped by metric, method and baseline, in the order in which they come."""
    groups: dict[tuple[str, str, str], list[Tested]] = {}
    for one in judged:
        found = one.difference
        groups.setdefault((found.metric, found.cell.method, found.baseline.method), []).append(one)
    return tuple(
        Line(metric=metric, method=method, baseline=baseline, tested=tuple(group))
        for (metric, method, baseline), group in groups.items()
    )


def summary(judged: Sequence[Tested]) -> str:
    """Return in one sentence how the tests came out."""
    with_p = [one for one in judged if one.adjusted is not None]
    if not with_p:
        return "No difference was tested." if not judged else "No difference could be tested: none has a p-value."
    counts = {kind: sum(one.kind == kind for one in with_p) for kind in SIGNS}
    lost = sum(one.kind == "unclear" and one.difference.verdict != "unclear" for one in with_p)
    own = f" {lost} of these would look real alone, and {_is(lost)} not once all tests are counted." if lost else ""
    return (
        f"Of {len(with_p)} difference{'' if len(with_p) == 1 else 's'} tested, {_are(counts['better'])} better, "
        f"{_are(counts['worse'])} worse, and {_are(counts['unclear'])} not told apart, at 5 % for all tests together "
        f"(Holm).{own}"
    )


def _are(count: int) -> str:
    return f"{count} {_is(count)}"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def sentences(line: Line, title: str) -> Iterable[tuple[Kind, str]]:
    """Yield what can be said of a method in a metric, each with its kind."""
    words: dict[Kind, str] = {"better": "is better than", "worse": "is worse than"}
    for kind, verb in words.items():
        group = line.of(kind)
        if group:
            yield kind, f"{line.method} {verb} {line.baseline} in {title}{_where(line, group)}: {_sizes(group)}."
    group = line.of("unclear")
    if group:
        yield (
            "unclear",
            (f"{line.method} and {line.baseline} are not told apart in {title}{_where(line, group)}{_needed(group)}."),
        )
    group = line.of("untested")
    if group:
        yield "untested", f"{line.method} against {line.baseline} in {title}{_where(line, group)}: not tested."


def _where(line: Line, group: Sequence[Tested]) -> str:
    guidances = [one.difference.cell.guidance for one in group]
    if all(guidance is None for guidance in guidances):
        return ""
    names = ", ".join("none" if guidance is None else f"{guidance:g}" for guidance in guidances)
    if len(line.tested) == 1:
        return f" at guidance {names}"
    if len(group) == len(line.tested):
        return f" at all {len(group)} guidances"
    return f" at {len(group)} of {len(line.tested)} guidances ({names})"


def _sizes(group: Sequence[Tested]) -> str:
    ordered = sorted(group, key=lambda one: one.difference.value)
    least, most = ordered[0].difference, ordered[-1].difference
    if len(group) == 1:
        adjusted = probability(group[0].adjusted).replace("< ", "below ")
        return f"{with_ends(least.value, least.low, least.high, signed=True)}{_unit(least)}, Holm's p {adjusted}"
    digits = max(decimals(one.difference.error or 0.0) for one in group)
    low, high = (Number(value=one.value, digits=digits, signed=True) for one in (least, most))
    return f"by {low} to {high}{_unit(most)}"


def _needed(group: Sequence[Tested]) -> str:
    found = [one.difference for one in group]
    sizes = [detectable_difference(one.error, one.prompts) for one in found if one.error and one.prompts > 1]
    if not sizes:
        return ""
    needed = Number(value=max(sizes), digits=decimals(max(sizes)))
    return f"; a difference of {needed}{_unit(found[0])} would have been seen four times out of five"


def _unit(difference: Difference) -> str:
    return f" {difference.unit}" if difference.unit else ""


def on_fronts(results: Results) -> Iterable[str]:
    """Yield in words whose front lies before whose, and who is on the joint front."""
    for front in results.fronts:
        names = f"{results.title(front.x)} and {results.title(front.y)}"
        for one in front.verdicts:
            chance = "" if one.probability is None else f" (probability of that: {likely(one.probability)})"
            yield f"In {names} together, {one}{chance}."
        best: dict[str, list[CellName]] = {}
        for point in front.points:
            if point.joint:
                best.setdefault(point.cell.method, []).append(point.cell)
        whole = sum(map(len, best.values()))
        if whole:
            shares = "; ".join(f"{method} {len(cells)}" for method, cells in best.items())
            yield f"Of the {whole} cells that no other beats in both {names}: {shares}."
