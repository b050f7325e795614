"""The difference of two fronts in one metric, where they are equal in the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .plane import Plane, Point, covariance, front

Values = NDArray[np.float64]

_Z = 1.959963984540054


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """How far y differs at one x; or its mean over a range of x."""

    value: float
    """First less second, in the units of y."""
    error: float | None
    at: float | None = None
    """The x; None of the mean."""

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval."""
        return None if self.error is None else (self.value - _Z * self.error, self.value + _Z * self.error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaps:
    """The difference of two fronts in y at equal x, over the x that both reach."""

    first: str
    second: str
    low: float
    high: float
    """The range of x in common."""
    mean: Gap
    """Over the range."""
    each: tuple[Gap, ...]
    """At the ends of the range and at the front points within it, rising in x."""


def gaps(plane: Plane, first: str, second: str) -> Gaps | None:
    """Return how far y differs at equal x between two methods' fronts, with errors carried through.

    Fronts are interpolated linearly between their points, and never beyond them. The error at an x is of first order: a
    point's pull on the line is its y's less the line's slope times its x's.

    Returns:
        None where the fronts have no range of x in common.
    """
    sides = [_by_x(front(plane.of(name))) for name in (first, second)]
    if not all(sides):
        return None
    low, high = max(side[0].x for side in sides), min(side[-1].x for side in sides)
    if low > high:
        return None
    knots = sorted({low, high, *(point.x for side in sides for point in side if low < point.x < high)})
    points = (*sides[0], *sides[1])
    lines = np.array([np.concatenate([_line(sides[0], x), -_line(sides[1], x)]) for x in knots])
    values = np.array([_height(sides[0], x) - _height(sides[1], x) for x in knots])
    joint = covariance(replace(plane, points=points))

    def error(weights: Values) -> float | None:
        return None if joint is None else math.sqrt(max(float(weights @ joint @ weights), 0.0))

    # Both fronts are straight between knots, so that the trapezium rule is exact.
    widths = np.diff(knots)
    shares = np.zeros(len(knots))
    shares[:-1] += widths / 2
    shares[1:] += widths / 2
    shares = shares / shares.sum() if shares.sum() > 0 else np.full(len(knots), 1 / len(knots))
    return Gaps(
        first=first,
        second=second,
        low=low,
        high=high,
        mean=Gap(value=float(shares @ values), error=error((shares[:, None] * lines).sum(0))),
        each=tuple(
            Gap(value=float(value), error=error(line), at=x)
            for x, value, line in zip(knots, values, lines, strict=True)
        ),
    )


def _by_x(points: Sequence[Point]) -> list[Point]:
    """Return one point for each x: equal points of a front lie on each other."""
    return list({point.x: point for point in points}.values())


def _between(points: Sequence[Point], x: float) -> tuple[int, int, float]:
    """Return the two points about an x, and how far it lies from the first to the second, 0 to 1."""
    right = next(index for index, point in enumerate(points) if point.x >= x)
    left = right if points[right].x == x else right - 1
    share = 0.0 if left == right else (x - points[left].x) / (points[right].x - points[left].x)
    return left, right, share


def _height(points: Sequence[Point], x: float) -> float:
    left, right, share = _between(points, x)
    return points[left].y * (1 - share) + points[right].y * share


def _line(points: Sequence[Point], x: float) -> Values:
    """Return how the front's height at an x moves with x and y of each of its points, in turn."""
    left, right, share = _between(points, x)
    weights = np.zeros((len(points), 2))
    weights[left, 1] += 1 - share
    weights[right, 1] += share
    slope = _slope(points, left, right)
    weights[:, 0] = -slope * weights[:, 1]
    return weights.reshape(-1)


def _slope(points: Sequence[Point], left: int, right: int) -> float:
    """Return the front's slope between two points; at a point, the mean of those to both sides."""
    around = [(left, right)] if left != right else [(left - 1, left), (left, left + 1)]
    known = [
        (points[end].y - points[start].y) / (points[end].x - points[start].x)
        for start, end in around
        if start >= 0 and end < len(points)
    ]
    return sum(known) / len(known) if known else 0.0
