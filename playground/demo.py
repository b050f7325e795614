"""The whole path in a minute: a library of adapters -> catalogue -> prompts -> picks with reasons -> pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..pipeline import Velatura
from ..records import Composition, Filter
from ..settings import default_settings
from .library import DUMP, FAMILY, GUIDANCE, STEPS, find_weights, make_library

if TYPE_CHECKING:
    from PIL.Image import Image

PROMPTS: Final = (
    "a yellow duck by the sea",
    "a red rocket at sunset, stained glass style",
    "an image showing a blue boat at sunset",
)
"""A subject that the base model has never seen; another, in a style that it has never seen; nothing new."""

_SEED: Final = 7
_WIDE: Final = 192
"""Pixels that a picture is shown wide."""
_INTRODUCTION: Final = (
    "Each prompt is painted three times from the same noise: by the base model alone, with the adapters that Velatura "
    "picked from the library, and with those that it picked for another prompt."
)
_COLUMNS: Final = ("base model alone", "with Velatura's picks", "with another prompt's")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What the demonstration made."""

    compositions: tuple[Composition, ...]
    sheet: Path
    """A PNG of all pictures, with labels."""
    page: Path
    """The same as a web page, with the reasons."""


def show(folder: Path, say: Callable[[str], None], *, weights: Path | None = None) -> Shown:
    """Catalogue a library, choose adapters for three prompts, and paint each with and without them.

    Args:
        folder: Where everything is made.
        say: Called with a line about each step.
        weights: The folder of the trained playground; None takes the package's own.

    Raises:
        InputError: there is no trained playground, or the folder cannot be written to.
    """
    say("1. laying out a library of adapters")
    weights = find_weights(weights)
    loras, dump = make_library(weights / "loras", folder), folder / DUMP
    with Velatura(default_settings(db=str(folder / "catalogue.db"), model=str(weights / "base"))) as velatura:
        say(f"2. indexing {loras} and {dump}")
        for source in (loras, dump):
            report = velatura.index(source)
            say(f"   {report.source}: {report.offered} seen, {report.added} added, {report.rejected} rejected")
        say(f"   embedded {velatura.embed().texts} texts")
        say("3. choosing adapters")
        wanted = Filter(family=FAMILY, installed=True)
        compositions = tuple(velatura.compose_all(PROMPTS, filter=wanted))
        for composition in compositions:
            say(f"   {composition.prompt}")
            for choice in composition.choices:
                say(f"      + {choice.adapter.title}, weight {choice.weight:g}, for “{choice.span}”: {choice.reason}")
            if not composition.choices:
                say("      nothing to add")
        say("4. painting each alone, with its own picks and with another prompt's, from the same seed")
        rows = [[_painted(velatura, worn) for worn in _worn(place, compositions)] for place in range(len(compositions))]
    sheet, page = folder / "sheet.png", folder / "index.html"
    _write(compositions, rows, sheet, page)
    say(f"5. {sheet} shows them side by side, {page} with the reasons")
    return Shown(compositions=compositions, sheet=sheet, page=page)


def _worn(place: int, compositions: Sequence[Composition]) -> tuple[Composition, Composition, Composition]:
    """Return the prompt with nothing laid on, with its own picks, and with those of the next prompt that has any."""
    prompt = compositions[place].prompt
    others = [*compositions[place + 1 :], *compositions[:place]]
    other = next((other.choices for other in others if other.choices), ())
    return Composition(prompt=prompt), compositions[place], Composition(prompt=prompt, choices=other)


def _painted(velatura: Velatura, composition: Composition) -> Image:
    request = velatura.request(composition, seed=_SEED, steps=STEPS, guidance=GUIDANCE)
    return next(velatura.generate(request)).image


def _write(compositions: Sequence[Composition], rows: Sequence[Sequence[Image]], sheet: Path, page: Path) -> None:
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
    page.write_text(pages.page("Velatura: the demonstration", _INTRODUCTION, sections), encoding="utf-8")
