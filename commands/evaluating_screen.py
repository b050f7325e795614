"""What the command line shows of figures: a table of scores, one of differences, the fronts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import typer
from rich.table import Table

from .screen import console, out, shown

if TYPE_CHECKING:
    from ..eval.metrics import Row
    from ..eval.records import CellName, Difference, Figure
    from ..eval.report.results import Front
    from ..eval.scores import Scores
    from ..eval.tables import Number
    from ..eval.tables import Table as Numbers

_COLOURS = {"better": "green", "worse": "red"}


def print_scores(scores: Scores, rejected: Sequence[tuple[str, str]] = (), baseline: str | None = None) -> None:
    """Print every cell with its figures, what they depend on, and what may make them misleading; see `print_notes`."""
    table = Table(box=None, pad_edge=False)
    table.add_column("method", overflow="fold")
    for metric in scores.metrics:
        arrow = {"higher": "↑", "lower": "↓"}[metric.better] if metric.ranking else ""
        table.add_column(f"{metric.title} {arrow}".strip(), justify="right")
    for cell in scores.cells:
        table.add_row(_named(cell), *(written(scores.figure(metric.name, cell)) for metric in scores.metrics))
    console().print(table)
    out("[dim]± is half of the 95 % interval, over prompts[/]")
    for metric in scores.metrics:
        figure = scores.figure(metric.name, scores.cells[0])
        out(f"[dim]{shown(figure.signature)}[/]")
    print_notes(scores, rejected, baseline)


def print_notes(scores: Scores, rejected: Sequence[tuple[str, str]] = (), baseline: str | None = None) -> None:
    """Say on stderr what may make figures misleading, what cannot be compared, and which pictures are left out."""
    notes: dict[str, None] = {}
    for metric in scores.metrics:
        for cell in scores.cells:
            told = scores.figure(metric.name, cell)
            notes |= dict.fromkeys(f"{metric.title}: {note}" for note in told.notes)
            if metric.ranking and not told.ranking:
                notes[f"{metric.title}: not comparable at {told.n:,} pictures"] = None
    uncompared = () if baseline is None else scores.uncompared(baseline)
    for warning in (*scores.warnings, *notes, *uncompared):
        _note(f"note: {warning}")
    print_rejected(rejected)


def print_rejected(rejected: Sequence[tuple[str, str]], what: str = "left out") -> None:
    """Say on stderr what cannot be used, with the reason for each."""
    for name, why in rejected:
        _note(f"{what}: {name}: {why}")


def print_differences(differences: Sequence[Difference], scores: Scores) -> None:
    """Print a table of differences for each metric: intervals, and p adjusted for all that are told; nothing of none.

    A method is called better or worse where the adjusted p says so, and `maybe` where only its own interval does.
    """
    from ..eval.scores import holm

    adjusted = dict(zip(differences, holm(differences), strict=True)) if differences else {}
    for metric in scores.metrics:
        own = [one for one in differences if one.metric == metric.name]
        if not own:
            continue
        table = Table(box=None, pad_edge=False, title_justify="left", title_style="bold")
        table.title = f"{shown(metric.title)}, less {_named(own[0].baseline.method)}'s"
        for name in ("method", "difference", "95 % interval", "p (Holm)", ""):
            table.add_column(name, justify="left" if name in ("method", "") else "right", overflow="fold")
        for one in own:
            p = adjusted[one]
            interval = "-" if one.low is None or one.high is None else f"{one.low:+.3g} to {one.high:+.3g}"
            table.add_row(_named(one.cell), f"{one.value:+.3g}", interval, "-" if p is None else f"{p:.2g}",
                          _verdict(one, p))  # fmt: skip
        console().print(table)
    missing: dict[CellName, int] = {one.cell: one.missing for one in differences if one.missing}
    for cell, count in missing.items():
        have = "picture has" if count == 1 else "pictures have"
        _note(f"note: of {cell} {count:,} {have} no pair, and cannot be compared")


def print_detectable(differences: Sequence[Difference], scores: Scores) -> None:
    """Print of each metric the smallest difference that its comparisons would have seen."""
    from ..eval.stats import detectable_difference
    from ..eval.tables import Number, decimals

    for metric in scores.metrics:
        errors = [(one.error, one.prompts) for one in differences if one.metric == metric.name and one.p is not None]
        sizes = [detectable_difference(error, prompts) for error, prompts in errors if error]
        if sizes:
            least = Number(value=max(sizes), digits=decimals(max(sizes)))
            out(f"[dim]{shown(metric.title)}: a difference of {least} would have been seen four times out of five[/]")


def _verdict(one: Difference, p: float | None) -> str:
    from ..eval.scores import LEVEL

    if one.verdict == "unclear":
        return "[dim]unclear[/]"
    sure = p is not None and p < LEVEL
    return f"[{_COLOURS[one.verdict]}]{'' if sure else 'maybe '}{one.verdict}[/]"


def written(figure: Figure) -> str:
    """Write a value with half of its interval, with the digits that this allows."""
    if figure.low is None or figure.high is None:
        return f"{figure.value:.4g}"
    from ..eval.tables import decimals

    half = (figure.high - figure.low) / 2
    digits = decimals(half) if half > 0 else 3
    return f"{figure.value:.{digits}f} ± {half:.{digits}f}"


def print_front(front: Front, scores: Scores) -> None:
    """Print each method's front, its hypervolume, and whose front lies before whose."""
    titles = {metric.name: metric.title for metric in scores.metrics}
    table = Table(box=None, pad_edge=False)
    for name, justify in (("method", "left"), (titles[front.x], "right"), (titles[front.y], "right"), ("", "left")):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for point in front.points:
        place = "on the joint front" if point.joint else "on its method's front" if point.own else ""
        table.add_row(
            _named(point.cell), _with_error(point.x, point.x_error), _with_error(point.y, point.y_error), place
        )
    console().print(table)
    if front.reference is not None:
        out(f"[dim]hypervolumes from ({front.reference[0]:.4g}, {front.reference[1]:.4g})[/]")
    for volume in front.volumes:
        ends = "" if volume.low is None or volume.high is None else f" [dim]({volume.low:.4g} to {volume.high:.4g})[/]"
        out(f"{_named(volume.method)}: hypervolume {volume.value:.4g}{ends}")
    for verdict in front.verdicts:
        # Of a front that lies behind, what counts is how sure the other one is to lie before.
        is_behind = verdict.verdict in ("dominated", "seems dominated")
        chance = verdict.reverse if is_behind else verdict.probability
        sure = "" if chance is None else f" (probability {chance:.2f})"
        out(_named(f"{verdict}{sure}"))
    for note in front.notes:
        _note(f"note: {note}")


def print_table(table: Numbers) -> None:
    """Print a table of numbers."""
    drawn = Table(box=None, pad_edge=False)
    for name, right in zip(table.columns, table.right, strict=True):
        drawn.add_column(shown(name), justify="right" if right else "left", overflow="fold")
    for row in table.rows:
        drawn.add_row(*("" if cell is None else _celled(cell) for cell in row))
    console().print(drawn)
    for note in table.notes:
        out(f"[dim]{shown(note)}[/]")


def print_metrics(rows: Mapping[str, Row]) -> None:
    """Print what can be measured, and what it needs."""
    table = Table(box=None, pad_edge=False)
    for name in ("metric", "what it says", "reads", "compares with"):
        table.add_column(name, overflow="fold")
    for name, row in rows.items():
        table.add_row(name, row.told, row.extractor or "pictures", "reference pictures" if row.compares else "")
    console().print(table)


def _celled(cell: str | int | Number) -> str:
    from ..eval.tables import Number

    text = _named(cell)
    return f"[bold]{text}[/]" if isinstance(cell, Number) and cell.best else text


def _named(what: object) -> str:
    """Return a name that came with a manifest as it is safe to print in a line: nothing that is not seen."""
    return shown(_line(str(what)))


def _note(text: str) -> None:
    typer.echo(_line(text), err=True)


def _line(text: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _with_error(value: float, error: float | None) -> str:
    from ..eval.tables import Number

    return str(Number(value=value, error=error))
