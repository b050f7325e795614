"""The name of a catalogue: drawn once and kept in it, so that what lies elsewhere can be told to be its own."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from sqlalchemy import Connection, delete, insert, select

from ..errors import CatalogueError
from .schema import meta

if TYPE_CHECKING:
    from .store import Store

_NAME = "catalogue"


def catalogue_name(store: Store) -> str:
    """Return the catalogue's name, 32 hexadecimal digits. A copied file has the same one, a `db copy` another.

    Raises:
        CatalogueError: It has none yet, and is open for reading only.
    """
    with store._database.reading() as connection:
        name = _read(connection)
    if name is not None:
        return name
    if store._database.read_only:
        raise CatalogueError("the catalogue has no name yet, and is open for reading only; run `velatura embed` once")
    with store._database.writing() as connection:
        return draw_name(connection)


def draw_name(connection: Connection) -> str:
    """Return the catalogue's name, and give it one first where it has none.

    Args:
        connection: A writing transaction.
    """
    name = _read(connection)
    if name is None:
        name = secrets.token_hex(16)
        connection.execute(insert(meta).values(name=_NAME, value=name))
    return name


def forget_name(connection: Connection) -> None:
    """Let the catalogue have another name from now on, as a copy must that goes its own ways.

    Args:
        connection: A writing transaction.
    """
    connection.execute(delete(meta).where(meta.c.name == _NAME))


def _read(connection: Connection) -> str | None:
    name: str | None = connection.execute(select(meta.c.value).where(meta.c.name == _NAME)).scalar()
    return name
