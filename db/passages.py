"""Passages: the texts of an adapter that are to be embedded, by digest, and what they were made from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, insert, select, update

from . import vectors
from .schema import adapter, passage

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
    """Let adapters have these passages; one that stays as it was keeps its number.

    Args:
        connection: A writing transaction.
        given: (adapter, its passages); numbers that the catalogue does not have are passed over.
        version: The version of whatever cuts texts into passages.
        origins: What the passages were made from, as `stale` told; the present state for those it lacks.
    """
    wanted = {number: _numbered(passages) for number, passages in given}
    found = connection.execute(select(adapter.c.id, _origin()).where(adapter.c.id.in_(wanted)))
    known: dict[int, str] = dict(found.all())
    rows = connection.execute(select(passage).where(passage.c.adapter_id.in_(known)))
    present = {(row.adapter_id, row.field, row.ordinal, row.digest): row.id for row in rows}
    asked = {(number, *place) for number in known for place in wanted[number]}
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
    if known:
        connection.execute(
            update(adapter).where(adapter.c.id == bindparam("number")).values(passages_from=bindparam("origin")),
            [{"number": number, "origin": f"{origins.get(number, known[number])}+{version}"} for number in known],
        )


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
