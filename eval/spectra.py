"""Eigenvalues of symmetric matrices, with or without vectors, as cheaply as one core can have them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingDependency

Matrix = NDArray[np.float64]
Single = NDArray[np.float32]

_REFLECTORS = 128
"""Reflections that are applied as one product of matrices."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tridiagonal:
    """A symmetric matrix in tridiagonal form, and the reflections that bring it there."""

    diagonal: Matrix
    beside: Matrix
    reflectors: Matrix
    scales: Matrix

    def values(self) -> Matrix:
        """Return the eigenvalues, ascending."""
        if len(self.diagonal) == 1:
            return self.diagonal.copy()
        values, failed = lapack().dsterf(self.diagonal, self.beside)
        return cast(Matrix, np.linalg.eigvalsh(self._dense()) if failed else values)

    def vectors(self) -> Single:
        """Return the eigenvectors in columns, in the order of the values.

        They are found in double precision, and turned back (the dearest part) in single.
        """
        from scipy.linalg import eigh_tridiagonal

        if len(self.diagonal) == 1:
            return np.ones((1, 1), np.float32)
        vectors = eigh_tridiagonal(self.diagonal, self.beside, check_finite=False)[1].astype(np.float32, order="C")
        reflectors, scales = self.reflectors.astype(np.float32), self.scales.astype(np.float32)
        for start in reversed(range(0, len(scales), _REFLECTORS)):
            stop = min(start + _REFLECTORS, len(scales))
            block = np.tril(reflectors[start + 1 :, start:stop], -1)
            np.fill_diagonal(block, 1)
            scale = scales[start:stop]
            block[:, scale == 0] = 0  # such a reflection does nothing
            inverse = np.triu(block.T @ block, 1) + np.diag(1 / np.where(scale == 0, 1, scale))
            rows = vectors[start + 1 :]
            rows -= (block @ np.linalg.inv(inverse)) @ (block.T @ rows)
        return cast(Single, vectors)

    def _dense(self) -> Matrix:
        return np.diag(self.diagonal) + np.diag(self.beside, 1) + np.diag(self.beside, -1)


def tridiagonal(matrix: Matrix) -> Tridiagonal:
    """Return a symmetric matrix in tridiagonal form (LAPACK's dsytrd).

    The lower triangle alone is read; a matrix in Fortran's order is overwritten.

    Raises:
        MissingDependency: scipy is not installed.
    """
    routines = lapack()
    work = int(routines.dsytrd_lwork(len(matrix), lower=1)[0])
    reflectors, diagonal, beside, scales, _ = routines.dsytrd(matrix, lower=1, lwork=work, overwrite_a=True)
    return Tridiagonal(diagonal=diagonal, beside=beside, reflectors=reflectors, scales=scales)


def nuclear_norm(matrix: Matrix) -> float:
    """Return the sum of the singular values.

    Raises:
        MissingDependency: scipy is not installed.
    """
    lapack()
    from scipy.linalg import svdvals

    return float(svdvals(matrix, check_finite=False).sum())


def lapack() -> Any:
    """Return scipy's LAPACK.

    Raises:
        MissingDependency: scipy is not installed.
    """
    try:
        from scipy.linalg import lapack as routines
    except ImportError:
        raise MissingDependency("scipy", extra="eval") from None
    return routines
