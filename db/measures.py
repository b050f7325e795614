"""What adapters do to weights, kept beside them for as long as their files stay what they are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, and_, delete, func, insert, select, update

from ..errors import CatalogueError
from ..records import BaseNorms, BlockNorm, WeightMeasure
from . import codec
from .connect import chunks
from .schema import adapter, base_norm, measure, record

_STORED = np.dtype("<f4")
_ESCAPED = "\\ud"
"""What stands in a stored path for bytes that are no text; such a path is read from the record."""

_SAMPLED = 2000
_USUAL = 8
_DAMAGED = "what the catalogue keeps of weights is damaged; index again into another file"

_IS_CURRENT = adapter.c.fingerprint.is_not_distinct_from(measure.c.fingerprint)
_IS_INSTALLED = and_(
    adapter.c.missing_since.is_(None),
    adapter.c.path.is_not(None),
    adapter.c.kind != "embedding",
    func.lower(adapter.c.path).like("%.safetensors"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFile:
    """The file of an adapter on this machine."""

    number: int
    """The catalogue's number of the adapter."""
    path: str
    stamp: str | None
    """The file's stamp when it was measured; None when it was not, or when its record has changed since."""


def files(connection: Connection, method: str) -> list[WeightFile]:
    """Return every present local file that may hold weights, by number; measured by this method or not."""
    rows = connection.execute(
        select(adapter.c.id, adapter.c.path, measure.c.stamp)
        .outerjoin(measure, and_(measure.c.adapter_id == adapter.c.id, measure.c.method == method, _IS_CURRENT))
        .where(_IS_INSTALLED)
        .order_by(adapter.c.id)
    ).all()
    escaped: dict[int, str] = {}
    for chunk in chunks(number for number, path, _ in rows if _ESCAPED in path):
        texts = connection.execute(select(record.c.adapter_id, record.c.json).where(record.c.adapter_id.in_(chunk)))
        escaped.update((number, codec.load(text).path or "") for number, text in texts)
    return [WeightFile(number=number, path=escaped.get(number, path), stamp=stamp) for number, path, stamp in rows]


def put(connection: Connection, measured: Sequence[tuple[int, str, WeightMeasure]]) -> None:
    """Keep what was measured of each (number, stamp of the file); an adapter that is no more is left out."""
    given = {number: (stamp, found) for number, stamp, found in measured}
    for chunk in chunks(given):
        rows = connection.execute(select(adapter.c.id, adapter.c.fingerprint).where(adapter.c.id.in_(chunk))).all()
        connection.execute(delete(measure).where(measure.c.adapter_id.in_(chunk)))
        values = [_row(number, fingerprint, *given[number]) for number, fingerprint in rows]
        if values:
            connection.execute(insert(measure), values)


def get(connection: Connection, number: int) -> WeightMeasure | None:
    """Return what was measured of an adapter; None where nothing was, or its record has changed since.

    Raises:
        CatalogueError: What is stored is damaged.
    """
    row = connection.execute(
        select(measure).join(adapter, adapter.c.id == measure.c.adapter_id).where(adapter.c.id == number, _IS_CURRENT)
    ).first()
    if row is None:
        return None
    with _undamaged():
        plain = json.loads(row.json)
        return WeightMeasure(
            method=row.method,
            blocks=_blocks(plain["blocks"]),
            unmeasured=tuple((str(kind), int(count)) for kind, count in plain["unmeasured"]),
            sketch=tuple(np.frombuffer(row.sketch or b"", _STORED).tolist()),
            failure=plain.get("failure"),
        )


def sketches(connection: Connection, method: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return (numbers ascending, a sketch in each row) of the present adapters; one for each fingerprint.

    Raises:
        CatalogueError: A stored sketch is not as long as the others.
    """
    rows = connection.execute(
        select(adapter.c.id, adapter.c.fingerprint, measure.c.sketch)
        .join(measure, measure.c.adapter_id == adapter.c.id)
        .where(measure.c.method == method, measure.c.sketch.is_not(None), _IS_CURRENT, _IS_INSTALLED)
        .order_by(adapter.c.id)
    )
    numbers: list[int] = []
    content = bytearray()
    seen: set[str] = set()
    for number, fingerprint, sketch in rows:
        if fingerprint is None or fingerprint not in seen:
            seen.add(fingerprint)
            numbers.append(number)
            content += sketch
            if len(content) != len(numbers) * len(sketch) or len(sketch) % _STORED.itemsize:
                raise CatalogueError(_DAMAGED)
    found = np.frombuffer(content, _STORED).reshape(len(numbers), -1) if numbers else np.empty((0, 0), np.float32)
    return np.array(numbers, np.int64), found


def sketches_of(connection: Connection, numbers: Sequence[int]) -> dict[int, tuple[str, NDArray[np.float32]]]:
    """Return, of those of the adapters that were measured, the method and the sketch."""
    found: dict[int, tuple[str, NDArray[np.float32]]] = {}
    for chunk in chunks(numbers):
        rows = connection.execute(
            select(measure.c.adapter_id, measure.c.method, measure.c.sketch)
            .join(adapter, adapter.c.id == measure.c.adapter_id)
            .where(measure.c.adapter_id.in_(chunk), measure.c.sketch.is_not(None), _IS_CURRENT)
        )
        for number, method, sketch in rows:
            if len(sketch) % _STORED.itemsize:
                raise CatalogueError(_DAMAGED)
            found[number] = method, np.frombuffer(sketch, _STORED)
    return found


def usual_norms(connection: Connection) -> dict[str, float | None]:
    """Return, for each family of which files were measured, the norm of the usual one: the median of the first 2,000.

    It is None where fewer than 8 were: strengths are told from scratch by too little then.

    Raises:
        CatalogueError: What is stored is damaged.
    """
    rows = connection.execute(
        select(adapter.c.family, measure.c.json)
        .join(measure, measure.c.adapter_id == adapter.c.id)
        .where(_IS_CURRENT, measure.c.sketch.is_not(None))
        .order_by(adapter.c.id)
        .limit(_SAMPLED)
    )
    norms: dict[str, list[float]] = {}
    with _undamaged():
        for family, text in rows:
            found = WeightMeasure(method="", blocks=_blocks(json.loads(text)["blocks"])).whole.norm
            norms.setdefault(family, []).append(found)
    return {family: median(found) if len(found) >= _USUAL else None for family, found in norms.items()}


def put_base(connection: Connection, norms: BaseNorms) -> None:
    """Keep the norms of a family's checkpoint in place of what is kept for the family."""
    values = {"model": codec.storable(norms.model), "json": json.dumps({"blocks": _plain(norms.blocks)})}
    is_family = base_norm.c.family == norms.family
    if not connection.execute(update(base_norm).where(is_family).values(values)).rowcount:
        connection.execute(insert(base_norm).values(family=norms.family, **values))


def get_base(connection: Connection) -> list[BaseNorms]:
    """Return the norms of every checkpoint that was measured, one a family.

    Raises:
        CatalogueError: What is stored is damaged.
    """
    rows = connection.execute(select(base_norm).order_by(base_norm.c.family))
    with _undamaged():
        return [
            BaseNorms(family=row.family, model=row.model, blocks=_blocks(json.loads(row.json)["blocks"]))
            for row in rows
        ]


@contextmanager
def _undamaged() -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CatalogueError(_DAMAGED) from error


def _row(number: int, fingerprint: str | None, stamp: str, found: WeightMeasure) -> dict[str, Any]:
    plain: dict[str, Any] = {"blocks": _plain(found.blocks), "unmeasured": found.unmeasured}
    if found.failure is not None:
        plain["failure"] = codec.storable(found.failure)
    return {
        "adapter_id": number,
        "method": found.method,
        "fingerprint": fingerprint,
        "stamp": stamp,
        "json": json.dumps(plain, allow_nan=False),
        "sketch": np.asarray(found.sketch, _STORED).tobytes() if found.sketch else None,
    }


def _plain(blocks: Sequence[BlockNorm]) -> list[tuple[str, float, int]]:
    return [(block.block, block.norm, block.values) for block in blocks]


def _blocks(plain: Any) -> tuple[BlockNorm, ...]:
    return tuple(BlockNorm(block=str(name), norm=float(norm), values=int(values)) for name, norm, values in plain)
