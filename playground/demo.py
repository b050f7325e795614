"""The whole path in a minute: a library of adapters -> catalogue -> prompts -> picks with reasons -> pictures.

It runs on the trained playground. Where that is not part of the installation, a tiny checkpoint with random weights
stands in for it: its pictures are coloured noise, and show that every part works together, and nothing about art.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..errors import InputError
from ..pipeline import Velatura
from ..records import Composition, Filter
from .library import DUMP, FAMILY, GUIDANCE, STEPS, make_library, weights_folder

if TYPE_CHECKING:
    from PIL.Image import Image

PROMPTS: Final = (
    "just a yellow duck by the sea",
    "a red rocket in the night, neon style",
    "an image showing a blue boat at sunset",
)
"""A subject that the base model has never seen; another, in a style that it has never seen; nothing new."""

_SEED: Final = 7
_WIDE: Final = 192
"""Pixels that a picture is shown wide."""
_COLUMNS: Final = ("base model alone", "with Velatura's picks", "with another prompt's")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What the demonstration made."""

    compositions: tuple[Composition, ...]
    sheet: Path
    """A PNG of all pictures, with labels."""
    page: Path
    """The same as a web page, with the reasons."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """What the demonstration runs on."""

    model: Path
    loras: Path
    dump: Path
    prompts: tuple[str, ...]
    steps: int
    guidance: float
    introduction: str


def show(folder: Path, say: Callable[[str], None], *, weights: Path | None = None) -> Shown:
    """Catalogue a library, choose adapters for three prompts, and paint each with and without them.

    Args:
        folder: Where everything is made.
        say: Called with a line about each step.
        weights: The folder of the trained playground; None takes the package's own.

    Raises:
        InputError: the folder cannot be written to.
    """
    say("1. laying out a library of adapters")
    weights = weights or weights_folder()
    stage = _trained_stage(weights, folder) if weights else _untrained_stage(folder)
    with Velatura.open(db=str(folder / "catalogue.db"), model=str(stage.model), output=str(folder)) as velatura:
        say(f"2. indexing {stage.loras} and {stage.dump}")
        for source in (stage.loras, stage.dump):
            report = velatura.index(source)
            say(f"   {report.source}: {report.offered} seen, {report.added} added, {report.rejected} rejected")
        say(f"   embedded {velatura.embed().texts} texts")
        say("3. choosing adapters")
        wanted = Filter(family=FAMILY, installed=True)
        compositions = tuple(velatura.compose_all(stage.prompts, filter=wanted))
        for composition in compositions:
            say(f"   {composition.prompt}")
            for choice in composition.choices:
                say(f"      + {choice.adapter.title}, weight {choice.weight:g}, for “{choice.span}”: {choice.reason}")
            if not composition.choices:
                say("      nothing to add")
        say("4. painting each alone, with its own picks and with another prompt's, from the same seed")
        rows = [
            [_painted(velatura, worn, stage) for worn in _worn(place, compositions)]
            for place in range(len(compositions))
        ]
    sheet, page = folder / "sheet.png", folder / "index.html"
    _write(compositions, rows, stage, sheet, page)
    say(f"5. {sheet} shows them side by side, {page} with the reasons")
    return Shown(compositions=compositions, sheet=sheet, page=page)


def _worn(place: int, compositions: Sequence[Composition]) -> tuple[Composition, Composition, Composition]:
    """Return the prompt with nothing laid on, with its own picks, and with those of the next prompt that has any."""
    prompt = compositions[place].prompt
    others = [*compositions[place + 1 :], *compositions[:place]]
    other = next((other.choices for other in others if other.choices), ())
    return Composition(prompt=prompt), compositions[place], Composition(prompt=prompt, choices=other)


def _painted(velatura: Velatura, composition: Composition, stage: _Stage) -> Image:
    request = velatura.request(composition, seed=_SEED, steps=stage.steps, guidance=stage.guidance)
    return next(velatura.generate(request)).image


def _write(
    compositions: Sequence[Composition], rows: Sequence[Sequence[Image]], stage: _Stage, sheet: Path, page: Path
) -> None:
    from . import page as pages
    from .world import enlarge
    from .world import sheet as lay_out

    factor = max(1, _WIDE // rows[0][0].width)
    labels = [composition.prompt for composition in compositions]
    lay_out(rows, row_labels=labels, column_labels=_COLUMNS, factor=factor).save(sheet, "PNG")
    sections = [
        pages.Section(
            composition=composition,
            pictures=[(caption, enlarge(image, factor)) for caption, image in zip(_COLUMNS, row, strict=True)],
        )
        for composition, row in zip(compositions, rows, strict=True)
    ]
    page.write_text(pages.page("Velatura: the demonstration", stage.introduction, sections), encoding="utf-8")


def _trained_stage(weights: Path, folder: Path) -> _Stage:
    return _Stage(
        model=weights / "base",
        loras=make_library(weights / "loras", folder),
        dump=folder / DUMP,
        prompts=PROMPTS,
        steps=STEPS,
        guidance=GUIDANCE,
        introduction="Each prompt is painted three times from the same noise: by the base model alone, with the "
        "adapters that Velatura picked from the library, and with those that it picked for another prompt.",
    )


# -------------------------------------------------------------------- without trained weights


PROMPT: Final = "a red fox in the snow, inkwash style, lantern light"
_UNTRAINED_STEPS: Final = 4


def _untrained_stage(folder: Path) -> _Stage:
    checkpoint, loras = make_files(folder)
    dump = folder / "civitai.json"
    dump.write_text(json.dumps(sample_catalogue()), encoding="utf-8")
    return _Stage(
        model=checkpoint,
        loras=loras,
        dump=dump,
        prompts=("a red fox in the snow", PROMPT, "quarterly tax report"),
        steps=_UNTRAINED_STEPS,
        guidance=7.0,
        introduction="The trained playground is not part of this installation: the model's weights are random, and "
        "its pictures are noise. The picks and their reasons are real.",
    )


def sample_catalogue() -> dict[str, Any]:
    """Return the sample catalogue, in the form in which Civitai's API answers; every page was written for it."""
    text = files(__package__).joinpath("sample_catalogue.json").read_text(encoding="utf-8")
    answer: dict[str, Any] = json.loads(text)
    return answer


def make_files(folder: Path) -> tuple[Path, Path]:
    """Make a checkpoint, and a folder of adapters with sidecars as their owner would have them.

    What is there already is kept, so that a second run starts at once.

    Returns:
        The checkpoint's folder and the adapters' folder.
    """
    from .sample import make_adapter, make_checkpoint

    checkpoint, loras = folder / "checkpoint", folder / "loras"
    try:
        loras.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be made: {error.strerror}") from None
    if not (checkpoint / "model_index.json").is_file():
        make_checkpoint(checkpoint)
    for page in sample_catalogue()["items"]:
        version = page["modelVersions"][0]
        if page["type"] != "LORA" or not version["baseModel"].startswith("SD 1"):
            continue
        path = loras / version["files"][0]["name"]
        if not path.is_file():
            metadata = {"ss_output_name": path.stem, "ss_base_model_version": "sd_v1"}
            make_adapter(path, checkpoint, seed=version["id"], metadata=metadata)
        card = {
            **version,
            "modelId": page["id"],
            "model": {name: page[name] for name in page if name != "modelVersions"},
        }
        path.with_suffix(".civitai.info").write_text(json.dumps(card), encoding="utf-8")
    return checkpoint, loras


def run(folder: Path, say: Callable[[str], None]) -> tuple[Composition, Path]:
    """Show the demonstration, and return what was chosen for its second prompt and where the sheet is."""
    shown = show(folder, say)
    return shown.compositions[1], shown.sheet
