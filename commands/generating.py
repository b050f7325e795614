"""The commands that paint, and say beforehand what painting takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from ..gates import hold
from . import choosing
from .choosing import Composer, MaskScheme, Weighted
from .options import (
    Address,
    Commercial,
    Db,
    Engine,
    Json,
    Safe,
    engine_flags,
    handed,
    make_filter,
    open_velatura,
    warn_unembedded,
)
from .paint_options import Checkpoint, Device, Fields, Flags, Force, Precision, make_fields, make_flags

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..pipeline import Velatura
    from ..protocols import Watch
    from ..records import Composition
    from .screen import Progress


@handed("flags", make_flags, before="composer")
@handed("fields", make_fields, before="composer")
def generate(
    what: Annotated[
        str,
        typer.Argument(
            help="A prompt; or a composition's file, ours or another tool's, or -. Without words, --image is asked."
        ),
    ],
    output: Annotated[str | None, typer.Option("--output", "-o", metavar="FOLDER", help="Where pictures go.")] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=10_000, help="How many pictures.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The first picture's seed; the next ones count up.")] = 0,
    composer: Composer = None,
    masks: Annotated[
        bool, typer.Option("--masks", help="Another choice of the adapters for each picture, so that they differ.")
    ] = False,
    mask_scheme: MaskScheme = "paper",
    weighted: Weighted = False,
    commercial: Commercial = None,
    safe: Safe = False,
    preview: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A small picture of what is being painted, renewed as it goes.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace pictures of the same name.")] = False,
    engine: Engine = None,
    address: Address = None,
    db: Db = None,
    as_json: Json = False,
    *,
    fields: Fields,
    flags: Flags,
) -> None:
    """Paint a prompt with adapters chosen for it, or a composition as it stands in a file."""
    from .paint_screen import print_plan
    from .screen import Progress, print_composition, print_paths

    given = fields()
    opened = {**flags(), **engine_flags(engine, address)}
    with open_velatura(read_only=True, db=db, output=output, composer=composer, **opened) as velatura:
        if preview is not None and velatura.settings.engine != "local":
            raise InputError("a preview is shown where it is painted: leave out --preview, or take --engine local")
        composition = composition_for(velatura, what, given, commercial=commercial, safe=safe)
        if not as_json:
            print_composition(composition)
        request = velatura.request(composition, seed=seed, **given)
        painting = velatura.painting
        if not as_json and (planned := painting.plan(request, timed=True)) is not None:
            print_plan(painting.backend.complete(request), planned, as_json=False)
        with Progress("paint") as progress:
            watch = _watch(progress, preview, overwrite=overwrite)
            if masks:
                requests = velatura.varied(request, count, scheme=mask_scheme, weighted=weighted)
                painted = painting.paint_each(requests, overwrite=overwrite, watch=watch)
            else:
                painted = painting.paint(request, count=count, overwrite=overwrite, watch=watch)
            paths = [path for path, _ in sorted(painted, key=lambda made: made[1].seed)]
        print_paths(composition, paths, as_json=as_json)


def repaint(
    picture: Annotated[Path, typer.Argument(help="A PNG that Velatura painted.")],
    model: Checkpoint = None,
    output: Annotated[str | None, typer.Option("--output", "-o", metavar="FOLDER", help="Where it goes.")] = None,
    device: Device = None,
    dtype: Precision = None,
    force: Force = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a picture of the same name.")] = False,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Paint a picture of ours again, as its story says: the same adapters, seed, steps and all the rest."""
    from ..generation import read_story, request_of
    from .screen import Progress, print_paths

    story = read_story(picture)
    request = request_of(story)
    if not isinstance(story.get("seed"), int):
        raise InputError(f"{picture.name} does not tell its seed")
    with open_velatura(
        read_only=True, db=db, model=model or request.model, backend=request.backend or None, output=output,
        device=device, dtype=dtype, force=force or None,
    ) as velatura:  # fmt: skip
        composition = velatura.localised(request.composition)
        if composition.choices:
            hold(velatura.store, composition, make_filter(velatura))
        request = replace(request, model=str(velatura.settings.model), composition=composition, seed=story["seed"])
        with Progress("paint") as progress:
            watch = _watch(progress, None, overwrite=overwrite)
            paths = [path for path, _ in velatura.paint(request, overwrite=overwrite, watch=watch)]
        print_paths(composition, paths, as_json=as_json)


def checkpoints(as_json: Json = False) -> None:
    """List the checkpoints that are known by name, with what paints with them and how."""
    from ..generation.known import known
    from .paint_screen import print_checkpoints

    print_checkpoints(known(), as_json=as_json)


@handed("fields", make_fields, before="timed")
def plan(
    model: Checkpoint = None,
    timed: Annotated[bool, typer.Option(help="Try the model a few times, to estimate the time too.")] = True,
    device: Device = None,
    dtype: Precision = None,
    as_json: Json = False,
    *,
    fields: Fields,
) -> None:
    """Say what a picture larger than the model's own takes: passes through the model, tiles, time. Paints nothing."""
    from ..records import Composition
    from .paint_screen import print_plan

    given = fields()
    with open_velatura(model=model, backend="demofusion", device=device, dtype=dtype) as velatura:
        request = velatura.backend.complete(velatura.request(Composition(prompt=""), **given))
        found = velatura.painting.plan(request, timed=timed)
        if found is None:
            raise InputError("a plain upscaler has no plan: it paints one picture of the model's own size")
        print_plan(request, found, as_json=as_json)


def composition_for(
    velatura: Velatura, what: str, given: dict[str, Any], *, commercial: Commercial, safe: bool
) -> Composition:
    """Return the composition that a command paints: the one in a file, or one for a prompt.

    Raises:
        InputError: the prompt has no words, or pins an adapter that is not in the catalogue.
    """
    composition = choosing.composition_in(velatura, what)
    if composition is not None:
        gates = make_filter(velatura, commercial=commercial, safe=safe)
        hold(velatura.store, velatura.localised(composition), gates)
        return composition
    [composition] = compose(velatura, [what], given, commercial=commercial, safe=safe)
    return composition


def compose(
    velatura: Velatura, prompts: list[str], given: dict[str, Any], *, commercial: Commercial, safe: bool
) -> list[Composition]:
    """Return a composition for each prompt, of adapters that are here and fit the checkpoint.

    A prompt without words is that of the picture to start from, where there is one.

    Raises:
        InputError: a prompt has no words, or pins an adapter that is not in the catalogue.
    """
    from ..resolve import PROMPT
    from ..words import words

    if not prompts:
        return []
    if not all(map(words, prompts)) and given.get("start") is not None:
        seen = velatura.interrogate(given["start"].picture.path).prompt
        typer.echo(f"note: the picture is taken for: {seen}", err=True)
        prompts = [prompt if words(prompt) else seen for prompt in prompts]
    if not all(map(words, prompts)):
        raise InputError("the prompt has no words" if len(prompts) == 1 else "a prompt has no words")
    chosen = make_filter(velatura, family=velatura.backend.family, commercial=commercial, safe=safe, installed=True)
    warn_unembedded(velatura)
    compositions = list(velatura.compose_all(prompts, filter=chosen))
    for composition in compositions:
        unknown = [refusal.adapter.title for refusal in composition.refused if refusal.adapter.source == PROMPT]
        if unknown:
            raise InputError(f"no file in the catalogue is called {unknown[0]!r}, which the prompt pins by <lora:>")
    return compositions


def _watch(progress: Progress, preview: Path | None, *, overwrite: bool) -> Watch:
    from ..protocols import Watch

    if preview is None:
        return Watch(progress=progress.painted)
    if not preview.absolute().parent.is_dir():
        raise InputError(f"there is no folder {preview.parent} for the preview")
    if preview.exists() and not overwrite:
        raise InputError(f"{preview} is there already; give the preview another name, or --overwrite")

    def renew(_: int, picture: Image) -> None:
        unfinished = preview.with_name(f".{preview.name}.part")
        picture.save(unfinished, "PNG")
        unfinished.replace(preview)

    return Watch(progress=progress.painted, preview=renew)
