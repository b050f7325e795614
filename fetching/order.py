"""What is fetched: an adapter that a person names and the gates let through."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..catalog.identity import good_hash
from ..errors import InputError
from ..gates import admitted
from ..records import AdapterRecord, Filter
from .file_name import safe_file_name
from .origin import Origin, origin_of

if TYPE_CHECKING:
    from ..db import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One file to be fetched, or one that is here already."""

    number: int
    """Its catalogue number."""
    record: AdapterRecord
    others: tuple[int, ...] = ()
    """What else the person may have meant."""
    file_name: str = ""
    origin: Origin | None = None
    """None where it is here already."""
    here: str | None = None
    """The file on this machine."""

    @property
    def sha256(self) -> str | None:
        """The digest that the file must have; None where the catalogue does not know it."""
        return good_hash(self.record.hashes.sha256, 64)


def order(store: Store, named: str, wanted: Filter, *, unverified: bool = False) -> Order:
    """Return what is to be fetched by a name.

    Args:
        store: The catalogue.
        named: Whatever `Store.find` understands; what it likeliest means is taken, and nothing else in its place.
        wanted: The filter that the settings and options make; its gates are kept.
        unverified: Also what the catalogue knows no SHA-256 of.

    Raises:
        InputError: nothing is called so, the gates keep it out, or it cannot be fetched; one sentence says why.
    """
    numbers = store.find(named)
    if not numbers:
        raise InputError(f"nothing in the catalogue answers to {named[:200]!r}")
    number = admitted(store, [(named, numbers[:1])], wanted)[0]
    record, others = store.adapter(number).record, tuple(numbers[1:])
    here = record.path or store.installed(record)
    if here is not None and Path(here).is_file():
        return Order(number=number, record=record, others=others, here=here)
    origin = origin_of(record)
    name = safe_file_name(record.file_name, f"{origin.site.split()[0].lower()}-{number}")
    wanted_file = Order(number=number, record=record, others=others, file_name=name, origin=origin)
    if wanted_file.sha256 is None and not unverified:
        raise InputError(f"the catalogue knows no SHA-256 of {name}, so what comes cannot be checked; "
                         "--unverified fetches it all the same")  # fmt: skip
    return wanted_file
