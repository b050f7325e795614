"""From scores to results: all that a report tells, gathered from what was measured."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from ..errors import InputError
from ..syntax import encodable
from .estimates import by_prompt
from .metrics import METRICS
from .records import CellName, Sample
from .scores import baseline_of
from .slices import compare, cut, groups_by

if TYPE_CHECKING:
    from .judge.records import Hearing, Verdict
    from .judge.transcripts import Transcripts
    from .manifest import Manifest
    from .pareto import Plane
    from .report.gains import Gains
    from .report.results import Cut, Front, Results, Survey, Timing
    from .scores import Scores

_PACKAGES: Final = ("numpy", "pillow", "torch", "transformers", "diffusers")
_MARGIN: Final = 0.05
"""Of the range of all points, by which the point lies beyond the worst that hypervolumes are measured from."""
_ALIGNED: Final = ("clip", "clip-s", "yes")
"""Metrics of how well pictures fit their prompts."""
_STAGES: Final = ("retrieve", "compose", "paint")
METHODS: Final = "methods.json"
"""Beside a manifest: what each method was, as {method: description}."""
_LARGEST: Final = 2**20
"""Bytes of such a file."""
_LONGEST: Final = 500
"""Characters of a description."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pareto:
    """Every cell between two metrics: what is told of it, and what is drawn."""

    front: Front
    plane: Plane

    def save(self, path: str | Path) -> None:
        """Draw the figure, as .png or .svg.

        Raises:
            InputError: the name ends otherwise.
            MissingDependency: matplotlib is not installed.
            OSError: the file cannot be written.
        """
        from .plots import pareto_figure

        pareto_figure(self.plane).save(Path(path))


def gather(
    scores: Scores,
    manifest: Manifest,
    *,
    name: str,
    baseline: str | None = None,
    command: str | None = None,
    description: str = "",
    notes: Sequence[str] = (),
    verdicts: Sequence[Verdict] = (),
    survey: Survey | None = None,
) -> Results:
    """Return what was measured as results: figures, differences, fronts, parts of the prompts, times.

    Args:
        scores: What was measured.
        manifest: The samples.
        name: What it is called.
        baseline: The method that the others are compared with.
        command: The line that makes it.
        description: What was measured and on what.
        notes: What a reader should know.
        verdicts: A judge's.
        survey: People's answers.

    Raises:
        InputError: there is no such baseline.
    """
    from .. import __version__
    from .report.results import CellCount, Results

    counted = {cell: list(samples) for cell, samples in manifest.cells().items()}
    return Results(
        name=name,
        command=command,
        description=description,
        versions=(("velatura", __version__), *_versions()),
        manifest_digest=manifest.digest,
        titles=tuple((metric.name, metric.title) for metric in scores.metrics),
        cells=tuple(
            CellCount(cell=cell, samples=len(own), prompts=len({sample.prompt_id for sample in own}))
            for cell, own in counted.items()
        ),
        figures=scores.figures(),
        differences=scores.differences(baseline) if baseline is not None else (),
        fronts=tuple(fronts(scores, baseline)),
        cuts=tuple(cuts(scores, manifest.samples, baseline)),
        timings=timings(manifest.samples),
        verdicts=tuple(verdicts),
        survey=survey,
        warnings=(*scores.warnings, *(scores.uncompared(baseline) if baseline is not None else ())),
        notes=tuple(notes),
    )


def judged(
    manifest: Manifest, of: str, against: str, transcripts: Transcripts, *, judge: str | None = None
) -> tuple[Verdict, ...]:
    """Return a judge's verdicts at each guidance that it was asked about, from its transcripts: nobody is asked anew.

    Args:
        manifest: The samples.
        of: The method that was asked about.
        against: The other one.
        transcripts: What was answered.
        judge: The judge's name; None takes the only one that answered.

    Raises:
        InputError: a method is not there, or nothing was answered about the two.
    """
    from .judge import ReplayJudge, hear, pair_up, reach_verdicts

    replay = ReplayJudge(transcripts, judge)
    guidances = {cell.guidance for cell in manifest.cells() if cell.method == of}
    most = max(map(len, manifest.cells().values()))
    found: list[Verdict] = []
    for guidance in sorted(guidances, key=lambda one: -1.0 if one is None else one) or [None]:
        try:
            pairings = pair_up(manifest.samples, of, against, guidance=guidance, per_prompt=most)
        except InputError:
            if len(guidances) < 2:
                raise
            continue  # the other method was not painted at this one
        hearing = _answered(hear(replay, pairings, manifest.folder, transcripts=transcripts))
        if any(trial.answers is not None for trial in hearing.trials):
            found += reach_verdicts(hearing)
    if not found:
        raise InputError(
            f"the transcripts hold no answers about {of} and {against}; `velatura eval judge --of {of} --against "
            f"{against}` asks for them"
        )
    return tuple(found)


def _answered(hearing: Hearing) -> Hearing:
    """Leave out what the judge was never asked about, of criteria as of pairs: it is not a judge's fault."""
    heard = {trial.pairing.criterion for trial in hearing.trials if trial.answers is not None}
    pairs = tuple(pairing for pairing in hearing.pairings.pairs if pairing.criterion in heard)
    return replace(
        hearing,
        pairings=replace(hearing.pairings, pairs=pairs),
        skipped=tuple(skip for skip in hearing.skipped if not skip.is_unasked),
    )


def method_notes(folder: Path, methods: Iterable[str]) -> tuple[str, ...]:
    """Return what each of some methods was, as `methods.json` in a folder tells it; nothing where there is none."""
    try:
        with (folder / METHODS).open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError:
        return ()
    try:
        told = json.loads(content) if len(content) <= _LARGEST else None
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        return (f"{METHODS} beside the manifest holds no descriptions of methods and is passed over",)
    known = ((method, told.get(method)) for method in dict.fromkeys(methods))
    return tuple(
        f"{method}: {encodable(said[:_LONGEST])}" for method, said in known if isinstance(said, str) and said.strip()
    )


def plane_of(scores: Scores, x: str, y: str) -> Plane:
    """Return every cell between two metrics.

    Raises:
        InputError: one of the two was not measured, or cells are not comparable in it.
    """
    from .pareto import Plane, Point

    if why := _uneven(scores, x, y):
        raise InputError(why)
    across, up = scores.metric(x), scores.metric(y)
    points = tuple(
        Point.of_estimates(cell, scores.estimate(x, cell), scores.estimate(y, cell)) for cell in scores.cells
    )
    return Plane(points=points, x=across.title, y=up.title, x_better=across.better, y_better=up.better)


def beyond(plane: Plane) -> tuple[float, float]:
    """Return the point that hypervolumes are measured from: a little worse than all points in both metrics."""
    found = []
    for values, better in (
        ([point.x for point in plane.points], plane.x_better),
        ([point.y for point in plane.points], plane.y_better),
    ):
        room = _MARGIN * ((max(values) - min(values)) or 1.0)
        found.append(min(values) - room if better == "higher" else max(values) + room)
    return found[0], found[1]


def fronts(scores: Scores, baseline: str | None) -> Iterator[Front]:
    """Yield the planes of alignment against each distance to real pictures, and against diversity."""
    names = [metric.name for metric in scores.metrics if metric.ranking]
    aligned = [name for name in names if name.partition(":")[0] in _ALIGNED]
    others = [name for name in names if METRICS[name.partition(":")[0]].compares or name.startswith("dfid")]
    if not aligned or len(scores.cells) < 2:
        return
    for y in others:
        if not _uneven(scores, aligned[0], y):
            yield front_between(scores, aligned[0], y, baseline)


def _uneven(scores: Scores, *metrics: str) -> str | None:
    """Return why cells cannot stand in one plane; None where they can."""
    first, *others = scores.cells
    return next((why for name in metrics for cell in others if (why := scores.incomparable(name, cell, first))), None)


def front_between(scores: Scores, x: str, y: str, baseline: str | None) -> Front:
    """Return each method's front between two metrics, and whether it lies before the baseline's.

    Raises:
        InputError: one of the two was not measured, cells are not comparable in it, or there is no such baseline.
    """
    from .report.fronts import front_of

    plane = plane_of(scores, x, y)
    if baseline is not None and baseline not in plane.methods:
        raise InputError(f"there is no method {baseline!r} to compare with; there are {', '.join(plane.methods)}")
    duels = [(method, baseline) for method in plane.methods if baseline not in (None, method)]
    told = all(scores.estimate(name, cell).comparable for name in (x, y) for cell in scores.cells)
    return front_of(plane, x, y, beyond(plane), duels=duels, notes=() if told else ("too few pictures",))


def cuts(scores: Scores, samples: Sequence[Sample], baseline: str | None) -> Iterator[Cut]:
    """Yield what is measured prompt by prompt, by the prompts' length and category; of differences where it can be."""
    from .report.results import Cut

    groupings = {by: groups_by(samples, by) for by in ("length", "category", "challenge")}
    for metric in scores.metrics:
        if not scores.estimate(metric.name, scores.cells[0]).is_mean:
            continue
        for by, groups in groupings.items():
            if len(groups) < 2:
                continue
            for cell in scores.cells:
                base = None if baseline is None else baseline_of(cell, baseline, scores.cells)
                if base is not None and base != cell:
                    if scores.incomparable(metric.name, cell, base):
                        continue
                    slices = compare(scores.estimate(metric.name, cell), scores.estimate(metric.name, base), groups)
                elif baseline is None:
                    slices = cut(scores.estimate(metric.name, cell), groups)
                else:
                    continue
                yield Cut(metric=metric.name, by=by, cell=cell, baseline=base, slices=slices, unit=metric.unit,
                          better=metric.better)  # fmt: skip


def timings(samples: Iterable[Sample]) -> tuple[Timing, ...]:
    """Return how long each stage of each method took: of retrieving and composing a prompt, of painting a picture."""
    from .report.results import Timing

    seconds: dict[tuple[str, str], dict[object, float]] = {}
    for sample in samples:
        for stage, value in sample.timings:
            key = (sample.guidance, *sample.pair) if stage == "paint" else sample.prompt_id
            seconds.setdefault((sample.method, stage), {})[key] = value
    found = []
    for (method, stage), values in sorted(seconds.items(), key=lambda item: (item[0][0], _order(item[0][1]))):
        known = np.fromiter(values.values(), np.float64)
        low, median, high = np.percentile(known, (25, 50, 75)).tolist()
        found.append(Timing(method=method, stage=stage, batch=1, median=median, low=low, high=high, n=len(known)))
    return tuple(found)


def gains_of(scores: Scores, baseline: str | None, *, method: str | None = None) -> tuple[Gains | None, Gains | None]:
    """Return what each prompt gained over the baseline, for a report's gallery; None where it cannot be told.

    Args:
        scores: What was measured.
        baseline: The method that is compared with.
        method: The method whose pictures are shown; None takes the one that is best in the metric.

    Returns:
        The gains in the first metric of alignment, else the first that is known prompt by prompt, at the guidance where
        the method is best; and those in diversity, where that was measured.
    """
    from .report.gains import Gains

    def gains(name: str) -> Gains:
        one, other = by_prompt(scores.estimate(name, cell)), by_prompt(scores.estimate(name, base))
        how = scores.metric(name)
        values = {prompt: one[prompt] - other[prompt] for prompt in one if prompt in other}
        return Gains(metric=name, cell=cell, baseline=base, values=values, unit=how.unit, better=how.better)

    known = [one.name for one in scores.metrics if scores.estimate(one.name, scores.cells[0]).is_mean]
    aligned = [name for name in known if name.partition(":")[0] in _ALIGNED]
    if baseline is None or not known:
        return None, None
    first = (aligned or known)[0]
    found = _best_pair(scores, method, baseline, first)
    if found is None:
        return None, None
    cell, base = found
    diverse = [name for name in known if name.partition(":")[0] in ("dfid", "diversity")]
    return gains(first), gains(diverse[0]) if diverse else None


def _order(stage: str) -> int:
    return _STAGES.index(stage) if stage in _STAGES else len(_STAGES)


def _versions() -> Iterator[tuple[str, str]]:
    for package in _PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            continue


def _best_pair(scores: Scores, method: str | None, baseline: str, metric: str) -> tuple[CellName, CellName] | None:
    """Return a cell, and the baseline's that it is compared with, where the cell's value is best."""
    pairs: Mapping[CellName, CellName] = {
        cell: base
        for cell in scores.cells
        if cell.method != baseline and method in (None, cell.method)
        if (base := baseline_of(cell, baseline, scores.cells)) and not scores.incomparable(metric, cell, base)
    }
    if not pairs:
        return None
    sign = 1 if scores.metric(metric).better == "higher" else -1
    cell = max(pairs, key=lambda one: sign * scores.estimate(metric, one).value)
    return cell, pairs[cell]
