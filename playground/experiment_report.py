"""What the experiment in the playground found: scored, set against what the paper claims, and written on one page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..eval.estimates import by_prompt
from ..eval.gathering import gains_of, gather
from ..eval.opening import open_evaluation
from ..eval.records import CellName
from ..eval.report import write_report
from ..eval.report.results import Ablation, AblationRow, Claim, Results
from .experiment import REFINED, Painted
from .experiment_parts import DEBIAS, STEPS

if TYPE_CHECKING:
    from ..eval.evaluation import Evaluation, Scores
    from ..eval.pareto import FrontVerdict
    from ..eval.report.results import Timing

Told = Callable[[str, int, int], None]

METRICS: Final = (
    "clip",
    "fid:clip",
    "fid-infinity:clip",
    "kid:clip",
    "cmmd",
    "dfid:clip",
    "diversity:clip",
    "vendi:clip",
    "ms-ssim",
)
"""What is measured; in features of the playground's own CLIP model, which is the only network that knows its world."""
_FID: Final = "fid:clip"
_KID: Final = "kid:clip"
_SURE: Final = 0.95
_DIVERSE: Final = "dfid:clip"
_MS_SSIM: Final = (2, 7)
"""Scales and kernel for pictures of 32 pixels."""
_PAPER_GUIDANCE: Final = 6.0
"""Of the paper's tables."""
_PAPER: Final = "Stylus (arXiv 2404.18928)"
_OURS: Final = "Velatura"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was found, and where it is written."""

    results: Results
    files: tuple[Path, ...]


def report_experiment(
    painted: Painted,
    weights: Path,
    folder: Path,
    *,
    timings: Sequence[Timing] = (),
    command: str,
    told: Told | None = None,
) -> Outcome:
    """Score what was painted, and write the report into the folder.

    Args:
        painted: What was painted.
        weights: The folder of the trained models.
        folder: Where the experiment lies.
        timings: Seconds of each stage by batch size.
        command: The line that makes it.
        told: Called as it goes.

    Raises:
        InputError: something cannot be read or written.
    """
    scores, evaluation = _scored(painted, weights, folder, told)
    ablated, _ = _scored(painted, weights, folder, told, ablation=True)
    results = gather(
        scores,
        painted.manifest,
        name="The Stylus experiment, in the playground",
        baseline="base",
        command=command,
        description=(
            "A painted world of 32-pixel pictures with a model trained on it and adapters for what that model does not "
            f"know; {STEPS} steps, paired seeds. The words of +debias are “{DEBIAS}”. CLIP, Fréchet and kernel "
            "distances are in features of the playground's own CLIP model: comparable within this page alone."
        ),
        notes=[f"{method}: {said}" for method, said in painted.report.methods],
    )
    results = replace(
        results,
        figures=(*results.figures, *(one for one in ablated.figures() if one.cell.method != "base")),
        differences=(*results.differences, *ablated.differences("base")),
        ablations=tuple(_ablations(ablated)),
        timings=(*timings, *results.timings),
        claims=tuple(_claims(scores, results, ablated)),
        anchors=("stylus-baselines", "stylus-pareto"),
    )
    gains, diversity = gains_of(scores, "base", method="velatura")
    files = write_report(
        results,
        folder / "report",
        samples=evaluation.manifest.samples,
        images=evaluation.image,
        gains=gains,
        diversity=diversity,
    )
    return Outcome(results=results, files=files)


def _scored(
    painted: Painted, weights: Path, folder: Path, told: Told | None, *, ablation: bool = False
) -> tuple[Scores, Evaluation]:
    opened = open_evaluation(
        painted.ablation if ablation else painted.manifest,
        models={"clip": str(weights / "evaluator")},
        metrics=METRICS,
        reference=painted.reference,
        cache=folder / "cache",
        ms_ssim=_MS_SSIM,
        offline=True,
        told=told,
    )
    return opened.evaluation.score(opened.metrics, told=told), opened.evaluation


def _ablations(scores: Scores) -> Iterator[Ablation]:
    """Yield the table of the refiners for each method whose choices hang on descriptions."""
    base = next(cell for cell in scores.cells if cell.method == "base")
    for method in REFINED:
        cells = [cell for cell in scores.cells if cell.method.startswith(f"{method}, ")]
        rows = [AblationRow(label="no adapters", cell=base)]
        rows += [AblationRow(label=cell.method.partition(", ")[2], cell=cell) for cell in cells]
        yield Ablation(title=f"{method}: who wrote the descriptions", rows=tuple(rows), metrics=METRICS, baseline=base)


def _claims(scores: Scores, results: Results, ablated: Scores) -> Iterator[Claim]:
    """Yield what the paper claims, and we, each with the figure that says whether it holds here."""
    at = _at(scores, _PAPER_GUIDANCE)
    for front in results.fronts:
        for verdict in front.verdicts if front.y in (_KID, _FID) else ():
            if verdict.first in ("velatura", "stylus", "stylus+debias"):
                yield _front_claim(verdict, scores.metric(front.y).title)
    for method, metric, better, said in (
        ("stylus+debias", "clip", True, "table 1: +0.03"),
        ("stylus+debias", _FID, True, "table 1: -1.91"),
        ("reranker", "clip", False, "table 1: -1.74"),
        ("reranker", _FID, True, "table 1: -1.15"),
        ("retriever", "clip", False, "table 1: -2.29"),
        ("retriever", _FID, False, "table 1: +0.72"),
        ("random", "clip", False, "table 1: -0.88"),
        ("random", _FID, False, "table 1: +0.43"),
        ("stylus+debias", _DIVERSE, True, "section 4.2.3"),
    ):
        yield _difference(scores, CellName(method=method, guidance=at), "base", metric, better=better, source=said)
    yield _win_rate(scores, at)
    for method, baseline, said in (
        (
            "base+debias",
            "base",
            "not tested there: the words that it gives to Stylus alone bring nothing by themselves",
        ),
        ("stylus+debias", "base+debias", "the fair comparison, not made there"),
        ("stylus", "stylus-nomask", "not made there: what the masks cost"),
    ):
        better = method == "stylus+debias"
        cell = CellName(method=method, guidance=at)
        yield _difference(scores, cell, baseline, "clip", better=better, source=said)
    for refiner in ("card", "pictures"):
        name = CellName(method=f"stylus-nomask, refiner {refiner}", guidance=ablated.cells[0].guidance)
        if name in ablated.cells:
            yield _difference(
                ablated, name, "stylus-nomask, refiner none", "clip", better=True,
                source="its claim that refined descriptions help; its values are unconfirmed",
            )  # fmt: skip


def _front_claim(verdict: FrontVerdict, title: str) -> Claim:
    """Return whether a method's front dominates the base's: in how many draws over the errors of all points."""
    probability = verdict.probability
    return Claim(
        claim=f"the front of {verdict.first} in CLIP score and {title} dominates the base's: probability",
        bound=">= 0.95",
        value=probability,
        holds=None if probability is None else probability >= _SURE,
        sure=None if probability is None else not 1 - _SURE < probability < _SURE,
        source=_OURS if verdict.first == "velatura" else f"{_PAPER}, figure 6, with FID",
    )


def _difference(scores: Scores, cell: CellName, baseline: str, metric: str, *, better: bool, source: str) -> Claim:
    base = CellName(method=baseline, guidance=cell.guidance)
    found, title = scores.compare(cell, base, metric), scores.metric(metric).title
    up = (found.better == "higher") == better
    return Claim(
        claim=f"{cell.method} {'better' if better else 'worse'} than {baseline} in {title}, guidance {cell.guidance:g}",
        bound="> 0" if up else "< 0",
        value=found.value,
        low=found.low,
        high=found.high,
        holds=(found.value > 0) == up,
        sure=_is_sure(found.low, found.high, 0.0),
        source=f"{_PAPER}, {source}",
    )


def _win_rate(scores: Scores, guidance: float | None) -> Claim:
    """Return on how many prompts Stylus's pictures differ more than the base's: 59 % in the paper."""
    from ..eval.stats import WinTieLose, wilson

    one, other = (
        by_prompt(scores.estimate(_DIVERSE, CellName(method=method, guidance=guidance)))
        for method in ("stylus+debias", "base")
    )
    signs = [(one[prompt] > other[prompt]) - (one[prompt] < other[prompt]) for prompt in one]
    counted = WinTieLose(wins=signs.count(1), ties=signs.count(0), losses=signs.count(-1))
    share = wilson(counted.wins, counted.wins + counted.losses)
    return Claim(
        claim=f"share of the prompts that differ on which stylus+debias has the larger dFID, guidance {guidance:g}",
        bound="> 0.5",
        value=share.value,
        low=share.low,
        high=share.high,
        holds=None if share.value is None else share.value > 0.5,
        sure=None if share.value is None else _is_sure(share.low, share.high, 0.5),
        source=f"{_PAPER}, section 4.2.3: 0.59",
    )


def _is_sure(low: float | None, high: float | None, bound: float) -> bool | None:
    """Say whether the whole interval lies on one side of the bound, whichever it is."""
    return None if low is None or high is None else not low <= bound <= high


def _at(scores: Scores, guidance: float) -> float | None:
    """Return the guidance of the paper's table, or the nearest that was painted."""
    known = [cell.guidance for cell in scores.cells if cell.guidance is not None]
    return min(known, key=lambda one: abs(one - guidance))
