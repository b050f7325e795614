"""A row of somebody's dataset as a record: every value within its bounds, or one sentence that says why not."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from ..catalog.identity import good_hash
from ..catalog.nsfw import read_nsfw
from ..catalog.text import clean_line, clean_text
from ..errors import InputError
from ..families import TITLES, UNKNOWN
from ..records import CATEGORIES, FACETS, USES, AdapterRecord, Example, Hashes, Id, Licence, Refinement, WeightEvidence
from .shareable import SOURCE, bare_name, public_address

VERSION: Final = "1"
"""Changes when the same row would give another record."""

_MOST: Final = 1000
"""Members of a list; the longest of 6,400 real adapters has a fifth."""
_KEY: Final = 500
_TEXT: Final = 50_000
_PHRASE: Final = 4000
_HEAVIEST: Final = 100.0
_LARGEST: Final = 2**63 - 1
_WORD: Final = re.compile(r"[a-z0-9][a-z0-9_.+-]{0,39}")

_Row = Mapping[str, Any]


def record_of(row: _Row) -> AdapterRecord:
    """Return the record of a row. What is out of its bounds is not known; its path is never known.

    Raises:
        InputError: It cannot be told from others, has no title, or depicts a minor.
    """
    source, key = clean_line(row.get("source"), 40), clean_line(row.get("key"), _KEY)
    if source is None or ":" in source or key is None or key != row.get("key"):
        raise InputError("it has no source and key that it could be known by")
    title = clean_line(row.get("title"), 300)
    if title is None:
        raise InputError(f"{source}:{key} has no title")
    if row.get("minor") is True:
        raise InputError(f"{source}:{key} depicts a minor")
    family = row.get("family")
    return AdapterRecord(
        source=SOURCE,
        key=f"{source}:{key}",
        title=title,
        version_name=clean_line(row.get("version_name"), 300),
        file_name=clean_line(bare_name(row.get("file_name")), 255),
        model_id=_id(row, "model_id"),
        version_id=_id(row, "version_id"),
        file_id=_id(row, "file_id"),
        creator=clean_line(row.get("creator"), 200),
        url=public_address(row.get("url")),
        size=_count(row.get("size")),
        format=row["format"] if row.get("format") in ("safetensors", "pickle") else None,
        hashes=Hashes(**{name: good_hash(row.get(name), digits) for name, digits in _DIGITS.items()}),
        fingerprint=good_hash(row.get("fingerprint"), 32),
        kind=_word(row, "kind") or "lora",
        layout=_word(row, "layout"),
        rank=_count(row.get("rank")),
        alpha=_number(row.get("alpha"), 1e9),
        family=family if family in TITLES else UNKNOWN,
        base_model=clean_line(row.get("base_model"), 300),
        triggers=tuple(_groups(row, "triggers")),
        tags=tuple(_lines(_list(row, "tags"))),
        training_tags=tuple(
            (tag, count)
            for one in _list(row, "training_tags")
            if (tag := clean_line(one["tag"], 300)) and (count := _count(one["count"])) is not None
        ),
        description=clean_text(row.get("description"), _TEXT),
        notes=clean_text(row.get("notes"), _TEXT),
        negative=clean_text(row.get("negative"), _PHRASE),
        examples=tuple(_examples(row)),
        weights=tuple(_weights(row)),
        licence=_licence(row),
        nsfw=read_nsfw(row.get("nsfw")),
        real_person=row.get("real_person"),
        minor=row.get("minor"),
        available=row.get("available"),
        downloads=_count(row.get("downloads")),
        published=_date(row.get("published")),
        provenance=tuple(
            (field, place)
            for one in _list(row, "provenance")
            if (field := clean_line(one["field"], 40)) and (place := clean_line(one["place"], 200))
        ),
    )


def refinement_of(row: _Row) -> Refinement | None:
    """Return what a describer says of the adapter of a row; None where none says anything."""
    writer = clean_line(row.get("refined_writer"), 300)
    if writer is None:
        return None
    category = row.get("refined_category")
    return Refinement(
        description=clean_text(row.get("refined_description"), _TEXT),
        category=category if category in CATEGORIES else None,
        facets=tuple(
            (one["facet"], words)
            for one in _list(row, "refined_facets")
            if one["facet"] in FACETS and (words := clean_line(one["words"], _PHRASE))
        ),
        avoid=clean_text(row.get("refined_avoid"), _PHRASE),
        triggers=tuple(_groups(row, "refined_triggers")),
        weight=_number(row.get("refined_weight"), _HEAVIEST),
        evidence=clean_text(row.get("refined_evidence"), _PHRASE),
        writer=writer,
    )


_DIGITS: Final = {"sha256": 64, "autov1": 8, "autov2": 10, "autov3": 12, "crc32": 8, "blake3": 64}


def _licence(row: _Row) -> Licence:
    uses = row.get("licence_commercial")
    return Licence(
        name=clean_line(row.get("licence_name"), 100),
        no_credit=row.get("licence_no_credit"),
        # A use that nobody knows is one that nobody allows.
        commercial=None if uses is None else tuple(use for use in USES if use in uses),
        derivatives=row.get("licence_derivatives"),
        different_licence=row.get("licence_different"),
    )


def _examples(row: _Row) -> Iterator[Example]:
    for one in _list(row, "examples"):
        image, prompt = public_address(one["image"]), clean_text(one["prompt"], _TEXT)
        if image or prompt:
            negative = clean_text(one["negative"], _TEXT)
            yield Example(image=image, prompt=prompt, negative=negative, nsfw=read_nsfw(one["nsfw"]))


def _weights(row: _Row) -> Iterator[WeightEvidence]:
    for one in _list(row, "weights"):
        weight, source = _number(one["weight"], _HEAVIEST), clean_line(one["source"], 40)
        if weight is not None and source is not None:
            yield WeightEvidence(weight=weight, source=source, image=public_address(one["image"]))


def _groups(row: _Row, name: str) -> Iterator[tuple[str, ...]]:
    for group in _list(row, name):
        if isinstance(group, list) and (phrases := tuple(_lines(group))):
            yield phrases


def _lines(given: Sequence[Any]) -> Iterator[str]:
    for text in given[:_MOST]:
        if (line := clean_line(text, _PHRASE)) is not None:
            yield line


def _list(row: _Row, name: str) -> list[Any]:
    """Return the members of a list that are any."""
    return [one for one in (row.get(name) or [])[:_MOST] if one is not None]


def _id(row: _Row, name: str) -> Id | None:
    text = clean_line(row.get(name), 200)
    if text is None:
        return None
    is_count = text.isascii() and text.isdecimal() and len(text) <= 18 and not text.startswith("0")
    return int(text) if is_count else text


def _count(value: int | None) -> int | None:
    return value if value is not None and 0 <= value <= _LARGEST else None


def _number(value: float | None, most: float) -> float | None:
    return value if value is not None and math.isfinite(value) and abs(value) <= most else None


def _word(row: _Row, name: str) -> str | None:
    text = row.get(name)
    return text if text is not None and _WORD.fullmatch(text) else None


def _date(text: str | None) -> str | None:
    try:
        return text if text and len(text) <= 40 and datetime.fromisoformat(text) else None
    except ValueError:
        return None
