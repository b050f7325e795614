"""The collection in Milvus that holds one model's vectors of one catalogue: an entity a passage, and a note."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .milvus_client import ANSWERING, CONNECTING

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..protocols import Ids, Vectors
    from .milvus_client import Milvus

MOST: Final = 16_384
"""Milvus returns no more for one question."""

_WRITTEN: Final = 2_000
"""Entities of one request: 3 MB where a vector has 384 numbers, of the 64 MB that Milvus takes."""
_NOTE: Final = 0
"""The note's number; passages have others."""
_NUMBERS: Final = 2**63
"""A database holds lesser numbers."""
_STRONG: Final = {"consistency_level": "Strong", "timeout": ANSWERING}
"""Waits until all that anybody has written can be seen."""


class Collection:
    """A collection, found or made. All of it raises `CatalogueError` when Milvus cannot be reached, or fails.

    Args:
        milvus: Where it is.
        name: Its name.
        dimension: How many numbers a vector has.
    """

    def __init__(self, milvus: Milvus, name: str, dimension: int) -> None:
        self._milvus = milvus
        self._name = name
        self._dimension = dimension
        self._open()

    def drop(self) -> None:
        """Make it anew, empty."""
        with self._milvus.speaking():
            self._milvus.client.drop_collection(self._name, timeout=ANSWERING)
        self._open()

    def search(self, vector: Vectors, limit: int, asked: Mapping[str, Any]) -> tuple[Ids, Vectors]:
        """Return the passages nearest to a vector, best first, and their scores.

        It waits for nothing that was written in the last seconds: `count` has waited for what is needed.

        Args:
            vector: Shape (dimension,).
            limit: How many, at most `MOST`.
            asked: What `asked` gave.

        Raises:
            CollectionGone: Somebody has dropped it.
        """
        with self._milvus.speaking():
            [hits] = self._milvus.client.search(
                self._name,
                data=[vector.tolist()],
                anns_field="vector",
                limit=limit,
                output_fields=["id"],
                consistency_level="Bounded",
                timeout=ANSWERING,
                **asked,
            )
        numbers = np.array([hit["id"] for hit in hits], np.int64)
        # Of equal vectors one may come out greater by the last bit, and that another time another one.
        return numbers, np.array([round(hit["distance"], 6) for hit in hits], np.float32)

    def asked(self, field: str, adapters: Ids, mask: NDArray[np.bool_]) -> dict[str, Any]:
        """Return the filter that leaves some adapters of a field: it names them or the others, whichever are fewer.

        Args:
            field: The field.
            adapters: Those that have passages of it.
            mask: True for those that it leaves; the same for each time an adapter is named.
        """
        left, others = np.unique(adapters[mask]), np.unique(adapters[~mask])
        told = f"field == {json.dumps(field)}"
        if not len(others):
            return {"filter": told}
        named, word = (left, "in") if len(left) <= len(others) else (others, "not in")
        if self._milvus.takes_templates:  # a server would take longer to parse a long list than to search
            return {"filter": f"{told} and adapter {word} {{adapters}}", "filter_params": {"adapters": named.tolist()}}
        return {"filter": f"{told} and adapter {word} {named.tolist()}"}

    def write(self, passages: Ids, adapters: Ids, fields: NDArray[np.str_], vectors: Vectors) -> None:
        """Write passages; one that is there already stays as it is."""
        for start in range(0, len(passages), _WRITTEN):
            some = slice(start, start + _WRITTEN)
            columns = passages[some].tolist(), adapters[some].tolist(), fields[some].tolist()
            self._upsert(
                [
                    {"id": number, "adapter": adapter, "field": field, "vector": vector}
                    for number, adapter, field, vector in zip(*columns, vectors[some], strict=True)
                ]
            )

    def delete(self, passages: Ids) -> None:
        """Delete passages."""
        for start in range(0, len(passages), _WRITTEN):
            with self._milvus.speaking():
                ids = passages[start : start + _WRITTEN].tolist()
                self._milvus.client.delete(self._name, ids=ids, timeout=ANSWERING)

    def count(self) -> int:
        """Return how many entities there are, the note among them, once all that anybody has written can be seen."""
        with self._milvus.speaking():
            # Without a filter: with one milvus-lite reads every entity.
            [told] = self._milvus.client.query(self._name, filter="", output_fields=["count(*)"], **_STRONG)
        return int(told["count(*)"])

    def passages(self) -> Ids:
        """Return the passages that are there, ascending."""
        numbers: list[int] = []
        with self._milvus.speaking():
            pages = self._milvus.client.query_iterator(
                self._name, batch_size=MOST, filter=f"id != {_NOTE}", output_fields=["id"], **_STRONG
            )
            with closing(pages):
                while page := pages.next():
                    numbers.extend(row["id"] for row in page)
        return np.unique(np.array(numbers, np.int64))

    def read_note(self) -> Mapping[str, Any]:
        """Return what `write_note` wrote last; nothing where there is no note that is whole."""
        with self._milvus.speaking():
            found = self._milvus.client.query(self._name, filter=f"id == {_NOTE}", output_fields=["note"], **_STRONG)
        return _as_note(found[0].get("note")) if found else {}

    def write_note(self, note: Mapping[str, Any]) -> None:
        """Write a note, which no search finds, in the place of the one before.

        Args:
            note: `state`, `last`, `ground` and `texts`; see `milvus_index`.
        """
        vector = [0.0] * self._dimension
        self._upsert([{"id": _NOTE, "adapter": 0, "field": "", "vector": vector, "note": json.dumps(note)}])

    def _upsert(self, entities: list[dict[str, Any]]) -> None:
        with self._milvus.speaking():
            self._milvus.client.upsert(self._name, entities, timeout=ANSWERING)

    def _open(self) -> None:
        with self._milvus.speaking():
            if not self._milvus.client.has_collection(self._name, timeout=CONNECTING):
                self._make()
            self._milvus.client.load_collection(self._name, timeout=ANSWERING)

    def _make(self) -> None:
        from pymilvus import DataType, MilvusException

        client = self._milvus.client
        schema = client.create_schema(auto_id=False, enable_dynamic_field=True)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("adapter", DataType.INT64)
        schema.add_field("field", DataType.VARCHAR, max_length=64)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=self._dimension)
        index = client.prepare_index_params()
        # Compares all that a filter leaves, so that nothing is overlooked.
        index.add_index("vector", index_type="FLAT", metric_type="IP")
        try:
            client.create_collection(self._name, schema=schema, timeout=ANSWERING)
            client.create_index(self._name, index, timeout=ANSWERING, sync=False)  # of nothing yet: nothing to wait for
        except MilvusException:
            if not client.has_collection(self._name, timeout=CONNECTING):  # another process may have been first
                raise


def _as_note(text: object) -> Mapping[str, Any]:
    try:
        note = json.loads(str(text))
        numbers = [note["last"], *map(int, note["texts"])]
        whole = {"state", "ground"} <= note.keys() and all(0 <= number < _NUMBERS for number in numbers)
    except (LookupError, TypeError, ValueError, AttributeError):
        return {}
    return note if whole and isinstance(note["ground"], dict | None) else {}
