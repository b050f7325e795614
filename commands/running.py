"""The commands that paint many pictures into a folder, show them on a sheet, and put a picture into words."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..errors import InputError
from ..gates import hold
from ..records import Composition
from . import choosing
from .choosing import Composer, MaskScheme, Weighted
from .generating import compose
from .options import (
    Address,
    Commercial,
    Db,
    Engine,
    Json,
    PictureModel,
    Safe,
    engine_flags,
    handed,
    make_filter,
    open_velatura,
    print_json,
)
from .paint_options import Device, Fields, Flags, make_fields, make_flags

if TYPE_CHECKING:
    from ..generation.runs import RunReport
    from ..pipeline import Velatura
    from ..records import GenerationRequest

_LINES = (".txt", ".jsonl", ".ndjson")
"""Files of which each line is a picture to paint."""


@handed("flags", make_flags, before="composer")
@handed("fields", make_fields, before="composer")
def run(
    what: Annotated[
        str,
        typer.Argument(
            help="A prompt; a file of prompts (.txt, one a line, or .jsonl with `prompt` or whole compositions; - is "
            "stdin); or a composition's file."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where it all goes.")],
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=10_000, help="Pictures of each prompt.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Each prompt's first seed; the next ones count up.")] = 0,
    composer: Composer = None,
    masks: Annotated[
        bool, typer.Option("--masks", help="Another choice of the adapters for each picture, so that they differ.")
    ] = False,
    mask_scheme: MaskScheme = "paper",
    weighted: Weighted = False,
    commercial: Commercial = None,
    safe: Safe = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Paint also what is there already.")] = False,
    engine: Engine = None,
    address: Address = None,
    db: Db = None,
    as_json: Json = False,
    *,
    fields: Fields,
    flags: Flags,
) -> None:
    """Paint many pictures into a folder, with a manifest and a contact sheet; it goes on where it was stopped.

    A picture that is there as it was painted is not painted again, and pictures of other prompts are added. Exits
    with 1 when some could not be painted.
    """
    from ..generation.runs import run as paint

    given = fields()
    opened = {**flags(), **engine_flags(engine, address)}
    with open_velatura(read_only=True, db=db, composer=composer, **opened) as velatura:
        requests: list[GenerationRequest] = []
        for composition in _compositions(velatura, what, given, commercial=commercial, safe=safe):
            request = velatura.request(composition, seed=seed, **given)
            if masks:
                requests += velatura.varied(request, count, scheme=mask_scheme, weighted=weighted)
            else:
                requests += [replace(request, seed=seed + number) for number in range(count)]
        with _Shown(output, len(requests)) as shown:
            report = paint(velatura.backend, requests, output, watch=shown.watch, overwrite=overwrite, told=shown.told)
    _print_run(report, as_json=as_json)
    if report.failed:
        raise typer.Exit(1)


def sheet(
    folder: Annotated[Path, typer.Argument(help="The folder of a run.")],
    as_json: Json = False,
) -> None:
    """Make the contact sheet of a run anew: all of its pictures small, with prompts, seeds and adapters."""
    from ..generation.runs import read_manifest, write_sheets
    from .screen import out, shown

    paths = write_sheets(read_manifest(folder), folder)
    if as_json:
        print_json({"sheets": [str(path) for path in paths]})
        return
    for path in paths:
        out(f"[green]{shown(str(path))}[/]")


def interrogate(
    picture: Annotated[Path, typer.Argument(help="A PNG, JPEG, WebP or GIF file.")],
    by: Annotated[
        Literal["clip", "llm"],
        typer.Option(help="Who looks: the picture model over lists of words, or the language model."),
    ] = "clip",
    picture_model: PictureModel = None,
    lists: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Words of your own: subjects.txt, mediums.txt and so on, one a line."),
    ] = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Put a picture into words: the prompt that would paint one like it."""
    from .screen import Progress, out
    from .screen import shown as escaped

    with open_velatura(picture_model=picture_model, device=device) as velatura, Progress("read words") as progress:
        found = velatura.interrogate(picture, by=by, lists=lists, progress=progress.compared)
    if as_json:
        print_json(asdict(found))
        return
    out(escaped(found.prompt))
    for part in found.parts:
        out(f"[dim]{part.score:.3f}  {part.source}: {escaped(part.text)}[/]")


class _Shown:
    """How far a run is, on stderr; says at an interruption how much is there."""

    def __init__(self, folder: Path, whole: int) -> None:
        from ..protocols import Watch
        from .screen import Progress

        self._folder = folder
        self._done: int | None = None
        self._whole, self._share = whole, 0.0
        self._progress = Progress("run")
        self.watch = Watch(progress=self._shared)

    def __enter__(self) -> _Shown:
        self._progress.__enter__()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._progress.__exit__(kind, error, trace)
        if error is not None and self._done is not None:
            typer.echo(f"{self._done:,} of {self._whole:,} pictures are in {self._folder}", err=True)

    def told(self, done: int, whole: int) -> None:
        """Take how many pictures are there."""
        self._done, self._whole = done, whole
        self._tell()

    def _shared(self, share: float) -> None:
        self._share = share
        self._tell()

    def _tell(self) -> None:
        done = self._done or 0
        self._progress.told(f"{done:,} done, {self._whole - done:,} left", round(1000 * self._share), 1000)


def _compositions(
    velatura: Velatura, what: str, given: dict[str, Any], *, commercial: Commercial, safe: bool
) -> Sequence[Composition]:
    """Return what a command names: compositions as they stand, and one for each prompt.

    Raises:
        InputError: a prompt has no words, or pins an adapter that is not in the catalogue; or a file cannot be read.
    """
    asked = _asked(velatura, what)
    gates = make_filter(velatura, commercial=commercial, safe=safe)
    for one in asked:
        if not isinstance(one, str):
            hold(velatura.store, velatura.localised(one), gates)
    prompts = [one for one in asked if isinstance(one, str)]
    composed = iter(compose(velatura, prompts, given, commercial=commercial, safe=safe))
    return [next(composed) if isinstance(one, str) else one for one in asked]


def _asked(velatura: Velatura, what: str) -> list[str | Composition]:
    if what == "-" or what.lower().endswith(_LINES):
        return _lines(what)
    composition = choosing.composition_in(velatura, what)
    return [what if composition is None else composition]


def _lines(file: str) -> list[str | Composition]:
    """Return the prompts of a file, and the compositions, where lines hold these."""
    from ..plain import loads
    from ..syntax import encodable

    text = sys.stdin.read() if file == "-" else _text(Path(file))
    asked: list[str | Composition] = []
    for number, line in enumerate((line for line in text.split("\n") if line.strip()), 1):
        if not (file.endswith(_LINES[1:]) or line.lstrip().startswith('{"')):
            asked.append(line.strip())
            continue
        name = f"{file}, line {number}"
        try:
            plain = json.loads(line)
        except (ValueError, RecursionError):
            plain = None
        if not isinstance(plain, dict) or not isinstance(plain.get("prompt"), str):
            raise InputError(f'{name}: not a JSON object with a text "prompt"')
        asked.append(loads(Composition, line, name) if "choices" in plain else encodable(plain["prompt"]))
    if not asked:
        raise InputError(f"{file} holds no prompts")
    return asked


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise InputError(f"{path} is not text in UTF-8") from None
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _print_run(report: RunReport, *, as_json: bool) -> None:
    from .screen import out, shown

    failed = [{"prompt": entry.prompt, "seed": entry.seed, "error": entry.error} for entry in report.failed]
    if as_json:
        print_json(
            {
                "folder": str(report.folder),
                "painted": report.painted,
                "kept": report.kept,
                "others": report.others,
                "images": [str(path) for path in report.pictures],
                "failed": failed,
                "sheets": [str(path) for path in report.sheets],
            }
        )
        return
    out(f"{report.painted:,} painted, {report.kept:,} were there, {len(failed):,} failed")
    if report.others:
        out(f"[dim]{report.others:,} pictures of other prompts are in the folder too[/]")
    for entry in report.failed:
        out(f"[red]{shown(entry.prompt)}, seed {entry.seed}: {shown(str(entry.error))}[/]")
    for path in report.sheets:
        out(f"[green]{shown(str(path))}[/]")
