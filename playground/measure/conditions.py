"""Which adapters are laid on for each prompt: none, the right ones, Velatura's own picks, wrong ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ...errors import InputError
from ...pipeline import Velatura
from ...records import AdapterRecord, Choice, Composition, Filter
from ...settings import default_settings
from ..cards import Truth, read_truth
from ..library import DUMP, FAMILY, make_library
from ..world import NEW_SCENES, NEW_STYLES, NEW_SUBJECTS
from .prompts import Ask

CONDITIONS: Final = ("base", "oracle", "picks", "picks_clean", "wrong")
"""Nothing laid on; the right adapters at their full weight; Velatura's picks from the whole library; its picks from the
same library without the files that are not what they should be; for each right adapter another of its kind."""

Part = tuple[str, str]
"""A part of a picture and its name: `("subject", "cat")`."""
Compositions = Mapping[int, Composition]
"""By the number of the prompt."""

_NAMES: Final[dict[str, tuple[str, ...]]] = {"subject": NEW_SUBJECTS, "style": NEW_STYLES, "scene": NEW_SCENES}


@dataclass(frozen=True, slots=True)
class Shelf:
    """The library as it is catalogued, and what its files really are."""

    records: Mapping[str, AdapterRecord]
    """By the file's name."""
    truth: Mapping[str, Truth]

    @classmethod
    def of(cls, catalogue: Velatura) -> Shelf:
        """Read a catalogue's files.

        Raises:
            InputError: there are others than the library's, left by another version of it.
        """
        numbers = catalogue.store.select(Filter(installed=True)).tolist()
        found = (adapter.record for adapter in catalogue.store.adapters(numbers))
        shelf = cls({record.file_name or "": record for record in found}, read_truth())
        if others := sorted(shelf.records.keys() - shelf.truth.keys()):
            raise InputError(f"{shelf.records[others[0]].path} is no file of the library; measure into another folder")
        return shelf

    def right(self, part: Part) -> tuple[AdapterRecord, float] | None:
        """Return the good file for a part and its full weight; None where there is none."""
        for name, truth in self.truth.items():
            if truth.serves == part and truth.trouble is None and name in self.records:
                return self.records[name], truth.full
        return None

    def what(self, choice: Choice) -> Truth:
        """Return what a chosen file really is."""
        return self.truth[choice.adapter.file_name or ""]


def open_library(trained: Path, folder: Path, *, clean: bool, embedded_by: Velatura | None = None) -> Velatura:
    """Make the library in a folder, catalogue it there and embed it; what is done already is not done again.

    Args:
        trained: The folder of the trained adapters.
        folder: Where the library and its catalogue go.
        clean: See `make_library`.
        embedded_by: Whose embedder to share.
    """
    loras = make_library(trained, folder, clean=clean)
    catalogue = Velatura(default_settings(db=str(folder / "catalogue.db")))
    if embedded_by is not None:
        catalogue.embedder = embedded_by.embedder
    catalogue.index(loras)
    catalogue.index(folder / DUMP)
    catalogue.embed()
    return catalogue


def choose(asks: Sequence[Ask], whole: Velatura, clean: Velatura) -> dict[str, Compositions]:
    """Return what is laid on for each prompt under each of `CONDITIONS`.

    Prompts that need nothing have no wrong adapters.
    """
    shelf = Shelf.of(whole)
    return {
        "base": {ask.number: Composition(prompt=ask.prompt) for ask in asks},
        "oracle": {ask.number: _laid(ask, ask.needs, shelf) for ask in asks},
        "picks": _picks(asks, whole),
        "picks_clean": _picks(asks, clean),
        "wrong": {ask.number: _laid(ask, tuple(map(_another, ask.needs)), shelf) for ask in asks if ask.needs},
    }


def servable(asks: Sequence[Ask], shelf: Shelf) -> list[Ask]:
    """Return the prompts whose every need has a good file, right and wrong ones: others cannot be measured."""
    return [ask for ask in asks if all(shelf.right(part) and shelf.right(_another(part)) for part in ask.needs)]


def _picks(asks: Sequence[Ask], catalogue: Velatura) -> Compositions:
    composed = catalogue.compose_all([ask.prompt for ask in asks], filter=Filter(family=FAMILY, installed=True))
    return {ask.number: composition for ask, composition in zip(asks, composed, strict=True)}


def _laid(ask: Ask, parts: Sequence[Part], shelf: Shelf) -> Composition:
    choices = []
    for part in parts:
        found = shelf.right(part)
        if found is not None:
            choices.append(Choice(adapter=found[0], weight=found[1], span=part[1]))
    return Composition(prompt=ask.prompt, choices=tuple(choices))


def _another(part: Part) -> Part:
    """Return the next name of the same kind."""
    names = _NAMES[part[0]]
    return part[0], names[(names.index(part[1]) + 1) % len(names)]
