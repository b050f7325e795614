"""From points in a plane to what a report tells of them."""

from __future__ import annotations

from collections.abc import Sequence

from ..pareto import Plane, compare_fronts, front, hypervolume
from .results import Front, FrontPoint, FrontVolume


def front_of(
    plane: Plane,
    x: str,
    y: str,
    reference: tuple[float, float],
    *,
    duels: Sequence[tuple[str, str]] = (),
    notes: Sequence[str] = (),
) -> Front:
    """Return the fronts of a plane's methods and of all together, with hypervolumes.

    Args:
        plane: The points.
        x: The metric of its x, by the name that figures have.
        y: The same of its y.
        reference: (x, y) that hypervolumes are measured from, worse than what is worth having.
        duels: Pairs of methods whose fronts are compared, such as each one and the base.
        notes: What a reader should know.
    """
    own = {point.cell for method in plane.methods for point in front(plane.of(method))}
    joint = {point.cell for point in front(plane)}
    volumes = []
    for method in plane.methods:
        area = hypervolume(plane.of(method), reference)
        volumes.append(FrontVolume(method=method, value=area.value, low=area.low, high=area.high))
    return Front(
        x=x,
        y=y,
        x_better=plane.x_better,
        y_better=plane.y_better,
        points=tuple(
            FrontPoint(
                cell=point.cell,
                x=point.x,
                y=point.y,
                x_error=point.x_error,
                y_error=point.y_error,
                own=point.cell in own,
                joint=point.cell in joint,
            )
            for point in plane.points
        ),
        volumes=tuple(volumes),
        reference=reference,
        verdicts=tuple(compare_fronts(plane, first, second, reference) for first, second in duels),
        notes=tuple(notes),
    )
