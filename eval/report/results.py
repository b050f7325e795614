"""Everything that an evaluation found, as one value: what the page, the tables and `results.json` are written from.

Results
  cells        what was painted, and how much of it
  figures      a metric of a cell              differences  the same of two cells, paired
  fronts       two metrics against each other  cuts         parts of the prompts
  ablations    one thing changed at a time     timings      seconds of a stage
  verdicts     a judge's answers               survey       people's answers
  claims       what was said beforehand, and whether it holds
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ...errors import InputError
from ..judge.records import Verdict
from ..pareto import FrontVerdict
from ..records import Better, CellName, Difference, Figure
from ..slices import Slice


@dataclass(frozen=True, slots=True, kw_only=True)
class CellCount:
    """A cell, and how much of it there is."""

    cell: CellName
    samples: int
    prompts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPoint:
    """A cell between two metrics."""

    cell: CellName
    x: float
    y: float
    x_error: float | None = None
    """Standard errors."""
    y_error: float | None = None
    own: bool = False
    """Whether no other guidance of its method is as good in both."""
    joint: bool = False
    """Whether no other cell at all is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontVolume:
    """The hypervolume that a method's front encloses with the reference point."""

    method: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """Every cell between two metrics, and the best of them."""

    x: str
    """Metrics, by the names that their figures have."""
    y: str
    x_better: Better
    y_better: Better
    points: tuple[FrontPoint, ...]
    volumes: tuple[FrontVolume, ...] = ()
    reference: tuple[float, float] | None = None
    """The point that the volumes are measured from."""
    verdicts: tuple[FrontVerdict, ...] = ()
    """Whether one method's front lies before another's."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A metric of a cell, or of the difference of two, on each part of the prompts alone."""

    metric: str
    by: str
    """What the prompts are parted by: `length`, `category`, ..."""
    cell: CellName
    slices: tuple[Slice, ...]
    baseline: CellName | None = None
    """Of a difference."""
    unit: str = ""
    better: Better = "higher"


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationRow:
    """A level of what is changed, and the cell that was painted with it."""

    label: str
    cell: CellName


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """One thing changed at a time; its numbers are the results' figures and differences of the cells named."""

    title: str
    rows: tuple[AblationRow, ...]
    metrics: tuple[str, ...]
    baseline: CellName | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds that a stage took."""

    method: str
    stage: str
    batch: int
    median: float
    low: float | None
    high: float | None
    """The quartiles."""
    n: int
    warm: bool | None = None
    """Whether what it needs lay ready; None where that makes no difference or is not known."""
    tokens: float | None = None
    """Of a language model, on average."""
    cost: float | None = None
    """US dollars, on average."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What people said of a method, in one question of a survey."""

    question: str
    measure: str
    """What the value is: `strength`, `mean rank`, `share of choices`, `rating 1 to 5`, ..."""
    method: str
    value: float
    low: float | None
    high: float | None
    n: int
    """Answers."""
    raters: int
    better: Better = "higher"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far people agree, with each other or with themselves."""

    question: str
    measure: str
    """`Krippendorff's alpha`, `Kendall's W`, `same answer when asked again`, ..."""
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What people said."""

    raters: int
    excluded: int = 0
    """Raters left out, by the rules that were written down before."""
    opinions: tuple[Opinion, ...] = ()
    agreements: tuple[Agreement, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What was said beforehand, and whether it came true."""

    claim: str
    bound: str
    """What it must be: `> 0`, `at most 25 min`, ..."""
    value: float | None
    low: float | None = None
    high: float | None = None
    holds: bool | None = None
    """None where it was not measured."""
    sure: bool | None = None
    """Whether the whole interval says the same."""
    source: str = ""
    """Who said it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Everything that an evaluation found."""

    name: str
    created: str | None = None
    """A date as the caller writes it; left out, equal results are equal bytes."""
    command: str | None = None
    """The line that makes them."""
    description: str = ""
    """What was measured and on what, in a sentence or two."""
    versions: tuple[tuple[str, str], ...] = ()
    manifest_digest: str | None = None
    titles: tuple[tuple[str, str], ...] = ()
    """Of metrics: (`clip`, `CLIP score`)."""
    cells: tuple[CellCount, ...] = ()
    figures: tuple[Figure, ...] = ()
    differences: tuple[Difference, ...] = ()
    fronts: tuple[Front, ...] = ()
    cuts: tuple[Cut, ...] = ()
    ablations: tuple[Ablation, ...] = ()
    timings: tuple[Timing, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    """A judge's."""
    survey: Survey | None = None
    claims: tuple[Claim, ...] = ()
    anchors: tuple[str, ...] = ()
    """Published tables to show beside, by their names in `velatura.eval.anchors`."""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that there are figures of, in the order in which they come."""
        return tuple(dict.fromkeys(figure.metric for figure in self.figures))

    def title(self, metric: str) -> str:
        """Return what tables call a metric."""
        return dict(self.titles).get(metric, metric)

    def figure(self, metric: str, cell: CellName) -> Figure | None:
        """Return a metric of a cell, where it was measured."""
        found = (figure for figure in self.figures if figure.metric == metric and figure.cell == cell)
        return next(found, None)

    def difference(self, metric: str, cell: CellName, baseline: CellName) -> Difference | None:
        """Return a metric of a cell less the baseline's, where it was measured."""
        wanted = metric, cell, baseline
        return next((one for one in self.differences if (one.metric, one.cell, one.baseline) == wanted), None)


def worse(
    results: Results, baseline: str | None = None, metrics: Collection[str] | None = None
) -> tuple[Difference, ...]:
    """Return the differences that are surely for the worse, all differences of the results counted (Holm).

    Args:
        results: What was found.
        baseline: The method that the others must not be worse than; None for any that they were compared with.
        metrics: The metrics that count; None for all.

    Raises:
        InputError: nothing was compared that could be worse, so that passing would mean nothing.
    """
    from ..scores import surely_worse

    wanted = [
        one
        for one in results.differences
        if (baseline is None or one.baseline.method == baseline) and (metrics is None or one.metric in metrics)
    ]
    have = {one.metric for one in wanted if one.low is not None}
    lacking = sorted(set(metrics or ()) - have) if metrics else ([] if have else ["any metric"])
    if lacking:
        against = f" against {baseline!r}" if baseline is not None else ""
        raise InputError(f"there is no difference{against} with an interval in {', '.join(lacking)}; nothing is tested")
    return tuple(one for one in surely_worse(results.differences) if one in wanted)
