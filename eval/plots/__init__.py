"""Figures, drawn by matplotlib (extra `eval`) the same on every machine, as PNG, SVG or SVG for a page.

fronts.py   two metrics at once, methods over guidance (labels.py: where the guidance is written)
bars.py     values with intervals, flat or over an order, and seconds by stage
drawing.py  the style of all, and the bytes
"""

from __future__ import annotations

from .bars import Bar, Stack, bars_figure, stacked_figure, trend_figure
from .drawing import Drawing
from .fronts import pareto_figure

__all__ = ["Bar", "Drawing", "Stack", "bars_figure", "pareto_figure", "stacked_figure", "trend_figure"]
