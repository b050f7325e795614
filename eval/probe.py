"""What an adapter really does, told from pictures of the same prompts and seeds painted with and without it.

After CARLoS (Sarfaty and others, 2025, arXiv 2512.08826), an adapter is described by the differences that it makes in
the space of a CLIP model: their mean is its direction, their mean length its strength, and how far they agree its
consistency. Three things are other here. Lengths are told as a share of the distance between pictures of two seeds,
so that they mean the same with any model. Consistency is the cosine of each difference with the mean of the *other*
prompts' (CARLoS compares all pairs, those of one prompt too), which is 0 for what has no direction. And a sweep of
weights tells the best one:

    gain(w)     = mean cos(picture at w, what is asked and told) - the same without the adapter
    collapse(w) = 1 - spread of all pictures at w / spread without the adapter
    best        = the least weight at which the gain is three quarters of the highest, of the weights up to the first
                  at which the collapse is above a quarter; between two that were tried it is interpolated

Over-fitted adapters paint their few training pictures whatever is asked: that is the collapse. More weight than
is needed costs (people call it over-baked), and the gain grows ever slower: hence the least weight that does most of
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..probe_rules import COLLAPSED, METHOD
from ..records import Probe, ProbedWeight, ProbeFlag
from .estimates import Estimate, Values, mean_estimate

ENOUGH: Final = 0.75
"""The share of the highest gain that is enough."""
UNSEEN: Final = 0.2
"""The share of the distance between two seeds below which a change is none. In the playground good adapters change
pictures by 0.74 and more at weight 1, and those of noise by 0.08 and less."""
_STILL: Final = 1e-5
"""Below this length a difference is rounding."""
_CLEAR: Final = 0.5
"""Standard deviations between seeds that the highest gain must have to be one."""

Features = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """The CLIP features of a grid of pictures and of its texts; of whatever length, they are normalised here."""

    plain: Features
    """Without the adapter; shape (prompts, seeds, width)."""
    worn: Features
    """With it, from the same noise; shape (weights, prompts, seeds, width)."""
    weights: Sequence[float]
    """Ascending, above 0."""
    bare: Features
    """The prompts as texts; shape (prompts, width)."""
    told: Features
    """The prompts with what the adapter is said to do; shape (prompts, width)."""


def probe(seen: Seen, *, family: str, model: str, clip: str, told: str) -> Probe:
    """Return what an adapter does.

    Args:
        seen: Its pictures, those without it, and the texts.
        family: The base family of the checkpoint.
        model: The checkpoint.
        clip: The CLIP model.
        told: What the adapter is said to do.

    Raises:
        InputError: there are fewer than two prompts or two seeds, the shapes do not fit, a feature is no number, or
            the pictures of all seeds are the same.
    """
    grid = _Grid(seen)
    gains = [grid.gain(place) for place in range(len(grid.weights))]
    collapses = [grid.collapse(place) for place in range(len(grid.weights))]
    flags = _flags(grid)
    best = None if "no effect" in flags else best_weight(grid.weights, gains, collapses, least=_CLEAR * grid.seed_noise)
    at = grid.nearest(1.0 if best is None else best)
    consistencies = [grid.consistency(place) for place in range(len(grid.weights))]
    sure = consistencies[at]
    low, high = sure.interval or (-1.0, 1.0)
    direction = grid.direction(at)
    return Probe(
        method=METHOD,
        family=family,
        model=model,
        clip=clip,
        told=told,
        prompts=grid.plain.shape[0],
        seeds=grid.plain.shape[1],
        weights=tuple(
            ProbedWeight(
                weight=weight,
                change=_told(grid.changes[place].mean() / grid.spread),
                consistency=_told(consistencies[place].value),
                gain=_told(gains[place]),
                collapse=_told(collapses[place]),
            )
            for place, weight in enumerate(grid.weights)
        ),
        at=grid.weights[at],
        direction=tuple(direction.astype(np.float32).tolist()),
        consistency=(_told(sure.value), _told(max(low, -1.0)), _told(min(high, 1.0))),
        alignment=_told(float(direction @ grid.asked)) if len(direction) else 0.0,
        best=best,
        flags=flags,
    )


def best_weight(
    weights: Sequence[float], gains: Sequence[float], collapses: Sequence[float], *, least: float = 0.0
) -> float | None:
    """Return the least weight that does enough and collapses nothing; None where no gain is above `least`.

    >>> best_weight([0.5, 1.0, 1.5], [0.0, 0.3, 0.4], [0.0, 0.1, 0.2])
    1.0
    >>> best_weight([0.5, 1.0, 1.5], [0.2, 0.3, 0.4], [0.1, 0.5, 0.8])
    0.38
    """
    usable = next((place for place, lost in enumerate(collapses) if lost > COLLAPSED), len(weights))
    if not usable or max(gains[:usable]) <= least:
        return None
    enough = ENOUGH * max(gains[:usable])
    place = next(place for place, gain in enumerate(gains) if gain >= enough)
    before, gained = (weights[place - 1], gains[place - 1]) if place else (0.0, 0.0)
    share = (enough - gained) / (gains[place] - gained)
    return round(before + share * (weights[place] - before), 2)


class _Grid:
    """A grid of features, normalised and checked, and what is read off it."""

    def __init__(self, seen: Seen) -> None:
        self.plain, self.worn = _unit(seen.plain), _unit(seen.worn)
        self.weights = tuple(map(float, seen.weights))
        bare, self.told = _unit(seen.bare), _unit(seen.told)
        prompts, seeds = _shape(seen)
        apart = self.plain - self.plain.mean(1, keepdims=True)
        self.spread = float(np.sqrt(2 * (apart**2).sum((1, 2)).mean() / (seeds - 1)))
        """The root mean square distance between two seeds."""
        if not self.spread > 0:
            raise InputError("the pictures of all seeds are the same, so that nothing can be told from them")
        self.moved = self.worn - self.plain
        self.changes: Values = np.linalg.norm(self.moved, axis=-1).mean(-1)
        """Of each weight and prompt the mean distance from the pictures without."""
        self.names = [f"{place:09}" for place in range(prompts)]
        asked = (self.told - bare).mean(0)
        self.asked: Values = asked / max(float(np.linalg.norm(asked)), np.finfo(np.float64).tiny)
        fits = np.einsum("psw,pw->ps", self.plain, self.told)
        self.seed_noise = float(np.sqrt(fits.var(1, ddof=1).mean()))
        """The standard deviation between seeds of how well pictures fit what is told."""
        self._fit = float(fits.mean())

    def nearest(self, weight: float) -> int:
        """Return the place of the weight that was tried and is nearest to one."""
        return int(np.argmin(np.abs(np.array(self.weights) - weight)))

    def gain(self, place: int) -> float:
        """Return how much better pictures fit what is told."""
        return float(np.einsum("psw,pw->ps", self.worn[place], self.told).mean()) - self._fit

    def collapse(self, place: int) -> float:
        """Return how much less pictures differ from each other."""
        return 1 - _apart(self.worn[place]) / _apart(self.plain)

    def collapse_at_one(self) -> Estimate | None:
        """Return the collapse at weight 1 with its error, by the jackknife over prompts; None where it is not known."""
        prompts = len(self.names)
        whole = self._collapse_at_one(list(range(prompts)))
        left = [self._collapse_at_one([place for place in range(prompts) if place != out]) for out in range(prompts)]
        known = [one for one in left if one is not None]
        if whole is None or len(known) < prompts:
            return None
        without = np.array(known)
        pulls = (prompts - 1) / prompts * (without.mean() - without)
        return Estimate(
            value=whole, prompts=tuple(self.names), pulls=pulls, n=self.plain.shape[0] * self.plain.shape[1]
        )

    def _collapse_at_one(self, prompts: list[int]) -> float | None:
        """Return the collapse of some prompts; None where the weights end before 1, or they have no spread."""
        apart = _apart(self.plain[prompts])
        if not apart > 0:
            return None
        lost = self.at_one(np.array([1 - _apart(worn[prompts]) / apart for worn in self.worn]))
        return None if lost is None else float(lost)

    def direction(self, place: int) -> Values:
        """Return the way that pictures move, of length 1; of no length where they stay."""
        mean: Values = self.moved[place].mean((0, 1))
        length = float(np.linalg.norm(mean))
        return mean / length if length > _STILL else np.empty(0)

    def consistency(self, place: int) -> Estimate:
        """Return the mean cosine of each difference with the mean of the other prompts', over prompts."""
        moved = self.moved[place]
        means = moved.mean(1)
        others = (means.sum(0) - means)[:, None, :]
        lengths = np.linalg.norm(moved, axis=-1) * np.linalg.norm(others, axis=-1)
        cosines = np.where(lengths > 0, (moved * others).sum(-1) / np.where(lengths > 0, lengths, 1), 0.0)
        return mean_estimate(self.names, cosines.mean(1), n=cosines.size)

    def at_one(self, values: Values) -> Values | None:
        """Return what values by weight, with 0 at weight 0, come to at weight 1; None where it was not reached."""
        weights = np.array([0.0, *self.weights])
        if weights[-1] < 1:
            return None
        whole = np.concatenate([np.zeros_like(values[:1]), values])
        after = int(np.searchsorted(weights, 1.0))
        share = (1 - weights[after - 1]) / (weights[after] - weights[after - 1])
        return np.asarray(whole[after - 1] + share * (whole[after] - whole[after - 1]))


def _flags(grid: _Grid) -> tuple[ProbeFlag, ...]:
    """Return what is wrong with the adapter at weight 1, as far as the sweep reaches it and prompts agree.

    It has no effect where pictures of the same seed, with and without it, differ by less than what is seen, and is too
    strong where pictures lose more of their spread than they may: the whole 95 % interval over prompts lies beyond.
    """
    changes = grid.at_one(grid.changes)
    if changes is None:
        return ()
    # Seeds lie near each other in some prompts and far apart in others: all together are one measure.
    beyond = mean_estimate(grid.names, changes - UNSEEN * grid.spread)
    if changes.max() <= _STILL or (beyond.interval is not None and beyond.interval[1] < 0):
        return ("no effect",)
    lost = grid.collapse_at_one()
    is_lost = lost is not None and lost.interval is not None and lost.interval[0] > COLLAPSED
    return ("too strong",) if is_lost else ()


def _apart(pictures: Values) -> float:
    """Return how far pictures of all prompts and seeds lie from their mean: a root mean square."""
    return float(np.sqrt(((pictures - pictures.mean((0, 1))) ** 2).sum(-1).mean()))


def _unit(features: Features) -> Values:
    rows = np.asarray(features, np.float64)
    if not np.isfinite(rows).all():
        raise InputError("the CLIP model gives features that are no numbers; take another one")
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), np.finfo(np.float64).tiny))


def _shape(seen: Seen) -> tuple[int, int]:
    """Return how many prompts and seeds there are, where all fits together."""
    prompts, seeds, width = seen.plain.shape
    if prompts < 2 or seeds < 2:
        raise InputError("a probe needs at least two prompts and two seeds")
    weights = list(seen.weights)
    if not weights or weights[0] <= 0 or any(one >= other for one, other in pairwise(weights)):
        raise InputError("the weights of a probe must be above 0, each once, and ascending")
    if seen.worn.shape != (len(weights), prompts, seeds, width) or not (
        seen.bare.shape == seen.told.shape == (prompts, width)
    ):
        raise InputError("the features of a probe do not belong to one grid")
    return prompts, seeds


def _told(value: float) -> float:
    """Return a figure with as many places as are worth telling; kept figures stay readable."""
    return round(float(value), 4)
