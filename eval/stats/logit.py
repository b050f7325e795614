"""The conditional logit: what is chosen out of some alternatives, by the worth of each.

Bradley-Terry, Davidson's ties and Plackett-Luce are all of this form, with other alternatives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

_STEPS = 100
_EXACT = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Choices:
    """What was chosen, and out of what."""

    alternatives: Values
    """Of each alternative what it is made of, shape (choices, alternatives, parameters)."""
    present: NDArray[np.bool_]
    """Which alternatives a choice had, shape (choices, alternatives); the first was chosen."""
    weights: Values
    """How often, shape (choices,)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LogitFit:
    """The likeliest parameters; those that the choices leave open are 0."""

    parameters: Values
    information: Values
    """Fisher's, at the parameters."""
    scores: Values
    """Of each choice the slope of its log-likelihood, shape (choices, parameters)."""

    def covariance(self, clusters: NDArray[np.intp] | None) -> Values:
        """Return the parameters' covariance, shape (parameters, parameters).

        Args:
            clusters: Of each choice what it has in common with others, negative for none (a pseudo-observation); the
                covariance then holds whatever the likeness within a cluster (White 1980; Liang and Zeger 1986). None
                takes every choice for itself.
        """
        inverse = _inverse(self.information)
        if clusters is None:
            return inverse
        count = int(clusters.max()) + 1
        sums = np.zeros((count, len(self.parameters)))
        real = clusters >= 0
        np.add.at(sums, clusters[real], self.scores[real])
        pulls = sums @ inverse
        covariance: Values = pulls.T @ pulls * (count / (count - 1))
        return covariance


def fit_logit(choices: Choices) -> LogitFit:
    """Return the likeliest parameters, by Newton's method from 0; the likelihood is concave.

    Raises:
        ValueError: the likelihood has no maximum: the choices are separated.
    """
    parameters = np.zeros(choices.alternatives.shape[2])
    likelihood, slope, scores, information = _derivatives(choices, parameters)
    for _ in range(_STEPS):
        step = _inverse(information) @ slope
        if float(slope @ step) < _EXACT:
            return LogitFit(parameters=parameters, information=information, scores=scores)
        size = 1.0
        while True:
            found = _derivatives(choices, parameters + size * step)
            if found[0] >= likelihood or size < 1e-6:
                break
            size /= 2
        parameters = parameters + size * step
        likelihood, slope, scores, information = found
    raise ValueError("the choices are separated: no strengths are the likeliest")


def _derivatives(choices: Choices, parameters: Values) -> tuple[float, Values, Values, Values]:
    """Return the log-likelihood, its slope, each choice's share of the slope, and Fisher's information."""
    worth = np.where(choices.present, choices.alternatives @ parameters, -np.inf)
    top = worth.max(1, keepdims=True)
    shares = np.exp(worth - top)
    total = shares.sum(1, keepdims=True)
    shares /= total
    likelihood = float(choices.weights @ (worth[:, 0] - top[:, 0] - np.log(total[:, 0])))
    expected = np.einsum("ca,cap->cp", shares, choices.alternatives)
    scores = choices.weights[:, None] * (choices.alternatives[:, 0] - expected)
    width = choices.alternatives.shape[2]
    rows = choices.alternatives.reshape(-1, width)
    squares = rows.T @ (rows * (choices.weights[:, None] * shares).reshape(-1, 1))
    information = squares - expected.T @ (expected * choices.weights[:, None])
    return likelihood, scores.sum(0), scores, information


def _inverse(information: Values) -> Values:
    """Return the inverse within what the choices tell of: adding one worth to all changes no choice."""
    return np.asarray(np.linalg.pinv(information, rcond=1e-10, hermitian=True), np.float64)
