"""The vectors of texts, and a stamp that tells when an index built from them is out of date.

A vector belongs to a text, named by its digest: the same text is never embedded twice, whoever says it.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, insert, select, update

from ..errors import CatalogueError, InputError
from .catalogue_name import draw_name
from .connect import chunks
from .schema import adapter, embedding, encoder, meta, passage

if TYPE_CHECKING:
    from .store import Store

_STAMP = "passages"
_STORED = np.dtype("<f4")
_DAMAGED = "a vector of {model} in the catalogue is damaged; index again into a new file"


def note_change(connection: Connection) -> None:
    """Note that the passages of the present adapters are others than before."""
    stamp = secrets.token_hex(8)
    if not connection.execute(update(meta).where(meta.c.name == _STAMP).values(value=stamp)).rowcount:
        connection.execute(insert(meta).values(name=_STAMP, value=stamp))
    draw_name(connection)  # what is made from passages may lie where several catalogues have theirs


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


@dataclass(frozen=True, slots=True)
class Ground:
    """What the rows up to a passage rest on: while it stays the same, so do they."""

    passages: int
    """How many there are; numbers are never given again, so that as many are the same ones."""
    lacking: int
    """How many of them have no vector of the model."""
    missing: str
    """A digest of the adapters that are missing."""


def ground(connection: Connection, model: str, revision: str, last: int, whole: int = 0) -> Ground:
    """Return what the rows with ids up to `last` rest on.

    Args:
        connection: A transaction.
        model: The model.
        revision: Its revision.
        last: A passage's id.
        whole: None up to this id lacks its vector, so that they need not be looked at: a vector never goes.
    """
    known = select(encoder.c.id).where(_is(model, revision)).scalar_subquery()
    lacks = ~exists().where(embedding.c.encoder_id == known, embedding.c.digest == passage.c.digest)
    upto = select(func.count()).select_from(passage).where(passage.c.id <= last)
    missing = np.array(connection.execute(_missing().order_by(adapter.c.id)).scalars().all(), np.int64)
    return Ground(
        connection.execute(upto).scalar_one(),
        connection.execute(upto.where(passage.c.id > whole, lacks)).scalar_one(),
        hashlib.blake2b(missing.tobytes(), digest_size=16).hexdigest(),
    )


def texts(connection: Connection, numbers: Collection[int]) -> dict[int, str]:
    """Return the digests of the texts of those passages that are there."""
    found = connection.execute(select(passage.c.id, passage.c.digest).where(passage.c.id.in_(numbers)))
    return {row.id: row.digest for row in found}


def rows(
    connection: Connection, model: str, revision: str, after: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.str_]]:
    """Return (passage ids ascending, their adapters' ids, their fields) of the rows of `load`."""
    columns = passage.c.id, passage.c.adapter_id, passage.c.field
    # The driver's own rows: there may be millions.
    found = list(_driver_rows(connection, _present(select(*columns), model, revision, after)))
    numbers, adapters, fields = zip(*found, strict=True) if found else ((), (), ())
    return np.array(numbers, np.int64), np.array(adapters, np.int64), np.array(fields, np.str_)


def numbers(connection: Connection, model: str, revision: str) -> NDArray[np.int64]:
    """Return the passage ids of the rows of `load`, ascending."""
    found = _driver_rows(connection, _present(select(passage.c.id), model, revision, 0))
    return np.fromiter((number for (number,) in found), np.int64)


def load(connection: Connection, model: str, revision: str, after: int = 0) -> NDArray[np.float32]:
    """Return the vectors of the passages with ids greater than `after`, shape (passages, dimension), in their order.

    Only passages of adapters that are not missing, and only those that have a vector of this model.

    Raises:
        CatalogueError: A stored vector has another length than its model's.
    """
    dimension = connection.execute(select(encoder.c.dimension).where(_is(model, revision))).scalar() or 0
    content = bytearray()
    for (vector,) in _driver_rows(connection, _present(select(embedding.c.vector), model, revision, after)):
        if len(vector) != dimension * _STORED.itemsize:
            raise CatalogueError(_DAMAGED.format(model=model))
        content += vector
    return np.frombuffer(content, _STORED).reshape(-1, dimension) if dimension else np.empty((0, 0), np.float32)


class Snapshot:
    """The vectors of one model in one state of the catalogue; see the functions of these names."""

    def __init__(self, connection: Connection, model: str, revision: str) -> None:
        self._asked = connection, model, revision
        self.state = state(connection, model, revision)

    def ground(self, last: int, whole: int = 0) -> Ground:
        """Return what the rows up to a passage rest on."""
        return ground(*self._asked, last, whole)

    def texts(self, numbers: Collection[int]) -> dict[int, str]:
        """Return the digests of the texts of those passages that are there."""
        return texts(self._asked[0], numbers)

    def rows(self, after: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.str_]]:
        """Return (passage ids ascending, adapters' ids, fields) of the passages after one."""
        return rows(*self._asked, after)

    def numbers(self) -> NDArray[np.int64]:
        """Return all passage ids, ascending."""
        return numbers(*self._asked)

    def load(self, after: int = 0) -> NDArray[np.float32]:
        """Return the vectors of the rows of `rows`, shape (passages, dimension)."""
        return load(*self._asked, after)


@contextmanager
def snapshot(store: Store, model: str, revision: str) -> Iterator[Snapshot]:
    """Open a look at the vectors of one model that sees one state, whatever others write meanwhile."""
    with store._database.reading() as connection:
        yield Snapshot(connection, model, revision)


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


def _present(statement: Select[Any], model: str, revision: str, after: int) -> Select[Any]:
    joined = passage.join(embedding, embedding.c.digest == passage.c.digest)
    known = select(encoder.c.id).where(_is(model, revision)).scalar_subquery()
    # Not a join with `adapter`: SQLite would go through the adapters, and sort all vectors by passage.
    there = passage.c.adapter_id.not_in(_missing())
    return (
        statement.select_from(joined)
        .where(passage.c.id > after, embedding.c.encoder_id == known, there)
        .order_by(passage.c.id)
    )


def _missing() -> Select[tuple[int]]:
    return select(adapter.c.id).where(adapter.c.missing_since.is_not(None))


def _driver_rows(connection: Connection, statement: Select[Any]) -> Iterator[Any]:
    # A server sends them as they are asked for, rather than all at once.
    with connection.execute(statement, execution_options={"stream_results": True}) as result:
        yield from map(tuple, result.fetchmany(1))  # has been taken from the cursor already
        cursor: Any = result.cursor
        while cursor is not None and (some := cursor.fetchmany(1000)):
            yield from some


def _is(model: str, revision: str) -> ColumnElement[bool]:
    return and_(encoder.c.model == model, encoder.c.revision == revision)
