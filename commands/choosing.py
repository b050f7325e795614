"""The commands that choose adapters, judge a choice, and carry it to other tools and back."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import InputError
from ..gates import hold
from .options import (
    Choose,
    Db,
    Family,
    Json,
    Prompts,
    filtered,
    make_filter,
    open_velatura,
    print_json,
    read_prompts,
    warn_unembedded,
)

if TYPE_CHECKING:
    from ..pipeline import Velatura
    from ..records import Composition

Composer = Annotated[
    Literal["builtin", "llm", "stylus"] | None,
    typer.Option(help="Who chooses: rules, the language model, or the language model as the Stylus paper asks it."),
]
Most = Annotated[
    int | None,
    typer.Option(min=0, max=20, help="The most adapters for one prompt; 3, the default, does not bound stylus."),
]
Least = Annotated[
    float | None, typer.Option(min=0, max=1, help="The least probability at which the built-in composer takes one.")
]
Weighing = Annotated[
    Literal["evidence", "stylus", "stylus-released", "constant"] | None,
    typer.Option(help="Weights by what people used and advised, by the paper's rule, by its code's, or 0.8 for all."),
]
MaskScheme = Annotated[
    Literal["paper", "power-set", "all"],
    typer.Option(help="Which masks there are: per task none, one or all on; any on; or always all."),
]
Weighted = Annotated[bool, typer.Option("--weighted", help="In the masks, have on oftener what is surer to be meant.")]
Form = Annotated[
    Literal["a1111", "comfyui", "rgthree", "lora-manager", "lora-manager-text", "invokeai", "air", "csv", "json"],
    typer.Option("--to", help="The form."),
]


@filtered
def compose(
    prompt: Annotated[str | None, typer.Argument(help="A prompt, as you would paint it.")] = None,
    prompts: Prompts = None,
    composer: Composer = None,
    most: Most = None,
    least: Least = None,
    weighing: Weighing = None,
    masks: Annotated[
        int, typer.Option(min=0, max=10_000, help="Also draw so many masks: which adapters are on in one picture.")
    ] = 0,
    mask_scheme: MaskScheme = "paper",
    weighted: Weighted = False,
    seed: Annotated[int, typer.Option(min=0, help="Draws the masks.")] = 0,
    db: Db = None,
    as_json: Json = False,
    *,
    choose: Choose,
) -> None:
    """Choose adapters for the words of a prompt, with weights and reasons. `--json` can be edited and painted."""
    from ..plain import to_plain
    from .choice_screen import print_masks, print_usage, print_weights
    from .screen import print_composition

    flags = {"db": db, "composer": composer, "most": most, "least": least, "weighing": weighing}
    with open_velatura(read_only=True, **flags) as velatura:
        chosen = choose(velatura)
        warn_unembedded(velatura)
        for composition in velatura.compose_all(read_prompts(prompt, prompts), filter=chosen):
            found = velatura.masks(composition, masks, seed, scheme=mask_scheme, weighted=weighted) if masks else []
            laid = [
                [choice.weight if on else 0.0 for choice, on in zip(under.choices, mask, strict=True)]
                for mask, under in ((mask, velatura.composing.masked(composition, mask)) for mask in found)
            ]
            if as_json or prompts is not None:
                print_json(to_plain(composition) | ({"masks": found, "mask_weights": laid} if masks else {}))
                continue
            print_composition(composition)
            print_weights(velatura.composing.weights(composition))
            print_masks(composition, found, laid)
            print_usage(composition.usage, velatura.settings)


def validate(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="WHAT...",
            help="Adapters (number, file, title, hash, civitai id), each also as NAME:WEIGHT; or one composition, "
            "workflow, picture, or prompt with <lora:...>.",
        ),
    ],
    prompt: Annotated[str | None, typer.Option(help="The prompt that they are for.")] = None,
    family: Family = None,
    steps: Annotated[int | None, typer.Option(min=1, help="The steps that will be made.")] = None,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Say what does not go together in a set of adapters that you chose, and what to do. Exits with 1 on an error."""
    from dataclasses import asdict, replace

    from ..families import TITLES
    from .choice_screen import print_conflicts

    if family is not None and family not in TITLES:
        raise typer.BadParameter(f"{family!r} is none of {', '.join(TITLES)}", param_hint="--family")
    with open_velatura(read_only=True, db=db) as velatura:
        composition = _set_of(velatura, what)
        if prompt is not None:
            composition = replace(composition, prompt=prompt)
        if not composition.choices:
            raise InputError(f"{what[0]} names no adapters; name some, or a file or a prompt that does")
        found = velatura.validate(composition, family=family, steps=steps)
        if as_json:
            names = [choice.adapter.title for choice in composition.choices]
            print_json({"adapters": names, "conflicts": [asdict(conflict) for conflict in found]})
        else:
            print_conflicts(composition, found)
        if any(conflict.severity == "error" for conflict in found):
            raise typer.Exit(1)


def export(
    what: Annotated[
        str, typer.Argument(help="A composition's file, ours or another tool's, or - for stdin; or a prompt.")
    ],
    form: Form = "a1111",
    into: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With comfyui: lay the adapters into this workflow.")
    ] = None,
    checkpoint: Annotated[str | None, typer.Option(help="With comfyui: the checkpoint's file there.")] = None,
    negative: Annotated[str, typer.Option(help="A negative prompt, for the forms that have one.")] = "",
    loras: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Where the other tool looks for LoRAs: keeps subfolders.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Else it is printed.")] = None,
    db: Db = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the text and the notes as JSON.")] = False,
) -> None:
    """Write a composition for another tool: A1111, ComfyUI, rgthree, Lora Manager, InvokeAI, AIR, CSV, JSON."""
    from ..composer.formats import load_workflow, write

    with open_velatura(read_only=True, db=db) as velatura:
        composition = composition_in(velatura, what)
        if composition is None:
            warn_unembedded(velatura)
            composition = velatura.compose(what)
        composition = velatura.localised(composition)
        base = load_workflow(_bytes(into), into.name) if into is not None else None
        written = write(composition, form, base=base, checkpoint=checkpoint, negative=negative, folder=loras)
    if as_json:
        print_json({"text": written.text, "notes": list(written.notes)})
        return
    for note in written.notes:
        typer.echo(f"note: {note}", err=True)
    if output is None:
        sys.stdout.write(written.text if written.text.endswith("\n") else f"{written.text}\n")
        return
    try:
        with output.open("x", encoding="utf-8") as stream:
            stream.write(written.text)
    except FileExistsError:
        raise InputError(f"{output} is there already; give another --output") from None
    except OSError as error:
        raise InputError(f"{output} cannot be written: {error.strerror}") from None


def import_(
    what: Annotated[str, typer.Argument(help="A picture, a workflow, a recipe, a list; or a prompt with <lora:...>.")],
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Read the adapters of another tool's picture, workflow, recipe or prompt as a composition of your catalogue."""
    from ..plain import to_plain
    from .screen import out, print_composition, shown

    with open_velatura(read_only=True, db=db) as velatura:
        composition = _foreign(velatura, what)
    if as_json:
        print_json(to_plain(composition))
        return
    out(shown(composition.prompt) or "[dim]no prompt[/]")
    print_composition(composition)


def composition_in(velatura: Velatura, what: str) -> Composition | None:
    """Return the composition that a file or stdin (`-`) holds, ours or another tool's; None where this is a prompt.

    Raises:
        InputError: it looks like a file's name and there is no such file, or nothing can be read from it.
    """
    return _foreign(velatura, what) if _is_file(what) or _FILE.fullmatch(what) else None


def _set_of(velatura: Velatura, what: list[str]) -> Composition:
    """Return the set that a person names: one thing that holds several adapters, or each by its name."""
    from ..records import Choice, Composition

    if len(what) == 1 and ("<lora:" in what[0].lower() or _is_file(what[0])):
        return _foreign(velatura, what[0])
    choices = []
    for text in what:
        name, weight = _weighted(velatura, text)
        record = velatura.store.adapter(velatura.find(name)[0]).record
        choices.append(Choice(adapter=record, weight=weight, span=""))
    return Composition(prompt="", choices=tuple(choices))


def _weighted(velatura: Velatura, text: str) -> tuple[str, float]:
    """Part `NAME:WEIGHT`; a name that is known as it stands has no weight in it."""
    name, colon, weight = text.rpartition(":")
    if not colon or velatura.store.find(text):
        return text, 1.0
    try:
        return name, float(weight)
    except ValueError:
        return text, 1.0


def _foreign(velatura: Velatura, what: str) -> Composition:
    """Return what a file, stdin or a prompt says, once the gates of the settings have let it through."""
    composition = _read(velatura, what)
    hold(velatura.store, velatura.localised(composition), make_filter(velatura))
    return composition


def _read(velatura: Velatura, what: str) -> Composition:
    from ..composer.formats import PICTURE_TEXTS
    from ..generation.picture_text import read_texts
    from ..refiner.picture_file import SUFFIXES

    if what == "-":
        return velatura.read_composition(sys.stdin.buffer.read(), "stdin")
    if not _is_file(what):
        if _FILE.fullmatch(what):
            raise InputError(f"there is no file {what}")
        return velatura.read_composition(what, "the prompt")
    path = Path(what)
    if path.suffix.lower() in SUFFIXES:
        texts = read_texts(path, PICTURE_TEXTS)
        if not texts:
            raise InputError(f"{path} holds no prompt and no workflow")
        return velatura.read_composition(texts, path.name)
    content = _bytes(path)
    if path.suffix.lower() == ".json" and content.strip()[:1] not in (b"{", b"["):
        # Else its text would be taken for a prompt.
        raise InputError(f"{what} is not JSON; write one with `velatura compose PROMPT --json`")
    return velatura.read_composition(content, path.name)


def _is_file(what: str) -> bool:
    if what == "-":
        return True
    try:
        return Path(what).is_file()
    except (OSError, ValueError):  # too long for a name, or with a NUL in it: it is a prompt
        return False


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(_LARGEST + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


_FILE = re.compile(r"[^\s,<>()]+\.[A-Za-z]\w{0,15}|.+\.json", re.DOTALL)
"""What is meant for a file's name, and no prompt."""
_LARGEST = 1 << 25
"""Bytes of a foreign file that are read; the readers refuse what is longer than they take."""
