"""The passages' vectors as an index file beside the catalogue, kept in step with it.

The database is the truth and the file can be deleted at any time. Its stamp says what it was built from: when
passages were only added since, they are appended; when any was changed, it is built anew.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import CatalogueError
from .faiss_index import FaissIndex, read_stamp

if TYPE_CHECKING:
    from ..db import Store
    from ..protocols import Ids, TextEmbedder, Vectors


_TRIES = 5


class PassageIndex:
    """Finds the adapters whose passages are nearest to a vector.

    Args:
        store: the catalogue.
        embedder: the model whose vectors are searched.
        path: the index file; None keeps the index in memory.
    """

    def __init__(self, store: Store, embedder: TextEmbedder, path: Path | None) -> None:
        # Rows and vectors are read apart, and another process may write between: then all is read again.
        for _ in range(_TRIES):
            state = store.vector_state(embedder.model, embedder.revision)
            self.passages, self.adapters, fields = store.vector_rows(embedder.model, embedder.revision)
            self._index = _open(store, embedder, path, self.passages) if len(self.passages) else None
            if store.vector_state(embedder.model, embedder.revision) == state:
                break
        else:
            raise CatalogueError("the catalogue's vectors keep changing; try again when `velatura embed` has finished")
        self._of_field = {str(field): fields == field for field in np.unique(fields)}

    def __len__(self) -> int:
        return len(self.passages)

    def best(self, vector: Vectors, field: str, k: int, allowed: Ids | None = None) -> dict[int, float]:
        """Return the adapters with the k nearest passages of a field, and the cosine of each one's nearest.

        Args:
            vector: shape (dimension,), of length 1.
            field: `card` or `prompt`.
            k: passages looked at; several may belong to one adapter.
            allowed: sorted catalogue numbers; None allows all.
        """
        if self._index is None or field not in self._of_field:
            return {}
        mask = self._of_field[field]
        if allowed is not None:
            mask = mask & np.isin(self.adapters, allowed)
        rows_allowed = np.flatnonzero(mask)
        if not len(rows_allowed):
            return {}
        scores, rows = self._index.search(vector[None, :], min(k, len(rows_allowed)), rows_allowed)
        cosine: dict[int, float] = {}
        for score, row in zip(scores[0].tolist(), rows[0].tolist(), strict=True):
            if row >= 0:
                cosine.setdefault(int(self.adapters[row]), score)
        return cosine


def _open(store: Store, embedder: TextEmbedder, path: Path | None, passages: Ids) -> FaissIndex:
    model, revision = embedder.model, embedder.revision
    stamp = {"model": model, "revision": revision, "rows": len(passages), "passages": _digest(passages)}
    known = (read_stamp(path) if path is not None else None) or {}
    if path is not None and (known.get("model"), known.get("revision")) == (model, revision):
        try:
            if known == stamp:
                return FaissIndex.load(path)
            rows = known.get("rows")
            # Passages are never changed in place: with the same ids in front, only the rest is new.
            if isinstance(rows, int) and rows < len(passages) and known.get("passages") == _digest(passages[:rows]):
                index = FaissIndex.load(path, growing=True)
                index.add(store.load_vectors(model, revision, after=int(passages[rows - 1]) if rows else 0))
                return _saved(index, path, stamp)
        except RuntimeError:  # a damaged file is only a lost copy
            pass
    return _saved(FaissIndex.build(store.load_vectors(model, revision)), path, stamp)


def _saved(index: FaissIndex, path: Path | None, stamp: dict[str, object]) -> FaissIndex:
    if path is not None and len(index) == stamp["rows"]:
        # Where nothing may be written the index lives in memory, and the next run builds it again.
        with suppress(OSError):
            index.save(path, stamp)
    return index


def _digest(passages: Ids) -> str:
    """Return a digest of passage ids: it stands for their texts, for an id is never given to another text."""
    return hashlib.blake2b(np.ascontiguousarray(passages).tobytes(), digest_size=16).hexdigest()
