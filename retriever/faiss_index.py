"""Nearest vectors by dot product: each row compared where rows are few, beyond that each one's short code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..protocols import Ids, Vectors

FLAT_LIMIT = 50_000
"""Up to here every row is compared, which is exact; beyond, every row's code, and then the rows of the best codes."""

FEW = 2_000
"""Up to here the rows that a filter leaves are compared themselves, which is exact."""

LOOKED_AT = (8, 800)
"""Rows are compared for so many times the places asked for, and for at least so many codes."""

_SAMPLE = 4_096
"""Vectors that codes are learned from: 16 values for each pair of numbers need no more."""
_ROUNDS = 6
_BLOCK = 32


class Selection:
    """The rows of one index that may be found.

    Args:
        mask: shape (rows,), true where a row may be found.
    """

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        self.count = int(np.count_nonzero(mask))
        self.rows: Ids | None = np.flatnonzero(mask) if self.count <= FEW else None
        # FAISS keeps a bare pointer to the bits.
        self._bits = np.packbits(mask, bitorder="little")
        self.selector = faiss.IDSelectorBitmap(self._bits)


class FaissIndex:
    """Rows of vectors in half precision, numbered from 0; it stays as it is made (implements `protocols.Index`).

    Half precision moves a cosine by about 0.0001 and takes half the memory. A code takes an eighth of float32, and
    with it a filter costs nothing: only rows that would take a place are asked whether they may.
    """

    def __init__(self, index: Any, halves: NDArray[np.float16] | None = None, held: tuple[object, ...] = ()) -> None:
        self._index = index
        self._halves = halves
        self._held = held

    @classmethod
    def build(cls, vectors: Vectors) -> FaissIndex:
        """Build an index over the rows of `vectors`, shape (n, dimension)."""
        vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        count, dimension = vectors.shape
        if count <= FLAT_LIMIT:
            index = _flat(dimension)
            index.add(vectors)
            return cls(index)
        sample = np.random.default_rng(0).choice(count, size=min(count, _SAMPLE), replace=False)
        index = _coded(vectors[np.sort(sample)])
        index.add(vectors)
        return cls(index, vectors.astype(np.float16))

    @classmethod
    def from_parts(cls, parts: list[NDArray[np.uint8]]) -> FaissIndex:
        """Make the index of what `parts` gave; vectors stay where they are, such as in a mapped file.

        Raises:
            RuntimeError: they are damaged (FAISS's own error).
            ValueError: they are damaged.
        """
        reader = faiss.ZeroCopyIOReader(faiss.swig_ptr(parts[0]), parts[0].nbytes)
        index = faiss.read_index(reader)
        halves = parts[1].view(np.float16).reshape(index.ntotal, index.d) if len(parts) > 1 else None
        return cls(index, halves, (parts[0], reader))

    def parts(self) -> list[NDArray[np.uint8]]:
        """Return what `from_parts` makes the same index of."""
        content: NDArray[np.uint8] = faiss.serialize_index(self._index)
        return [content] if self._halves is None else [content, self._halves.reshape(-1).view(np.uint8)]

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def search(self, queries: Vectors, k: int, allowed: Ids | Selection | None = None) -> tuple[Vectors, Ids]:
        """Return (scores, rows), shape (len(queries), k), best first, padded with -inf and -1.

        Args:
            queries: shape (n, dimension).
            k: at most this many; no more than the index has rows.
            allowed: rows that may be found, as a selection where several searches ask for the same.
        """
        k = max(1, min(k, len(self) or 1))
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        if allowed is not None and not isinstance(allowed, Selection):
            mask = np.zeros(len(self), dtype=np.bool_)
            mask[allowed] = True
            allowed = Selection(mask)
        if allowed is not None and allowed.rows is not None:
            return self._compare(queries, [allowed.rows] * len(queries), k)
        selector = allowed.selector if allowed is not None else None
        if self._halves is None:
            scores, rows = self._index.search(queries, k, params=faiss.SearchParameters(sel=selector))
            return np.where(rows < 0, -np.inf, scores).astype(np.float32), rows
        times, least = LOOKED_AT
        looked = min(max(times * k, least), len(self))
        _, rows = self._index.search(queries, looked, params=faiss.SearchParametersIVF(sel=selector, nprobe=1))
        return self._compare(queries, [np.sort(found[found >= 0]) for found in rows], k)

    def vectors(self) -> NDArray[np.float16]:
        """Return the rows as they are kept, shape (n, dimension); not to be used when the index is gone."""
        if self._halves is not None:
            return self._halves
        count, dimension = len(self), int(self._index.d)
        if not count:
            return np.empty((0, dimension), dtype=np.float16)
        codes: NDArray[np.uint8] = faiss.rev_swig_ptr(self._index.codes.data(), count * dimension * 2)
        return codes.view(np.float16).reshape(count, dimension)

    def grown(self, vectors: NDArray[Any]) -> FaissIndex:
        """Return another index, with more rows: what codes mean is not learned anew.

        Args:
            vectors: shape (new rows, dimension).
        """
        together = np.concatenate([self.vectors(), vectors.astype(np.float16)])
        if self._halves is None:
            return FaissIndex.build(together)
        # Not `clone_index`: what it gives still reads the memory of what it is given.
        index = faiss.deserialize_index(faiss.serialize_index(self._index))
        index.add(np.ascontiguousarray(vectors, dtype=np.float32))
        return FaissIndex(index, together)

    def _compare(self, queries: Vectors, candidates: list[Ids], k: int) -> tuple[Vectors, Ids]:
        """Compare queries with rows, each with its own."""
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        rows = np.full((len(queries), k), -1, dtype=np.int64)
        halves = self.vectors()
        for place, (query, candidate) in enumerate(zip(queries, candidates, strict=True)):
            if not len(candidate):
                continue
            # An index for one search, since numpy takes ten times as long over half precision.
            index = _flat(halves.shape[1])
            index.add_sa_codes(halves[candidate].view(np.uint8))
            best = min(k, len(candidate))
            cosines, places = index.search(query[None, :], best)
            scores[place, :best], rows[place, :best] = cosines[0], candidate[places[0]]
        return scores, rows


def _flat(dimension: int) -> Any:
    return faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)


def _coded(sample: Vectors) -> Any:
    """Return an empty index whose codes, four bits for each pair of numbers, are learned from a sample."""
    dimension = sample.shape[1]
    # One list that holds all: of FAISS's indices over such codes only those with lists heed a filter.
    single = faiss.IndexFlatIP(dimension)
    single.add(np.zeros((1, dimension), dtype=np.float32))
    pieces = dimension // 2 if dimension % 2 == 0 else dimension
    index = faiss.IndexIVFPQFastScan(single, dimension, 1, pieces, 4, faiss.METRIC_INNER_PRODUCT, _BLOCK)
    index.by_residual = False
    index.pq.cp.niter = _ROUNDS
    with _one_thread():
        index.train(sample)
    return index


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep FAISS to one thread: hundreds of small clusterings spend their time in waiting for each other."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)
