"""The command that hands a composition to a tool that runs: Lora Manager's loaders, and its recipes."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import asdict, replace
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..errors import InputError
from .choosing import composition_in
from .options import Choose, Db, Json, filtered, open_velatura, print_json, warn_unembedded

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..pipeline import Velatura
    from ..records import Composition
    from ..settings import Settings

Target = Annotated[
    Literal["lora-manager", "recipe"],
    typer.Option("--to", help="Lora Manager's loaders in the open workflow, or its folder of recipes."),
]
Mode = Annotated[Literal["append", "replace"], typer.Option(help="Whether what the loader holds stays.")]


@filtered
def push(
    what: Annotated[
        str, typer.Argument(help="A prompt; or a composition's file, ours or another tool's, or - for stdin.")
    ],
    target: Target = "lora-manager",
    server: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Where ComfyUI with Lora Manager runs; by default on this machine, port 8188."
        ),
    ] = None,
    node: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Only this loader, GRAPH:ID in a subgraph. May be repeated; by default all."),
    ] = None,
    mode: Mode = "append",
    recipes: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="With --to recipe: Lora Manager's folder of recipes.")
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --to recipe: the picture that it shows; else WHAT, where that is one."),
    ] = None,
    negative: Annotated[str, typer.Option(help="With --to recipe: a negative prompt.")] = "",
    db: Db = None,
    as_json: Json = False,
    *,
    choose: Choose,
) -> None:
    """Hand a composition to ComfyUI-Lora-Manager: into the loaders of the open workflow, or as a recipe."""
    if (recipes is not None) != (target == "recipe"):
        raise typer.BadParameter("it goes with --to recipe, and that with it", param_hint="--recipes")
    if target == "recipe" and (server or node or mode != "append"):
        raise typer.BadParameter("a recipe is written into a folder; no server is asked", param_hint="--to")
    if target != "recipe" and (picture or negative):
        raise typer.BadParameter("it goes with --to recipe", param_hint="--picture" if picture else "--negative")
    with open_velatura(read_only=True, db=db) as velatura:
        chosen = choose(velatura)
        composition = composition_in(velatura, what)
        if composition is None:
            warn_unembedded(velatura)
            composition = velatura.compose(what, filter=chosen)
        composition = velatura.localised(composition)
        if recipes is not None:
            composition = _digested(velatura, composition)
        settings = velatura.settings
    if not composition.choices:
        typer.echo("note: no adapter serves this, so nothing was handed on", err=True)
    if recipes is None:
        _send(composition, settings, server, node or [], mode, as_json=as_json)
    else:
        _keep(composition, recipes, _shown(what, picture), negative, as_json=as_json)


def _send(
    composition: Composition,
    settings: Settings,
    server: str | None,
    nodes: list[str],
    mode: Literal["append", "replace"],
    *,
    as_json: bool,
) -> None:
    from ..composer.formats import write
    from ..generation.remote.lora_manager import URL, LoraManager, node_of
    from ..plain import to_plain

    named = settings.server if settings.backend == "comfyui" else None
    manager = LoraManager(server or named or URL)
    loaders = [node_of(each) for each in nodes]
    written = write(composition, "lora-manager-text")
    notes = [note for note in written.notes if composition.choices]
    sent = manager.push(written.text, nodes=loaders, mode=mode) if written.text else ()
    if as_json:
        told: dict[str, Any] = {"server": manager.url, "mode": mode, "text": written.text, "notes": notes}
        print_json({**told, "sent": [asdict(each) for each in sent], "composition": to_plain(composition)})
    else:
        _say(notes)
        if written.text:
            typer.echo(written.text)
    for each in sent:
        if each.failure:
            typer.echo(f"error: Lora Manager did not hand it on to node {each.node}: {each.failure}", err=True)
    if any(each.failure for each in sent):
        raise typer.Exit(1)


def _keep(composition: Composition, folder: Path, picture: Image | None, negative: str, *, as_json: bool) -> None:
    from ..composer.formats.recipe_files import keep

    if not composition.choices:
        if as_json:
            print_json({"recipe": None, "picture": None, "notes": []})
        return
    kept = keep(composition, folder, picture, now=time.time(), negative=negative)
    if as_json:
        print_json({"recipe": str(kept.recipe), "picture": str(kept.picture), "notes": list(kept.notes)})
        return
    _say(kept.notes)
    typer.echo(str(kept.recipe))


def _digested(velatura: Velatura, composition: Composition) -> Composition:
    """Return the composition with the SHA-256 of each file: Lora Manager knows its files by it, and others are shared.

    Only files of the catalogue are read, whatever a composition says of itself.
    """
    choices = []
    for choice in composition.choices:
        record, hashes = choice.adapter, choice.adapter.hashes
        number = None if hashes.sha256 else velatura.store.number_of(record)
        path = None if number is None else velatura.store.adapter(number).record.path
        if path is not None and Path(path).is_file():
            with suppress(OSError), Path(path).open("rb") as stream:
                hashes = replace(hashes, sha256=file_digest(stream, "sha256").hexdigest())
        choices.append(replace(choice, adapter=replace(record, hashes=hashes)))
    return replace(composition, choices=tuple(choices))


def _shown(what: str, picture: Path | None) -> Image | None:
    """Return the picture of a recipe: the one that is named, or else what the composition was read from."""
    from ..refiner.picture_file import SUFFIXES, read_picture_file

    if picture is None and Path(what).suffix.lower() in SUFFIXES:
        picture = Path(what)
    if picture is None:
        return None
    if not picture.is_file():
        raise InputError(f"there is no file {picture}")
    return read_picture_file(picture).decode()


def _say(notes: list[str] | tuple[str, ...]) -> None:
    for note in notes:
        typer.echo(f"note: {note}", err=True)
