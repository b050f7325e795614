"""Passages: the texts of an adapter that are to be embedded, by digest, and what they were made from.

The pictures beside it are passages of the field `image`; texts and pictures come and go apart from each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, func, insert, select, update

from . import vectors
from .schema import adapter, embedding, encoder, passage

IMAGE: Final = "image"
"""The field of pictures; every other one is a text's."""

Passages = Sequence[tuple[str, str]]
"""(field, digest of the text) of each passage of one adapter, in order."""


def stale(connection: Connection, version: str) -> dict[int, str]:
    """Return the present adapters whose passages are to be made anew, with what they would be made from."""
    origin = _origin()
    made_from = adapter.c.passages_from
    rows = connection.execute(
        select(adapter.c.id, origin)
        .where(adapter.c.missing_since.is_(None), made_from.is_distinct_from(origin + "+" + version))
        .order_by(adapter.c.id)
    )
    return dict(rows.all())


def replace(
    connection: Connection, given: Sequence[tuple[int, Passages]], version: str, origins: Mapping[int, str]
) -> None:
    """Let adapters have these texts as passages; one that stays as it was keeps its number, and so do pictures.

    Args:
        connection: A writing transaction.
        given: (adapter, its passages); numbers that the catalogue does not have are passed over.
        version: The version of whatever cuts texts into passages.
        origins: What the passages were made from, as `stale` told; the present state for those it lacks.
    """
    wanted = {number: _numbered(passages) for number, passages in given}
    found = connection.execute(select(adapter.c.id, _origin()).where(adapter.c.id.in_(wanted)))
    known: dict[int, str] = dict(found.all())
    _exchange(connection, {number: wanted[number] for number in known}, passage.c.field != IMAGE)
    if known:
        connection.execute(
            update(adapter).where(adapter.c.id == bindparam("number")).values(passages_from=bindparam("origin")),
            [{"number": number, "origin": f"{origins.get(number, known[number])}+{version}"} for number in known],
        )


def replace_images(connection: Connection, given: Mapping[int, Sequence[str]]) -> set[int]:
    """Let adapters have pictures with these digests as passages; texts stay.

    Returns:
        Those of the adapters that the catalogue has.
    """
    known = set(connection.execute(select(adapter.c.id).where(adapter.c.id.in_(given))).scalars())
    wanted = {number: _numbered([(IMAGE, digest) for digest in given[number]]) for number in known}
    _exchange(connection, wanted, passage.c.field == IMAGE)
    return known


def lacking(connection: Connection, model: str, revision: str, fields: Collection[str] | None) -> set[int]:
    """Return the present adapters of which a passage has no vector of this model.

    Args:
        connection: A transaction.
        model: The model.
        revision: Its revision.
        fields: Where passages count; None for all texts.
    """
    known = select(encoder.c.id).where(encoder.c.model == model, encoder.c.revision == revision).scalar_subquery()
    joined = passage.join(adapter, adapter.c.id == passage.c.adapter_id).outerjoin(
        embedding, and_(embedding.c.digest == passage.c.digest, embedding.c.encoder_id == known)
    )
    counts = passage.c.field != IMAGE if fields is None else passage.c.field.in_(fields)
    lacks = and_(counts, embedding.c.digest.is_(None), adapter.c.missing_since.is_(None))
    return set(connection.execute(select(passage.c.adapter_id).select_from(joined).where(lacks)).scalars())


def _exchange(
    connection: Connection, wanted: Mapping[int, Sequence[tuple[str, int, str]]], which: ColumnElement[bool]
) -> None:
    """Let adapters have these passages, (field, ordinal, digest), in place of which of theirs."""
    rows = connection.execute(select(passage).where(passage.c.adapter_id.in_(wanted), which))
    present = {(row.adapter_id, row.field, row.ordinal, row.digest): row.id for row in rows}
    asked = {(number, *place) for number, places in wanted.items() for place in places}
    gone = [{"number": present[place]} for place in present.keys() - asked]
    if gone:
        connection.execute(delete(passage).where(passage.c.id == bindparam("number")), gone)
    new = [
        {"adapter_id": number, "field": field, "ordinal": ordinal, "digest": digest}
        for number, field, ordinal, digest in sorted(asked - present.keys())
    ]
    if new:
        connection.execute(insert(passage), new)
    if gone or new:
        vectors.note_change(connection)


def _origin() -> ColumnElement[str]:
    return adapter.c.digest + "+" + func.coalesce(adapter.c.described, "")


def _numbered(passages: Passages) -> list[tuple[str, int, str]]:
    """Return (field, ordinal within the field, digest) of each."""
    ordinals: Counter[str] = Counter()
    numbered = []
    for field, digest in passages:
        numbered.append((field, ordinals[field], digest))
        ordinals[field] += 1
    return numbered
