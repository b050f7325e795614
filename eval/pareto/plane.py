"""Points in the plane of two metrics, and how their errors hang together."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..estimates import Estimate
from ..records import Better, CellName, Figure

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One cell in the plane of two metrics."""

    cell: CellName
    x: float
    y: float
    x_error: float | None = None
    y_error: float | None = None
    """Standard errors; None where they are not known."""
    pulls: tuple[Estimate, Estimate] | None = field(default=None, compare=False, repr=False)
    """The estimates of x and y, whose pulls say how points move together; None takes points as independent."""

    @classmethod
    def of_figures(cls, x: Figure, y: Figure) -> Point:
        """Return the point of two figures of one cell.

        Raises:
            ValueError: they are of different cells.
        """
        if x.cell != y.cell:
            raise ValueError(f"{x.cell} and {y.cell} are not one point")
        return cls(cell=x.cell, x=x.value, y=y.value, x_error=x.error, y_error=y.error)

    @classmethod
    def of_estimates(cls, cell: CellName, x: Estimate, y: Estimate) -> Point:
        """Return the point of two estimates of one cell."""
        known = x.error is not None and y.error is not None
        return cls(cell=cell, x=x.value, y=y.value, x_error=x.error, y_error=y.error, pulls=(x, y) if known else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """Points in two metrics, and which way each metric is good."""

    points: tuple[Point, ...]
    x: str = "CLIP score"
    y: str = "FID"
    """What the axes are called."""
    x_better: Better = "higher"
    y_better: Better = "lower"

    def __post_init__(self) -> None:
        if any(not math.isfinite(value) for point in self.points for value in (point.x, point.y)):
            raise ValueError("a point without numbers lies in no plane")

    @property
    def methods(self) -> tuple[str, ...]:
        """In the order of their first points."""
        return tuple(dict.fromkeys(point.cell.method for point in self.points))

    def of(self, *methods: str) -> Plane:
        """Return the plane with the points of these methods alone, in the methods' order."""
        points = tuple(point for method in methods for point in self.points if point.cell.method == method)
        return replace(self, points=points)

    @property
    def signs(self) -> tuple[int, int]:
        """What x and y are multiplied by so that more is better."""
        return 1 if self.x_better == "higher" else -1, 1 if self.y_better == "higher" else -1

    def gains(self) -> Values:
        """Return x and y so that more is better in both, shape (points, 2)."""
        found: Values = np.array([(point.x, point.y) for point in self.points], np.float64).reshape(-1, 2) * self.signs
        return found


def front(plane: Plane) -> tuple[Point, ...]:
    """Return the points that no other is as good as in both metrics and better than in one, rising in x."""
    gains = plane.gains()
    kept = [
        point
        for point, own in zip(plane.points, gains, strict=True)
        if not ((gains >= own).all(1) & (gains > own).any(1)).any()
    ]
    return tuple(sorted(kept, key=lambda point: (point.x, point.y, str(point.cell))))


def dominance(plane: Plane, first: CellName, second: CellName, *, draws: int = 4000, seed: int = 0) -> float | None:
    """Return how probably one point is better than another in both metrics; None where errors are not known.

    Raises:
        ValueError: one of the points is not in the plane.
    """
    by_cell = {point.cell: point for point in plane.points}
    if first not in by_cell or second not in by_cell:
        raise ValueError(f"{first if first not in by_cell else second} is not in the plane")
    drawn = cloud(replace(plane, points=(by_cell[first], by_cell[second])), draws, seed)
    return None if drawn is None else float((drawn[:, 0] > drawn[:, 1]).all(1).mean())


def cloud(plane: Plane, draws: int, seed: int) -> Values | None:
    """Return the points drawn anew by their joint errors, as gains of shape (draws, points, 2)."""
    joint = covariance(plane)
    if joint is None:
        return None
    spread, axes = np.linalg.eigh(joint)
    root = axes * np.sqrt(np.maximum(spread, 0))
    normal = np.random.default_rng(seed).standard_normal((draws, len(root)))
    moved = (normal @ root.T).reshape(draws, -1, 2)
    # Errors are of x and y as they are told; gains turn those that are better lower.
    drawn: Values = plane.gains() + moved * plane.signs
    return drawn


def covariance(plane: Plane) -> Values | None:
    """Return the covariance of x and y of all points, in turn; None where an error is not known."""
    points = plane.points
    errors = [error for point in points for error in (point.x_error, point.y_error)]
    if not points or any(error is None for error in errors):
        return None
    estimates = [estimate for point in points for estimate in (point.pulls or (None, None))]
    prompts = sorted({prompt for estimate in estimates if estimate for prompt in estimate.prompts})
    place = {prompt: index for index, prompt in enumerate(prompts)}
    table = np.zeros((len(estimates), len(prompts)))
    for row, estimate in enumerate(estimates):
        if estimate is not None and estimate.pulls is not None:
            count = len(estimate.prompts)
            table[row, [place[name] for name in estimate.prompts]] = estimate.pulls * math.sqrt(count / (count - 1))
    shared: Values = table @ table.T
    np.fill_diagonal(shared, np.array(errors, np.float64) ** 2)
    return shared
