"""What describers say of adapters: one refinement an adapter, and a cache of everything that was ever answered.

A reply is known by who gave it and by the address of all that was read for it, its origin. So adapters that say the
same are asked once, and neither input that comes back nor another describer and back again is paid twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, and_, bindparam, delete, insert, or_, select, update

from ..records import CATEGORIES, FACETS, Refinement, Usage
from . import codec, full_text
from .connect import chunks
from .schema import adapter, record, refinement, reply, unrefined
from .words import texts, told

_HEAVIEST: Final = 100.0
"""No weight is beyond, whatever a describer says."""
_LISTS: Final = (list, tuple)
_NUMBERS: Final = (int, float)
_COUNTS: Final = ("calls", "read", "cached", "written")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a describer once answered: a refinement, or why there is none."""

    origin: str
    """The address of all that it read."""
    refinement: Refinement | None = None
    failure: str | None = None
    """One sentence; None beside a refinement."""
    refused: bool = False
    """Whether it would not answer, rather than could not."""
    usage: Usage = Usage()  # noqa: RUF009 - frozen
    """What the answer took."""


# ---------------------------------------------------------------- refinements of adapters


def stale(connection: Connection, writer: str) -> dict[int, str]:
    """Return the adapters, with their records' digests, of which this writer says nothing as their record is now.

    Those that are missing or depict a minor can never be found, and nobody is to describe them.
    """
    rows = connection.execute(
        select(adapter.c.id, adapter.c.digest)
        .outerjoin(refinement, refinement.c.adapter_id == adapter.c.id)
        .where(
            adapter.c.missing_since.is_(None),
            adapter.c.minor.is_not(True),
            or_(refinement.c.writer.is_distinct_from(writer), refinement.c.digest.is_distinct_from(adapter.c.digest)),
        )
        .order_by(adapter.c.id)
    )
    return dict(rows.all())


def sources(connection: Connection, numbers: Iterable[int]) -> dict[int, tuple[str | None, str, str]]:
    """Return (origin, writer, digest of the present record) of those of the adapters that have a refinement."""
    found: dict[int, tuple[str | None, str, str]] = {}
    for chunk in chunks(numbers):
        rows = connection.execute(
            select(refinement.c.adapter_id, refinement.c.origin, refinement.c.writer, adapter.c.digest)
            .join(adapter, adapter.c.id == refinement.c.adapter_id)
            .where(refinement.c.adapter_id.in_(chunk))
        )
        found.update((number, (origin, writer, digest)) for number, origin, writer, digest in rows)
    return found


def said(connection: Connection, numbers: Iterable[int]) -> dict[int, str]:
    """Return what describers say of those of the adapters of which they say something, as `told` gives it."""
    found: dict[int, str] = {}
    for chunk in chunks(numbers):
        rows = connection.execute(
            select(refinement.c.adapter_id, refinement.c.json).where(refinement.c.adapter_id.in_(chunk))
        )
        for number, text in rows:
            if words := told(load(text, "") or Refinement()):
                found[number] = words
    return found


def put(connection: Connection, given: Mapping[int, tuple[Refinement, str]], digests: Mapping[int, str]) -> None:
    """Let adapters have these refinements in place of theirs; numbers that the catalogue does not have are passed over.

    Where it says something else than before its words become searchable, and the passages stale.

    Args:
        connection: A writing transaction.
        given: (refinement, its origin) of at most as many adapters as one statement takes.
        digests: Of the records that the refinements came of; of the present ones for those it lacks.
    """
    rows = connection.execute(
        select(adapter.c.id, adapter.c.digest, adapter.c.described).where(adapter.c.id.in_(given))
    )
    known = {number: (digest, described) for number, digest, described in rows}
    _drop(connection, known)
    values = [
        {
            "adapter_id": number,
            "json": dump(given[number][0]),
            "writer": codec.storable(given[number][0].writer or ""),
            "origin": given[number][1],
            "digest": digests.get(number, digest),
        }
        for number, (digest, _) in known.items()
    ]
    if values:
        connection.execute(insert(refinement), values)
    sayings = {number: told(_sound(_plain(given[number][0]))) for number in known}
    _say(connection, {number: words for number, words in sayings.items() if _address(words) != known[number][1]})


def clear(connection: Connection, numbers: Sequence[int]) -> None:
    """Take from adapters what describers said of them; what they answered stays known.

    Args:
        connection: A writing transaction.
        numbers: At most as many as one statement takes.
    """
    _drop(connection, numbers)
    heard = select(adapter.c.id).where(adapter.c.id.in_(numbers), adapter.c.described.is_not(None))
    _say(connection, dict.fromkeys(connection.execute(heard).scalars()))


def every(connection: Connection) -> list[int]:
    """Return the adapters that have a refinement or of which one could not be had."""
    have = select(refinement.c.adapter_id).union(select(unrefined.c.adapter_id)).order_by("adapter_id")
    return list(connection.execute(have).scalars())


# ---------------------------------------------------------------- replies


def replies(connection: Connection, writer: str, origins: Iterable[str]) -> dict[str, Reply]:
    """Return what this writer answered on those of the origins that it was asked of; a damaged reply is none."""
    found: dict[str, Reply] = {}
    for chunk in chunks(origins):
        rows = connection.execute(select(reply).where(reply.c.writer == writer, reply.c.origin.in_(chunk)))
        for row in rows:
            refined = None if row.json is None else load(row.json, writer)
            if refined is not None or row.failure:
                usage = Usage(**{name: _count(getattr(row, name)) for name in _COUNTS})
                failure = None if refined is not None else str(row.failure)
                found[row.origin] = Reply(
                    origin=row.origin, refinement=refined, failure=failure, refused=bool(row.refused), usage=usage
                )
    return found


def put_replies(connection: Connection, writer: str, given: Sequence[Reply]) -> None:
    """Keep replies in place of earlier ones on the same origins.

    Args:
        connection: A writing transaction.
        writer: Who gave them.
        given: At most as many as one statement takes.
    """
    values = {
        answer.origin: {
            "writer": writer,
            "origin": answer.origin,
            "json": None if answer.refinement is None else dump(answer.refinement),
            "failure": None if answer.refinement is not None else codec.storable(answer.failure or "no answer"),
            "refused": answer.refused,
            **{name: getattr(answer.usage, name) for name in _COUNTS},
        }
        for answer in given
    }
    connection.execute(delete(reply).where(reply.c.writer == writer, reply.c.origin.in_(values)))
    if values:
        connection.execute(insert(reply), list(values.values()))


def put_unrefined(connection: Connection, writer: str, given: Mapping[int, str]) -> None:
    """Note of adapters that this writer's reply on an origin, (number: origin), is a failure.

    Args:
        connection: A writing transaction.
        writer: Who failed.
        given: At most as many as one statement takes; numbers that the catalogue does not have are passed over.
    """
    rows = connection.execute(
        select(adapter.c.id, unrefined.c.writer, unrefined.c.origin)
        .outerjoin(unrefined, unrefined.c.adapter_id == adapter.c.id)
        .where(adapter.c.id.in_(given))
    )
    new = [number for number, *noted in rows if noted != [writer, given[number]]]
    connection.execute(delete(unrefined).where(unrefined.c.adapter_id.in_(new)))
    if new:
        values = [{"adapter_id": number, "writer": writer, "origin": given[number]} for number in new]
        connection.execute(insert(unrefined), values)


def failures(connection: Connection, writer: str) -> list[tuple[int, str, bool]]:
    """Return (number, failure, whether it was a refusal) of the present adapters that this writer left undescribed."""
    rows = connection.execute(
        select(unrefined.c.adapter_id, reply.c.failure, reply.c.refused)
        .join(reply, and_(reply.c.writer == unrefined.c.writer, reply.c.origin == unrefined.c.origin))
        .join(adapter, adapter.c.id == unrefined.c.adapter_id)
        .where(unrefined.c.writer == writer, reply.c.failure.is_not(None), adapter.c.missing_since.is_(None))
        .order_by(unrefined.c.adapter_id)
    )
    return [(number, str(failure), bool(refused)) for number, failure, refused in rows]


# ---------------------------------------------------------------- as text


def dump(given: Refinement) -> str:
    """Return a refinement as JSON, without its writer; only what it tells is written."""
    plain = {name: value for name, value in _plain(_sound(_plain(given))).items() if value not in (None, ())}
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def load(text: str, writer: str) -> Refinement | None:
    """Return the refinement; what is not of its type in there is left out. None where the text is no JSON object."""
    try:
        plain = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None
    return _sound(plain, writer) if isinstance(plain, dict) else None


def _plain(given: Refinement) -> dict[str, Any]:
    names = ("description", "category", "facets", "avoid", "triggers", "weight", "evidence")
    return {name: getattr(given, name) for name in names}


def _sound(plain: Mapping[str, Any], writer: str | None = None) -> Refinement:
    """Return what of these values a refinement may hold, fit to be stored."""
    told = plain.get
    category = told("category")
    facets = [pair for pair in _list(told("facets")) if isinstance(pair, _LISTS) and len(pair) == 2]
    groups = [tuple(filter(None, map(_text, _list(group)))) for group in _list(told("triggers"))]
    return Refinement(
        description=_text(told("description")),
        category=category if category in CATEGORIES else None,
        facets=tuple([(name, words) for name, text in facets if name in FACETS and (words := _text(text))]),
        avoid=_text(told("avoid")),
        triggers=tuple([group for group in groups if group]),
        weight=_weight(told("weight")),
        evidence=_text(told("evidence")),
        writer=_text(writer),
    )


def _text(value: Any) -> str | None:
    return codec.storable(value) if isinstance(value, str) and value else None


def _weight(value: Any) -> float | None:
    return value if type(value) in _NUMBERS and abs(value) <= _HEAVIEST else None


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, _LISTS) else ()


# ---------------------------------------------------------------- rows


def _drop(connection: Connection, numbers: Iterable[int]) -> None:
    gone = list(numbers)
    connection.execute(delete(refinement).where(refinement.c.adapter_id.in_(gone)))
    connection.execute(delete(unrefined).where(unrefined.c.adapter_id.in_(gone)))


def _say(connection: Connection, sayings: Mapping[int, str | None]) -> None:
    """Let adapters be found by these words of describers in place of earlier ones."""
    if not sayings:
        return
    connection.execute(
        update(adapter).where(adapter.c.id == bindparam("number")).values(described=bindparam("address")),
        [{"number": number, "address": _address(words)} for number, words in sayings.items()],
    )
    rows = connection.execute(select(record.c.adapter_id, record.c.json).where(record.c.adapter_id.in_(sayings)))
    full_text.replace(connection, [(number, texts(codec.load(text), sayings[number])) for number, text in rows])


def _address(words: str | None) -> str | None:
    return None if words is None else codec.digest(words.encode())
