"""A catalogue of records that a test made, and a small embedder for it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from velatura.protocols import Entry
from velatura.records import AdapterRecord


class BagEmbedder:
    """A stand-in for a sentence model: the direction of a text is the sum of its words' random directions."""

    model = "bag of words"
    revision = "1"

    def __init__(self) -> None:
        self.texts = 0

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        self.texts += len(texts)
        rows = np.zeros((len(texts), 64), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().replace(",", " ").split():
                seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
                row += np.random.default_rng(seed).standard_normal(64)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


class Given:
    """A source that offers the records it was given."""

    name = "given"
    scope = "test"
    complete = True

    def __init__(self, records: Sequence[AdapterRecord]) -> None:
        self._records = records

    def entries(self) -> Iterator[Entry]:
        for record in self._records:
            yield Entry(locator=record.key, stamp=repr(record), read=lambda record=record: [record])


def adapter(key: str, **fields: object) -> AdapterRecord:
    return AdapterRecord(source="given", key=key, **{"title": key, "family": "sd1", **fields})  # type: ignore[arg-type]
