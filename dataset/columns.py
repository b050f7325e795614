"""The columns of a dataset, and an adapter as a row of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..records import AdapterRecord, Refinement

if TYPE_CHECKING:
    import pyarrow

PLAIN: dict[str, str] = {
    "source": "string",
    "key": "string",
    "title": "string",
    "version_name": "string",
    "file_name": "string",
    "model_id": "string",
    "version_id": "string",
    "file_id": "string",
    "creator": "string",
    "url": "string",
    "size": "int64",
    "format": "string",
    "sha256": "string",
    "autov1": "string",
    "autov2": "string",
    "autov3": "string",
    "crc32": "string",
    "blake3": "string",
    "fingerprint": "string",
    "kind": "string",
    "layout": "string",
    "rank": "int64",
    "alpha": "double",
    "family": "string",
    "base_model": "string",
    "description": "string",
    "notes": "string",
    "negative": "string",
    "licence_name": "string",
    "licence_no_credit": "bool",
    "licence_derivatives": "bool",
    "licence_different": "bool",
    "nsfw": "int64",
    "real_person": "bool",
    "minor": "bool",
    "available": "bool",
    "downloads": "int64",
    "published": "string",
    "refined_description": "string",
    "refined_category": "string",
    "refined_avoid": "string",
    "refined_weight": "double",
    "refined_evidence": "string",
    "refined_writer": "string",
}
"""The columns of one value, with their types."""

NESTED: dict[str, str] = {
    "triggers": "list<element: list<element: string>>",
    "tags": "list<element: string>",
    "training_tags": "list<element: struct<tag: string, count: int64>>",
    "examples": "list<element: struct<image: string, prompt: string, negative: string, nsfw: int64>>",
    "weights": "list<element: struct<weight: double, source: string, image: string>>",
    "licence_commercial": "list<element: string>",
    "provenance": "list<element: struct<field: string, place: string>>",
    "refined_facets": "list<element: struct<facet: string, words: string>>",
    "refined_triggers": "list<element: list<element: string>>",
    "passages": "list<element: struct<field: string, digest: string>>",
}
"""The columns of lists, with their types as Arrow spells them."""

_HASHES = ("sha256", "autov1", "autov2", "autov3", "crc32", "blake3")
_LICENCE = {
    "licence_name": "name",
    "licence_no_credit": "no_credit",
    "licence_derivatives": "derivatives",
    "licence_different": "different_licence",
}
_COUNTS = ("size", "rank", "nsfw", "downloads")
_IDS = ("model_id", "version_id", "file_id")


def schema() -> pyarrow.Schema:
    """Return the schema of `adapters.parquet`."""
    import pyarrow as pa

    def struct(**fields: pa.DataType) -> pa.DataType:
        return of(pa.struct([pa.field(name, kind) for name, kind in fields.items()]))

    def of(kind: pa.DataType) -> pa.DataType:
        return pa.list_(pa.field("element", kind))

    text, whole, real = pa.string(), pa.int64(), pa.float64()
    plain = {"string": text, "int64": whole, "double": real, "bool": pa.bool_()}
    nested = {
        "triggers": of(of(text)),
        "tags": of(text),
        "training_tags": struct(tag=text, count=whole),
        "examples": struct(image=text, prompt=text, negative=text, nsfw=whole),
        "weights": struct(weight=real, source=text, image=text),
        "licence_commercial": of(text),
        "provenance": struct(field=text, place=text),
        "refined_facets": struct(facet=text, words=text),
        "refined_triggers": of(of(text)),
        "passages": struct(field=text, digest=text),
    }
    columns = {name: plain[kind] for name, kind in PLAIN.items()} | nested
    return pa.schema([pa.field(name, kind) for name, kind in columns.items()])


def row_of(record: AdapterRecord, said: Refinement, passages: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return an adapter as a row.

    Args:
        record: The record, fit to be shared.
        said: What a describer says of it.
        passages: (field, digest) of each of its texts that are embedded.
    """
    row: dict[str, Any] = {name: getattr(record, name) for name in PLAIN if hasattr(record, name)}
    row |= {name: _whole(row[name]) for name in _COUNTS}
    row |= {name: None if (value := getattr(record, name)) is None else str(value) for name in _IDS}
    row |= {name: getattr(record.hashes, name) for name in _HASHES}
    row |= {column: getattr(record.licence, name) for column, name in _LICENCE.items()}
    uses = record.licence.commercial
    row |= {
        "licence_commercial": None if uses is None else list(uses),
        "triggers": [list(group) for group in record.triggers],
        "tags": list(record.tags),
        "training_tags": [{"tag": tag, "count": _whole(count)} for tag, count in record.training_tags],
        "examples": [
            {"image": one.image, "prompt": one.prompt, "negative": one.negative, "nsfw": _whole(one.nsfw)}
            for one in record.examples
        ],
        "weights": [{"weight": one.weight, "source": one.source, "image": one.image} for one in record.weights],
        "provenance": [{"field": field, "place": place} for field, place in record.provenance],
        "refined_description": said.description,
        "refined_category": said.category,
        "refined_facets": [{"facet": facet, "words": words} for facet, words in said.facets],
        "refined_avoid": said.avoid,
        "refined_triggers": [list(group) for group in said.triggers],
        "refined_weight": said.weight,
        "refined_evidence": said.evidence,
        "refined_writer": said.writer,
        "passages": [{"field": field, "digest": digest} for field, digest in passages],
    }
    return row


def _whole(value: int | None) -> int | None:
    """Return a number that a column can hold."""
    return value if value is not None and -(2**63) <= value < 2**63 else None
