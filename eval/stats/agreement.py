"""How far raters agree, beyond what chance would have them agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..estimates import Estimate, sum_pulls

Level = Literal["nominal", "ordinal", "interval"]
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Krippendorff's alpha: 1 is full agreement, 0 is chance."""

    value: float
    low: float
    high: float
    """The 95 % interval, over units drawn anew."""
    level: Level
    raters: int
    units: int
    """Those that two raters or more rated; the others say nothing."""


def krippendorff_alpha(
    ratings: Sequence[Sequence[float | None]] | NDArray[Any],
    level: Level = "nominal",
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Agreement | None:
    """Return alpha = 1 - observed / expected disagreement (Krippendorff 2011, "Computing Krippendorff's alpha").

    Args:
        ratings: A row for each rater, a column for each unit; None or NaN where there is no rating.
        level: How far two ratings disagree: `nominal` at all or not, `ordinal` by the ratings between them, `interval`
            by the square of their difference.
        resamples: How many times the units are drawn for the interval (percentile).
        seed: Of the draws.

    Returns:
        None where no unit has two ratings, or all ratings are the same: nothing could have disagreed.

    Raises:
        ValueError: rows of other lengths, or an unknown level.
    """
    if level not in ("nominal", "ordinal", "interval"):
        raise ValueError(f"ratings are nominal, ordinal or interval, not {level!r}")
    if len({len(row) for row in ratings}) != 1:
        raise ValueError("every rater has a row with a place for each unit")
    table = np.array([[math.nan if cell is None else cell for cell in row] for row in ratings], np.float64)
    values = np.unique(table[~np.isnan(table)])
    counts = np.stack([(table == value).sum(0) for value in values], 1).astype(np.float64) if len(values) else None
    if counts is None:
        return None
    counts = counts[counts.sum(1) > 1]
    whole = _alpha(counts, values, level)
    if whole is None:
        return None
    rng = np.random.default_rng(seed)
    drawn = (_alpha(counts[rng.integers(0, len(counts), len(counts))], values, level) for _ in range(resamples))
    # Drawn units that all have one same rating agree fully.
    low, high = np.quantile([1.0 if value is None else value for value in drawn], [0.025, 0.975])
    raters = int((~np.isnan(table)).any(1).sum())
    return Agreement(value=whole, low=float(low), high=float(high), level=level, raters=raters, units=len(counts))


def cohen_kappa(prompts: Sequence[str], first: Sequence[str], second: Sequence[str]) -> Estimate | None:
    """Return kappa = (observed - chance) / (1 - chance) agreement of two raters (Cohen 1960).

    Its pulls are of its influence function, so that the error holds for answers clustered by prompt.

    Args:
        prompts: Of each answer its prompt.
        first: The first rater's answers.
        second: The second's, in the same order.

    Returns:
        None where both gave one same answer throughout: nothing could have disagreed.

    Raises:
        ValueError: lists of other lengths, or empty ones.
    """
    if not len(first) or not len(prompts) == len(first) == len(second):
        raise ValueError("two raters agree on the same answers, one or more")
    places = np.unique(np.array([*first, *second], np.str_), return_inverse=True)[1].reshape(2, -1)
    shares = np.stack([np.bincount(row, minlength=places.max() + 1) / len(first) for row in places])
    same = (places[0] == places[1]).astype(np.float64)
    observed, chance = float(same.mean()), float(shares[0] @ shares[1])
    if chance >= 1:
        return None
    value = (observed - chance) / (1 - chance)
    by_chance = shares[1][places[0]] + shares[0][places[1]]
    names, pulls = sum_pulls(prompts, (same - (1 - value) * by_chance) / (1 - chance))
    return Estimate(value=value, prompts=names, pulls=pulls, n=len(first))


def _alpha(counts: Values, values: Values, level: Level) -> float | None:
    """Return alpha from how often each unit was given each value, shape (units, values)."""
    if not len(counts):
        return None
    weighted = counts / (counts.sum(1, keepdims=True) - 1)
    coincidences = weighted.T @ counts - np.diag(weighted.sum(0))
    totals = coincidences.sum(1)
    distances = _distances(values, totals, level)
    expected = float(totals @ distances @ totals) / (float(totals.sum()) - 1)
    return 1 - float((coincidences * distances).sum()) / expected if expected > 0 else None


def _distances(values: Values, totals: Values, level: Level) -> Values:
    if level == "nominal":
        return 1 - np.eye(len(values))
    # Ordinal ratings lie as far apart as there are ratings between the middles of their own.
    scale = values if level == "interval" else np.cumsum(totals) - totals / 2
    distances: Values = (scale[:, None] - scale[None, :]) ** 2
    return distances
