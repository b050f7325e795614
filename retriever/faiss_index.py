"""Nearest vectors by dot product, in one FAISS file that knows what it was built from."""

from __future__ import annotations

import json
import math
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np

if TYPE_CHECKING:
    from ..protocols import Ids, Vectors

FLAT_LIMIT = 100_000
"""Up to here every vector is compared, which is exact; beyond, vectors are grouped in lists (IVF)."""

_MAGIC = b"VELA"
_TRAILER = struct.Struct("<I4s")
_FEW = 0.1
"""When a filter leaves less than this share, all lists are probed, so that the answer stays exact."""


class FaissIndex:
    """Rows of vectors, numbered from 0 in the order in which they were added (implements `protocols.Index`)."""

    def __init__(self, index: Any) -> None:
        self._index = index

    @classmethod
    def build(cls, vectors: Vectors) -> FaissIndex:
        """Build an index over the rows of `vectors`, shape (n, dimension)."""
        count, dimension = vectors.shape
        if count <= FLAT_LIMIT:
            index = faiss.IndexFlatIP(dimension)
        else:
            lists = int(4 * math.sqrt(count))
            index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dimension), dimension, lists, faiss.METRIC_INNER_PRODUCT)
            sample = np.random.default_rng(0).choice(count, size=min(count, 64 * lists), replace=False)
            index.train(vectors[np.sort(sample)])
        index.add(vectors)
        return cls(index)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def add(self, vectors: Vectors) -> None:
        """Append rows, which are numbered on from the last."""
        self._index.add(vectors)

    def search(self, queries: Vectors, k: int, allowed: Ids | None = None) -> tuple[Vectors, Ids]:
        """Return (scores, rows), shape (len(queries), k), best first, padded with -inf and -1."""
        k = max(1, min(k, len(self) or 1))
        params, _kept = self._parameters(allowed)
        scores, rows = self._index.search(np.ascontiguousarray(queries, dtype=np.float32), k, params=params)
        return np.where(rows < 0, -np.inf, scores).astype(np.float32), rows

    def _parameters(self, allowed: Ids | None) -> tuple[Any, Any]:
        """Return FAISS's search parameters, and what must outlive the call (FAISS keeps bare pointers)."""
        inverted = isinstance(self._index, faiss.IndexIVF)
        if allowed is None:
            return (faiss.SearchParametersIVF(nprobe=_probes(self._index.nlist)) if inverted else None), None
        mask = np.zeros(len(self), dtype=bool)
        mask[allowed] = True
        bits = np.packbits(mask, bitorder="little")
        selector = faiss.IDSelectorBitmap(bits)
        if not inverted:
            return faiss.SearchParameters(sel=selector), (bits, selector)
        few = len(allowed) < _FEW * len(self)
        probes = self._index.nlist if few else _probes(self._index.nlist)
        return faiss.SearchParametersIVF(sel=selector, nprobe=probes), (bits, selector)

    def save(self, path: Path, stamp: dict[str, Any]) -> None:
        """Write the index with its stamp behind it; a reader never sees half a file."""
        note = json.dumps(stamp, sort_keys=True).encode()
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            with part.open("wb") as file:
                file.write(memoryview(faiss.serialize_index(self._index)))
                file.write(note + _TRAILER.pack(len(note), _MAGIC))
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path, *, growing: bool = False) -> FaissIndex:
        """Read an index that `save` wrote: mapped from the file, or into memory when rows will be added.

        Raises:
            RuntimeError: the file is damaged (FAISS's own error).
        """
        return cls(faiss.read_index(str(path), 0 if growing else faiss.IO_FLAG_MMAP))


def read_stamp(path: Path) -> dict[str, Any] | None:
    """Return the stamp of an index file, or None when there is none to be read."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - _TRAILER.size))
            length, magic = _TRAILER.unpack(file.read(_TRAILER.size))
            if magic != _MAGIC or length > end - _TRAILER.size:
                return None
            file.seek(end - _TRAILER.size - length)
            stamp = json.loads(file.read(length))
    except (OSError, struct.error, ValueError):
        return None
    return stamp if isinstance(stamp, dict) else None


def _probes(lists: int) -> int:
    return max(1, min(lists, 32))
