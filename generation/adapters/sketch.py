"""A short vector for an adapter, so that the products of such vectors estimate those of whole differences.

Number m of a sketch is the sum over modules of s_m u_m' D v_m, with D the module's difference, u and v rows of fixed
tables of random signs and s_m a sign of the module's own. The mean of the product of two adapters' numbers over the
signs is the inner product of their differences (Rademacher projections; Johnson and Lindenstrauss 1984, Achlioptas
2003), so the cosine of two sketches estimates the overlap, with a standard error of about (1 - overlap^2) / sqrt(128).

The signs come from Philox and BLAKE2, whose outputs are specified: a sketch is the same on every machine and release.
"""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

WIDTH = 128
"""Numbers in a sketch."""

_ROWS = 8192
"""Rows of a table that are made at once: 4 MB."""
_SEED = 0x56454C41
_OUTPUTS, _INPUTS = 0, 1


class Sketch:
    """The sketch of one adapter, made module by module."""

    def __init__(self) -> None:
        self._sum = torch.zeros(WIDTH, dtype=torch.float64)

    def add_product(self, name: str, up: Tensor, down: Tensor) -> None:
        """Add a module whose difference is up @ down, of shapes (outputs, rank) and (rank, inputs)."""
        numbers = (_project(_OUTPUTS, up.T) * _project(_INPUTS, down)).sum(0)
        self._sum += _module_signs(name) * numbers.double()

    def add_matrix(self, name: str, difference: Tensor) -> None:
        """Add a module whose difference is this matrix of shape (outputs, inputs)."""
        right = _project(_INPUTS, difference)
        numbers = torch.zeros_like(self._sum)
        for start, signs in _tables(_OUTPUTS, difference.shape[0]):
            numbers += (right[start : start + _ROWS] * signs).sum(0, dtype=torch.float64)
        self._sum += _module_signs(name) * numbers

    def numbers(self) -> Tensor:
        """Return the sketch: float32 of shape (WIDTH,), about as long as the whole difference."""
        return (self._sum / math.sqrt(WIDTH)).float()


def least_cosine(overlap: float) -> float:
    """Return the least cosine of two sketches where the overlap may be this: five standard errors below it.

    >>> round(least_cosine(0.95), 3)
    0.906
    """
    return overlap - 5 * (1 - overlap**2) / math.sqrt(WIDTH) - 1e-3  # and rounding, for what is quite the same


def _project(side: int, matrix: Tensor) -> Tensor:
    """Return matrix @ signs, of shapes (rows, extent) and (extent, WIDTH)."""
    pieces = [matrix[:, start : start + _ROWS] @ signs for start, signs in _tables(side, matrix.shape[1])]
    return pieces[0] if len(pieces) == 1 else torch.stack(pieces).sum(0)


def _tables(side: int, extent: int) -> list[tuple[int, Tensor]]:
    """Return (first row, signs) of the first `extent` rows of a side's table, cut into pieces."""
    return [(start, _table(side, start // _ROWS)[: extent - start]) for start in range(0, extent, _ROWS)]


@lru_cache(maxsize=16)
def _table(side: int, piece: int) -> Tensor:
    """Return one piece of a table of signs: float32 of shape (_ROWS, WIDTH)."""
    generator = np.random.Philox(key=_SEED + (side << 64) + (piece << 65))
    words = generator.random_raw(_ROWS * WIDTH // 64).astype("<u8")
    return _signs(words.view(np.uint8)).view(_ROWS, WIDTH)


@lru_cache(maxsize=8192)
def _module_signs(name: str) -> Tensor:
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=WIDTH // 8).digest()
    return _signs(np.frombuffer(digest, np.uint8)).double()


def _signs(source: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> Tensor:
    bits = np.unpackbits(source, bitorder="little")
    return torch.from_numpy(np.float32(1) - np.float32(2) * bits.astype(np.float32))
