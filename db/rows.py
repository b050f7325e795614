"""A record as the row that filters and look-ups ask."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from .. import records
from ..records import AdapterRecord
from . import codec
from .words import stem, texts

USES = {use: 1 << place for place, use in enumerate(records.USES)}
"""The bit of each commercial use in the column `commercial`."""

RATINGS = 0x7FFFFFFF
"""Every bit that a rating may have; Civitai uses six."""

_EMPTY = hashlib.sha256(b"").hexdigest()
_LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Row:
    """One record, ready to be written."""

    record: AdapterRecord
    json: str
    columns: dict[str, Any]
    """The columns of table `adapter` that come from the record."""
    texts: tuple[str, ...]
    """The words of the record, as `velatura.db.words.texts` gives them."""

    @property
    def name(self) -> tuple[str, str]:
        """(source, key): what makes it the same adapter."""
        return self.columns["source"], self.columns["key"]

    @property
    def digest(self) -> str:
        """Equal for equal records."""
        digest: str = self.columns["digest"]
        return digest


def row_of(record: AdapterRecord) -> Row:
    """Return the row of a record.

    Raises:
        TypeError, ValueError, AttributeError, RecursionError: A field holds what its type forbids.
    """
    json, digest = codec.dump(record)
    return Row(record, json, _columns(record, digest), texts(record, None))


def names_of(record: AdapterRecord) -> dict[str, str | None]:
    """Return the columns of table `adapter` that tell which adapter a record is of, even where it is in brief."""
    sha256 = _hash(record.hashes.sha256)
    return {
        "source": codec.storable(record.source),
        "key": codec.storable(record.key),
        "model_id": _text(record.model_id),
        "version_id": _text(record.version_id),
        "sha256": sha256,
        "autov2": _hash(record.hashes.autov2) or (sha256[:10] if sha256 else None),
        "autov3": _hash(record.hashes.autov3),
    }


def _columns(record: AdapterRecord, digest: str) -> dict[str, Any]:
    return {
        **names_of(record),
        "digest": digest,
        "file_id": _text(record.file_id),
        "title": codec.storable(record.title),
        "title_key": fold(record.title),
        "file_name": _text(record.file_name),
        "stem_key": None if record.file_name is None else fold(stem(record.file_name)),
        "path": _text(record.path),
        "fingerprint": _text(record.fingerprint),
        "family": codec.storable(record.family),
        "kind": codec.storable(record.kind),
        "nsfw": record.nsfw if type(record.nsfw) is int and 0 < record.nsfw <= RATINGS else None,
        "commercial": _uses(record.licence.commercial),
        "real_person": _flag(record.real_person),
        "minor": _flag(record.minor),
        "available": _flag(record.available),
        "downloads": _count(record.downloads),
        "missing_since": None,
    }


def fold(text: str) -> str:
    """Return a name as it is compared: without case and outer space."""
    return codec.storable(text.strip().casefold())


def _text(value: int | str | None) -> str | None:
    return None if value is None else codec.storable(str(value))


def _hash(value: str | None) -> str | None:
    # Trainers write the hash of nothing where they could not compute one; it would make strangers equal.
    if not value or len(value) > len(_EMPTY) or _EMPTY.startswith(value.lower()):
        return None
    return codec.storable(value.lower())


def _count(value: int | None) -> int | None:
    return min(value, _LARGEST) if type(value) is int and value >= 0 else None


def _flag(value: bool | None) -> bool | None:
    return value if isinstance(value, bool) else None


def _uses(uses: tuple[str, ...] | None) -> int | None:
    if uses is None:
        return None
    return sum({USES.get(use.lower(), 0) for use in uses})
