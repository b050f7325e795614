"""The pictures beside adapters: which files were looked at, and what is in them, as passages of their own field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, and_, delete, insert, select

from ..errors import CatalogueError
from . import codec, passages
from .connect import chunks
from .schema import embedding, encoder, picture

_STORED = np.dtype("<f4")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A picture beside an adapter, as it was when it was looked at."""

    name: str
    """The file's name."""
    stamp: str
    """Changes whenever the file does, or moves."""
    digest: str | None
    """Of the file's bytes; None for a file that is no picture that can be read."""


def get(connection: Connection, numbers: Iterable[int]) -> dict[int, list[Seen]]:
    """Return the pictures of the adapters that have any, in their order."""
    found: dict[int, list[Seen]] = {}
    for chunk in chunks(numbers):
        rows = connection.execute(
            select(picture).where(picture.c.adapter_id.in_(chunk)).order_by(picture.c.adapter_id, picture.c.ordinal)
        )
        for row in rows:
            found.setdefault(row.adapter_id, []).append(Seen(name=row.name, stamp=row.stamp, digest=row.digest))
    return found


def replace(connection: Connection, given: Mapping[int, Sequence[Seen]]) -> None:
    """Let adapters have these pictures in place of theirs; numbers that the catalogue does not have are passed over.

    Args:
        connection: A writing transaction.
        given: At most as many adapters as one statement takes.
    """
    known = passages.replace_images(
        connection, {number: [seen.digest for seen in pictures if seen.digest] for number, pictures in given.items()}
    )
    connection.execute(delete(picture).where(picture.c.adapter_id.in_(known)))
    rows = [
        {
            "adapter_id": number,
            "ordinal": ordinal,
            "name": codec.storable(seen.name),
            "stamp": seen.stamp,
            "digest": seen.digest,
        }
        for number in sorted(known)
        for ordinal, seen in enumerate(given[number])
    ]
    if rows:
        connection.execute(insert(picture), rows)


def vectors(
    connection: Connection, model: str, revision: str, numbers: Iterable[int]
) -> dict[int, list[tuple[str, NDArray[np.float32]]]]:
    """Return, of each of the adapters, (name, vector of this model) of its pictures, in their order.

    Raises:
        CatalogueError: A stored vector has another length than its model's.
    """
    found: dict[int, list[tuple[str, NDArray[np.float32]]]] = {}
    for chunk in chunks(numbers):
        rows = connection.execute(
            select(picture.c.adapter_id, picture.c.name, embedding.c.vector, encoder.c.dimension)
            .join(embedding, embedding.c.digest == picture.c.digest)
            .join(encoder, encoder.c.id == embedding.c.encoder_id)
            .where(and_(encoder.c.model == model, encoder.c.revision == revision), picture.c.adapter_id.in_(chunk))
            .order_by(picture.c.adapter_id, picture.c.ordinal)
        )
        for number, name, vector, dimension in rows:
            if len(vector) != dimension * _STORED.itemsize:
                raise CatalogueError(f"a vector of {model} in the catalogue is damaged; index again into a new file")
            found.setdefault(number, []).append((name, np.frombuffer(vector, _STORED)))
    return found
