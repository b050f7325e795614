"""The command `init`: finds the adapters that are here, asks what else matters, and writes the settings."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import urlsplit

import typer

from ..errors import InputError
from .options import Json, open_velatura, print_json, read_settings

if TYPE_CHECKING:
    from ..catalog.installs import CheckpointFile
    from ..catalog.programs import Installation

Answer = TypeVar("Answer")

_RATINGS: dict[str, int | None] = {"pg": 1, "pg13": 3, "r": 7, "x": 15, "all": None}
"""The ratings that may be found, each with the milder ones."""
_OLLAMA = "http://127.0.0.1:11434/v1"
_SHOWN = 30
"""How many checkpoints are listed."""


def init(
    folder: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER", help="A folder of adapters; none is looked for then. May be repeated."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: take the folders that are found.")] = False,
    as_json: Json = False,
) -> None:
    """Find the LoRAs of A1111, Forge, ComfyUI, InvokeAI and others, ask a few questions, and write the settings."""
    from ..catalog.installs import find_installations
    from ..settings import home
    from ..settings_file import merge_settings, read_settings_file, write_settings_file

    settings = read_settings()  # a file that is broken is told before anything is asked
    path = home() / "settings.toml"
    text = read_settings_file(path)
    found = find_installations(home=Path.home(), environment=os.environ)
    if folder:
        values: dict[str, Any] = {"folders": tuple(_folder(str(one)) for one in folder)}
    elif yes:
        values = {"folders": _offered(found, settings.folders)}
    else:
        values = {"folders": _ask_folders(found, settings.folders)}
    if yes and not values["folders"]:
        raise InputError("no folder of adapters was found; name yours with --folder")
    if not yes:
        values |= _ask_rest(settings, found)
    changed = {name: value for name, value in values.items() if value != getattr(settings, name)}
    read_settings(**changed)  # a value that would not be read back is not written
    merged = merge_settings(text, values if not text else changed)
    if text and merged != text and not yes:
        _say(f"{path} is there already; everything else in it stays, and a copy of it is kept beside it.")
        if not _ask("Write these settings into it?", "yes", _yes_or_no):
            raise InputError("nothing was written")
    copy = write_settings_file(path, merged)
    _say(f"wrote {path}" + (f"; what it held before is in {copy}" if copy else ""))
    for name in values:
        if f"VELATURA_{name.upper()}" in os.environ:
            _say(f"note: VELATURA_{name.upper()} in the environment goes before what the file says")
    indexed = _offer_index(values["folders"], as_json=as_json) if not yes and values["folders"] else None
    _say_next(is_indexed=indexed is not None)
    if as_json:
        print_json(
            {
                "settings": str(path),
                "copy": str(copy) if copy else None,
                "written": {name: value for name, value in values.items() if value is not None},
                "installations": [asdict(one) for one in found],
                "indexed": indexed,
            }
        )


# -------------------------------------------------------------------- the questions


def _ask_folders(found: Sequence[Installation], current: Sequence[str]) -> tuple[str, ...]:
    from ..catalog.installs import count_adapters

    offered = _offered(found, current)
    programs = {folder: one.program for one in found for folder in one.adapters}
    _say("Where are your LoRAs? Nothing is ever written into these folders.")
    for number, one in enumerate(offered, 1):
        _say(f"  {number:>2}  {count_adapters(one):>7,} files  {one}  ({programs.get(one, 'settings')})")
    if not offered:
        _say("   none was found; name a folder, such as ~/ComfyUI/models/loras")

    def parse(answer: str) -> tuple[str, ...]:
        if answer in ("all", "none"):
            return offered if answer == "all" else ()
        try:  # a folder may have commas in its name
            return (_folder(answer),)
        except InputError:
            parts = [part.strip() for part in answer.split(",") if part.strip()]
        return tuple(dict.fromkeys(_numbered(part, offered) or _folder(part) for part in parts))

    return _ask("Numbers or folders, with commas between; all; none", "all" if offered else "none", parse)


def _ask_rest(settings: Any, found: Sequence[Installation]) -> dict[str, Any]:
    """Ask for the checkpoint, what may be found, and the language model; return the settings by name."""
    from ..catalog.installs import list_checkpoints

    checkpoints = list_checkpoints([folder for one in found for folder in one.checkpoints])
    values: dict[str, Any] = {"model": _ask_checkpoint(checkpoints, settings.model)}
    ratings = {bits: name for name, bits in _RATINGS.items()}
    _say("Which ratings may be found, each with the milder ones? Other than all leaves out what is not rated.")
    if settings.nsfw in ratings:
        rating = _ask(", ".join(_RATINGS), ratings[settings.nsfw], _one_of(tuple(_RATINGS)))
        values["nsfw"] = _RATINGS[rating]
    else:
        _say(f"   the settings have nsfw = {settings.nsfw}, which stays")
    from ..records import USES

    _say(
        "Must licences allow a commercial use? Unknown counts as no. image is selling pictures, rentcivit and rent are"
    )
    _say("running the model as a service on Civitai or anywhere, sell is selling the model itself.")
    use = _ask(f"none, {', '.join(USES)}", settings.commercial or "none", _one_of(("none", *USES)))
    values["commercial"] = None if use == "none" else use
    return values | _ask_language_model(settings)


def _ask_checkpoint(listed: Sequence[CheckpointFile], current: str | None) -> str | None:
    _say("Which checkpoint paints? It can also be named anew with every command.")
    for number, one in enumerate(listed[:_SHOWN], 1):
        _say(f"  {number:>2}  {f'{one.size / 1e9:.1f} GB' if one.size else 'folder':>7}  {one.path}")
    if len(listed) > _SHOWN:
        _say(f"   and {len(listed) - _SHOWN} more, which can be named by their paths")
    paths = [one.path for one in listed[:_SHOWN]]

    def parse(answer: str) -> str | None:
        if answer == "none":
            return None
        return _numbered(answer, paths) or _checkpoint(answer)

    return _ask("A number, a file, a folder, a hub id, or none", current or "none", parse)


def _ask_language_model(settings: Any) -> dict[str, Any]:
    """Ask for the server of a language model; nothing is contacted unless Ollama is named."""
    _say("A language model can choose and describe adapters; rules do without one. Its key is read from OPENAI_API_KEY")
    _say("and never written. ollama asks the Ollama of this machine which models it has.")
    keep = "keep" if settings.llm else "none"
    server = _ask(
        "none, ollama, or the address of a server" + (f"; keep for {settings.llm}" if settings.llm else ""),
        keep,
        lambda answer: answer if answer in ("none", "ollama", keep) else _address(answer),
    )
    if server == "keep":
        return {"llm": settings.llm, "llm_url": settings.llm_url}
    if server == "ollama":
        models = _ollama_models()
        if not models:
            _say("   no model answers there; none is set")
            return {"llm": None, "llm_url": None}
        _say("   it has " + ", ".join(models))
        return {"llm": _ask("Which one", models[0], _one_of(tuple(models))), "llm_url": _OLLAMA}
    if server == "none":
        return {"llm": None, "llm_url": None}
    return {"llm": _ask("The model's name there", None, _printable), "llm_url": server}


def _ollama_models() -> list[str]:
    """Return the names of the models that Ollama has on this machine; none when it does not answer."""
    import requests

    try:
        answer = requests.get(f"{_OLLAMA}/models", timeout=3, allow_redirects=False)
        listed = answer.json()["data"]
        names = [one["id"] for one in listed[:100] if isinstance(one.get("id"), str)]
    except (requests.RequestException, ValueError, LookupError, TypeError, AttributeError):
        return []
    return [name for name in names if name.isprintable() and len(name) < 200]


def _ask(text: str, default: str | None, parse: Callable[[str], Answer]) -> Answer:
    """Ask on stderr until the answer is one.

    Raises:
        InputError: there are no more answers.
    """
    while True:
        typer.echo(_shown(text) + (f" [{_shown(default)}]: " if default else ": "), nl=False, err=True)
        line = sys.stdin.readline()
        if not line:
            raise InputError("the answers ended before the questions; nothing was written")
        try:
            return parse(line.strip() or default or "")
        except InputError as error:
            _say(f"   {error}")


def _one_of(names: tuple[str, ...]) -> Callable[[str], str]:
    def parse(answer: str) -> str:
        if answer not in names:
            raise InputError(f"{_shown(answer)} is none of {', '.join(names)}")
        return answer

    return parse


def _yes_or_no(answer: str) -> bool:
    return _one_of(("yes", "y", "no", "n"))(answer.lower())[0] == "y"


def _numbered(answer: str, listed: Sequence[str]) -> str | None:
    """Return what a number of the list means; None for what is no number of it."""
    is_number = answer.isascii() and answer.isdigit() and len(answer) < 6
    return listed[int(answer) - 1] if is_number and 0 < int(answer) <= len(listed) else None


def _folder(named: str) -> str:
    from ..catalog import FolderSource

    return FolderSource(named).scope


def _checkpoint(named: str) -> str:
    """Return a file or a folder by its whole path, which is the same from everywhere; all else as it was named."""
    from ..generation.file_names import is_path

    if not is_path(_printable(named)):
        return named
    try:
        path = Path(named).expanduser().absolute()
        is_there = path.exists()
    except (OSError, RuntimeError):
        is_there = False
    if not is_there:
        raise InputError(f"there is nothing at {named}")
    return str(path)


def _printable(answer: str) -> str:
    if not answer.isprintable() or not answer:
        raise InputError("that has characters which no name has")
    return answer


def _address(answer: str) -> str:
    try:
        parts = urlsplit(_printable(answer))
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(
            "an address begins with http:// or https:// and names a host, such as http://127.0.0.1:8000/v1"
        )
    if "@" in parts.netloc or parts.query:
        raise InputError("an address with a password or a key in it is not written; set OPENAI_API_KEY instead")
    return answer


def _offered(found: Sequence[Installation], current: Sequence[str]) -> tuple[str, ...]:
    """Return the folders of the settings and those that were found, each once."""
    return tuple(dict.fromkeys([*current, *(folder for one in found for folder in one.adapters)]))


# -------------------------------------------------------------------- afterwards


def _offer_index(folders: Sequence[str], *, as_json: bool) -> list[dict[str, Any]] | None:
    """Index the folders if that is wanted; return the reports, None where it is not."""
    from .embedding import embed_what_can_be
    from .screen import Progress, print_reports

    if not _ask("Index these folders now?", "yes", _yes_or_no):
        return None
    with open_velatura() as velatura:
        reports = []
        for folder in folders:
            with Progress(f"index {folder}") as progress:
                reports.append(velatura.index(folder, kind="folder", progress=progress.synced))
        embedded, pictures = embed_what_can_be(velatura)
        if not as_json:
            print_reports(reports, embedded, pictures=pictures, as_json=False)
    return [asdict(report) for report in reports]


def _say_next(*, is_indexed: bool) -> None:
    example = '"a fox in the snow, ink painting"'
    commands = [f"velatura search {example}", f"velatura compose {example}"]
    commands = [*commands, "velatura watch"] if is_indexed else ["velatura index", *commands]
    _say("next:")
    for command in commands:
        _say(f"  {command}")


def _say(line: str) -> None:
    typer.echo(_shown(line), err=True)


def _shown(text: str) -> str:
    """Return a text without what steers a terminal."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
