"""Finds adapters by what people call them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, and_, or_, select

from .codec import storable
from .rows import fold
from .schema import adapter
from .words import stem

_NUMBER = re.compile(r"[0-9]{1,18}")
_VERSION = re.compile(r"(?:urn:air:[^:]+:[^:]+:)?(?:(?P<site>\w+):)?(?P<model>[^@]+)@(?P<version>[^@+]+)(?:\+.*)?")
_HASH = re.compile(r"(?:0x)?([0-9a-f]{8,64})")
_AUTOV2 = 10  # digits


def find(connection: Connection, text: str) -> list[int]:
    """Return the numbers of the adapters that a name means, the likeliest first; see `Store.find`."""
    found: dict[int, None] = {}
    name = storable(text.strip())
    if not name:
        return []
    if _NUMBER.fullmatch(name):
        # By its own number an adapter is found even when it is missing.
        found.update(dict.fromkeys(connection.execute(select(adapter.c.id).where(adapter.c.id == int(name))).scalars()))
    for meaning in _meanings(name):
        rows = connection.execute(
            select(adapter.c.id)
            .where(meaning, adapter.c.missing_since.is_(None))
            .order_by(adapter.c.path.is_(None), adapter.c.id)
        )
        found.update(dict.fromkeys(rows.scalars()))
    return list(found)


def _meanings(name: str) -> Iterator[ColumnElement[bool]]:
    yield adapter.c.path.in_(_paths(name))
    version = _VERSION.fullmatch(name)
    if version:
        ids = and_(adapter.c.model_id == version["model"], adapter.c.version_id == version["version"])
        yield and_(ids, adapter.c.source == version["site"].lower()) if version["site"] else ids
        if version["site"]:
            # A local file and a dataset's row say which page they are of by their ids; the site is not their source.
            yield and_(ids, adapter.c.source.in_(("folder", "dataset")))
    named_so = adapter.c.stem_key == fold(stem(name))
    yield and_(named_so, adapter.c.file_name == name)
    yield named_so
    digest = _HASH.fullmatch(name.lower())
    if digest:
        yield _has_hash(digest[1])
    yield adapter.c.version_id == name
    yield adapter.c.model_id == name
    yield adapter.c.title_key == fold(name)


def _paths(name: str) -> list[str]:
    try:
        path = Path(name).expanduser()
        return list(dict.fromkeys((name, str(path), storable(str(path.absolute())))))
    except (OSError, RuntimeError, ValueError):
        return [name]


def _has_hash(digits: str) -> ColumnElement[bool]:
    after = digits + "g"
    hashes = (adapter.c.sha256, adapter.c.autov2, adapter.c.autov3)
    begins_so = [and_(column >= digits, column < after) for column in hashes]
    # A whole SHA-256 where only its beginning is known.
    is_begun = and_(adapter.c.sha256.is_(None), adapter.c.autov2 == digits[:_AUTOV2])
    return or_(*begins_so, is_begun) if len(digits) > _AUTOV2 else or_(*begins_so)
