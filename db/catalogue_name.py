"""The name of a catalogue: drawn once and kept in it, so that what lies elsewhere can be told to be its own."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from ..errors import CatalogueError
from .schema import meta

if TYPE_CHECKING:
    from .store import Store

_NAME = "catalogue"


def catalogue_name(store: Store) -> str:
    """Return the catalogue's name, 32 hexadecimal digits. A copy of its file has the same one.

    Raises:
        CatalogueError: It has none yet, and was opened for reading only.
    """
    name = _read(store)
    if name is not None:
        return name
    if store._database.read_only:
        raise CatalogueError("the catalogue has no name yet, and is open for reading only; run `velatura search` once")
    try:
        with store._database.writing() as connection:
            connection.execute(insert(meta).values(name=_NAME, value=secrets.token_hex(16)))
    except IntegrityError:  # another process was first
        pass
    name = _read(store)
    if name is None:
        raise CatalogueError("the catalogue could not be given a name; try again")
    return name


def _read(store: Store) -> str | None:
    with store._database.reading() as connection:
        name: str | None = connection.execute(select(meta.c.value).where(meta.c.name == _NAME)).scalar()
    return name
