"""Records as JSON text, and back.

The JSON is the truth of a catalogued record. Only what differs from a field's default is written, so a field added
later changes neither the text nor the digest of the records that lack it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from operator import attrgetter
from typing import Any

from ..errors import CatalogueError
from ..records import AdapterRecord, Example, Hashes, Licence, WeightEvidence

_NESTED: dict[str, type] = {"hashes": Hashes, "licence": Licence, "examples": Example, "weights": WeightEvidence}
_FIELDS: dict[type, tuple[tuple[str, Any], ...]] = {
    cls: tuple((field.name, field.default) for field in fields(cls)) for cls in (AdapterRecord, *_NESTED.values())
}
_GETTERS = {cls: attrgetter(*(name for name, _ in pairs)) for cls, pairs in _FIELDS.items()}
_NAMES: dict[type, frozenset[str]] = {cls: frozenset(name for name, _ in pairs) for cls, pairs in _FIELDS.items()}


def _plain(value: Any) -> dict[str, Any]:
    pairs = _FIELDS.get(type(value))
    if pairs is None:
        raise TypeError(f"a record cannot hold a {type(value).__name__}")
    items = _GETTERS[type(value)](value)
    # Most fields hold the default itself, and asking `is` first spares comparing it.
    return {
        name: item
        for (name, default), item in zip(pairs, items, strict=True)
        if item is not default and item != default
    }


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_plain)
_ESCAPING = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), default=_plain)


def dump(record: AdapterRecord) -> tuple[str, str]:
    """Return (the record as JSON, the digest of that text).

    Raises:
        TypeError, ValueError, RecursionError: The record holds something that is no plain value.
    """
    text = _ENCODER.encode(record)
    try:
        data = text.encode()
    except UnicodeEncodeError:
        # Lone surrogates, as in a file name that is no UTF-8, live on as JSON escapes and come back unharmed.
        text = _ESCAPING.encode(record)
        data = text.encode()
    return text, digest(data)


def load(text: str) -> AdapterRecord:
    """Return the record; fields that this version does not know are left out, missing ones take their default.

    Raises:
        CatalogueError: The text is not one that `dump` wrote.
    """
    try:
        record: AdapterRecord = _build(AdapterRecord, json.loads(text))
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise CatalogueError(f"a record in the catalogue is damaged ({error}); index its source again") from error
    return record


def digest(data: bytes) -> str:
    """Return 32 hexadecimal digits that stand for the content."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def storable(text: str) -> str:
    """Return the text as a database can hold it: lone surrogates and NUL become visible escapes."""
    if "\0" in text:
        text = text.replace("\0", "\\x00")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def _build(cls: type, data: dict[str, Any]) -> Any:
    names = _NAMES[cls]
    return cls(
        **{
            name: _value(name, item) if type(item) in (list, dict) else item
            for name, item in data.items()
            if name in names
        }
    )


def _value(name: str, item: list[Any] | dict[str, Any]) -> Any:
    if isinstance(item, dict):
        return _build(_NESTED[name], item)
    nested = _NESTED.get(name)
    return tuple(_build(nested, part) for part in item) if nested else _tuple(item)


def _tuple(items: list[Any]) -> tuple[Any, ...]:
    return tuple(_tuple(item) if isinstance(item, list) else item for item in items)
