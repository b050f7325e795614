"""Strengths out of comparisons and rankings: Bradley-Terry (ties by Davidson) and Plackett-Luce, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ..estimates import grouped
from .logit import Choices, fit_logit
from .means import Interval

_Z = 1.959963984540054


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two that were compared, and which of them won."""

    first: str
    second: str
    winner: str | None
    """None of a tie."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strengths:
    """How strong each is: logarithms of worth, about a mean of 0."""

    names: tuple[str, ...]
    """Sorted."""
    values: tuple[float, ...]
    errors: tuple[float, ...]
    """Standard errors of the values."""
    covariance: tuple[tuple[float, ...], ...]
    ties: float | None
    """Davidson's parameter: equals tie with probability ties / (2 + ties); None where ties are not modelled."""
    n: int
    """Comparisons or rankings."""
    regularised: bool
    """Whether some won or lost everything, so that one comparison of each pair that met, half won by each, was added
    to keep the strengths finite."""

    @property
    def ranking(self) -> tuple[str, ...]:
        """The names, strongest first."""
        return tuple(name for _, name in sorted(zip((-value for value in self.values), self.names, strict=True)))

    def interval(self, name: str) -> Interval:
        """Return the strength with its 95 % interval."""
        place = self.names.index(name)
        value, half = self.values[place], _Z * self.errors[place]
        return Interval(value=value, low=value - half, high=value + half)

    def probability(self, first: str, second: str) -> Interval:
        """Return how probably the first beats the second, ties left aside, with its 95 % interval."""
        one, other = self.names.index(first), self.names.index(second)
        covariance = self.covariance
        variance = covariance[one][one] + covariance[other][other] - 2 * covariance[one][other]
        value, half = self.values[one] - self.values[other], _Z * math.sqrt(max(variance, 0.0))
        return Interval(value=_logistic(value), low=_logistic(value - half), high=_logistic(value + half))


def bradley_terry(
    comparisons: Sequence[Comparison],
    *,
    ties: Literal["davidson", "half"] = "davidson",
    clusters: Sequence[str] | None = None,
) -> Strengths:
    """Return the likeliest strengths: i beats j with worth_i / (worth_i + worth_j).

    Bradley and Terry (1952); with ties, Davidson (1970), eq. 2.3: i beats j with worth_i / (worth_i + worth_j +
    ties * sqrt(worth_i * worth_j)).

    Args:
        comparisons: Who met whom, and how it came out.
        ties: Modelled as Davidson does, or each counted as half a win of both. Where nothing but ties is seen, half.
        clusters: Of each comparison its prompt or rater: intervals then allow for likeness within them. None, or fewer
            than two different, takes comparisons as independent.

    Raises:
        InputError: no comparisons, or some that no chain of comparisons joins.
        ValueError: a winner that is neither of the two, or clusters of another number.
    """
    if not comparisons:
        raise InputError("there are no comparisons to take strengths from")
    if any(item.winner not in (None, item.first, item.second) or item.first == item.second for item in comparisons):
        raise ValueError("a comparison is of two different names, and its winner is one of them")
    names = tuple(sorted({name for item in comparisons for name in (item.first, item.second)}))
    place = {name: index for index, name in enumerate(names)}
    tied = np.array([item.winner is None for item in comparisons])
    modelled = ties == "davidson" and bool(tied.any()) and not bool(tied.all())
    pairs, origins, weights = [], [], []
    for index, item in enumerate(comparisons):
        one, other = place[item.first], place[item.second]
        ordered = [(other, one)] if item.winner == item.second else [(one, other)]
        if item.winner is None and not modelled:
            ordered = [(one, other), (other, one)]
        pairs += ordered
        origins += [index] * len(ordered)
        weights += [1 / len(ordered)] * len(ordered)
    kept = tied[np.array(origins)] & modelled
    ordered_pairs = np.array(pairs)
    met, won = np.zeros((2, len(names), len(names)), dtype=np.bool_)
    met[ordered_pairs[:, 0], ordered_pairs[:, 1]] = met[ordered_pairs[:, 1], ordered_pairs[:, 0]] = True
    won[ordered_pairs[~kept, 0], ordered_pairs[~kept, 1]] = True
    ghosts = _ghosts(met, won, names)
    everyone = np.concatenate([ordered_pairs, ghosts])
    kept = np.concatenate([kept, np.zeros(len(ghosts), dtype=np.bool_)])
    choices = Choices(
        alternatives=_pair_alternatives(everyone, kept, len(names), modelled),
        present=np.ones((len(everyone), 3 if modelled else 2), dtype=np.bool_),
        weights=np.concatenate([np.array(weights), np.full(len(ghosts), 0.5)]),
    )
    return _strengths(names, choices, np.array(origins), clusters, len(comparisons), modelled, bool(len(ghosts)))


def plackett_luce(rankings: Sequence[Sequence[str]], *, clusters: Sequence[str] | None = None) -> Strengths:
    """Return the likeliest strengths: each place of a ranking goes to one of those left, by their worth.

    Luce (1959), Plackett (1975). A ranking may leave names out, which then says nothing about them.

    Args:
        rankings: Names, best first, no name twice in one.
        clusters: Of each ranking its prompt or rater, as in `bradley_terry`.

    Raises:
        InputError: no rankings of two or more, or some names that no chain of rankings joins.
        ValueError: a name twice in one ranking, or clusters of another number.
    """
    if any(len(set(ranking)) < len(ranking) for ranking in rankings):
        raise ValueError("a ranking has a name twice")
    names = tuple(sorted({name for ranking in rankings for name in ranking}))
    if not any(len(ranking) > 1 for ranking in rankings):
        raise InputError("there are no rankings of two or more to take strengths from")
    place = {name: index for index, name in enumerate(names)}
    stages, origins = [], []
    for index, ranking in enumerate(rankings):
        places = [place[name] for name in ranking]
        stages += [places[start:] for start in range(len(places) - 1)]
        origins += [index] * max(len(places) - 1, 0)
    met, won = np.zeros((2, len(names), len(names)), dtype=np.bool_)
    for stage in stages:
        won[stage[0], stage[1:]] = True
    met |= won | won.T
    ghosts = _ghosts(met, won, names)
    stages += ghosts.tolist()
    widest = max(map(len, stages))
    alternatives = np.zeros((len(stages), widest, len(names)))
    present = np.zeros((len(stages), widest), dtype=np.bool_)
    for row, stage in enumerate(stages):
        alternatives[row, range(len(stage)), stage] = 1
        present[row, : len(stage)] = True
    weights = np.concatenate([np.ones(len(origins)), np.full(len(ghosts), 0.5)])
    choices = Choices(alternatives=alternatives, present=present, weights=weights)
    return _strengths(names, choices, np.array(origins), clusters, len(rankings), False, bool(len(ghosts)))


def _strengths(
    names: tuple[str, ...],
    choices: Choices,
    origins: NDArray[np.intp],
    clusters: Sequence[str] | None,
    n: int,
    tied: bool,
    regularised: bool,
) -> Strengths:
    if clusters is not None and len(clusters) != n:
        raise ValueError(f"{len(clusters)} clusters for {n} comparisons")
    fitted = fit_logit(choices)
    places = None
    if clusters is not None and len(set(clusters)) > 1:
        places = np.full(len(choices.weights), -1)
        places[: len(origins)] = grouped(clusters)[1][origins]
        # Clusters whose comparisons say nothing are none.
        places[places >= 0] = np.unique(places[places >= 0], return_inverse=True)[1]
        places = places if places.max() > 0 else None
    size = len(names)
    covariance = fitted.covariance(places)[:size, :size]
    return Strengths(
        names=names,
        values=tuple(fitted.parameters[:size].tolist()),
        errors=tuple(np.sqrt(np.maximum(np.diag(covariance), 0)).tolist()),
        covariance=tuple(map(tuple, covariance.tolist())),
        ties=math.exp(float(fitted.parameters[size])) if tied else None,
        n=n,
        regularised=regularised,
    )


def _pair_alternatives(
    pairs: NDArray[np.intp], tied: NDArray[np.bool_], size: int, modelled: bool
) -> NDArray[np.float64]:
    """Return what winner, loser and tie are made of; what came out stands first."""
    rows = np.arange(len(pairs))
    alternatives = np.zeros((len(pairs), 2 + modelled, size + modelled))
    alternatives[rows, 0, pairs[:, 0]] = alternatives[rows, 1, pairs[:, 1]] = 1
    if modelled:
        alternatives[rows, 2, pairs[:, 0]] = alternatives[rows, 2, pairs[:, 1]] = 0.5
        alternatives[:, 2, size] = 1
        alternatives[tied] = alternatives[tied][:, [2, 0, 1]]
    return alternatives


def _ghosts(met: NDArray[np.bool_], won: NDArray[np.bool_], names: tuple[str, ...]) -> NDArray[np.intp]:
    """Return the pairs to add, both ways round: none where every two have beaten each other by some chain (Ford 1957).

    Raises:
        InputError: some names never met, directly or through others.
    """
    apart = np.argwhere(~_reached(met))
    if len(apart):
        one, other = (names[index] for index in apart[0])
        raise InputError(f"{one} and {other} were never compared, directly or through others; compare them")
    return np.zeros((0, 2), np.intp) if _reached(won).all() else np.argwhere(met)


def _reached(steps: NDArray[np.bool_]) -> NDArray[np.bool_]:
    reached = steps | np.eye(len(steps), dtype=np.bool_)
    for through in range(len(steps)):
        reached |= np.outer(reached[:, through], reached[through])
    return reached


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value > -700 else 0.0
