"""Hypervolume: how much of the plane lies behind a front."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .plane import Plane, cloud

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypervolume:
    """The area between a front and a reference point: more is better. The interval is None without errors."""

    value: float
    low: float | None
    high: float | None
    reference: tuple[float, float]


def hypervolume(plane: Plane, reference: tuple[float, float], *, draws: int = 4000, seed: int = 0) -> Hypervolume:
    """Return the area that the plane's points dominate, up to a reference point (Zitzler and Thiele 1999).

    Points that are worse than the reference in either metric add nothing.

    Args:
        plane: Of one method, for its own hypervolume.
        reference: (x, y), worse than what is worth having.
        draws: Of all points by their joint errors, for the percentile interval.
        seed: Of the draws.
    """
    worst = corner(plane, reference)
    value = float(areas(plane.gains()[None], worst)[0])
    drawn = cloud(plane, draws, seed)
    low, high = (None, None) if drawn is None else map(float, np.quantile(areas(drawn, worst), [0.025, 0.975]))
    return Hypervolume(value=value, low=low, high=high, reference=reference)


def corner(plane: Plane, reference: tuple[float, float]) -> Values:
    """Return a reference point so that more is better in both, shape (2,)."""
    worst: Values = np.array(reference, np.float64) * plane.signs
    return worst


def areas(gains: Values, worst: Values) -> Values:
    """Return the dominated areas; gains of shape (draws, points, 2), more is better in both."""
    sides = np.maximum(gains - worst, 0)
    order = np.argsort(-sides[:, :, 0], axis=1)
    sides = np.take_along_axis(sides, order[:, :, None], 1)
    heights = np.maximum.accumulate(sides[:, :, 1], axis=1)
    widths = sides[:, :, 0] - np.concatenate([sides[:, 1:, 0], np.zeros((len(sides), 1))], axis=1)
    dominated: Values = (heights * widths).sum(1)
    return dominated
