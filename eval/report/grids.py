"""Figures, differences and ablations as tables, apart from how these are written: page, Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ..records import CellName, Figure
from ..tables import Number, Table, decimals
from .numbers import NOTHING, probability, with_interval
from .results import Ablation, Results
from .verdicts import Kind, Line, Tested

PLUS_MINUS: Final = "± is half of the 95 % interval; where that is uneven, both ends stand in brackets."
BEST: Final = "Bold: the best, and those whose interval overlaps its own."
_SAID: Final[dict[Kind, str]] = {
    "better": "better",
    "worse": "worse",
    "unclear": "not told apart",
    "untested": "not tested",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What stands in one place of a table."""

    content: str | Number
    kind: Kind | None = None
    """What it says about a difference, where it does."""
    wide: bool = False
    """Whether it is prose that breaks into lines."""
    parts: tuple[tuple[Kind, int], ...] = ()
    """How many of a kind the content counts, where it counts some."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table; the first column names the rows."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    notes: tuple[str, ...] = ()

    def table(self) -> Table:
        """Return it as it is written in other formats; better and worse are left to the intervals."""
        rows = tuple(tuple(entry.content for entry in row) for row in self.rows)
        return Table(columns=self.columns, rows=rows, caption=self.title, notes=self.notes)


def row_of(*contents: str | Number) -> tuple[Entry, ...]:
    """Return a row of entries that say no more than themselves."""
    return tuple(Entry(content=content) for content in contents)


def overview_grid(results: Results, by_line: Sequence[Line]) -> Grid:
    """Return at how many guidances each method is better, worse, or not told apart, in each metric."""
    metrics = tuple(dict.fromkeys(line.metric for line in by_line))
    rows: dict[tuple[str, str], dict[str, Line]] = {}
    for line in by_line:
        rows.setdefault((line.method, line.baseline), {})[line.metric] = line
    return Grid(
        title="Differences that are real",
        columns=("", *map(results.title, metrics)),
        rows=tuple(
            (Entry(content=f"{method} less {baseline}"), *(_counts(own.get(metric)) for metric in metrics))
            for (method, baseline), own in rows.items()
        ),
        notes=("At how many guidances; all tests counted together (Holm).",),
    )


def figure_grids(results: Results) -> Iterator[Grid]:
    """Yield the figures: a table for each metric, methods by guidance; one table where there is one guidance alone."""
    guidances = sorted({cell.guidance for cell in _cells(results)}, key=lambda one: (one is not None, one or 0.0))
    if len(guidances) > 1:
        for metric in results.metrics:
            yield _by_guidance(results, metric, guidances)
    elif results.figures:
        yield _by_metric(results)


def difference_grids(results: Results, judged: Sequence[Tested]) -> Iterator[Grid]:
    """Yield the differences, a table for each metric."""
    columns = ("compared", "difference", "95 % interval", "p", "Holm's p", "verdict", "pairs", "left out")
    for metric in dict.fromkeys(one.difference.metric for one in judged):
        own = [one for one in judged if one.difference.metric == metric]
        first = own[0].difference
        yield Grid(
            title=f"{results.title(metric)}{unit_of(first.unit)}, differences; {first.better} is better",
            columns=columns,
            rows=tuple(map(_difference_row, own)),
            notes=("Paired by prompt and sample.", _signatures(one.difference.signature for one in own)),
        )


def ablation_grid(results: Results, ablation: Ablation, judged: Sequence[Tested]) -> Grid:
    """Return an ablation: each metric of each level, and how far it lies from the baseline."""
    columns = [""]
    for metric in ablation.metrics:
        columns += [_heading(results, metric), "Δ"] if ablation.baseline else [_heading(results, metric)]
    found = {(one.difference.metric, one.difference.cell, one.difference.baseline): one for one in judged}
    rows = []
    for row in ablation.rows:
        entries = [Entry(content=row.label)]
        for metric in ablation.metrics:
            figure = results.figure(metric, row.cell)
            entries.append(Entry(content=_figure(figure)))
            if ablation.baseline is not None:
                entries.append(_delta(found.get((metric, row.cell, ablation.baseline))))
        rows.append(tuple(entries))
    baseline = () if ablation.baseline is None else (f"Δ is to {ablation.baseline}, paired by prompt.",)
    return Grid(title=ablation.title, columns=tuple(columns), rows=tuple(rows), notes=(PLUS_MINUS, *baseline))


def unit_of(unit: str) -> str:
    """Return a unit as headings have it."""
    return f" ({unit})" if unit else ""


def _by_guidance(results: Results, metric: str, guidances: Sequence[float | None]) -> Grid:
    own = {figure.cell: figure for figure in results.figures if figure.metric == metric}
    first = next(iter(own.values()))
    best = _best(tuple(own.values()))
    same = len({(figure.n, figure.prompts) for figure in own.values()}) == 1
    rows = []
    for method in dict.fromkeys(cell.method for cell in own):
        figures = [own.get(CellName(method=method, guidance=guidance)) for guidance in guidances]
        rows.append(row_of(method, *(_figure(one, best, counted=not same) for one in figures)))
    counts = (f"n = {first.n:,} pictures of {first.prompts:,} prompts in each cell.",) if same else ()
    return Grid(
        title=f"{results.title(metric)}{unit_of(first.unit)}, {first.better} is better{_unranked(own.values())}",
        columns=("guidance", *("none" if one is None else f"{one:g}" for one in guidances)),
        rows=tuple(rows),
        notes=(PLUS_MINUS, *((BEST,) if best else ()), *counts, _signatures(one.signature for one in own.values())),
    )


def _by_metric(results: Results) -> Grid:
    best = frozenset[Figure]().union(
        *(_best([one for one in results.figures if one.metric == metric]) for metric in results.metrics)
    )
    uneven = {name for name in results.metrics if len({one.n for one in results.figures if one.metric == name}) > 1}
    rows = []
    for cell in _cells(results):
        figures = [(results.figure(metric, cell), metric in uneven) for metric in results.metrics]
        counts = (f"{count.samples:,}" for count in results.cells if count.cell == cell)
        rows.append(
            row_of(str(cell), *(_figure(one, best, counted=odd) for one, odd in figures), next(counts, NOTHING))
        )
    return Grid(
        title="Figures",
        columns=("", *(_heading(results, metric) for metric in results.metrics), "pictures"),
        rows=tuple(rows),
        notes=(PLUS_MINUS, *((BEST,) if best else ()), _signatures(one.signature for one in results.figures)),
    )


def _heading(results: Results, metric: str) -> str:
    own = [figure for figure in results.figures if figure.metric == metric]
    if not own:
        return results.title(metric)
    return f"{results.title(metric)}{unit_of(own[0].unit)}, {own[0].better} is better{_unranked(own)}"


def _best(figures: Sequence[Figure]) -> frozenset[Figure]:
    """Return the best of figures that may be ranked, and those that cannot be told from it.

    They may be when they are of one signature, one count, and comparable.
    """
    if len(figures) < 2 or len({(one.signature, one.n, one.ranking) for one in figures}) > 1 or not figures[0].ranking:
        return frozenset()
    sign = 1 if figures[0].better == "higher" else -1
    first = max(figures, key=lambda one: sign * one.value)

    def overlaps(one: Figure) -> bool:
        if one.low is None or one.high is None or first.low is None or first.high is None:
            return one is first
        return one.low <= first.high and first.low <= one.high

    return frozenset(filter(overlaps, figures))


def _difference_row(one: Tested) -> tuple[Entry, ...]:
    found = one.difference
    digits = decimals(found.error or 0.0) if found.error else None
    interval = str(NOTHING)
    if found.low is not None and found.high is not None:
        low, high = (Number(value=end, digits=digits, signed=True) for end in (found.low, found.high))
        interval = f"{low} to {high}"
    said = _SAID[one.kind]
    if one.kind == "unclear" and found.verdict != "unclear":
        said += f" (alone: {found.verdict})"
    return (
        Entry(content=f"{found.cell} less {found.baseline}"),
        Entry(content=Number(value=found.value, digits=digits, signed=True)),
        *row_of(interval, probability(found.p), probability(one.adjusted)),
        Entry(content=said, kind=one.kind),
        *row_of(f"{found.n:,} of {found.prompts:,} prompts", f"{found.missing:,}"),
    )


def _delta(one: Tested | None) -> Entry:
    if one is None:
        return Entry(content=NOTHING)
    found = one.difference
    return Entry(content=with_interval(found.value, found.low, found.high, signed=True), kind=one.kind)


def _counts(line: Line | None) -> Entry:
    if line is None:
        return Entry(content=NOTHING)
    parts = tuple((kind, count) for kind in _SAID if (count := len(line.of(kind))))
    return Entry(content=", ".join(f"{_SAID[kind]} at {count}" for kind, count in parts), parts=parts)


def _figure(figure: Figure | None, best: frozenset[Figure] = frozenset(), *, counted: bool = False) -> str | Number:
    if figure is None:
        return NOTHING
    found = with_interval(figure.value, figure.low, figure.high)
    if not figure.ranking or counted:
        return f"{found}{'' if figure.ranking else '*'}{f' (n = {figure.n:,})' if counted else ''}"
    if figure not in best:
        return found
    return Number(value=found.value, error=found.error, low=found.low, high=found.high, best=True)


def _unranked(figures: Iterable[Figure]) -> str:
    return "" if all(figure.ranking for figure in figures) else " (* not for ranking)"


def _cells(results: Results) -> tuple[CellName, ...]:
    return tuple(dict.fromkeys(figure.cell for figure in results.figures))


def _signatures(signatures: Iterable[str]) -> str:
    different = tuple(dict.fromkeys(signatures))
    return f"Signature: {different[0]}" if len(different) == 1 else f"{len(different)} different signatures."
