"""Figures of values with their intervals, and of seconds by stage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..tables import decimals
from .drawing import FAINT, INK, Drawing, colour, marker, new_figure, settle, shown, style

_ALPHA = 0.8
_DASHED = (0, (4, 3))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One value with its interval."""

    group: str
    """What it stands beside: a metric, a criterion, a class of prompt lengths."""
    series: str
    """Whose it is, such as the method's."""
    value: float
    low: float | None = None
    high: float | None = None
    text: str | None = None
    """Written beside it; None writes the value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Seconds of one run, stage by stage."""

    label: str
    parts: tuple[tuple[str, float], ...]
    """(stage, seconds)."""
    text: str = ""
    """Written after the total, such as what was added."""


def bars_figure(
    bars: Sequence[Bar],
    *,
    title: str,
    axis: str,
    from_zero: bool = True,
    line: tuple[float, str] | None = None,
) -> Drawing:
    """Draw values flat, group by group, each with its interval.

    Args:
        bars: In the order of drawing, first on top.
        title: Above the figure.
        axis: What the values are, with their unit and which way is good.
        from_zero: Bars from 0; else dots, for values that lie far from 0, where a bar's length would say nothing.
        line: A value and what it means, such as chance: drawn through all bars.

    Raises:
        ValueError: no bars.
    """
    groups, series = _order(bars)
    step = 1 / (len(series) + 0.6)
    with style():
        figure = new_figure(7.4, 1.5 + max(0.42 * len(groups), 0.24 * len(groups) * len(series)))
        axes = figure.subplots()
        for bar in bars:
            place = series.index(bar.series)
            y = groups.index(bar.group) + (place - (len(series) - 1) / 2) * step
            ink = colour(place)
            if from_zero:
                axes.barh(y, bar.value, height=step * 0.84, color=ink, alpha=_ALPHA)
            else:
                axes.plot(bar.value, y, marker=marker(place), color=ink, markersize=6, linestyle="none")
            if bar.low is not None and bar.high is not None:
                axes.plot([bar.low, bar.high], [y, y], color=INK if from_zero else ink, linewidth=1.3)
            outmost = max(value for value in (bar.value, bar.high, 0 if from_zero else None) if value is not None)
            axes.annotate(
                _text(bar), (outmost, y), (4, 0), textcoords="offset points", va="center", fontsize=7.5, color=FAINT
            )
        if line is not None:
            axes.axvline(line[0], color=FAINT, linewidth=1, linestyle=_DASHED)
        axes.margins(x=0.12)
        if from_zero and all(bar.value >= 0 and (bar.low is None or bar.low >= 0) for bar in bars):
            axes.set_xlim(left=0)
        _finish_flat(axes, groups, axis)
        handles = _blocks(series) if from_zero else _marks(series)
        handles |= {} if line is None else {line[1]: _dashes()}
        _head(figure, axes, title, handles)
    return Drawing(figure, title)


def trend_figure(bars: Sequence[Bar], *, title: str, axis: str, order: str) -> Drawing:
    """Draw values over groups that have an order, such as lengths of prompts, each series joined by a line.

    Args:
        bars: Groups come in the order of their first bars.
        title: Above the figure.
        axis: What the values are.
        order: What the groups are.

    Raises:
        ValueError: no bars.
    """
    groups, series = _order(bars)
    with style():
        figure = new_figure(7.4, 4.2)
        axes = figure.subplots()
        for place, name in enumerate(series):
            own = sorted((bar for bar in bars if bar.series == name), key=lambda bar: groups.index(bar.group))
            # Side by side, so that intervals do not hide each other.
            places = [groups.index(bar.group) + (place - (len(series) - 1) / 2) * 0.1 for bar in own]
            values = [bar.value for bar in own]
            axes.plot(places, values, color=colour(place), marker=marker(place), markersize=5.5, linewidth=1.4)
            for x, bar in zip(places, own, strict=True):
                if bar.low is not None and bar.high is not None:
                    axes.plot([x, x], [bar.low, bar.high], color=colour(place), linewidth=1.1, alpha=0.75)
        axes.set_xticks(range(len(groups)), [shown(group) for group in groups])
        axes.set_xlabel(shown(order))
        axes.set_ylabel(shown(axis))
        axes.grid(visible=False, axis="x")
        _head(figure, axes, title, _marks(series))
    return Drawing(figure, title)


def stacked_figure(stacks: Sequence[Stack], *, title: str, axis: str = "seconds") -> Drawing:
    """Draw times as flat bars, stage after stage, with the total at the end.

    Args:
        stacks: First on top.
        title: Above the figure.
        axis: What the lengths are.

    Raises:
        ValueError: no stacks, or a time that is negative or no number.
    """
    times = [seconds for stack in stacks for _, seconds in stack.parts]
    if not stacks or not all(seconds >= 0 and math.isfinite(seconds) for seconds in times):
        raise ValueError("times to draw are numbers of seconds, at least one of them")
    stages = list(dict.fromkeys(stage for stack in stacks for stage, _ in stack.parts))
    labels = [stack.label for stack in stacks]
    with style():
        figure = new_figure(7.4, 1.5 + 0.34 * len(stacks))
        axes = figure.subplots()
        for y, stack in enumerate(stacks):
            start = 0.0
            for stage, seconds in stack.parts:
                axes.barh(
                    y, seconds, left=start, height=0.62, color=colour(stages.index(stage)), alpha=_ALPHA,
                    edgecolor="white", linewidth=0.6,
                )  # fmt: skip
                start += seconds
            axes.annotate(
                f"{start:.3g} {shown(stack.text)}".strip(), (start, y), (4, 0), textcoords="offset points",
                va="center", fontsize=7.5, color=FAINT,
            )  # fmt: skip
        axes.margins(x=0.16)
        axes.set_xlim(left=0)
        _finish_flat(axes, labels, axis)
        _head(figure, axes, title, _blocks(stages))
    return Drawing(figure, title)


def _order(bars: Sequence[Bar]) -> tuple[list[str], list[str]]:
    if not bars:
        raise ValueError("there are no bars to draw")
    if not all(math.isfinite(bar.value) for bar in bars):
        raise ValueError("a bar to draw is a number")
    return list(dict.fromkeys(bar.group for bar in bars)), list(dict.fromkeys(bar.series for bar in bars))


def _finish_flat(axes: Any, labels: Sequence[str], axis: str) -> None:
    axes.set_yticks(range(len(labels)), [shown(label) for label in labels])
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlabel(shown(axis))
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def _head(figure: Any, axes: Any, title: str, handles: Mapping[str, Any]) -> None:
    """Write the title, under it the legend where there is more than one thing to tell apart, and lay all out."""
    figure.suptitle(shown(title), x=0.01, ha="left", fontsize=11)
    if len(handles) > 1:
        axes.legend(
            list(handles.values()), [shown(name) for name in handles], loc="lower left", bbox_to_anchor=(-0.01, 1.0),
            ncols=min(len(handles), 4), borderaxespad=0.2, handletextpad=0.5, columnspacing=1.4,
        )  # fmt: skip
    settle(figure)


def _blocks(series: Sequence[str]) -> dict[str, Any]:
    from matplotlib.patches import Patch

    return {name: Patch(color=colour(place), alpha=_ALPHA) for place, name in enumerate(series)}


def _marks(series: Sequence[str]) -> dict[str, Any]:
    from matplotlib.lines import Line2D

    return {
        name: Line2D([], [], color=colour(place), marker=marker(place), markersize=6, linestyle="none")
        for place, name in enumerate(series)
    }


def _dashes() -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=FAINT, linewidth=1, linestyle=_DASHED)


def _text(bar: Bar) -> str:
    if bar.text is not None:
        return shown(bar.text)
    if bar.low is None or bar.high is None:
        return f"{bar.value:.4g}"
    return f"{bar.value:.{decimals((bar.high - bar.low) / 4)}f}"
