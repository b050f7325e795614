"""What several commands share: their options, and how these become settings, a filter and prompts."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial, wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from ..errors import InputError
from ..syntax import encodable
from .completing import complete_family, complete_use

if TYPE_CHECKING:
    from ..pipeline import Velatura
    from ..records import Filter

Db = Annotated[
    str | None,
    typer.Option("--db", metavar="PATH", help="The catalogue: a SQLite file, or postgresql://USER@HOST/DATABASE."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Family = Annotated[
    str | None,
    typer.Option(
        help="The base family of the model that will wear them: sd1, sd2, sdxl, pony, ...",
        autocompletion=complete_family,
    ),
]
Kind = Annotated[list[str] | None, typer.Option(help="Only this kind: lora, locon, loha, dora, ... May be repeated.")]
Commercial = Annotated[
    str | None,
    typer.Option(
        help="Only licences that allow this use, whatever the settings say: image, rentcivit, rent, sell. "
        "Unknown is no.",
        autocompletion=complete_use,
    ),
]
Safe = Annotated[bool, typer.Option("--safe", help="Only rated PG or PG13. Unrated is not safe.")]
Installed = Annotated[bool, typer.Option("--installed", help="Only files on this machine.")]
Prompts = Annotated[
    Path | None,
    typer.Option("--prompts", metavar="FILE", help="Text, one prompt a line, or JSON Lines with `prompt`; - is stdin."),
]
PictureModel = Annotated[
    str | None, typer.Option(metavar="MODEL", help="A CLIP model, for search by picture: a hub id or a folder.")
]
Engine = Annotated[
    Literal["local", "ray"] | None,
    typer.Option("--engine", help="Where models work: in this process, or in workers on Ray, one model each."),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="HOST:PORT",
        help="The Ray cluster, which is then the engine: its head, ray://host:port, or auto; else one is started here.",
    ),
]
Choose = Callable[..., Any]
"""Makes the filter of a command's options, of an open Velatura; see `filtered`."""
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="Candidates per prompt.")]


def read_settings(**flags: object) -> Any:
    """Return the settings; a flag that is None was not given."""
    from ..settings import load_settings

    return load_settings(**flags)


def open_velatura(*, read_only: bool = False, **flags: object) -> Velatura:
    """Open the catalogue that the settings name; models work here, unless `flags` are those of `engine_flags` too."""
    from ..pipeline import Velatura

    return Velatura(read_settings(**{"engine": "local", **flags}), read_only=read_only)


def engine_flags(engine: str | None, address: str | None) -> dict[str, Any]:
    """Return the settings of an engine that a command's options name; an address is that of Ray."""
    if engine == "local" and address is not None:
        raise typer.BadParameter("the engine local has none", param_hint="--address")
    return {"engine": engine or (None if address is None else "ray"), "ray_address": address}


def folders_of(velatura: Velatura, named: Sequence[str | Path] | None) -> list[str]:
    """Return what a command was given to look through, or else the folders of the settings.

    Raises:
        InputError: there are none of either.
    """
    folders = [str(folder) for folder in named or velatura.settings.folders]
    if not folders:
        raise InputError("no folder is named; name one, or have `velatura init` write yours into the settings")
    return folders


def refuse_missing(db: str) -> None:
    """Refuse a catalogue that is not there, which opening it for writing would make.

    Raises:
        CatalogueError: there is none.
    """
    from ..db import file_of

    file = file_of(db)
    if file is None or not file.exists():
        with open_velatura(read_only=True, db=db) as missing:
            missing.store  # noqa: B018 - opening it says so


def make_filter(
    velatura: Velatura,
    *,
    family: Family = None,
    whole: Annotated[bool, typer.Option("--whole", help="With --family: only what it wears whole.")] = False,
    unknown_family: Annotated[
        bool, typer.Option("--unknown-family", help="With --family: also what is of no known family.")
    ] = False,
    kind: Kind = None,
    commercial: Commercial = None,
    safe: Safe = False,
    no_real_people: Annotated[
        bool, typer.Option("--no-real-people", help="Nothing that depicts a real person.")
    ] = False,
    installed: Installed = False,
    block: Annotated[
        list[str] | None,
        typer.Option(metavar="WHAT", help="Never this one (number, file, title, hash, civitai id). May be repeated."),
    ] = None,
) -> Filter:
    """Return the filter of a command's options; what they leave open is as the settings have it."""
    from ..families import TITLES
    from ..records import USES, Filter

    if family is not None and family not in TITLES:
        raise typer.BadParameter(f"{family!r} is none of {', '.join(TITLES)}", param_hint="--family")
    if commercial is not None and commercial not in USES:
        raise typer.BadParameter(f"{commercial!r} is none of {', '.join(USES)}", param_hint="--commercial")
    known = velatura.store.stats().by_kind if kind else {}
    for name in kind or ():
        if name not in known:
            listed = ", ".join(known) or "nothing"
            raise typer.BadParameter(f"no adapter is of the kind {name!r}; there is {listed}", param_hint="--kind")
    return Filter(
        family=family,
        partial=not whole,
        unknown_family=unknown_family,
        kinds=tuple(kind or ()),
        commercial=commercial or velatura.settings.commercial,
        nsfw=velatura.settings.ratings(safe=safe),
        installed=installed,
        real_people=velatura.settings.real_people and not no_real_people,
        blocked=velatura.blocked(block or ()),
    )


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `make_filter` before its `--db`; it is handed `choose`, which makes the filter."""
    return handed("choose", make_filter, before="db")(command)


def handed(name: str, make: Callable[..., Any], *, before: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give commands the options of a function, before another option; each is handed the function with these given.

    Args:
        name: The parameter of the command that the function is handed as.
        make: What takes the options, as keywords alone; what else it takes stays for the command to give.
        before: The command's option that the others stand before.
    """

    def give(command: Callable[..., None]) -> Callable[..., None]:
        own = _parameters(command)
        taken = {name for name, one in signature(make).parameters.items() if one.kind is Parameter.KEYWORD_ONLY}
        options = [parameter for name, parameter in _parameters(make).items() if name in taken]
        place = list(own).index(before)
        others = [parameter for each, parameter in own.items() if each != name]
        parameters = [*others[:place], *options, *others[place:]]

        @wraps(command)
        def wrapper(**given: Any) -> None:
            chosen = {option.name: given.pop(option.name) for option in options}
            command(**given, **{name: partial(make, **chosen)})

        wrapper.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return wrapper

    return give


def _parameters(function: Callable[..., object]) -> dict[str, Parameter]:
    """Return the parameters by name, their types as objects; those that the command line does not see as they are."""
    later = {"Velatura": Any, "Filter": Any, "Opened": Any}
    hints = get_type_hints(function, globals() | function.__globals__, later, include_extras=True)
    return {
        name: parameter.replace(annotation=hints.get(name, Any), kind=Parameter.KEYWORD_ONLY)
        for name, parameter in signature(function).parameters.items()
    }


def warn_unembedded(velatura: Velatura) -> None:
    """Note on stderr what is found by its words alone.

    Raises:
        InputError: the catalogue is empty.
    """
    present, left = velatura.unembedded()
    if not present:
        raise InputError(f"the catalogue {velatura.store.name} is empty; run `velatura index FOLDER` first")
    if left:
        typer.echo(
            f"note: {left:,} of {present:,} adapters are not embedded and are found by their words alone; "
            + (velatura.lacking_embedder() or "run `velatura embed`"),
            err=True,
        )


def read_prompts(prompt: str | None, file: Path | None) -> Iterator[str]:
    """Yield the prompts of the command; a broken line is told before anything is printed."""
    if (prompt is None) == (file is None):
        raise typer.BadParameter("give a prompt, or a file of prompts with --prompts")
    if prompt is not None:
        yield prompt
        return
    try:
        text = sys.stdin.read() if str(file) == "-" else Path(str(file)).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{file} is not text in UTF-8") from None
    lines = [line for line in text.split("\n") if line.strip()]
    structured = str(file).endswith((".jsonl", ".ndjson", ".json")) or (lines and lines[0].lstrip().startswith('{"'))
    yield from (
        [_prompt_of(line, number, file) for number, line in enumerate(lines, 1)]
        if structured
        else (line.strip() for line in lines)
    )


def _prompt_of(line: str, number: int, file: Path | None) -> str:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or not isinstance(value.get("prompt"), str):
        raise InputError(f'{file}, line {number}: not a JSON object with a text "prompt"')
    # Half of a surrogate pair is no character, and cannot be written out again.
    return encodable(str(value["prompt"]))


def print_json(value: object) -> None:
    """Print one line of JSON."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    # Half of a surrogate pair can only be written as its escape.
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode() + "\n")
