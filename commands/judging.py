"""The command that has a judge compare the pictures of two methods."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..errors import InputError
from .options import Json, PictureModel, print_json, read_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..eval.judge.judges import Judge
    from ..eval.judge.records import Criterion, Hearing, Share, Trial, Verdict
    from ..eval.judge.transcripts import Transcripts
    from ..settings import Settings

_TRANSCRIPTS = "judge.jsonl"
"""The file of answers in the person's own folder."""


def judge(
    manifest: Annotated[Path, typer.Argument(help="A manifest (.jsonl), or a folder that holds one.")],
    of: Annotated[str, typer.Option(metavar="METHOD", help="The method that is asked about.")],
    against: Annotated[str, typer.Option(metavar="METHOD", help="The method that it is compared with.")],
    criteria: Annotated[
        str, typer.Option(metavar="NAME,...", help="What to judge by.")
    ] = "quality,alignment,diversity",
    guidance: Annotated[
        float | None, typer.Option(help="Of both methods, where the manifest has several guidances.")
    ] = None,
    by: Annotated[
        Literal["llm", "clip"],
        typer.Option(help="Who judges: the language model, which must see pictures, or CLIP, a metric in its place."),
    ] = "llm",
    limit: Annotated[int | None, typer.Option(min=1, help="So many prompts alone, chosen by a digest.")] = None,
    per_prompt: Annotated[
        int, typer.Option(min=1, help="The most pairs of one prompt, but for diversity, which takes five as a group.")
    ] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Decides the order of pairs and sides, and what --limit takes.")] = 0,
    most_calls: Annotated[
        int | None,
        typer.Option(min=0, help="No pair is begun beyond so many calls of the model; 0 replays the transcripts."),
    ] = None,
    transcripts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where answers are kept. Default: judge.jsonl in VELATURA_HOME."),
    ] = None,
    people: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What people said: .csv or .jsonl with prompt_id, criterion, winner."),
    ] = None,
    made_with: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL", help="A model that had a part in the pictures; may be repeated."),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where the pictures lie, if not beside the manifest.")
    ] = None,
    picture_model: PictureModel = None,
    as_json: Json = False,
) -> None:
    """Have a judge compare the pictures of two methods in both orders, and say whether it can be believed."""
    from ..eval.judge import Transcripts, hear, pair_up, reach_verdicts, read_people
    from ..eval.manifest import read_manifest
    from ..settings import home
    from .screen import Progress

    settings: Settings = read_settings(picture_model=picture_model)
    known = read_manifest(manifest, images=images)
    told = read_people(people) if people is not None else None
    pairings = pair_up(
        known.samples, of, against,
        criteria=_criteria(criteria), guidance=guidance, limit=limit, per_prompt=per_prompt, seed=seed,
    )  # fmt: skip
    kept = Transcripts(transcripts or home() / _TRANSCRIPTS)
    opened = _judge(by, settings, kept, replayed=most_calls == 0)
    with Progress(f"judge {of} against {against}") as progress:
        hearing = hear(
            opened, pairings, known.folder,
            transcripts=kept, most_calls=most_calls, workers=settings.workers if by == "llm" else 1,
            told=progress.compared,
        )  # fmt: skip
    verdicts = reach_verdicts(hearing, people=told, makers=made_with or ())
    notes = [*_notes(hearing, kept, by), *known.warnings()]
    if told is not None and not any(verdict.agreement for verdict in verdicts):
        notes.append(f"{people} tells of none of these prompts, criteria and methods")
    if as_json:
        print_json(_plain(hearing, verdicts, notes, settings))
    else:
        _print(hearing, verdicts, notes, settings)


def _criteria(told: str) -> list[Criterion]:
    from ..eval.judge.records import CRITERIA

    names = [name.strip() for name in told.split(",") if name.strip()]
    wrong = next((name for name in names if name not in CRITERIA), None)
    if wrong is not None or not names:
        raise typer.BadParameter(f"{(wrong or told)!r} is none of {', '.join(CRITERIA)}", param_hint="--criteria")
    return [name for name in CRITERIA if name in names]


def _judge(by: str, settings: Settings, transcripts: Transcripts, *, replayed: bool) -> Judge:
    """Open the judge that is asked for.

    Raises:
        InputError: no model is named for it, or it cannot be opened.
        MissingDependency: a package that it needs is not installed.
    """
    from ..eval.judge import ClipJudge, LlmJudge, ReplayJudge

    if by == "clip":
        from ..eval.extract.clip import Clip

        if settings.picture_model is None:
            raise InputError("no CLIP model is named; give --picture-model, or set VELATURA_PICTURE_MODEL")
        device = settings.device or "cpu"
        return ClipJudge(Clip(settings.picture_model, device=device, local_files_only=settings.offline))
    if replayed:
        return ReplayJudge(transcripts, None if settings.llm is None else _replayed(settings.llm, transcripts))
    from ..wiring import open_language_model

    if settings.llm is None:
        raise InputError(
            "no language model is named; set VELATURA_LLM to the name of one that sees pictures, as its server has "
            "it, or let a metric judge with --by clip"
        )
    return LlmJudge(open_language_model(settings))


def _replayed(model: str, transcripts: Transcripts) -> str:
    """Return the name under which a language model answered, on whichever server.

    Raises:
        InputError: it answered on several.
    """
    from ..eval.judge.judges import llm_judge_name
    from ..eval.judge.records import HOST

    name = llm_judge_name(model)
    known = [judge for judge in transcripts.judges if judge == name or judge.startswith(name + HOST)]
    if len(known) > 1:
        raise InputError(f"the transcripts are of {', '.join(known)}; they can be replayed where they are of one judge")
    return known[0] if known else name


def _notes(hearing: Hearing, transcripts: Transcripts, by: str) -> list[str]:
    """Return what a reader of the verdicts should know besides."""
    pairings = hearing.pairings
    unread = [skip for skip in hearing.skipped if not skip.is_unasked]
    unasked = [skip for skip in hearing.skipped if skip.is_unasked]
    identical = sum(trial.answers is None for trial in hearing.trials)
    notes = [f"asked in both orders; orders of pairs and sides by the seed {pairings.seed}"]
    if by == "clip":
        notes.append("CLIP is a metric, not a judge: it says what the CLIP score says, and is no second opinion")
    if identical:
        notes.append(f"{identical:,} pairs are the same pictures: ties, about which nobody was asked")
    if unasked:
        notes.append(f"{len(unasked):,} of {len(pairings.pairs):,} pairs were not judged: {unasked[0].reason}")
    useless = [answer for trial in hearing.trials for answer in trial.answers or () if answer.choice == "unusable"]
    if useless:
        notes.append(f"{len(useless):,} answers were of no use: {useless[0].reason}")
    if unread:
        notes.append(f"{len(unread):,} pairs were left out: {unread[0].reason}")
    if pairings.unpaired:
        notes.append(f"{pairings.unpaired:,} pictures have no counterpart of the other method")
    if pairings.too_few:
        notes.append(f"{pairings.too_few:,} prompts have fewer than two pairs, so that no diversity can be judged")
    if transcripts.damaged:
        notes.append(f"{transcripts.damaged:,} lines of {transcripts.path} are damaged and were passed over")
    return notes


# -------------------------------------------------------------------- what is printed


def _plain(hearing: Hearing, verdicts: Sequence[Verdict], notes: Sequence[str], settings: Settings) -> dict[str, Any]:
    return {
        "judge": hearing.judge,
        "of": asdict(hearing.pairings.of),
        "against": asdict(hearing.pairings.against),
        "seed": hearing.pairings.seed,
        "verdicts": [
            {**asdict(verdict), "wins": verdict.wins, "hollow": verdict.is_hollow, "hollow_for": verdict.hollow_for}
            for verdict in verdicts
        ],
        "notes": list(notes),
        "asked": hearing.asked,
        "kept": hearing.kept,
        "usage": asdict(hearing.usage),
        "cost": settings.cost(hearing.usage),
        "trials": [_plain_trial(trial) for trial in hearing.trials],
        "skipped": [
            {"criterion": skip.pairing.criterion, "prompt_id": skip.pairing.prompt_id, "reason": skip.reason}
            for skip in hearing.skipped
        ],
    }


def _plain_trial(trial: Trial) -> dict[str, Any]:
    pairing = trial.pairing
    orders = zip(("of", "against"), trial.answers or (), strict=False)
    answers = [
        {"first": first, "choice": answer.choice, "reason": answer.reason, "scores": answer.scores}
        for first, answer in orders
    ]
    return {
        "criterion": pairing.criterion,
        "prompt_id": pairing.prompt_id,
        "index": pairing.index,
        "outcome": trial.outcome,
        "answers": answers if pairing.of_is_asked_first else answers[::-1],
    }


def _print(hearing: Hearing, verdicts: Sequence[Verdict], notes: Sequence[str], settings: Settings) -> None:
    from rich.table import Table

    from .choice_screen import print_usage
    from .screen import console, out, shown

    pairings = hearing.pairings
    out(
        f"[bold]{shown(str(pairings.of))}[/] against [bold]{shown(str(pairings.against))}[/], by {shown(hearing.judge)}"
    )
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for verdict in verdicts:
        table.add_column(verdict.criterion, justify="right")
    columns = [_rows(verdict) for verdict in verdicts]
    for name in columns[0] if columns else ():
        table.add_row(name, *(column[name] for column in columns))
    console().print(table)
    for verdict in verdicts:
        out(f"{verdict.criterion}: {_conclusion(verdict)}")
        for doubt in verdict.doubts:
            out(f"[yellow]  {shown(doubt.text)}[/]")
    for note in notes:
        out(f"[dim]{shown(note)}[/]")
    out(f"[dim]{hearing.asked:,} questions were asked, {hearing.kept:,} answered from the transcripts[/]")
    print_usage(hearing.usage, settings)


def _rows(verdict: Verdict) -> dict[str, str]:
    """Return what is told of a verdict, by name."""
    net = "-" if verdict.net is None else f"{verdict.net:+.2f}"
    if verdict.net_interval is not None:
        net += f" ({verdict.net_interval[0]:+.2f} to {verdict.net_interval[1]:+.2f})"
    rows = {
        "win / tie / lose": f"{verdict.prompts.win} / {verdict.prompts.tie} / {verdict.prompts.lose}",
        "refused, unusable": f"{verdict.prompts.refused}, {verdict.prompts.unusable}",
        "wins of the decided": _told(verdict.share),
        "p, and by Holm": f"{_number(verdict.p)}, {_number(verdict.p_holm)}",
        "wins and half the ties": "-" if verdict.half_ties is None else f"{verdict.half_ties:.0%}",
        "wins less losses": net,
        "same when swapped (coin 50%)": _told(verdict.consistency),
        "the same, with ties in both": f"{_told(verdict.same)}, {verdict.both_tied:,} ties" if verdict.same else "-",
        "names the first side": _told(verdict.first),
        "least share to be seen": "-" if verdict.detectable is None else f"{verdict.detectable:.0%}",
        "mean scores, 0 to 2": "-" if verdict.scores is None else " against ".join(f"{x:.2f}" for x in verdict.scores),
    }
    found = verdict.agreement
    kappa = "-" if found is None or found.kappa is None else f"{found.kappa:.2f} over {found.n}"
    return rows | {"kappa with people": kappa}


def _conclusion(verdict: Verdict) -> str:
    from .screen import shown

    if verdict.is_hollow:
        return f"[red]not to be believed[/]: {'; '.join(verdict.hollow_for)}"
    if verdict.wins is None:
        return "no winner"
    winner, loser = (verdict.of, verdict.against) if verdict.wins == "of" else (verdict.against, verdict.of)
    return f"[green]{shown(str(winner))} wins[/] against {shown(str(loser))}"


def _told(share: Share | None) -> str:
    return "-" if share is None else f"{share.value:.0%} ({share.low:.0%} to {share.high:.0%})"


def _number(p: float | None) -> str:
    return "-" if p is None else f"{p:.2g}"
