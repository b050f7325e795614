"""The Fréchet distance between two sets of features (Heusel and others, 2017, eq. 6), and how sure it is.

A percentile bootstrap does not hold this distance, which is biased by the number of pictures; the standard error here
is that of its influence function, summed within prompts. Distances are comparable at the same number of pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .intervals import Figure, Values, by_error

Features = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Distance:
    """A distance, and how much each prompt's pictures pull at it."""

    value: float
    pulls: Values
    """One for each prompt; they sum to 0, and the root of the sum of their squares is the standard error."""

    @property
    def figure(self) -> Figure:
        """The distance with its interval."""
        return by_error(self.value, _error(self.pulls))


class Reference:
    """The features that others are compared with.

    Args:
        features: Shape (pictures, width).
    """

    def __init__(self, features: Features) -> None:
        values = features.astype(np.float64)
        self.mean = values.mean(0)
        self.covariance = np.cov(values, rowvar=False).reshape(len(self.mean), -1)
        self._root = _power(self.covariance, 0.5)

    def distance(self, features: Features, prompts: NDArray[np.int64]) -> Distance | None:
        """Return the distance of some pictures from the reference.

        Args:
            features: Shape (pictures, width).
            prompts: The place of each picture's prompt, from 0 on; shape (pictures,).

        Returns:
            None where there are not more pictures than features: then it is not to be compared.
        """
        if len(features) <= len(self.mean):
            return None
        values = features.astype(np.float64)
        mean = values.mean(0)
        covariance = np.cov(values, rowvar=False).reshape(len(mean), -1)
        inner = self._root @ covariance @ self._root
        gap = mean - self.mean
        shared = np.sqrt(np.clip(np.linalg.eigvalsh(inner), 0, None)).sum()
        value = float(gap @ gap + np.trace(covariance) + np.trace(self.covariance) - 2 * shared)
        slope = np.eye(len(mean)) - self._root @ _power(inner, -0.5) @ self._root
        centred = values - mean
        influence = 2 * centred @ gap + np.einsum("ij,jk,ik->i", centred, slope, centred)
        pulls = np.bincount(prompts, influence - influence.mean()) / len(values)
        return Distance(value, pulls)


def gain_share(base: Distance, ours: Distance, best: Distance) -> Figure | None:
    """Return the share of the best one's fall from the base that ours has; None where the best does not fall."""
    fall = base.value - best.value
    if fall <= 0:
        return None
    ratio = (base.value - ours.value) / fall
    pulls = ((base.pulls - ours.pulls) - ratio * (base.pulls - best.pulls)) / fall
    return by_error(ratio, _error(pulls))


def quotient(above: Distance, below: Distance) -> Figure:
    """Return the quotient of two distances of the same prompts."""
    ratio = above.value / below.value
    return by_error(ratio, _error((above.pulls - ratio * below.pulls) / below.value))


def _power(matrix: Values, exponent: float) -> Values:
    """Return a power of a symmetric matrix; directions without spread stay without."""
    values, vectors = np.linalg.eigh(matrix)
    kept = values > values.max() * len(values) * np.finfo(np.float64).eps
    powers = np.where(kept, np.where(kept, values, 1.0) ** exponent, 0.0)
    raised: Values = (vectors * powers) @ vectors.T
    return raised


def _error(pulls: Values) -> float:
    """Return the standard error of a sum of independent pulls, one for each prompt."""
    count = len(pulls)
    return float(np.sqrt((pulls**2).sum() * count / max(1, count - 1)))
