"""The vectors of texts, and a stamp that tells when an index built from them is out of date.

A vector belongs to a text, named by its digest: the same text is never embedded twice, whoever says it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sqlalchemy import ColumnElement, Connection, Select, and_, insert, select, update

from ..errors import CatalogueError, InputError
from .connect import chunks
from .schema import adapter, embedding, encoder, meta, passage

_STAMP = "passages"
_STORED = np.dtype("<f4")
_DAMAGED = "a vector of {model} in the catalogue is damaged; index again into a new file"


def note_change(connection: Connection) -> None:
    """Note that the passages of the present adapters are others than before."""
    stamp = secrets.token_hex(8)
    if not connection.execute(update(meta).where(meta.c.name == _STAMP).values(value=stamp)).rowcount:
        connection.execute(insert(meta).values(name=_STAMP, value=stamp))


def state(connection: Connection, model: str, revision: str) -> str:
    """Return a stamp that is another one whenever `load` could give something else.

    Stamps are drawn at random, so that a copy of the catalogue put back and then changed repeats none.
    """
    passages = connection.execute(select(meta.c.value).where(meta.c.name == _STAMP)).scalar()
    vectors = connection.execute(select(encoder.c.stamp).where(_is(model, revision))).scalar()
    return f"{passages or 0}-{vectors or 0}"


def missing(connection: Connection, model: str, revision: str, digests: Iterable[str]) -> set[str]:
    """Return those of the digests that have no vector of this model."""
    wanted = set(digests)
    known: set[str] = set()
    for chunk in chunks(wanted):
        rows = connection.execute(
            select(embedding.c.digest).join(encoder).where(_is(model, revision), embedding.c.digest.in_(chunk))
        )
        known.update(rows.scalars())
    return wanted - known


def put(connection: Connection, model: str, revision: str, vectors: Mapping[str, ArrayLike]) -> None:
    """Keep vectors by the digest of their text; one that is there already stays as it is.

    Raises:
        InputError: A vector is no row of finite numbers, or not as long as the model's others.
    """
    wanted = missing(connection, model, revision, vectors)
    rows = {digest: np.asarray(vectors[digest], dtype=_STORED) for digest in vectors if digest in wanted}
    if not rows:
        return
    dimension = len(next(iter(rows.values())).ravel())
    known = connection.execute(select(encoder.c.id, encoder.c.dimension).where(_is(model, revision))).first()
    if known is not None:
        dimension = known.dimension
    for vector in rows.values():
        if vector.shape != (dimension,) or not dimension:
            raise InputError(
                f"{model} gave a vector of shape {vector.shape} where its vectors have {dimension} numbers"
            )
        if not np.isfinite(vector).all():
            raise InputError(f"{model} gave a vector that holds a number which is not finite")
    stamp = secrets.token_hex(8)
    if known is None:
        values = {"model": model, "revision": revision, "dimension": dimension, "stamp": stamp}
        number = connection.execute(insert(encoder).returning(encoder.c.id), values).scalar_one()
    else:
        number = known.id
        connection.execute(update(encoder).where(encoder.c.id == number).values(stamp=stamp))
    connection.execute(
        insert(embedding),
        [{"encoder_id": number, "digest": digest, "vector": vector.tobytes()} for digest, vector in rows.items()],
    )


def lacking(connection: Connection, model: str, revision: str) -> set[int]:
    """Return the present adapters of which a passage has no vector of this model."""
    known = select(encoder.c.id).where(_is(model, revision)).scalar_subquery()
    joined = passage.join(adapter, adapter.c.id == passage.c.adapter_id).outerjoin(
        embedding, and_(embedding.c.digest == passage.c.digest, embedding.c.encoder_id == known)
    )
    lacks = and_(embedding.c.digest.is_(None), adapter.c.missing_since.is_(None))
    return set(connection.execute(select(passage.c.adapter_id).select_from(joined).where(lacks)).scalars())


def rows(
    connection: Connection, model: str, revision: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.str_]]:
    """Return (passage ids ascending, their adapters' ids, their fields) of the rows of `load`."""
    columns = passage.c.id, passage.c.adapter_id, passage.c.field
    found = connection.execute(_present(select(*columns), model, revision)).all()
    numbers, adapters, fields = zip(*found, strict=True) if found else ((), (), ())
    return np.array(numbers, np.int64), np.array(adapters, np.int64), np.array(fields, np.str_)


def load(connection: Connection, model: str, revision: str, after: int = 0) -> NDArray[np.float32]:
    """Return the vectors of the passages with ids greater than `after`, shape (passages, dimension), in their order.

    Only passages of adapters that are not missing, and only those that have a vector of this model.

    Raises:
        CatalogueError: A stored vector has another length than its model's.
    """
    dimension = connection.execute(select(encoder.c.dimension).where(_is(model, revision))).scalar() or 0
    chosen = _present(select(embedding.c.vector), model, revision).where(passage.c.id > after)
    content = bytearray()
    for vector in connection.execute(chosen).scalars():
        if len(vector) != dimension * _STORED.itemsize:
            raise CatalogueError(_DAMAGED.format(model=model))
        content += vector
    return np.frombuffer(content, _STORED).reshape(-1, dimension) if dimension else np.empty((0, 0), np.float32)


def of(
    connection: Connection, model: str, revision: str, numbers: Iterable[int]
) -> dict[int, dict[str, NDArray[np.float32]]]:
    """Return, of each of the adapters, its vectors of this model by field, a row a passage; missing adapters too.

    Raises:
        CatalogueError: A stored vector has another length than its model's.
    """
    dimension = connection.execute(select(encoder.c.dimension).where(_is(model, revision))).scalar() or 0
    found: dict[int, dict[str, bytearray]] = {}
    for chunk in chunks(numbers):
        rows = connection.execute(
            select(passage.c.adapter_id, passage.c.field, embedding.c.vector)
            .join(embedding, embedding.c.digest == passage.c.digest)
            .join(encoder, encoder.c.id == embedding.c.encoder_id)
            .where(_is(model, revision), passage.c.adapter_id.in_(chunk))
            .order_by(passage.c.id)
        )
        for number, field, vector in rows:
            if len(vector) != dimension * _STORED.itemsize:
                raise CatalogueError(_DAMAGED.format(model=model))
            found.setdefault(number, {}).setdefault(field, bytearray()).extend(vector)
    return {
        number: {field: np.frombuffer(content, _STORED).reshape(-1, dimension) for field, content in fields.items()}
        for number, fields in found.items()
    }


def _present(statement: Select[Any], model: str, revision: str) -> Select[Any]:
    joined = (
        passage.join(adapter, adapter.c.id == passage.c.adapter_id)
        .join(embedding, embedding.c.digest == passage.c.digest)
        .join(encoder, encoder.c.id == embedding.c.encoder_id)
    )
    there = and_(_is(model, revision), adapter.c.missing_since.is_(None))
    return statement.select_from(joined).where(there).order_by(passage.c.id)


def _is(model: str, revision: str) -> ColumnElement[bool]:
    return and_(encoder.c.model == model, encoder.c.revision == revision)
