"""The table of an ablation: one thing changed at a time, each with its figures and its difference to the whole."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .report.numbers import with_interval
from .scores import LEVEL, holm
from .tables import Cell, Table

if TYPE_CHECKING:
    from .records import CellName
    from .scores import Scores


def ablation_table(scores: Scores, baseline: str) -> Table:
    """Return a row for each cell: every metric, and its paired difference to the baseline's cell of the same guidance.

    Args:
        scores: What was measured.
        baseline: The method that the others are variants of.

    Raises:
        InputError: there is no such method.
    """
    differences = scores.differences(baseline)
    adjusted = dict(zip(((one.metric, one.cell) for one in differences), holm(differences), strict=True))
    by_cell = {(one.metric, one.cell): one for one in differences}
    columns = ["method"]
    for metric in scores.metrics:
        columns += [metric.title, f"Δ {metric.title}"] if metric.ranking else [metric.title]
    rows = []
    for cell in _ordered(scores.cells, baseline):
        row: list[Cell] = [str(cell)]
        for metric in scores.metrics:
            figure = scores.figure(metric.name, cell)
            row.append(with_interval(figure.value, figure.low, figure.high))
            if metric.ranking:
                one, p = by_cell.get((metric.name, cell)), adjusted.get((metric.name, cell))
                sure = p is not None and p < LEVEL
                row.append(
                    None
                    if one is None
                    else replace(with_interval(one.value, one.low, one.high, signed=True), best=sure)
                )
        rows.append(tuple(row))
    first = scores.figure(scores.metrics[0].name, scores.cells[0])
    return Table(
        columns=tuple(columns),
        rows=tuple(rows),
        caption=f"Each method, and its difference to {baseline}, paired prompt by prompt",
        notes=(
            f"± is half of the 95 % interval over {first.prompts} prompts; bold: other than 0 at 5 %, corrected for "
            f"{len(differences)} comparisons (Holm).",
        ),
    )


def _ordered(cells: tuple[CellName, ...], baseline: str) -> list[CellName]:
    return sorted(cells, key=lambda cell: cell.method != baseline)
