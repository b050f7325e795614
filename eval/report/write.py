"""A report as files: the page, the results, and tables and figures for papers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ...errors import InputError, MissingDependency
from ...syntax import encodable
from ...whole_file import whole_file
from ..anchors import published_front
from ..pareto import Plane, Point
from ..records import Sample
from ..tables import to_latex, to_markdown
from .gains import Gains
from .gallery import ENTRIES, Open, gallery_of
from .grids import Grid, ablation_grid, difference_grids, figure_grids, overview_grid
from .page import report_page
from .results import Front, Results
from .side_grids import claim_grid, cut_grids, front_grids, judge_grids, survey_grids, timing_grids
from .stored import to_json
from .verdicts import lines, tested

_PUBLISHED = "stylus-pareto"
"""The published front, which a figure of CLIP score and FID may show in a panel of its own."""


def write_report(
    results: Results,
    folder: str | Path,
    *,
    samples: Sequence[Sample] = (),
    images: Open | None = None,
    gains: Gains | None = None,
    diversity: Gains | None = None,
    entries: int = ENTRIES,
) -> tuple[Path, ...]:
    """Write `report.html`, `results.json`, `tables.md`, `tables.tex`, and the fronts as PNG and SVG.

    Each file is written whole or not at all. Without matplotlib (extra `eval`) the fronts are in the page alone.

    Args:
        results: What was found.
        folder: Where to; made where it is not.
        samples: The pictures of the gallery.
        images: Opens one of them; None writes a report without a gallery.
        gains: What each prompt gained, by which the gallery is sorted; None for no gallery either.
        diversity: What each prompt gained in diversity, for suspected failures.
        entries: How many of the best and of the worst prompts the gallery shows; 0 for none.

    Returns:
        The files.

    Raises:
        InputError: the folder cannot be written to, or a number is not finite.
    """
    gallery = None
    if gains is not None and images is not None and entries > 0:
        gallery = gallery_of(gains, samples, images, entries=entries, diversity=diversity)
    contents = {
        "results.json": to_json(results).encode(),
        "report.html": report_page(results, gallery).encode(),
        "tables.md": markdown_tables(results).encode(),
        "tables.tex": latex_tables(results).encode(),
        **dict(_figures(results)),
    }
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return tuple(_written(folder / name, content) for name, content in contents.items())
    except OSError as error:
        raise InputError(f"the report cannot be written to {encodable(str(folder))}: {error.strerror}") from None


def markdown_tables(results: Results) -> str:
    """Return every table in GitHub's Markdown."""
    return "\n".join(encodable(to_markdown(grid.table())) for grid in _grids(results))


def latex_tables(results: Results) -> str:
    """Return every table as LaTeX, for the package booktabs."""
    tables = (to_latex(grid.table(), label=f"tab:{place}") for place, grid in enumerate(_grids(results), 1))
    return "\n".join(map(encodable, tables))


def _grids(results: Results) -> Iterator[Grid]:
    """Yield every table but the published ones: these stand in a box of the page, and nowhere beside measured ones."""
    judged = tested(results)
    if judged:
        yield overview_grid(results, lines(judged))
    if results.claims:
        yield claim_grid(results.claims)
    yield from figure_grids(results)
    yield from difference_grids(results, judged)
    for front in results.fronts:
        yield from front_grids(results, front)
    for ablation in results.ablations:
        yield ablation_grid(results, ablation, judged)
    yield from cut_grids(results)
    yield from timing_grids(results.timings)
    yield from judge_grids(results.verdicts)
    if results.survey is not None:
        yield from survey_grids(results.survey)


def _figures(results: Results) -> Iterator[tuple[str, bytes]]:
    for place, front in enumerate(results.fronts):
        name = "pareto" if place == 0 else f"pareto-{place + 1}"
        published = (
            published_front() if _PUBLISHED in results.anchors and (front.x, front.y) == ("clip", "fid") else None
        )
        try:
            from ..plots import pareto_figure

            drawing = pareto_figure(_plane(results, front), published=published)
        except MissingDependency:
            return
        yield f"{name}.png", drawing.png()
        yield f"{name}.svg", drawing.svg().encode()


def _plane(results: Results, front: Front) -> Plane:
    points = tuple(
        Point(cell=point.cell, x=point.x, y=point.y, x_error=point.x_error, y_error=point.y_error)
        for point in front.points
    )
    names = results.title(front.x), results.title(front.y)
    return Plane(points=points, x=names[0], y=names[1], x_better=front.x_better, y_better=front.y_better)


def _written(path: Path, content: bytes) -> Path:
    with whole_file(path) as unfinished:
        unfinished.write_bytes(content)
    return path
