"""The commands that ask people: make a survey, collect what comes back, score it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .options import Json, print_json

if TYPE_CHECKING:
    from ..eval.survey.records import Plan

survey = typer.Typer(
    name="survey",
    help="Ask people which pictures are better: one blinded page without a server, a sealed key, and figures.",
    no_args_is_help=True,
)

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Where `survey make` wrote the survey.")]


@survey.command()
def make(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="JSON Lines, a picture a line, or its folder.")],
    methods: Annotated[
        str, typer.Option(metavar="A,B,...", help="The methods to compare; NAME@GUIDANCE where one has several.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the survey is written.")],
    questions: Annotated[
        Literal["pairs", "ranks", "groups"],
        typer.Option(help="pairs: which of two; ranks: all in order; groups: rate diversity, choose style and prompt."),
    ] = "pairs",
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="Prompts at most.")] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Takes prompts for --limit; draws the rest with a secret of the key.")
    ] = 0,
    raters: Annotated[int, typer.Option(min=1, max=1000, help="Raters of each item, each filling in one form.")] = 3,
    tasks: Annotated[int, typer.Option(min=1, max=1000, help="About how many questions one form asks at most.")] = 40,
    checks: Annotated[int, typer.Option(min=0, max=20, help="Attention checks on each form.")] = 2,
    repeats: Annotated[int, typer.Option(min=0, max=20, help="Prompts of each form that are asked twice.")] = 2,
    pictures: Annotated[
        int | None, typer.Option(min=2, max=36, help="Pictures in a group, where groups are shown.")
    ] = None,
    reference: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A picture that likeness is asked to, shown first. May be repeated."),
    ] = None,
    side: Annotated[int, typer.Option(min=32, max=2048, help="Pixels of the longer side of pictures, at most.")] = 512,
    title: Annotated[str, typer.Option(help="Of the page; must not tell what is compared.")] = (
        "Which pictures do you prefer?"
    ),
    as_json: Json = False,
) -> None:
    """Write survey.html for the raters, plan.json to publish before anybody answers, and key.json to keep."""
    from ..eval.manifest import read_manifest
    from ..eval.survey import make_survey
    from ..eval.survey.design import Load
    from .screen import Progress

    read = read_manifest(manifest)
    with Progress("pictures") as progress:
        plan = make_survey(
            read.samples,
            [name.strip() for name in methods.split(",") if name.strip()],
            questions,
            output,
            folder=read.folder,
            references=reference or (),
            limit=limit,
            seed=seed,
            load=Load(raters=raters, tasks=tasks, checks=checks, repeats=repeats),
            pictures=pictures,
            side=side,
            title=title,
            progress=progress.compared,
        )
    print_json(_plain(plan, output)) if as_json else _print_made(plan, output)


@survey.command()
def collect(
    folder: Folder,
    answers: Annotated[
        list[Path], typer.Argument(metavar="ANSWERS...", help="Files that raters saved, or folders of such.")
    ],
    as_json: Json = False,
) -> None:
    """Read raters' files into the survey's answers.jsonl, beside what it has. What cannot be used is told."""
    from dataclasses import asdict

    from ..eval.survey import collect_answers
    from .screen import out, shown

    found = collect_answers(folder, answers)
    if as_json:
        told = asdict(found) | {"submissions": len(found.submissions)}
        print_json(told)
        return
    out(
        f"{found.added} forms added, {found.replaced} replaced by fuller ones, {found.repeated} known already; "
        f"{len(found.submissions)} in all, of {len({said.rater for said in found.submissions})} raters"
    )
    for path, reason in found.rejected:
        out(f"[red]not used[/] {shown(path)}: {shown(reason)}")
    for path, reason in found.dropped:
        out(f"[yellow]left out[/] of {shown(path)}: {shown(reason)}")


@survey.command()
def score(folder: Folder, as_json: Json = False) -> None:
    """Join the answers with the key: who was preferred, how surely, and how far raters agreed."""
    from ..eval.survey import score_survey
    from ..eval.survey.results import plain_score
    from ..eval.survey.table import score_lines
    from .screen import out, shown

    found = score_survey(folder)
    if as_json:
        print_json(plain_score(found))
        return
    for line in score_lines(found):
        out(shown(line))


def _plain(plan: Plan, output: Path) -> dict[str, Any]:
    return {
        "page": str(output / "survey.html"),
        "plan": str(output / "plan.json"),
        "key": str(output / "key.json"),
        "forms": [{"form": name, "tasks": tasks} for name, tasks in plan.forms],
        "items": plan.items,
        "prompts": plan.prompts,
        "pictures": plan.pictures,
        "methods": list(plan.methods),
        "notes": list(plan.notes),
    }


def _print_made(plan: Plan, output: Path) -> None:
    from .screen import out, shown

    few, many = min(tasks for _, tasks in plan.forms), max(tasks for _, tasks in plan.forms)
    out(f"[green]{shown(str(output / 'survey.html'))}[/] goes to the raters; nothing in it names a method")
    out(f"[green]{shown(str(output / 'plan.json'))}[/] holds questions and rules; publish it before anybody answers")
    out(f"[green]{shown(str(output / 'key.json'))}[/] tells whose pictures are which; keep it to yourself")
    asked = f"{few}" if few == many else f"{few} to {many}"
    out(f"{plan.prompts:,} prompts, {plan.items:,} items; forms of {asked} tasks, {plan.raters} raters for each item")
    out(f"give each rater a form of their own: survey.html#1 to survey.html#{len(plan.forms)}")
    for note in plan.notes:
        out(f"[yellow]note[/] {shown(note)}")
