"""The command `watch`: folders are indexed as their files come, change and go."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import VelaturaError
from .options import Db, Json, folders_of, open_velatura, print_json

if TYPE_CHECKING:
    from ..db import SyncReport
    from ..pipeline import Velatura
    from ..watcher import Look


def watch(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FOLDER", help="Folders of adapters; those of the settings by default."),
    ] = None,
    db: Db = None,
    settle: Annotated[
        float, typer.Option(min=0.1, max=3600, help="Seconds for which a file must be still before it is read.")
    ] = 2.0,
    poll: Annotated[
        float | None,
        typer.Option(min=0.1, max=86_400, help="Look every so many seconds, for drives that do not tell of changes."),
    ] = None,
    embed: Annotated[bool, typer.Option(help="Embed the texts too, so that search goes by meaning.")] = True,
    weights: Annotated[
        bool, typer.Option("--weights", help="Also measure how strong local files are, and which do the same.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Keep the catalogue in step with folders while their files come, change and go. Ends with Ctrl-C."""
    from ..watcher import Watcher
    from .screen import Progress

    with _terminable() as was_terminated, open_velatura(db=db) as velatura:
        named = folders_of(velatura, folders)
        shown = Progress("index")
        watcher = Watcher(
            velatura,
            named,
            settle=settle,
            poll=poll,
            texts=embed and _has_embedder(velatura),
            pictures=embed and _has_picture_model(velatura),
            weights=weights,
            progress=shown.synced,
        )
        velatura.store  # noqa: B018 - a catalogue that cannot be opened is told at once
        first = True

        def tell(look: Look) -> None:
            nonlocal first
            if first:
                shown.__exit__(None, None, None)
            _print_look(look, is_first=first, as_json=as_json)
            first = False

        try:
            shown.__enter__()
            watcher.run(tell)
        except KeyboardInterrupt:
            if not was_terminated:
                raise
        finally:
            shown.__exit__(None, None, None)


@contextmanager
def _terminable() -> Iterator[list[int]]:
    """Have SIGTERM interrupt the work as Ctrl-C does; yields a list that holds the signal once it came."""
    came: list[int] = []

    def interrupt(number: int, _: FrameType | None) -> None:
        came.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before)


def _has_embedder(velatura: Velatura) -> bool:
    lacking = velatura.lacking_embedder()
    if lacking:
        typer.echo(f"note: nothing is embedded, and search goes by words alone: {lacking}", err=True)
    return not lacking


def _has_picture_model(velatura: Velatura) -> bool:
    if velatura.settings.picture_model is None:
        return False
    try:
        velatura.picture_embedder  # noqa: B018 - opening it is the question
    except VelaturaError as error:
        typer.echo(f"note: no pictures are embedded: {error}", err=True)
        return False
    return True


# -------------------------------------------------------------------- what is shown


def _print_look(look: Look, *, is_first: bool, as_json: bool) -> None:
    """Tell of a look: a line of JSON on stdout, or lines for people on stderr."""
    if as_json:
        print_json(asdict(look))
        return
    lines = [f"{folder}: {_counts(report)}" for folder, report in look.folders.items() if is_first or _moves(report)]
    lines += [f"read {path}" for path in look.read if not is_first]
    lines += [f"gone {path}" for path in look.gone]
    lines += [f"still being written: {path}" for path in look.waiting]
    if look.embedded is not None and look.embedded.adapters:
        lines.append(f"embedded {look.embedded.adapters:,} adapters")
    if look.pictures is not None and look.pictures.adapters:
        lines.append(f"embedded {look.pictures.pictures:,} pictures")
    if look.measured is not None and look.measured.files:
        lines.append(f"measured the weights of {look.measured.done - len(look.measured.failed):,} files")
    lines += [f"{sentence}; it is tried again" for sentence in look.trouble]
    lines += [f"note: {look.note}"] if look.note else []
    if is_first:
        lines.append("watching; Ctrl-C ends it")
    for line in lines:
        _say(line)


def _counts(report: SyncReport) -> str:
    told = ", ".join(f"{count:,} {name}" for name, count in _moves(report))
    return f"{report.offered:,} seen, {told or 'nothing changed'}"


def _moves(report: SyncReport) -> list[tuple[str, int]]:
    names = ("added", "updated", "moved", "revived", "missing", "rejected")
    return [(name, getattr(report, name)) for name in names if getattr(report, name)]


def _say(line: str) -> None:
    from ..catalog.text import clean_line

    typer.echo(f"{time.strftime('%H:%M:%S')}  {clean_line(line, 4000)}", err=True)
