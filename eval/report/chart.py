"""The Pareto figure as SVG that stands in the page: in its colours, dark or light, without a library."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from .markup import text
from .results import Front, FrontPoint, Results
from .style import COLOURS

_WIDTH, _HEIGHT = 720, 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 16, 48
_TICKS: Final = 6
_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
_SHAPES: Final[tuple[str, ...]] = (
    '<circle cx="{x}" cy="{y}" r="4.5"/>',
    '<rect x="{l}" y="{t}" width="8" height="8"/>',
    '<path d="M{x} {t}l5 9h-10z"/>',
    '<path d="M{x} {t}l5 5-5 5-5-5z"/>',
    '<path d="M{x} {b}l5-9h-10z"/>',
)
_INTERVAL: Final = 1.959964
"""Standard errors to either side of a 95 % interval."""

Scale = Callable[[float], float]


def front_chart(results: Results, front: Front) -> str:
    """Return the figure and its key; lines join what is on a method's own front, rings mark the joint one."""
    points = [point for point in front.points if math.isfinite(point.x) and math.isfinite(point.y)]
    if not points:
        return ""
    methods = list(dict.fromkeys(point.cell.method for point in points))
    across = _scale([p.x for p in points], [p.x_error for p in points], _LEFT, _WIDTH - _RIGHT)
    down = _scale([p.y for p in points], [p.y_error for p in points], _HEIGHT - _BOTTOM, _TOP)
    names = results.title(front.x), results.title(front.y)
    marks = "".join(
        _method(place, [point for point in points if point.cell.method == method], across[0], down[0])
        for place, method in enumerate(methods)
    )
    label = f"{names[1]} against {names[0]}, a point for each method and guidance; the numbers are in the tables below"
    return (
        f'<figure><svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{text(label)}">'
        f"{_axes(across, down, names, front)}{marks}</svg>{_key(methods)}"
        "<figcaption>Bars are 95 % intervals. A line joins the points that no other guidance of the same method beats "
        "in both; a ring is around those that no other cell beats at all. Numbers are guidances.</figcaption></figure>"
    )


def share_chart(rows: Iterable[tuple[str, float, float, float]], chance: float) -> str:
    """Return shares with their intervals, and the line of chance across.

    Args:
        rows: (name, share, low, high), 0 to 1.
        chance: Where the line stands.
    """
    rows = list(rows)
    if not rows:
        return ""
    height = 26 * len(rows) + 34
    left, right = 250, _WIDTH - 24

    def place(share: float) -> float:
        return left + (right - left) * share

    lines = []
    for number, (name, share, low, high) in enumerate(rows):
        y = 16 + 26 * number
        lines.append(
            f'<text x="{left - 10}" y="{y + 4}" text-anchor="end">{text(_short(name))}</text>'
            f'<line class="grid" x1="{left}" x2="{right}" y1="{y}" y2="{y}"/>'
            f'<line class="frame" x1="{place(low):.1f}" x2="{place(high):.1f}" y1="{y}" y2="{y}" stroke-width="2"/>'
            f'<circle class="bar" cx="{place(share):.1f}" cy="{y}" r="4.5"/>'
        )
    x, bottom = f"{place(chance):.1f}", height - 26
    ticks = "".join(
        f'<text x="{place(share):.1f}" y="{height - 8}" text-anchor="middle">{share:.0%}</text>'
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    label = "; ".join(f"{name}: {share:.0%}, {low:.0%} to {high:.0%}" for name, share, low, high in rows)
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{text(label)}">{"".join(lines)}'
        f'<line class="chance" x1="{x}" x2="{x}" y1="4" y2="{bottom}"/>{ticks}</svg>'
    )


def _scale(
    values: Sequence[float], errors: Sequence[float | None], start: float, end: float
) -> tuple[Scale, list[float]]:
    reach = [_INTERVAL * (error or 0.0) for error in errors]
    low = min(value - half for value, half in zip(values, reach, strict=True))
    high = max(value + half for value, half in zip(values, reach, strict=True))
    span = (high - low) or max(abs(high), 1.0) * 0.1
    low, high = low - 0.06 * span, high + 0.06 * span

    def placed(value: float) -> float:
        return start + (end - start) * (value - low) / (high - low)

    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((one * power for one in _STEPS if one * power >= rough), 10 * power)
    first = math.ceil(low / step)
    return placed, [place * step for place in range(first, math.floor(high / step) + 1)]


def _axes(
    across: tuple[Scale, list[float]], down: tuple[Scale, list[float]], names: tuple[str, str], front: Front
) -> str:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = []
    for tick in across[1]:
        x = f"{across[0](tick):.1f}"
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{_TOP}" y2="{bottom}"/>')
        parts.append(f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{tick:.6g}</text>')
    for tick in down[1]:
        y = down[0](tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:.6g}</text>')
    middle = (_TOP + bottom) / 2
    x_name = f"{names[0]} ({'more is better →' if front.x_better == 'higher' else '← less is better'})"
    y_name = f"{names[1]} ({'more is better →' if front.y_better == 'higher' else '← less is better'})"
    parts += [
        f'<path class="frame" d="M{_LEFT} {_TOP}V{bottom}H{right}"/>',
        f'<text x="{(_LEFT + right) / 2:.0f}" y="{_HEIGHT - 8}" text-anchor="middle">{text(x_name)}</text>',
        f'<text transform="translate(14 {middle:.0f}) rotate(-90)" text-anchor="middle">{text(y_name)}</text>',
    ]
    return "".join(parts)


def _method(place: int, points: Sequence[FrontPoint], across: Scale, down: Scale) -> str:
    colour = COLOURS[place % len(COLOURS)]
    own = sorted((point for point in points if point.own), key=lambda point: point.x)
    line = " ".join(f"{across(point.x):.1f},{down(point.y):.1f}" for point in own)
    parts = [f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>'] if len(own) > 1 else []
    for point in points:
        parts += _point(place, point, across, down, colour)
    return f'<g fill="{colour}">{"".join(parts)}</g>'


def _point(place: int, point: FrontPoint, across: Scale, down: Scale, colour: str) -> Iterator[str]:
    x, y = across(point.x), down(point.y)
    faint = "" if point.own else ' opacity="0.45"'
    wide, tall = (_INTERVAL * (error or 0.0) for error in (point.x_error, point.y_error))
    yield f"<g{faint}><title>{text(f'{point.cell}: {point.x:.6g}, {point.y:.6g}')}</title>"
    if wide:
        yield (
            f'<line x1="{across(point.x - wide):.1f}" x2="{across(point.x + wide):.1f}" y1="{y:.1f}" y2="{y:.1f}" '
            f'stroke="{colour}"/>'
        )
    if tall:
        yield (
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{down(point.y - tall):.1f}" y2="{down(point.y + tall):.1f}" '
            f'stroke="{colour}"/>'
        )
    yield _shape(place, x, y)
    if point.joint:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="9" fill="none" stroke="{colour}" stroke-width="1.5"/>'
    if point.own and point.cell.guidance is not None:
        yield f'<text x="{x + 11:.1f}" y="{y - 7:.1f}">{point.cell.guidance:g}</text>'
    yield "</g>"


def _shape(place: int, x: float, y: float) -> str:
    shape = _SHAPES[place % len(_SHAPES)]
    return shape.format(x=f"{x:.1f}", y=f"{y:.1f}", l=f"{x - 4:.1f}", t=f"{y - 5:.1f}", b=f"{y + 5:.1f}")


def _key(methods: Sequence[str]) -> str:
    items = "".join(
        f'<li><svg viewBox="0 0 16 16" aria-hidden="true" fill="{COLOURS[place % len(COLOURS)]}">{_shape(place, 8, 8)}'
        f"</svg>{text(method)}</li>"
        for place, method in enumerate(methods)
    )
    return f'<ul class="key">{items}</ul>'


def _short(name: str, most: int = 28) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
