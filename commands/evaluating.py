"""The commands of `velatura eval`: paint an experiment, measure any pictures, compare, and report."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..errors import InputError
from ..records import Filter
from .clocking import time_
from .eval_doctor import doctor
from .judging import judge
from .measuring import Metrics, Open, against, end, listed, make_opened, plain, refuse_aimless, scored, told_of
from .options import (
    Address,
    Choose,
    Db,
    Engine,
    Json,
    engine_flags,
    filtered,
    handed,
    open_velatura,
    print_json,
    read_settings,
    refuse_missing,
)
from .paint_options import Fields, Flags, make_fields, make_flags
from .surveying import survey

if TYPE_CHECKING:
    from ..eval.gathering import Pareto
    from ..eval.grid import Plan
    from ..eval.judge import Verdict
    from ..eval.manifest import Manifest as Samples
    from ..eval.records import Prompt
    from ..eval.report.results import Survey
    from ..pipeline import Velatura

app = typer.Typer(
    help="Measure pictures, ours or anybody's: scores with intervals, paired comparisons, fronts, judges and reports.",
    no_args_is_help=True,
)

Manifest = Annotated[
    Path,
    typer.Argument(help="A line of JSON for each picture (image, prompt, method, ...), or a folder that holds it."),
]
_BARE = {"base", "base+debias"}
"""Methods that lay nothing on."""
Fail = Annotated[
    bool,
    typer.Option(
        "--fail-if-worse",
        help="Exit with 1 if a method is worse than the baseline by interval and by p, all comparisons counted (Holm).",
    ),
]
Baseline = Annotated[str | None, typer.Option(metavar="METHOD", help="The method that the others are compared with.")]


@app.command()
@handed("flags", make_flags, before="db")
@handed("fields", make_fields, before="db")
@filtered
def run(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where it all goes.")],
    plan: Annotated[
        str, typer.Option(help="What is compared: stylus, fusion, demofusion, or a .toml file of your own.")
    ] = "stylus",
    prompts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="COCO captions (.json), PartiPrompts (.tsv), .csv, .jsonl, or .txt lines."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="So many prompts, chosen by a digest.")] = None,
    methods: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Instead of the plan's: base, stylus+debias, velatura, ...")
    ] = None,
    guidances: Annotated[str | None, typer.Option(metavar="NUMBER,...", help="Instead of the plan's.")] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Pictures of each prompt in each cell, instead of the plan's.")
    ] = None,
    debias: Annotated[
        str | None, typer.Option(metavar="WORDS", help="The words of +debias; else those known for the checkpoint.")
    ] = None,
    total_weight: Annotated[
        float | None,
        typer.Option(min=0.01, max=100, help="Bring the weights of every method to this sum, where it has any."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be painted.")] = False,
    engine: Engine = None,
    address: Address = None,
    db: Db = None,
    as_json: Json = False,
    *,
    fields: Fields,
    flags: Flags,
    choose: Choose,
) -> None:
    """Paint prompts by several methods at several guidances, from the same noise, ready to be measured.

    It goes on where it was stopped, and a larger experiment adds what it lacks.
    """
    from ..experiment import SAMPLES, Experiment
    from ..methods import Methods
    from .evaluating_screen import print_rejected
    from .screen import Progress, out, shown

    wanted = _planned(plan, methods, guidances, samples)
    chosen = _prompts(wanted, prompts, limit)
    if dry_run:
        _print_plan(wanted, chosen, as_json=as_json)
        return
    with open_velatura(read_only=True, db=db, **flags(), **engine_flags(engine, address)) as velatura:
        if not set(wanted.methods) <= _BARE:
            refuse_missing(velatura.settings.db)
            laid = Methods(velatura, filter=_filter(velatura, choose), debias=debias, total=total_weight)
        else:  # no catalogue is needed, and of a plan's checkpoints none is opened before its turn
            laid = Methods(velatura, filter=Filter(), debias=debias, total=total_weight)
        given = {name: value for name, value in fields().items() if value not in (None, "")}
        experiment = Experiment(velatura, wanted, chosen, output, methods=laid, fields=given)
        with Progress("experiment") as progress:
            report = experiment.run(told=lambda what, done, of: progress.told(what, done, of))
    written = output / f"{SAMPLES}.jsonl"
    measure = _measuring(wanted, output)
    told = {
        "samples": len(report.manifest.samples), "painted": report.painted, "kept": report.kept,
        "failed": [{"what": what, "error": why} for what, why in report.failed],
        "methods": dict(report.methods), "manifest": str(written), "next": measure,
    }  # fmt: skip
    if as_json:
        print_json(told)
    else:
        out(f"{report.painted:,} painted, {report.kept:,} were there: [green]{shown(str(written))}[/]")
        for method, said in report.methods:
            out(f"[dim]{shown(method)}: {shown(said)}[/]")
        out(f"measure it: {shown(measure)}")
        print_rejected(report.failed, "failed")
    if report.failed:
        raise typer.Exit(1)


@app.command()
@handed("opening", make_opened, before="fail_if_worse")
def score(
    manifest: Manifest,
    metrics: Metrics = None,
    baseline: Baseline = None,
    fail_if_worse: Fail = False,
    as_json: Json = False,
    *,
    opening: Open,
) -> None:
    """Measure pictures: every metric of every method at every guidance, with its 95 % interval."""
    from .evaluating_screen import print_differences, print_scores

    refuse_aimless(baseline, fail_if_worse=fail_if_worse)
    opened = opening(manifest, metrics)
    scores = scored(opened)
    differences = against(scores, baseline, needed=fail_if_worse)
    if as_json:
        print_json(
            {
                "figures": [asdict(figure) for figure in scores.figures()],
                "differences": plain(differences),
                **told_of(scores, opened, baseline),
            }
        )
    else:
        print_scores(scores, opened.rejected, baseline)
        print_differences(differences, scores)
    end(scores, opened, differences, fail_if_worse=fail_if_worse)


@app.command()
@handed("opening", make_opened, before="fail_if_worse")
def compare(
    manifest: Manifest,
    baseline: Annotated[str, typer.Option(metavar="METHOD", help="The method that the others are compared with.")],
    metrics: Metrics = None,
    fail_if_worse: Fail = False,
    as_json: Json = False,
    *,
    opening: Open,
) -> None:
    """Compare methods with one of them, paired prompt by prompt: differences, 95 % intervals, adjusted p."""
    from .evaluating_screen import print_detectable, print_differences, print_notes

    opened = opening(manifest, metrics)
    scores = scored(opened)
    differences = against(scores, baseline, needed=True)
    if as_json:
        print_json({"differences": plain(differences), **told_of(scores, opened, baseline)})
    else:
        print_differences(differences, scores)
        print_detectable(differences, scores)
        print_notes(scores, opened.rejected, baseline)
    end(scores, opened, differences, fail_if_worse=fail_if_worse)


@app.command()
@handed("opening", make_opened, before="as_json")
def pareto(
    manifest: Manifest,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Draw the figure: .png or .svg.")
    ] = None,
    x: Annotated[str, typer.Option("-x", metavar="METRIC", help="The metric across.")] = "clip",
    y: Annotated[str, typer.Option("-y", metavar="METRIC", help="The metric upwards.")] = "fid",
    baseline: Baseline = None,
    as_json: Json = False,
    *,
    opening: Open,
) -> None:
    """Set two metrics against each other over guidance: each method's front, its hypervolume, and who dominates."""
    from .evaluating_screen import print_front, print_notes

    if x == y:
        raise typer.BadParameter("a metric cannot be set against itself", param_hint="-y")
    opened = opening(manifest, f"{x},{y}")
    scores = scored(opened)
    found = scores.pareto(x, y, baseline)
    if output is not None:
        _draw(found, output)
    if as_json:
        figure = None if output is None else str(output)
        print_json({**asdict(found.front), "figure": figure, **told_of(scores, opened)})
        return
    print_front(found.front, scores)
    print_notes(scores, opened.rejected)
    _print_written(output)


@app.command()
@handed("opening", make_opened, before="form")
def ablate(
    manifest: Manifest,
    baseline: Annotated[str, typer.Option(metavar="METHOD", help="What the others are variants of.")],
    metrics: Metrics = None,
    form: Annotated[Literal["text", "markdown", "latex", "csv"], typer.Option("--form", help="Of the table.")] = "text",
    as_json: Json = False,
    *,
    opening: Open,
) -> None:
    """Make the table of an ablation: every method with its figures, and what it loses or gains against the baseline."""
    from ..eval.ablation import ablation_table
    from ..eval.tables import to_csv, to_latex, to_markdown
    from .evaluating_screen import print_notes, print_table

    opened = opening(manifest, metrics)
    scores = scored(opened)
    differences = against(scores, baseline, needed=True)
    if as_json:
        figures = [asdict(figure) for figure in scores.figures()]
        print_json({"figures": figures, "differences": plain(differences), **told_of(scores, opened, baseline)})
    else:
        table = ablation_table(scores, baseline)
        if form == "text":
            print_table(table)
        else:
            typer.echo({"markdown": to_markdown, "latex": to_latex, "csv": to_csv}[form](table), nl=False)
        print_notes(scores, opened.rejected, baseline)
    end(scores, opened)


@app.command()
@handed("opening", make_opened, before="fail_if_worse")
def report(
    manifest: Manifest,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the report is written.")],
    metrics: Metrics = None,
    baseline: Baseline = None,
    name: Annotated[str | None, typer.Option(help="What it is called.")] = None,
    gallery: Annotated[
        int, typer.Option(min=0, max=100, help="Prompts that are shown of those that gained most, and least.")
    ] = 12,
    judge_of: Annotated[
        str | None,
        typer.Option(
            metavar="METHOD", help="Tell a judge's answers about this method and the baseline; none is asked."
        ),
    ] = None,
    transcripts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What the judge answered. Default: judge.jsonl in VELATURA_HOME."),
    ] = None,
    people: Annotated[
        Path | None, typer.Option("--survey", metavar="FOLDER", help="Tell what people answered in this survey.")
    ] = None,
    fail_if_worse: Fail = False,
    as_json: Json = False,
    *,
    opening: Open,
) -> None:
    """Write one page of figures, tables, fronts and pictures side by side, with results.json, LaTeX and Markdown."""
    from ..eval.gathering import gains_of, gather, method_notes
    from ..eval.report import write_report
    from .evaluating_screen import print_notes

    refuse_aimless(baseline, fail_if_worse=fail_if_worse)
    if judge_of is not None and baseline is None:
        raise typer.BadParameter("name the method that it was judged against", param_hint="--baseline")
    survey = _surveyed(people)
    opened = opening(manifest, metrics)
    evaluation = opened.evaluation
    verdicts = _judged(evaluation.manifest, judge_of, baseline, transcripts)
    scores = scored(opened)
    folder = manifest if manifest.is_dir() else manifest.parent
    told = method_notes(folder, [cell.method for cell in scores.cells])
    results = gather(
        scores,
        evaluation.manifest,
        name=name or manifest.resolve().stem,
        baseline=baseline,
        command=shlex.join(["velatura", *sys.argv[1:]]),
        notes=[*told, *(f"{picture} is left out: {why}" for picture, why in opened.rejected)],
        verdicts=verdicts,
        survey=survey,
    )
    gains, diversity = gains_of(scores, baseline)
    paths = write_report(
        results, output, samples=evaluation.manifest.samples, images=evaluation.image, gains=gains,
        diversity=diversity, entries=gallery,
    )  # fmt: skip
    if as_json:
        print_json({path.name: str(path) for path in paths})
    else:
        _print_written(*paths)
        print_notes(scores, opened.rejected, baseline)
    end(scores, opened, against(scores, baseline, needed=fail_if_worse), fail_if_worse=fail_if_worse)


@app.command()
@handed("opening", make_opened, before="as_json")
def extract(manifest: Manifest, metrics: Metrics = None, as_json: Json = False, *, opening: Open) -> None:
    """Look at all pictures with the models that metrics need, and keep what they see; scoring then takes seconds."""
    from .evaluating_screen import print_rejected
    from .screen import out

    opened = opening(manifest, metrics)
    pictures = len(opened.evaluation.manifest.samples)
    extractors = list(dict.fromkeys(name for metric in opened.metrics for name in metric.needs))
    if as_json:
        print_json({"pictures": pictures, "extractors": extractors, "rejected": dict(opened.rejected)})
        return
    out(f"{pictures:,} pictures, seen by {', '.join(extractors) or 'nobody'}")
    print_rejected(opened.rejected)


@app.command()
def crop(
    manifest: Manifest,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the crops go.")],
    size: Annotated[int, typer.Option(min=8, help="The side of a crop in pixels.")] = 1024,
    each: Annotated[int, typer.Option(min=1, max=1000, help="Crops of each picture.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Where they are taken.")] = 0,
    images: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where the pictures lie, if not beside the manifest.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Cut crops out of large pictures, at their own resolution, so that FID and IS see their details."""
    from ..eval.crops import make_crops
    from ..eval.manifest import read_manifest, write_manifest
    from .evaluating_screen import print_rejected

    known = read_manifest(manifest, images=images)
    own = manifest if manifest.is_dir() else manifest.parent
    if output.resolve() in (own.resolve(), known.folder.resolve()):
        raise InputError(f"{output} holds the pictures that are cut; name another folder for the crops")
    crops = make_crops(known.samples, output, size=size, each=each, seed=seed, pictures=known.folder)
    rejected = tuple((rejection.locator, rejection.reason) for rejection in crops.rejections)
    if not crops.samples:
        raise InputError(f"nothing can be cut: {rejected[0][1]}")
    samples = [replace(sample, image=Path(sample.image).name) for sample in crops.samples]
    path = write_manifest(samples, output / "samples.jsonl")
    if as_json:
        print_json({"crops": len(samples), "manifest": str(path), "rejected": dict(rejected)})
        return
    _print_written(path)
    print_rejected(rejected)


@app.command("metrics")
def list_metrics(as_json: Json = False) -> None:
    """List the metrics, and what each needs."""
    from ..eval.metrics import METRICS
    from .evaluating_screen import print_metrics

    if as_json:
        rows = {
            name: {"told": row.told, "extractor": row.extractor, "reference": row.compares}
            for name, row in METRICS.items()
        }
        print_json(rows)
        return
    print_metrics(METRICS)


app.command()(doctor)
app.command("time")(time_)
app.command()(judge)
app.add_typer(survey, name="survey")


# -------------------------------------------------------------------- what several verbs need


def _print_written(*paths: Path | None) -> None:
    from .screen import out, shown

    for path in paths:
        if path is not None:
            out(f"[green]{shown(str(path))}[/]")


def _surveyed(folder: Path | None) -> Survey | None:
    from ..eval.report import survey_of
    from ..eval.survey import score_survey

    return None if folder is None else survey_of(score_survey(folder))


def _judged(
    manifest: Samples, method: str | None, baseline: str | None, transcripts: Path | None
) -> tuple[Verdict, ...]:
    """Return what a judge said of a method, by transcripts; of those of several judges, what the model set said."""
    from ..eval.gathering import judged
    from ..eval.judge import Transcripts
    from ..eval.judge.judges import llm_judge_name
    from ..settings import home

    if method is None or baseline is None:
        return ()
    path = transcripts or home() / "judge.jsonl"
    kept, model = Transcripts(path), read_settings().llm
    if not kept.judges:
        raise InputError(f"{path} holds no transcripts of a judge; name another file with --transcripts")
    several = len(kept.judges) > 1 and model is not None
    return judged(manifest, method, baseline, kept, judge=llm_judge_name(model) if several and model else None)


def _draw(found: Pareto, output: Path) -> None:
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        found.save(output)
    except OSError as error:
        raise InputError(f"{output} cannot be written: {error.strerror}") from None


def _planned(plan: str, methods: str | None, guidances: str | None, samples: int | None) -> Plan:
    from ..eval.grid import read_plan
    from ..methods import refuse_unknown

    wanted = read_plan(plan)
    if methods is not None:
        if not listed(methods):
            raise typer.BadParameter("names with commas between them", param_hint="--methods")
        wanted = replace(wanted, methods=listed(methods))
    if guidances is not None:
        wanted = replace(wanted, guidances=_numbers(guidances))
    for method in wanted.methods:
        refuse_unknown(method)
    return wanted if samples is None else replace(wanted, samples=samples)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(dict.fromkeys(map(float, listed(text))))
    except ValueError:
        numbers = ()
    if not numbers or not all(0 <= number <= 100 for number in numbers):
        raise typer.BadParameter("numbers from 0 to 100 with commas between them", param_hint="--guidances")
    return numbers


def _prompts(plan: Plan, file: Path | None, limit: int | None) -> list[Prompt]:
    from ..eval.datasets import read_prompts, subsample
    from ..eval.manifest import prompt_id
    from ..eval.records import Prompt

    if file is not None:
        return subsample(read_prompts(file), limit)
    if not plan.prompts:
        raise typer.BadParameter("this plan has no prompts of its own; name a file of them", param_hint="--prompts")
    return [Prompt(id=prompt_id(text), text=text) for text in plan.prompts][:limit]


def _measuring(plan: Plan, output: Path) -> str:
    """Return the command that measures what a plan has painted, less the models that it needs."""
    parts = ["velatura", "eval", "report", str(output), "--output", str(output / "report")]
    parts += ["--metrics", ",".join(plan.metrics)] if plan.metrics else []
    parts += ["--baseline", plan.baseline] if plan.baseline else []
    return shlex.join(parts)


def _filter(velatura: Velatura, choose: Callable[..., Any]) -> Any:
    """Return what may be laid on: files on this machine that the checkpoint can wear, besides what options say."""
    from dataclasses import replace

    found = choose(velatura)
    return replace(found, family=found.family or velatura.backend.family, installed=True)


def _print_plan(plan: Plan, prompts: Sequence[Prompt], *, as_json: bool) -> None:
    from .screen import out

    pictures = plan.cells() * plan.samples * len(prompts)
    names = [variant.name for variant in plan.variants if variant.name]
    if as_json:
        print_json(
            {
                "cells": plan.cells(), "prompts": len(prompts), "samples": plan.samples, "pictures": pictures,
                "methods": list(plan.methods), "guidances": list(plan.guidances), "variants": names,
            }
        )  # fmt: skip
        return
    out(f"{plan.cells():,} cells x {len(prompts):,} prompts x {plan.samples} samples: {pictures:,} pictures at most")
    for what, named in (("methods", plan.methods), ("variants", names)):
        if named:
            out(f"{what}: {', '.join(named)}")
    out("guidances: " + ", ".join("the model's own" if one is None else f"{one:g}" for one in plan.guidances))
