"""Means over prompts: their intervals without a normal distribution, and tests beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..estimates import grouped, mean_estimate

_BLOCK = 2_000_000
"""Draws held in memory at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A value, and between which bounds it lies."""

    value: float
    low: float
    high: float
    confidence: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Wilcoxon:
    """The signed-rank test: how many differences were not 0, the lesser sum of ranks, and the two-sided p."""

    n: int
    statistic: float
    p: float


def bootstrap_mean(
    prompts: Sequence[str],
    values: Sequence[float] | NDArray[Any],
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval | None:
    """Return the mean over prompts of the means within each, with the BCa bootstrap interval over prompts.

    Whole prompts are drawn, since the pictures of one depend on each other. Bias-corrected and accelerated: Efron
    (1987), section 3.

    Args:
        prompts: Of each value its prompt.
        values: One for each picture.
        confidence: Of the interval.
        resamples: How many times the prompts are drawn.
        seed: Of the draws; the same seed gives the same interval.

    Returns:
        None where there is one prompt alone, or a value that is no number.
    """
    from scipy.stats import norm

    whole = mean_estimate(prompts, values)
    if whole.pulls is None or len(whole.prompts) < 2 or not math.isfinite(whole.value):
        return None
    deviations = whole.pulls * len(whole.prompts)
    spread = float((deviations**2).sum())
    if spread == 0:
        return Interval(value=whole.value, low=whole.value, high=whole.value, confidence=confidence)
    means = _resampled_means(deviations, resamples, np.random.default_rng(seed))
    below = (np.count_nonzero(means < 0) + np.count_nonzero(means == 0) / 2) / resamples
    bias = float(norm.ppf(min(max(below, 0.5 / resamples), 1 - 0.5 / resamples)))
    acceleration = float((deviations**3).sum()) / (6 * spread**1.5)
    tails = bias + norm.ppf([(1 - confidence) / 2, (1 + confidence) / 2])
    low, high = np.quantile(means, norm.cdf(bias + tails / (1 - acceleration * tails)))
    return Interval(
        value=whole.value, low=whole.value + float(low), high=whole.value + float(high), confidence=confidence
    )


def two_way_mean(values: Sequence[float], prompts: Sequence[str], raters: Sequence[str]) -> Interval:
    """Return the mean with a 95 % interval that allows for answers of one prompt, and of one rater, being alike.

    Cameron, Gelbach and Miller (2011), eq. 2.11: the variance clustered by prompts and by raters, less the one by both.
    Student's t with one degree less than there are of the fewer clusters.

    Args:
        values: One for each answer.
        prompts: Of each answer its prompt.
        raters: Of each answer who gave it.

    Raises:
        ValueError: there are no values, or one prompt or one rater alone.
    """
    from scipy.stats import t

    if not len(values):
        raise ValueError("there is nothing to take the mean of")
    deviations = np.asarray(values, np.float64)
    mean = float(deviations.mean())
    deviations = deviations - mean
    names, by_prompt = grouped(prompts)
    people, by_rater = grouped(raters)
    clusters = min(len(names), len(people))
    if clusters < 2:
        raise ValueError("an error clustered two ways needs two prompts and two raters")
    _, by_both = np.unique(by_prompt * len(people) + by_rater, return_inverse=True)
    one, other, both = (_clustered(places, deviations) for places in (by_prompt, by_rater, by_both))
    # The difference can fall below its own parts when clusters are few; then the larger part is the cautious answer.
    error = math.sqrt(max(one + other - both, one, other))
    half = float(t.ppf(0.975, clusters - 1)) * error
    return Interval(value=mean, low=mean - half, high=mean + half)


def wilcoxon(differences: Sequence[float] | NDArray[Any]) -> Wilcoxon:
    """Test whether paired differences lie about 0, by the signed ranks of those that are not 0 (Wilcoxon 1945)."""
    from scipy.stats import wilcoxon as signed_rank

    moved = np.asarray(differences, np.float64)
    if not np.isfinite(moved).all():
        raise ValueError("a difference is not a number")
    moved = moved[moved != 0]
    if not len(moved):
        return Wilcoxon(n=0, statistic=0.0, p=1.0)
    tested = signed_rank(moved)
    return Wilcoxon(n=len(moved), statistic=float(tested.statistic), p=float(tested.pvalue))


def _resampled_means(values: NDArray[np.float64], resamples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    rows = max(1, _BLOCK // len(values))
    means = np.empty(resamples)
    for start in range(0, resamples, rows):
        drawn = rng.integers(0, len(values), (min(rows, resamples - start), len(values)), dtype=np.int32)
        means[start : start + len(drawn)] = values[drawn].mean(1)
    return means


def _clustered(places: NDArray[np.intp], deviations: NDArray[np.float64]) -> float:
    """Return the variance of the mean, whole clusters taken as the draws."""
    sums = np.bincount(places, deviations)
    return float((sums**2).sum()) / len(deviations) ** 2 * len(sums) / max(len(sums) - 1, 1)
