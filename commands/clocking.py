"""The command that times every stage between a prompt and its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from .choosing import Composer
from .options import Choose, Db, Json, filtered, handed, open_velatura, print_json, warn_unembedded
from .paint_options import Fields, Flags, make_fields, make_flags

if TYPE_CHECKING:
    from ..eval.tables import Cell, Table
    from ..eval.timing import Times
    from ..timed_stages import Measured

_LARGEST_BATCH = 256


@handed("flags", make_flags, before="composer")
@handed("fields", make_fields, before="composer")
@filtered
def time_(
    prompts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Prompts, in any form that `eval run` reads; else a few of ours."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="So many prompts, chosen by a digest.")] = None,
    batches: Annotated[str, typer.Option(metavar="N,N,...", help="Pictures that are painted at once.")] = "1,2,4",
    repeats: Annotated[
        int, typer.Option(min=1, max=1000, help="How often adapters are laid on and pictures painted, per prompt.")
    ] = 3,
    composer: Composer = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Draw the figure: .png or .svg.")
    ] = None,
    db: Db = None,
    as_json: Json = False,
    *,
    fields: Fields,
    flags: Flags,
    choose: Choose,
) -> None:
    """Time every stage: retrieve, compose, load adapters, lay them on the weights, generate; and what they add.

    Medians and quartiles on your own catalogue and checkpoint, with adapter files cold and warm, by batch size. A
    language model that composes is asked once for each prompt, and once before.
    """
    from ..eval.timing import overheads, stacks_of, timings_of
    from ..timed_stages import measure_stages, prompts_for
    from .evaluating_screen import print_table
    from .screen import Progress, out, shown

    sizes, given = _sizes(batches), {name: value for name, value in fields().items() if value not in (None, "")}
    _refuse_other_figures(output)
    opening = {**flags(), "batch": max(sizes), "laying": "weights"}
    with open_velatura(read_only=True, db=db, composer=composer, **opening) as velatura:
        warn_unembedded(velatura)
        chosen = choose(velatura)
        family = velatura.backend.family
        chosen = replace(chosen, family=chosen.family or family, installed=True)
        asked = _prompts(prompts, limit) or prompts_for(family)[:limit]
        with Progress("time") as progress:
            measured = measure_stages(
                velatura, asked, filter=chosen, batches=sizes, repeats=repeats, fields=given, told=progress.compared
            )
        names = {"model": velatura.settings.model, "composer": velatura.composing.picker.name}
    if as_json:
        print_json(
            {
                **names,
                "prompts": measured.prompts,
                "adapters": list(measured.adapters),
                "timings": [asdict(one) for one in timings_of(measured.times, "velatura")],
                "overheads": [asdict(one) for one in overheads(measured.times)],
                "left_out": [{"prompt": prompt, "error": why} for prompt, why in measured.left_out],
                "notes": list(measured.notes),
                "figure": None if output is None else str(output),
            }
        )
    else:
        print_table(_table(measured, sizes))
        _print_rest(measured)
    # Last, so that what was measured is told whatever becomes of the figure.
    if output is not None:
        from ..eval.plots import stacked_figure

        title = "Median seconds by stage; in brackets what choosing adds"
        stacked_figure(stacks_of(measured.times), title=title).save(output)
        if not as_json:
            out(f"[green]{shown(str(output))}[/]")


def _sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = sorted({int(part) for part in text.split(",") if part.strip()})
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not whole numbers with commas", param_hint="--batches") from None
    if not sizes or sizes[0] < 1 or sizes[-1] > _LARGEST_BATCH:
        raise typer.BadParameter(f"one or more numbers from 1 to {_LARGEST_BATCH}", param_hint="--batches")
    return tuple(sizes)


def _refuse_other_figures(output: Path | None) -> None:
    """Refuse what cannot be drawn before anything is measured."""
    if output is None:
        return
    if output.suffix.lower() not in (".png", ".svg"):
        raise InputError(f"a figure is saved as .png or .svg, not as {output.suffix or 'a file without an ending'}")
    if not output.absolute().parent.is_dir():
        raise InputError(f"there is no folder {output.parent} for the figure")
    if output.is_dir():
        raise InputError(f"{output} is a folder; give the figure another name")


def _prompts(file: Path | None, limit: int | None) -> list[str]:
    from ..eval.datasets import read_prompts, subsample

    return [] if file is None else [prompt.text for prompt in subsample(read_prompts(file), limit)]


def _table(measured: Measured, sizes: Sequence[int]) -> Table:
    """Return the seconds: a row for each stage, of what is done once a prompt and of each batch size."""
    from ..eval.tables import Number, Table
    from ..eval.timing import TITLES, overheads

    rows: list[tuple[Cell, ...]] = []
    for name, warm in dict.fromkeys((one.stage, one.warm) for one in measured.times):
        own = {one.batch: one for one in measured.times if (one.stage, one.warm) == (name, warm)}
        cells = [_seconds(own.get(batch)) for batch in (None, *sizes)]
        rows.append((TITLES[name] + _state(warm), *cells, next(iter(own.values())).n))
    found = overheads(measured.times)
    for warm in dict.fromkeys(one.warm for one in found):
        percents = {one.batch: one.percent for one in found if one.warm == warm}
        cells = [Number(value=percents[size], digits=1) for size in sizes]
        rows.append((f"added, %{_state(warm)}", None, *cells, None))
    notes = ["seconds: medians, ± half of what lies between the quartiles; what is added, in % of generating without"]
    language = next((one for one in measured.times if one.tokens is not None), None)
    if language is not None:
        cost = "" if language.cost is None else f", cost {language.cost:.4f}"
        notes.append(f"the language model read and wrote {language.tokens:,.0f} tokens a prompt{cost}")
    columns = ("stage", "once a prompt", *(f"batch {size}" for size in sizes), "n")
    return Table(columns=columns, rows=tuple(rows), notes=tuple(notes))


def _seconds(times: Times | None) -> Any:
    from ..eval.tables import Number

    if times is None:
        return None
    low, high = times.quartiles
    return Number(value=times.median, error=(high - low) / 2) if high > low else Number(value=times.median)


def _state(warm: bool | None) -> str:
    return {True: ", warm", False: ", cold", None: ""}[warm]


def _print_rest(measured: Measured) -> None:
    from ..eval.anchors import anchors
    from .screen import out

    paper = ", ".join(f"{row.values['overhead']:g} % at {row.group}" for row in anchors()["stylus-time"].rows)
    mean = sum(measured.adapters) / measured.prompts
    out(f"[dim]{measured.prompts:,} prompts, {mean:.1f} adapters each; Stylus's paper tells of {paper}[/]")
    for note in measured.notes:
        typer.echo(f"note: {note}", err=True)
    for prompt, why in measured.left_out:
        typer.echo(f"left out: {prompt}: {why}", err=True)
