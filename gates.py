"""What a person names, and the settings or options keep out: refused, with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .errors import InputError
from .fenced import line
from .records import Composition, Filter

if TYPE_CHECKING:
    from .db import Store

_GATES: Final = {
    "nsfw": "its rating is not allowed, or not known",
    "commercial": "its licence does not allow that use, or is not known",
    "real_people": "it depicts a real person",
    "blocked": "it is blocked",
}
"""Fields of a filter, and why one keeps an adapter out."""
_TITLE: Final = 60


class KeptOut(InputError):
    """The gates keep out what was named.

    Args:
        title: What it is called.
        why: The reason.
    """

    def __init__(self, title: str, why: str) -> None:
        super().__init__(f"“{title}” is kept out: {why}")
        self.untitled = f"an adapter that is named is kept out: {why}"
        """The sentence for those who may not learn what it is called."""


def admitted(store: Store, named: Sequence[tuple[str, Sequence[int]]], wanted: Filter) -> list[int]:
    """Return the catalogue number of each thing that a person names: of those that it may mean, the first let through.

    Only the gates of the filter are kept - rating, licence, real persons, what is blocked, what must never be found:
    whether an adapter is here and fits is told where it is painted.

    Args:
        store: The catalogue.
        named: (name, the numbers that it may mean, the likeliest first).
        wanted: The filter that the settings and options make.

    Raises:
        KeptOut: something is let through by none of its numbers.
    """
    gates = Filter(**{name: getattr(wanted, name) for name in _GATES})
    allowed = frozenset(store.select(gates).tolist())
    numbers = []
    for name, meant in named:
        number = next((number for number in meant if number in allowed), None)
        if number is None:
            title = line(store.adapter(meant[0]).record.title, _TITLE) or line(name, _TITLE)
            raise KeptOut(title, _why(store, meant[0], gates))
        numbers.append(number)
    return numbers


def hold(store: Store, composition: Composition, wanted: Filter) -> None:
    """Refuse a composition that came from elsewhere - a file, a picture, another tool - and lays on what is kept out.

    What it says of an adapter's rating and licence counts for nothing: the catalogue is asked, by its key and by its
    file. What the catalogue does not know is let through only where neither rating nor licence is asked for, since
    unknown is not allowed.

    Args:
        store: The catalogue.
        composition: What is to be painted or handed on, each adapter with its file on this machine, where it has one.
        wanted: The filter that the settings and options make; only its gates are kept.

    Raises:
        KeptOut: an adapter of it is kept out.
    """
    gates = Filter(**{name: getattr(wanted, name) for name in _GATES})
    present, allowed = (frozenset(store.select(each).tolist()) for each in (Filter(), gates))
    for choice in composition.choices:
        record = choice.adapter
        title = line(record.title, _TITLE) or line(record.key, _TITLE)
        places = [Path(place).expanduser().resolve() for place in (record.path, store.installed(record)) if place]
        # By its path alone: a file is what it is, whatever it is said to be.
        meant = [number for place in places for number in store.find(str(place)) if _lies_at(store, number, place)]
        known = {number for number in (store.number_of(record), *meant) if number is not None}
        for number in sorted(known):
            if (number in present and number not in allowed) or store.adapter(number).record.minor:
                raise KeptOut(title, _why(store, number, gates))
        if not known & present and (gates.nsfw is not None or gates.commercial is not None):
            raise KeptOut(title, "the catalogue does not have it, so its rating and its licence are not known")


def _lies_at(store: Store, number: int, place: Path) -> bool:
    path = store.adapter(number).record.path
    return path is not None and Path(path).resolve() == place


def _why(store: Store, number: int, gates: Filter) -> str:
    if number in store.select(Filter()):
        for name, why in _GATES.items():
            if number not in store.select(replace(Filter(), **{name: getattr(gates, name)})):
                return why
    return "its file is gone, or it depicts a minor"
