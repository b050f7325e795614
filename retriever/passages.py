"""The passages' vectors as an index file beside the catalogue, kept in step with it.

The database is the truth and the file can be deleted at any time. Its stamp says what it was built from: when
passages were only added since, they are appended; when any was changed, it is built anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .faiss_index import FaissIndex, read_stamp

if TYPE_CHECKING:
    from ..db import Store
    from ..protocols import Ids, TextEmbedder, Vectors


class PassageIndex:
    """Finds the adapters whose passages are nearest to a vector.

    Args:
        store: the catalogue.
        embedder: the model whose vectors are searched.
        path: the index file; None keeps the index in memory.
    """

    def __init__(self, store: Store, embedder: TextEmbedder, path: Path | None) -> None:
        self.passages, self.adapters, fields = store.vector_rows(embedder.model, embedder.revision)
        self._fields = fields
        self._index = _open(store, embedder, path, self.passages) if len(self.passages) else None

    def __len__(self) -> int:
        return len(self.passages)

    def best(
        self, vector: Vectors, field: str, k: int, allowed: Ids | None = None
    ) -> tuple[dict[int, float], dict[int, int]]:
        """Return the k adapters with the nearest passage of a field: their cosine, and that passage's number.

        Args:
            vector: shape (dimension,), of length 1.
            field: `card` or `prompt`.
            k: passages looked at; several may belong to one adapter.
            allowed: sorted catalogue numbers; None allows all.
        """
        if self._index is None:
            return {}, {}
        mask = self._fields == field
        if allowed is not None:
            mask &= np.isin(self.adapters, allowed)
        rows_allowed = np.flatnonzero(mask)
        if not len(rows_allowed):
            return {}, {}
        scores, rows = self._index.search(vector[None, :], min(k, len(rows_allowed)), rows_allowed)
        cosine: dict[int, float] = {}
        passage: dict[int, int] = {}
        for score, row in zip(scores[0].tolist(), rows[0].tolist(), strict=True):
            if row >= 0 and (adapter := int(self.adapters[row])) not in cosine:
                cosine[adapter] = score
                passage[adapter] = int(self.passages[row])
        return cosine, passage


def _open(store: Store, embedder: TextEmbedder, path: Path | None, passages: Ids) -> FaissIndex:
    model, revision = embedder.model, embedder.revision
    wanted = {
        "model": model,
        "revision": revision,
        "state": store.vector_state(model, revision),
        "rows": len(passages),
        "last": int(passages[-1]),
    }
    stamp = read_stamp(path) if path is not None else None
    if path is None or stamp is None or (stamp.get("model"), stamp.get("revision")) != (model, revision):
        index = FaissIndex.build(store.load_vectors(model, revision))
    else:
        try:
            if stamp == wanted:
                return FaissIndex.load(path)
            index = _extend(store, model, revision, path, stamp, passages)
        except RuntimeError:  # a damaged file is only a lost copy
            index = FaissIndex.build(store.load_vectors(model, revision))
    if path is not None:
        index.save(path, wanted)
    return index


def _extend(store: Store, model: str, revision: str, path: Path, stamp: dict[str, object], passages: Ids) -> FaissIndex:
    """Append what is new; passages are never changed in place, so equal counts up to the last one mean no loss."""
    rows, last = stamp.get("rows"), stamp.get("last")
    known = (
        isinstance(rows, int) and isinstance(last, int) and int(np.searchsorted(passages, last, side="right")) == rows
    )
    if not known or not isinstance(last, int):
        return FaissIndex.build(store.load_vectors(model, revision))
    index = FaissIndex.load(path, growing=True)
    index.add(store.load_vectors(model, revision, after=last))
    return index
