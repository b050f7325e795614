"""An estimate: a value, and how much each prompt pulls at it.

The unit of everything is the prompt: the pictures of one prompt are not independent of each other. A pull is what a
prompt contributes to the estimate's first-order error (its influence over the number of prompts), so that the pulls sum
to about 0, the root of the sum of their squares is the standard error, and the pulls of a difference of two estimates
over the same prompts are the differences of their pulls: pairing costs nothing more.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Estimate:
    """A value over some prompts, and the pull of each."""

    value: float
    prompts: tuple[str, ...]
    pulls: Values | None
    """One for each prompt; None where no standard error can be had."""
    n: int
    """Pictures."""
    comparable: bool = True
    """False where the value may be told but not compared: too few pictures for a Fréchet distance."""
    is_mean: bool = False
    """Whether it is the mean of a value that each prompt has, so that it can be taken of a part of the prompts."""
    notes: tuple[str, ...] = ()

    @property
    def error(self) -> float | None:
        """The standard error; None where it is not known, or there is one prompt alone."""
        count = len(self.prompts)
        if self.pulls is None or count < 2:
            return None
        return math.sqrt(float((self.pulls**2).sum()) * count / (count - 1))

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval, by Student's t over prompts."""
        from scipy.stats import t

        error = self.error
        if error is None:
            return None
        half = float(t.ppf(0.975, len(self.prompts) - 1)) * error
        return self.value - half, self.value + half

    @property
    def p(self) -> float | None:
        """The two-sided probability of a value as far from 0, were it 0; None where the error is not known."""
        from scipy.stats import t

        error = self.error
        if error is None:
            return None
        if error == 0:
            return 1.0 if self.value == 0 else 0.0
        return float(2 * t.sf(abs(self.value) / error, len(self.prompts) - 1))

    def less(self, other: Estimate) -> Estimate:
        """Return the difference, paired; both must be over the same prompts, in the same order.

        Raises:
            ValueError: they are not.
        """
        if self.prompts != other.prompts:
            raise ValueError("only estimates over the same prompts can be paired")
        pulls = None if self.pulls is None or other.pulls is None else self.pulls - other.pulls
        return Estimate(
            value=self.value - other.value,
            prompts=self.prompts,
            pulls=pulls,
            n=min(self.n, other.n),
            comparable=self.comparable and other.comparable,
            is_mean=self.is_mean and other.is_mean,
            notes=tuple(dict.fromkeys((*self.notes, *other.notes))),
        )


def mean_estimate(prompts: Sequence[str], values: Sequence[float] | NDArray[Any], *, n: int | None = None) -> Estimate:
    """Return the mean over prompts of the means within each prompt.

    Args:
        prompts: Of each value its prompt, in whatever order.
        values: One for each picture, or for each prompt.
        n: How many pictures the values are of; None takes one for each.

    Raises:
        ValueError: there are no values.

    >>> estimate = mean_estimate(["a", "a", "b"], [1.0, 3.0, 4.0])
    >>> estimate.value, estimate.prompts, estimate.pulls.tolist()
    (3.0, ('a', 'b'), [-0.5, 0.5])
    """
    if not len(values):
        raise ValueError("there is nothing to take the mean of")
    names, places = grouped(prompts)
    sums = np.bincount(places, np.asarray(values, np.float64))
    means = sums / np.bincount(places)
    value = float(means.mean())
    pulls = (means - value) / len(means)
    return Estimate(value=value, prompts=names, pulls=pulls, n=n or len(values), is_mean=True)


def of_prompts(estimate: Estimate, prompts: Collection[str]) -> Estimate:
    """Return a mean over a part of its prompts.

    Raises:
        ValueError: it is no mean over prompts, or has none of these.
    """
    values = by_prompt(estimate)
    kept = [prompt for prompt in estimate.prompts if prompt in prompts]
    if not values or not kept:
        raise ValueError("this estimate cannot be taken of a part of its prompts")
    n = round(estimate.n * len(kept) / len(estimate.prompts))
    return replace(mean_estimate(kept, [values[prompt] for prompt in kept], n=n), notes=estimate.notes)


def sum_pulls(prompts: Sequence[str], influences: NDArray[Any]) -> tuple[tuple[str, ...], Values]:
    """Return the prompts, and the pull of each: its pictures' influences, centred, summed and divided by the pictures.

    Args:
        prompts: Of each picture its prompt.
        influences: The influence function at each picture, shape (pictures,).
    """
    names, places = grouped(prompts)
    centred = np.asarray(influences, np.float64) - float(np.mean(influences))
    return names, np.bincount(places, centred) / len(centred)


def grouped(prompts: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    """Return the different prompts, sorted, and for each entry the place of its own among them."""
    # Not by an array of texts: that gives each as much room as the longest takes, and loses NULs at the end.
    names = sorted(set(prompts))
    place_of = {name: place for place, name in enumerate(names)}
    return tuple(map(str, names)), np.fromiter((place_of[prompt] for prompt in prompts), np.intp, len(prompts))


def by_prompt(estimate: Estimate) -> Mapping[str, float]:
    """Return each prompt's own value, of which a mean is the mean; nothing of what is no mean over prompts."""
    if estimate.pulls is None or not estimate.is_mean:
        return {}
    values = estimate.value + estimate.pulls * len(estimate.prompts)
    return dict(zip(estimate.prompts, values.tolist(), strict=True))
