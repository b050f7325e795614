"""Which of many short vectors point the same way: every pair, block by block, without ever holding all cosines."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_ROWS, _COLUMNS = 1024, 4096
"""A block of cosines that stays in the processor's cache for the most part: 16 MB."""
_MOST = 64
"""Pairs kept for one vector: a hundred copies of one thing are ten thousand pairs that say the same."""


def alike(numbers: NDArray[np.int64], vectors: NDArray[np.float32], at_least: float) -> list[tuple[int, int, float]]:
    """Return the pairs of vectors whose cosine is at least this, the closest first.

    Args:
        numbers: What each vector is called, ascending.
        vectors: One a row; none may be zero.
        at_least: The least cosine, above 0.

    Returns:
        (number, larger number, cosine). Of a vector with more than 64 pairs to larger numbers, the 64 closest.
    """
    if not len(vectors):
        return []
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    unit = (vectors / norms).astype(np.float32)
    rows, columns, cosines = (np.concatenate(parts) for parts in zip(*_hits(unit, at_least), strict=True))
    rows, columns, cosines = _closest(rows, columns, cosines)
    return [
        (int(one), int(other), float(cosine))
        for one, other, cosine in zip(numbers[rows], numbers[columns], cosines, strict=True)
    ]


Hits = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]


def _hits(unit: NDArray[np.float32], at_least: float) -> Iterator[Hits]:
    """Yield (rows, larger columns, cosines) of each block of rows."""
    count = len(unit)
    for top in range(0, count, _ROWS):
        found: list[Hits] = []
        for left in range(top, count, _COLUMNS):
            block = unit[top : top + _ROWS] @ unit[left : left + _COLUMNS].T
            if left == top:
                block = np.triu(block, 1)  # each pair once, and none with itself
            rows, columns = _places(block, at_least)
            found.append((rows + top, columns + left, block[rows, columns]))
        yield _few(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _places(block: NDArray[np.float32], at_least: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (rows, columns) of what is large enough; of a crowded block only the largest of each row."""
    rows, columns = np.divmod(np.flatnonzero(block >= at_least), block.shape[1])
    if len(rows) > _MOST * len(block):
        columns = np.argpartition(block, -_MOST, axis=1)[:, -_MOST:].ravel()
        rows = np.repeat(np.arange(len(block)), _MOST)
        large = block[rows, columns] >= at_least
        rows, columns = rows[large], columns[large]
    return rows, columns


def _few(rows: NDArray[np.int64], columns: NDArray[np.int64], cosines: NDArray[np.float32]) -> Hits:
    """Keep the closest pairs of each row."""
    order = np.lexsort((columns, -cosines, rows))
    rows, columns, cosines = rows[order], columns[order], cosines[order]
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    ranks = np.arange(len(rows)) - np.repeat(starts, np.diff(starts, append=len(rows)))
    kept = ranks < _MOST
    return rows[kept], columns[kept], cosines[kept]


def _closest(rows: NDArray[np.int64], columns: NDArray[np.int64], cosines: NDArray[np.float32]) -> Hits:
    order = np.lexsort((columns, rows, -cosines))
    return rows[order], columns[order], np.minimum(cosines[order], np.float32(1))
