"""The parts of the page, each made from results alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .chart import front_chart, share_chart
from .grids import Entry, Grid, ablation_grid, difference_grids, figure_grids, overview_grid
from .markup import Content, Html, bullets, folded, foreign, mark, paragraph, section, table, terms, text
from .results import Results
from .side_grids import anchor_grids, claim_grid, cut_grids, front_grids, judge_grids, survey_grids, timing_grids
from .verdicts import Tested, lines, on_fronts, sentences, summary

_FOLDED_FROM = 3
"""From how many tables on a section shows the first alone and folds the others."""


def about(results: Results) -> str:
    """Return what was measured, and on what."""
    pairs: list[tuple[str, Content]] = []
    if results.cells:
        methods = dict.fromkeys(count.cell.method for count in results.cells)
        guidances = sorted({guidance for count in results.cells if (guidance := count.cell.guidance) is not None})
        prompts = sorted({count.prompts for count in results.cells})
        pairs.append(("methods", ", ".join(methods)))
        if guidances:
            pairs.append(("guidance", ", ".join(f"{one:g}" for one in guidances)))
        span = f"{prompts[0]:,}" if len(prompts) == 1 else f"{prompts[0]:,} to {prompts[-1]:,}"
        samples = sum(count.samples for count in results.cells)
        pairs.append(("pictures", f"{samples:,} in {len(results.cells)} cells, of {span} prompts each"))
    if results.manifest_digest:
        pairs.append(("manifest", _code(results.manifest_digest)))
    if results.command:
        pairs.append(("made by", _code(results.command)))
    if results.versions:
        pairs.append(("versions", ", ".join(f"{name} {version}" for name, version in results.versions)))
    if results.created:
        pairs.append(("date", results.created))
    signatures = tuple(dict.fromkeys(figure.signature for figure in results.figures))
    listed = folded("Signatures: all that each number depends on", bullets(map(_code, signatures)))
    return section("about", "What was measured", (terms(pairs), listed if signatures else ""))


def found(results: Results, judged: Sequence[Tested]) -> str:
    """Return the verdicts in plain words, with an overview of them first."""
    if not judged:
        return ""
    by_line = lines(judged)
    parts = [paragraph(summary(judged)), bullets(on_fronts(results)), grid_html(overview_grid(results, by_line))]
    parts.append(paragraph("▲ better, ▼ worse, ≈ not told apart, · not tested.", "note"))
    for metric in dict.fromkeys(line.metric for line in by_line):
        said = [
            mark(kind, sentence)
            for line in by_line
            if line.metric == metric
            for kind, sentence in sentences(line, results.title(metric))
        ]
        first = metric == by_line[0].metric
        parts.append(folded(f"{results.title(metric)} in words", bullets(said, "verdicts"), opened=first))
    return section("found", "What was found", parts)


def claims(results: Results) -> str:
    """Return what was said beforehand, and whether it holds."""
    return section("claims", "Claims", (grid_html(claim_grid(results.claims)),)) if results.claims else ""


def warnings(results: Results) -> str:
    """Return what makes figures misleading: what the caller knows, and what the figures themselves show."""
    listed = bullets(dict.fromkeys((*results.warnings, *_own_warnings(results))), "warnings")
    return section("warnings", "Warnings", (listed, bullets(results.notes)))


def pareto(results: Results) -> str:
    """Return the fronts: figure, hypervolumes, and whose front lies before whose."""
    parts: list[str] = []
    for front in results.fronts:
        parts.append(f"<h3>{text(results.title(front.y))} against {text(results.title(front.x))}</h3>")
        parts += [front_chart(results, front), *map(grid_html, front_grids(results, front)), bullets(front.notes)]
    return section("pareto", "Both at once", parts)


def numbers(results: Results, judged: Sequence[Tested]) -> str:
    """Return the figures and the differences."""
    notes = [
        f"{results.title(figure.metric)}, {figure.cell}: {note}" for figure in results.figures for note in figure.notes
    ]
    told = folded(f"Notes on single figures ({len(notes)})", bullets(notes)) if notes else ""
    differences = [folded(grid.title, grid_html(grid)) for grid in difference_grids(results, judged)]
    headed = ["<h3>Differences</h3>", *differences] if differences else []
    return section("figures", "Figures", (*_several(tuple(figure_grids(results))), told, *headed))


def ablations(results: Results, judged: Sequence[Tested]) -> str:
    """Return the ablations."""
    grids = (ablation_grid(results, ablation, judged) for ablation in results.ablations)
    return section("ablations", "One thing changed at a time", map(grid_html, grids))


def cuts(results: Results) -> str:
    """Return what was measured on parts of the prompts."""
    return section("prompts", "By kind of prompt", _several(tuple(cut_grids(results))))


def timings(results: Results) -> str:
    """Return the times."""
    return section("time", "Time", _several(tuple(timing_grids(results.timings))))


def judge(results: Results) -> str:
    """Return what a judge said, and first of all whether it can be believed."""
    verdicts = results.verdicts
    if not verdicts:
        return ""
    doubts = dict.fromkeys(f"{one.judge}, {one.criterion}: {doubt.text}" for one in verdicts for doubt in one.doubts)
    answers, manner = map(grid_html, judge_grids(verdicts))
    shares = [
        (f"{one.judge}: {one.criterion}", one.consistency.value, one.consistency.low, one.consistency.high)
        for one in verdicts
        if one.consistency is not None
    ]
    chart = (
        f"<figure><h3>One answer in both orders</h3>{share_chart(shares, 0.5)}"
        "<figcaption>How often a judge named the same pictures whichever stood first, with 95 % intervals. The dashed "
        "line is a coin's: what lies on it or below it says nothing.</figcaption></figure>"
    )
    return section(
        "judge", "A judge's answers", (bullets(doubts, "warnings"), answers, chart if shares else "", manner)
    )


def survey(results: Results) -> str:
    """Return what people said, and how far they agree."""
    asked = results.survey
    if asked is None:
        return ""
    excluded = f", {asked.excluded} left out by the rules" if asked.excluded else ""
    counted = paragraph(f"{asked.raters} raters{excluded}.")
    return section("survey", "People's answers", (counted, *map(grid_html, survey_grids(asked)), bullets(asked.notes)))


def published(results: Results) -> str:
    """Return published numbers, in a box of their own: they are of other pictures."""
    inner = "".join(map(grid_html, anchor_grids(results.anchors)))
    note = paragraph("Of other pictures, features and counts: to look at beside the figures above, never to rank with.")
    return section("paper", "Published numbers", (f'<aside class="anchors">{note}{inner}</aside>',)) if inner else ""


def grid_html(grid: Grid) -> str:
    """Return a table as HTML."""
    rows = [[_entry(entry) for entry in row] for row in grid.rows]
    return table(grid.title, grid.columns, rows, " ".join(grid.notes))


def _several(grids: Sequence[Grid]) -> Iterator[str]:
    for place, grid in enumerate(grids):
        inner = grid_html(grid)
        yield folded(grid.title, inner, opened=place == 0) if len(grids) >= _FOLDED_FROM else inner


def _entry(entry: Entry) -> Content:
    content = str(entry.content)
    if entry.wide:
        return Html(f'<span class="wide">{text(foreign(content))}</span>')
    if entry.parts:
        return Html(" ".join(text(mark(kind, str(count))) for kind, count in entry.parts))
    if entry.kind is not None:
        return mark(entry.kind, content)
    return Html(f"<strong>{text(content)}</strong>") if getattr(entry.content, "best", False) else content


def _own_warnings(results: Results) -> Iterator[str]:
    for metric in results.metrics:
        own = [figure for figure in results.figures if figure.metric == metric]
        counts = sorted({figure.n for figure in own})
        title = results.title(metric)
        if len(counts) > 1:
            yield f"{title} is of {counts[0]:,} to {counts[-1]:,} pictures: cells of unequal n are not ranked."
        elif len({figure.signature for figure in own}) > 1:
            yield f"{title} has several signatures: cells that differ in them are not ranked."
        if any(not figure.ranking for figure in own):
            yield f"{title} is told for completeness, marked *: it is not for ranking, or not comparable here."


def _code(content: str) -> Html:
    return Html(f"<code>{text(content)}</code>")
