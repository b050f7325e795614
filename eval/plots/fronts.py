"""The figure of two metrics at once: every method over guidance, its front, and how sure its points are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..pareto import Plane, Point, front
from .drawing import FAINT, GREYS, Drawing, colour, marker, new_figure, settle, shown, style
from .labels import Box, place_labels

_Z = 1.959963984540054
_LABEL_SIZE = 7.5


def pareto_figure(plane: Plane, *, title: str = "", published: Plane | None = None) -> Drawing:
    """Draw methods as series over guidance, with 95 % error bars.

    Points of a method's own front are filled, the others hollow; the front of all methods together is dashed.

    Args:
        plane: What was measured.
        title: Above the figure.
        published: Published points, drawn grey in a panel of their own: their scales are others.
    """
    with style():
        figure = new_figure(11 if published else 7.4, 4.9)
        panels = figure.subplots(1, 2 if published else 1, width_ratios=[1.7, 1] if published else None, squeeze=False)
        axes = panels[0, 0]
        looks = {name: (colour(place), marker(place)) for place, name in enumerate(plane.methods)}
        _panel(axes, plane, looks)
        if published:
            greys = {name: (GREYS[place % 2], marker(place)) for place, name in enumerate(published.methods)}
            _panel(panels[0, 1], published, greys)
            panels[0, 1].get_legend().set_title("published, of other models and pictures", {"size": 8.5})
            panels[0, 1].get_legend().set_alignment("left")
        if title:
            figure.suptitle(shown(title), x=0.01, ha="left", fontsize=11)
        figure.supxlabel(_key(plane), x=0.01, ha="left", fontsize=7.5, color=FAINT)
        settle(figure)
        _write_guidance(axes, plane, looks)
        if published:
            _write_guidance(panels[0, 1], published, greys)
    return Drawing(figure, title or f"{plane.y} against {plane.x}")


def _key(plane: Plane) -> str:
    """Return what the signs of the figure mean, of those that it has."""
    points = plane.points
    told = {
        "bars: 95 %": any(point.x_error is not None or point.y_error is not None for point in points),
        "filled: front of the method": True,
        "dashed: front of all": len(plane.methods) > 1,
        "numbers: guidance": any(point.cell.guidance is not None for point in points),
    }
    return " · ".join(text for text, so in told.items() if so)


def _panel(axes: Any, plane: Plane, looks: dict[str, tuple[str, str]]) -> None:
    """Draw every method's series, the joint front, the axes' names and the legend."""
    _joint_front(axes, plane)
    handles = [_series(axes, plane.of(name), *looks[name]) for name in plane.methods]
    axes.margins(0.09)
    axes.set_xlabel(f"{shown(plane.x)} ({'→' if plane.x_better == 'higher' else '←'} better)")
    axes.set_ylabel(f"{shown(plane.y)} ({'↑' if plane.y_better == 'higher' else '↓'} better)")
    axes.legend(
        handles, [shown(name) for name in plane.methods], loc="lower left", bbox_to_anchor=(-0.01, 1.0),
        ncols=min(len(handles), 4) or 1, borderaxespad=0.2, handletextpad=0.5, columnspacing=1.4,
    )  # fmt: skip


def _series(axes: Any, plane: Plane, ink: str, mark: str) -> Any:
    """Draw one method; return what the legend shows of it."""
    points = _in_order(plane.points)
    best = front(plane)
    axes.plot([p.x for p in points], [p.y for p in points], color=ink, linewidth=1, alpha=0.35, zorder=2)
    axes.plot([p.x for p in best], [p.y for p in best], color=ink, linewidth=1.9, zorder=3)
    spreads = [[_Z * (error or 0) for error in errors] for errors in zip(*map(_errors, points), strict=True)]
    axes.errorbar(
        [p.x for p in points], [p.y for p in points], xerr=spreads[0], yerr=spreads[1], ecolor=ink, elinewidth=0.9,
        linestyle="none", zorder=4,
    )  # fmt: skip
    for fill, part in ((ink, best), ("white", [point for point in points if point not in best])):
        axes.plot(
            [p.x for p in part], [p.y for p in part], color=ink, linestyle="none", marker=mark, markersize=5.5,
            markerfacecolor=fill, markeredgewidth=1.2, zorder=5,
        )  # fmt: skip
    return axes.plot([], [], color=ink, marker=mark, markersize=5.5, linewidth=1.9)[0]


def _joint_front(axes: Any, plane: Plane) -> None:
    """Draw the staircase of the front of all methods, where there are several."""
    best = front(plane)
    if len(plane.methods) > 1 and len(best) > 1:
        # A step goes by way of the corner that is worse in both metrics: what surely lies behind the front.
        rising = plane.x_better == "higher"
        axes.step(
            [p.x for p in best], [p.y for p in best], where="pre" if rising else "post",
            color="#9a9a9a", linewidth=1, linestyle=(0, (3, 3)), zorder=1,
        )  # fmt: skip


def _write_guidance(axes: Any, plane: Plane, looks: dict[str, tuple[str, str]]) -> None:
    """Write each point's guidance beside it, the points of fronts first; what has no room is left out."""
    best = {point.cell for name in plane.methods for point in front(plane.of(name))}
    named = [point for point in plane.points if point.cell.guidance is not None]
    named.sort(key=lambda point: point.cell not in best)
    if not named:
        return
    scale = 72 / axes.figure.dpi
    texts = [f"{point.cell.guidance:g}" for point in named]
    frame = axes.get_window_extent()
    offsets = place_labels(
        [tuple(axes.transData.transform((point.x, point.y)) * scale) for point in named],
        [(0.64 * _LABEL_SIZE * len(text), _LABEL_SIZE) for text in texts],
        _drawn_places(axes, plane) * scale,
        Box(frame.x0 * scale, frame.y0 * scale, frame.x1 * scale, frame.y1 * scale),
    )
    for point, text, offset in zip(named, texts, offsets, strict=True):
        if offset is not None:
            axes.annotate(
                text, (point.x, point.y), offset, textcoords="offset points", ha="center", va="center_baseline",
                fontsize=_LABEL_SIZE, color=looks[point.cell.method][0], zorder=6, annotation_clip=False,
            )  # fmt: skip


def _drawn_places(axes: Any, plane: Plane) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return places along series and error bars, in pixels, shape (places, 2)."""
    pieces = []
    for name in plane.methods:
        points = _in_order(plane.of(name).points)
        ends = [((a.x, a.y), (b.x, b.y)) for a, b in pairwise(points)]
        for p in points:
            x, y = _Z * (p.x_error or 0), _Z * (p.y_error or 0)
            ends += [((p.x - x, p.y), (p.x + x, p.y)), ((p.x, p.y - y), (p.x, p.y + y))]
        steps = np.linspace(0, 1, 60)[:, None]
        pieces += [np.array(start) * (1 - steps) + np.array(end) * steps for start, end in ends]
    return np.asarray(axes.transData.transform(np.concatenate(pieces)), np.float64)


def _errors(point: Point) -> tuple[float | None, float | None]:
    return point.x_error, point.y_error


def _in_order(points: Sequence[Point]) -> list[Point]:
    return sorted(points, key=lambda p: (p.cell.guidance is None, p.cell.guidance or 0.0))
