"""Which catalogued files are the same thing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, func, or_, select

from ..records import AdapterRecord
from . import codec
from .connect import chunks
from .driver import execute, places
from .rows import names_of
from .schema import adapter, record

Why = Literal["same file", "same tensors", "probably the same tensors", "other version of the same model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicates:
    """Present adapters of one source that are, in some sense, one."""

    why: Why
    adapters: tuple[int, ...]
    """Catalogue numbers, ascending; two at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What tells one adapter from another at a glance."""

    number: int
    title: str
    family: str
    path: str | None
    downloads: int | None
    sha256: str | None
    autov2: str | None
    autov3: str | None
    fingerprint: str | None

    def is_same_file(self, other: Identity) -> bool:
        """Say whether both are one file or hold the same tensors; where both have an AutoV3, that alone decides."""
        if self.autov3 is not None and other.autov3 is not None:
            return self.autov3 == other.autov3
        digest = "autov2" if None in (self.sha256, other.sha256) else "sha256"
        pairs = ((getattr(self, name), getattr(other, name)) for name in (digest, "fingerprint"))
        return any(mine is not None and mine == theirs for mine, theirs in pairs)


def identities(connection: Connection, numbers: Sequence[int]) -> dict[int, Identity]:
    """Return the identity of each of the adapters, by number."""
    names = [field.name for field in fields(Identity)]
    found: dict[int, Identity] = {}
    for chunk in chunks(numbers):
        # Asked once in every search: to make a statement of SQLAlchemy takes longer than to answer it.
        statement = f"SELECT id, {', '.join(names[1:])} FROM adapter WHERE id IN ({places(chunk)})"  # noqa: S608
        for row in execute(connection, statement, tuple(chunk)):
            found[row[0]] = Identity(**dict(zip(names, row, strict=True)))
    return found


def duplicates(connection: Connection) -> list[Duplicates]:
    """Return every group, the surest reason first.

    Within one source, among what is not missing:

    - `same file`: equal SHA-256.
    - `same tensors`: equal AutoV3, though the files may differ in their headers.
    - `probably the same tensors`: equal fingerprints, where a file of the group has no AutoV3 that could tell.
    - `other version of the same model`: one page, two versions or more; all its files are listed.

    A group that a surer reason already lists, as a whole or as a part of a larger group, is not repeated. A local
    file that equals a site's row is no duplicate of it: see `installed`.
    """
    groups: list[Duplicates] = []
    listed: dict[int, list[frozenset[int]]] = {}
    for why, members in _groups(connection):
        whole = frozenset(members)
        if any(whole <= other for other in listed.get(members[0], ())):
            continue
        for number in members:
            listed.setdefault(number, []).append(whole)
        groups.append(Duplicates(why=why, adapters=members))
    return groups


def _number_by(*names: str) -> tuple[Select[Any], tuple[str, ...]]:
    same = and_(*(adapter.c[name] == bindparam(name) for name in names))
    by_presence = select(adapter.c.id).where(same).order_by(adapter.c.missing_since.is_not(None), adapter.c.id)
    return by_presence.limit(1), names


_NUMBER_BY = tuple(_number_by(*names) for names in (("source", "key"), ("sha256",), ("autov3",), ("autov2",)))
"""Made once: it is asked for every adapter of every answer, and making a statement takes longer than running it."""


def number_of(connection: Connection, wanted: AdapterRecord) -> int | None:
    """Return the number of the adapter that a record is of: by source and key, else by hashes; missing ones last."""
    names = names_of(wanted)
    for statement, told in _NUMBER_BY:
        values = {name: names[name] for name in told}
        if None in values.values():
            continue
        number: int | None = connection.execute(statement, values).scalar()
        if number is not None:
            return number
    return None


def installed(connection: Connection, wanted: AdapterRecord) -> str | None:
    """Return where the file of a record lies on this machine, or None.

    Its own path, else that of a local file with its SHA-256, AutoV3 or AutoV2, else of one that says it is of the
    same version of the same page and whose SHA-256 does not say otherwise.
    """
    if wanted.path is not None:
        return wanted.path
    columns = names_of(wanted)
    hashes = [adapter.c[name] == columns[name] for name in ("sha256", "autov3", "autov2") if columns[name]]
    for same in (*hashes, *_same_version(columns["version_id"], columns["model_id"], columns["sha256"])):
        text = connection.execute(
            select(record.c.json)
            .join(adapter)
            .where(same, adapter.c.path.is_not(None), adapter.c.missing_since.is_(None))
            .order_by(adapter.c.id)
            .limit(1)
        ).scalar()
        if text is not None:
            return codec.load(text).path
    return None


def _same_version(version: str | None, model: str | None, sha256: str | None) -> Iterator[ColumnElement[bool]]:
    if version is None:
        return
    is_same = and_(adapter.c.version_id == version, or_(adapter.c.model_id.is_(None), adapter.c.model_id == model))
    yield is_same if sha256 is None else and_(is_same, adapter.c.sha256.is_(None))


def _groups(connection: Connection) -> Iterator[tuple[Why, tuple[int, ...]]]:
    has_unsure = func.count() > func.count(adapter.c.autov3)
    has_versions = func.count(adapter.c.version_id.distinct()) > 1
    reasons: tuple[tuple[Why, ColumnElement[str | None], ColumnElement[bool]], ...] = (
        ("same file", adapter.c.sha256, func.count() > 1),
        ("same tensors", adapter.c.autov3, func.count() > 1),
        ("probably the same tensors", adapter.c.fingerprint, and_(func.count() > 1, has_unsure)),
        ("other version of the same model", adapter.c.model_id, has_versions),
    )
    for why, column, is_group in reasons:
        present = and_(adapter.c.missing_since.is_(None), column.is_not(None))
        shared = select(adapter.c.source, column).where(present).group_by(adapter.c.source, column).having(is_group)
        keys = shared.subquery()
        rows = connection.execute(
            select(adapter.c.source, column, adapter.c.id)
            .join(keys, and_(keys.c[0] == adapter.c.source, keys.c[1] == column))
            .where(present)
            .order_by(adapter.c.id)
        )
        members: dict[tuple[str, str | None], list[int]] = {}
        for source, value, number in rows:
            members.setdefault((source, value), []).append(number)
        for numbers in members.values():
            yield why, tuple(numbers)
