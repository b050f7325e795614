"""The library of the playground: a folder of adapters as a person has it after a year, made of the trained files.

Good files lie beside copies, mislabelled ones and broken ones; some have a whole page beside them, some a line, some
nothing. `cards` holds the texts, and the table of what each file really is.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Final

from ..errors import InputError
from . import adapter_files
from .cards import Card, Truth, distractor_pages, read_cards, read_truth
from .sidecars import Shown, example, sidecar
from .world import BASE_SCENES, BASE_SUBJECTS, captions, draw

FAMILY: Final = "miniature"
"""The base family that the library's files and the playground's model belong to."""

STEPS: Final = 20
GUIDANCE: Final = 2.0
"""What the playground's model paints best with."""

DUMP: Final = "elsewhere.json"
"""Beside the library: pages of adapters that are not on this machine."""

_MARK: Final = "made-by-velatura-playground.txt"
_MARK_TEXT: Final = "Whatever has a name of the playground's in this folder is written anew when it is made again.\n"

_BROKEN_OFF: Final = 0.6
"""The share of a broken download that arrived."""


def weights_folder() -> Path | None:
    """Return the folder of the trained models that the package brings: `base`, `onestep`, `xl`, `evaluator`, `loras`.

    None where they are not part of this installation.
    """
    folder = Path(str(files(__package__))) / "weights"
    return folder if (folder / "base" / "model_index.json").is_file() else None


def find_weights(folder: Path | None = None) -> Path:
    """Return the folder of trained models to use: the one that is named, else the package's own.

    Raises:
        InputError: none is named, and the package brings none.
    """
    found = folder or weights_folder()
    if found is None:
        raise InputError(
            "the trained playground is not part of this installation; name one with --weights, "
            "or train one with `velatura playground train FOLDER`"
        )
    return found


def claim_folder(folder: Path) -> None:
    """Make a folder the playground's own, so that nothing of a person's is overwritten.

    Raises:
        InputError: it holds something and was not made by the playground, or cannot be written to.
    """
    mark = folder / _MARK
    try:
        if mark.is_file():
            return
        if folder.exists() and any(folder.iterdir()):
            raise InputError(f"{folder} holds files that the playground did not make; name a new or an empty folder")
        folder.mkdir(parents=True, exist_ok=True)
        mark.write_text(_MARK_TEXT, encoding="utf-8")
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be made: {error.strerror}") from None


def make_library(trained: Path, folder: Path, *, clean: bool = False) -> Path:
    """Make the library; files that are there with the same bytes are left as they are.

    Args:
        trained: The folder of the trained adapters.
        folder: Where the library goes: its files into `loras`, and beside that pages of other adapters.
        clean: Leave out the files that trouble a real library.

    Returns:
        The folder of adapters.

    Raises:
        InputError: there is no trained adapter, the folder holds something else, or it cannot be written to.
    """
    adapters = {path.stem: path for path in sorted(trained.glob("*.safetensors"))}
    truth = read_truth()
    if not any(really.lora in adapters for really in truth.values()):
        raise InputError(f"{trained} holds no trained adapter of the playground")
    loras = folder / "loras"
    contents = {loras / name: content for name, content in _every_file(adapters, truth, clean=clean)}
    contents[folder / DUMP] = json.dumps(distractor_pages(), indent=1).encode()
    claim_folder(folder)
    try:
        loras.mkdir(exist_ok=True)
        for name, _ in _every_file(adapters, truth, clean=False) if clean else ():
            if loras / name not in contents:  # an earlier library's, that had all
                (loras / name).unlink(missing_ok=True)
        for path, content in contents.items():
            if not (path.is_file() and path.read_bytes() == content):
                path.write_bytes(content)
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be made: {error.strerror}") from None
    return loras


def _every_file(
    adapters: Mapping[str, Path], truth: Mapping[str, Truth], *, clean: bool
) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each file, with what lies beside it."""
    for number, card in enumerate(read_cards()):
        really = truth[card.file]
        if clean and really.trouble is not None:
            continue
        content = _content(really, adapters)
        if content is None:
            continue
        stem = Path(card.file).stem
        shown = _shown(card, really)
        yield card.file, content
        told = sidecar(card, number, content, shown)
        beside = [*([told] if told else []), *(example(card, one, place, content) for place, one in enumerate(shown))]
        yield from ((stem + suffix, text) for suffix, text in beside)


def _content(really: Truth, adapters: Mapping[str, Path]) -> bytes | None:
    """Return the bytes of a file; None where the adapter that it is made of is not trained."""
    stem = Path(really.file).stem
    if really.trouble == "foreign":
        return adapter_files.to_bytes(adapter_files.for_sdxl(stem))
    if really.trouble == "noise":
        pattern = adapter_files.read_adapter(next(iter(adapters.values())))
        return adapter_files.to_bytes(adapter_files.noise_like(pattern, stem))
    if really.lora is None or really.lora not in adapters:
        return None
    adapter = adapter_files.at_weight(adapter_files.read_adapter(adapters[really.lora]), really.full)
    if really.trouble == "resaved":
        adapter = adapter_files.saved_anew(adapter)
    content = adapter_files.to_bytes(adapter)
    return content[: int(len(content) * _BROKEN_OFF)] if really.trouble == "broken" else content


def _shown(card: Card, really: Truth) -> list[Shown]:
    """Choose the pictures that the owner kept, with prompts in the wordings that adapters are trained on."""
    lot = random.Random(card.file)  # noqa: S311 - no secret: the same pictures every time
    subjects = (really.subject,) if really.subject else BASE_SUBJECTS
    scenes = (really.scene,) if really.scene else BASE_SCENES
    shown = []
    for _ in range(card.examples):
        picture = draw(lot, subjects=subjects, scenes=scenes, styles=(really.style or "flat",))
        shown.append(Shown(picture, captions(picture, lot), lot.randrange(2**31)))
    return shown
