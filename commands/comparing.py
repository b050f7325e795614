"""The command that shows what each adapter brings to a prompt."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from .choosing import Composer, composition_in
from .generating import composition_for
from .options import Commercial, Db, Json, PictureModel, Safe, handed, make_filter, open_velatura, print_json
from .paint_options import Fields, Flags, make_fields, make_flags

if TYPE_CHECKING:
    from ..comparison import Comparison
    from ..pipeline import Velatura
    from ..records import Composition, Filter

_LARGEST = 10.0
"""Of weights and factors."""
_MOST_WEIGHTS = 20


@handed("flags", make_flags, before="composer")
@handed("fields", make_fields, before="composer")
def compare(
    prompt: Annotated[str, typer.Argument(help="A prompt; or a composition's file, ours or another tool's, or -.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the sheet and the pictures go.")
    ] = Path("velatura-compare"),
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHAT:WEIGHT",
            help="Compare this one (number, file, title, hash, civitai id) instead of what the composer chooses; "
            "without a weight, at the one it is advised at. May be repeated.",
        ),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(
            metavar="W,W,...",
            help="Each alone at these weights, and all at these times theirs; else 0.25,0.5,0.75,1,1.25.",
        ),
    ] = None,
    no_sweep: Annotated[bool, typer.Option("--no-sweep", help="Only without, together, and each alone.")] = False,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=64, help="How many seeds: a row for each.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The first seed; the next ones count up.")] = 0,
    composer: Composer = None,
    commercial: Commercial = None,
    safe: Safe = False,
    picture_model: PictureModel = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Paint also what is there already.")] = False,
    db: Db = None,
    as_json: Json = False,
    *,
    fields: Fields,
    flags: Flags,
) -> None:
    """Paint a prompt without adapters, with all, with each alone and over their weights, on one labelled sheet.

    All from the same noise. With a picture model, the CLIP score stands below each picture. It goes on where it was
    stopped, and exits with 1 when a picture could not be painted.
    """  # fmt: skip
    from ..comparison import SWEEP, sheet_name
    from ..comparison import compare as paint
    from ..comparison_sheet import draw_sheet
    from ..generation.runs.manifest import replace_file
    from ..protocols import Watch
    from .screen import Progress, out, print_composition, shown

    weights = () if no_sweep else SWEEP if sweep is None else _weights(sweep)
    given = fields()
    with open_velatura(
        read_only=True, db=db, composer=composer, picture_model=picture_model, **flags()
    ) as velatura:  # fmt: skip
        if adapter:
            chosen = make_filter(velatura, commercial=commercial, safe=safe)
            composition = _named(velatura, prompt, adapter, chosen)
        else:
            composition = composition_for(velatura, prompt, given, commercial=commercial, safe=safe)
        if not as_json:
            print_composition(composition)
        with Progress("compare") as progress:
            comparison = paint(
                velatura, composition, output, seeds=range(seed, seed + count), sweep=weights, fields=given,
                overwrite=overwrite, watch=Watch(progress=progress.painted),
            )  # fmt: skip
    sheet = output / sheet_name(comparison)
    replace_file(sheet, draw_sheet(comparison))
    if as_json:
        print_json(_plain(comparison, composition, sheet))
    else:
        told = comparison.run
        out(f"{told.painted:,} painted, {told.kept:,} were there: [green]{shown(str(sheet))}[/]")
    for error, count in Counter(entry.error for entry in comparison.run.failed).items():
        typer.echo(f"failed: {count:,} of {len(comparison.run.entries):,} pictures: {error}", err=True)
    if comparison.run.failed:
        raise typer.Exit(1)


def _named(velatura: Velatura, prompt: str, adapters: Sequence[str], chosen: Filter) -> Composition:
    from ..comparison import named_adapters
    from ..words import words

    if composition_in(velatura, prompt) is not None:
        raise InputError(
            f"{prompt} is a composition, which has its own adapters; give a prompt, or leave out --adapter"
        )
    if not words(prompt):
        raise InputError("the prompt has no words")
    return named_adapters(velatura, prompt, [_weighted(velatura, text) for text in adapters], filter=chosen)


def _weighted(velatura: Velatura, text: str) -> tuple[str, float | None]:
    """Part `WHAT:WEIGHT`; a name that is known as it stands has no weight in it."""
    name, colon, told = text.rpartition(":")
    if not colon or velatura.store.find(text):
        return text, None
    try:
        weight = float(told)
    except ValueError:
        return text, None
    if not (math.isfinite(weight) and abs(weight) <= _LARGEST):
        raise typer.BadParameter(f"{told} is no weight from -10 to 10", param_hint="--adapter")
    return name, weight


def _weights(text: str) -> tuple[float, ...]:
    try:
        found = tuple(dict.fromkeys(float(part) for part in text.split(",") if part.strip()))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not numbers with commas between them", param_hint="--sweep") from None
    if not found or len(found) > _MOST_WEIGHTS or not all(abs(weight) <= _LARGEST for weight in found):
        raise typer.BadParameter(f"one to {_MOST_WEIGHTS} weights from -10 to 10", param_hint="--sweep")
    return found


def _plain(comparison: Comparison, composition: Composition, sheet: Path) -> dict[str, Any]:
    from ..plain import to_plain

    panels = []
    for panel, pictures in zip(comparison.panels, comparison.pictures, strict=True):
        columns = []
        for column, row in zip(panel.columns, pictures, strict=True):
            laid = [
                {"title": choice.adapter.title, "weight": choice.weight} for choice in column.composition.choices
            ]  # fmt: skip
            shown = [
                {"seed": one.seed, "image": one.path and str(one.path), "clip": one.score, "error": one.error}
                for one in row
            ]
            columns.append({"label": column.label, "adapters": laid, "pictures": shown})
        panels.append({"title": panel.title, "columns": columns})
    told = comparison.run
    return {
        **to_plain(composition), "sheet": str(sheet), "painted": told.painted, "kept": told.kept,
        "clip_model": comparison.clip, "panels": panels,
    }  # fmt: skip
