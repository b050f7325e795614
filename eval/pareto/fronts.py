"""Whether one method's front lies before another's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .areas import Hypervolume, areas, corner
from .gaps import Gaps, gaps
from .plane import Plane, cloud

Values = NDArray[np.float64]
Verdict = Literal["dominates", "seems to dominate", "crosses", "seems dominated", "dominated"]

_SURE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontVerdict:
    """Whether one method's front lies before another's.

    It does where each point of the other has one of its own that is as good in both metrics and better in one.
    """

    first: str
    second: str
    verdict: Verdict
    """`dominates` and `dominated` are sure (probability of 95 % or more); `seems to` is true of the values alone."""
    probability: float | None
    """That the first dominates, over the errors of all points; None where these are not known."""
    reverse: float | None
    """That the second does."""
    gain: Hypervolume
    """The first's hypervolume less the second's."""
    gaps: Gaps | None
    """At equal x; None where the fronts have no x in common."""

    def __str__(self) -> str:
        words = {
            "dominates": "dominates",
            "seems to dominate": "lies before, not surely,",
            "crosses": "crosses",
            "seems dominated": "lies behind, not surely,",
            "dominated": "is dominated by",
        }
        return f"{self.first} {words[self.verdict]} {self.second}"


def compare_fronts(
    plane: Plane, first: str, second: str, reference: tuple[float, float], *, draws: int = 4000, seed: int = 0
) -> FrontVerdict:
    """Say whether one method's front dominates another's, how surely, and by how much.

    Args:
        plane: With the points of both methods, and of others.
        first: A method.
        second: Another.
        reference: Of the hypervolumes.
        draws: Of all points by their joint errors.
        seed: Of the draws.

    Raises:
        ValueError: a method without points.
    """
    ours, theirs = plane.of(first), plane.of(second)
    for name, part in ((first, ours), (second, theirs)):
        if not part.points:
            raise ValueError(f"{name} has no point in the plane")
    both, split, worst = plane.of(first, second), len(ours.points), corner(plane, reference)
    gains = both.gains()[None]
    drawn = cloud(both, draws, seed)
    before, behind = (bool(_dominates(*pair)[0]) for pair in _both_ways(gains, split))
    chances = (None, None) if drawn is None else tuple(float(_dominates(*p).mean()) for p in _both_ways(drawn, split))
    value = float((areas(gains[:, :split], worst) - areas(gains[:, split:], worst))[0])
    low = high = None
    if drawn is not None:
        gained = areas(drawn[:, :split], worst) - areas(drawn[:, split:], worst)
        low, high = map(float, np.quantile(gained, [0.025, 0.975]))
    probability, reverse = chances
    return FrontVerdict(
        first=first,
        second=second,
        verdict=_verdict(before, behind, probability, reverse),
        probability=probability,
        reverse=reverse,
        gain=Hypervolume(value=value, low=low, high=high, reference=reference),
        gaps=gaps(plane, first, second),
    )


def _verdict(before: bool, behind: bool, probability: float | None, reverse: float | None) -> Verdict:
    if before:
        return "dominates" if probability is not None and probability >= _SURE else "seems to dominate"
    if behind:
        return "dominated" if reverse is not None and reverse >= _SURE else "seems dominated"
    return "crosses"


def _both_ways(gains: Values, split: int) -> tuple[tuple[Values, Values], tuple[Values, Values]]:
    ours, theirs = gains[:, :split], gains[:, split:]
    return (ours, theirs), (theirs, ours)


def _dominates(ours: Values, theirs: Values) -> NDArray[np.bool_]:
    """Return of each draw whether every point of theirs has one of ours before it; shapes (draws, points, 2)."""
    as_good = np.all(ours[:, :, None] >= theirs[:, None], axis=3)
    better = np.any(ours[:, :, None] > theirs[:, None], axis=3)
    return np.asarray(np.all(np.any(as_good & better, axis=1), axis=1))
