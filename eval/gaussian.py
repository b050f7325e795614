"""The Gaussian that others are held against, and the Fréchet distance to it; `eval.frechet` has the formula."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .moments import Matrix, Moments, check_features, moments_of
from .spectra import Tridiagonal, lapack, nuclear_norm, tridiagonal

_LOSS = 1e-8
"""The share of the traces that rounding may take from a distance before it is computed the slower way."""

_LARGE = 2**34
"""Multiplications of a table with itself from which single precision is tried."""
_SINGLE = 1e-7, 1e-8
"""What an entry of a large table's covariance is off by in single precision, against the mean variance: on the
diagonal, and beside it (measured)."""
_TOLERANCE = 1e-7
"""The share of a distance that it may be off by for that."""
_PROBES = 8
"""Random vectors that a trace is told from."""


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A distance, the moments of what it was measured of, and F' S F of these; None of so few that S is singular."""

    value: float
    moments: Moments
    product: Tridiagonal | None


class Reference:
    """The features that others are held against, and what of them every distance needs.

    Args:
        moments: Of its features.

    Raises:
        InputError: they are of fewer than two pictures.
    """

    def __init__(self, moments: Moments) -> None:
        self.moments = moments
        self.mean = moments.mean
        self.covariance = moments.covariance
        self.trace = moments.trace

    @property
    def width(self) -> int:
        """Numbers of a feature vector."""
        return self.moments.width

    @property
    def triangular(self) -> bool:
        """Whether the factor is a lower triangle, which is the case where the covariance is of full rank."""
        return self._triangle is not None

    @cached_property
    def factor(self) -> Matrix:
        """F with F F' = the covariance, shape (width, rank or width)."""
        return _factor(self.covariance) if self._triangle is None else self._triangle

    @cached_property
    def _triangle(self) -> Matrix | None:
        least = np.finfo(np.float64).eps * self.width * float(self.covariance.diagonal().max())
        try:
            triangle = np.linalg.cholesky(self.covariance)
        except np.linalg.LinAlgError:
            return None
        return np.asfortranarray(triangle) if float(triangle.diagonal().min()) ** 2 > least else None

    def distance(self, target: Moments | NDArray[Any]) -> float:
        """Return the distance to a set of features or to its moments; never below 0.

        Raises:
            InputError: the width is another, there are fewer than two pictures, or features are not finite.
        """
        if isinstance(target, Moments):
            return self.apart(target, self.overlap(target, self.product(target)))
        return self.measure(target).value

    def measure(self, features: NDArray[Any]) -> Measured:
        """Return the distance to a set of features, with what else was found on the way.

        A large table of single precision is multiplied in it first. Where that may have moved the distance by more
        than 1e-7 of itself, it is multiplied again in double, as every other table is.

        Args:
            features: Shape (pictures, width).

        Raises:
            InputError: the width is another, there are fewer than two pictures, or features are not finite.
        """
        rows = check_features(features)
        n, width = rows.shape
        if rows.dtype == np.float32 and n > width and n * width**2 >= _LARGE:
            moments = moments_of(rows, single=True)
            off = self._off(moments, n)
            if math.isfinite(off):
                product = self.product(moments)
                value = self.apart(moments, self.overlap(moments, product))
                if off <= _TOLERANCE * value:
                    return Measured(value, moments, product)
        moments = moments_of(rows)
        if n <= width:
            return Measured(self.apart(moments, self.overlap_of_few(rows, moments)), moments, None)
        product = self.product(moments)
        return Measured(self.apart(moments, self.overlap(moments, product)), moments, product)

    def product(self, target: Moments) -> Tridiagonal:
        """Return F' S F of a set's covariance S, in tridiagonal form.

        Raises:
            InputError: the width is another, or there are fewer than two pictures.
        """
        self._check(target)
        covariance = target.covariance
        if not self.triangular:
            return tridiagonal(self.factor.T @ covariance @ self.factor)
        product, _ = lapack().dsygst(covariance.T, self.factor, itype=2, lower=1, overwrite_a=True)
        return tridiagonal(product)

    def overlap(self, target: Moments, product: Tridiagonal) -> float:
        """Return tr (S_r S_g)^(1/2).

        The root of an eigenvalue that rounding alone may have made can be as large as 1e-8 of the largest. Where many
        are so small, singular values of a product of factors, which are the roots themselves, lose nothing.
        """
        values = np.maximum(product.values(), 0)
        rounding = 8 * np.finfo(np.float64).eps * float(values[-1])
        if rounding:
            loss = float((rounding / np.sqrt(np.maximum(values, rounding))).sum())
            if loss > _LOSS * (self.trace + target.trace):
                return nuclear_norm(_factor(target.covariance).T @ self.factor)
        return float(np.sqrt(values).sum())

    def overlap_of_few(self, features: NDArray[Any], moments: Moments) -> float:
        """Return tr (S_r S_g)^(1/2) for features no more than they are wide, from their own nuclear norm."""
        self._check(moments)
        if moments.n is None or moments.n < 2:
            raise InputError(f"a Fréchet distance needs two pictures at least, and there are {moments.n}")
        centred = np.subtract(features, moments.mean, dtype=np.float64)
        return nuclear_norm(centred @ self.factor) / float(np.sqrt(moments.n - 1))

    def apart(self, target: Moments, overlap: float) -> float:
        """Return the distance to a set, given tr (S_r S_g)^(1/2)."""
        means = float(((target.mean - self.mean) ** 2).sum())
        return max(means + target.trace + self.trace - 2 * overlap, 0.0)

    def _off(self, target: Moments, n: int) -> float:
        """Return about how far single precision may have moved the distance to a set.

        With errors E of the covariance S the distance moves by tr (I - T) E, where T is the optimal transport, and by
        about d e^2 tr T S^-1 / 8 for errors of the size e beside the diagonal. The squared length of T is at most
        tr S^-1 S_r (Ando and Hiai 1994), and by Cauchy and Schwarz tr T S^-1 at most the root of that times tr S^-2;
        both are told from random vectors. Infinity where S has no inverse in single precision.
        """
        self._check(target)
        width, routines = self.width, lapack()
        with np.errstate(over="ignore"):
            single = target.scatter.astype(np.float32)
        triangle, failed = routines.spotrf(single.T, lower=1, overwrite_a=True)
        if failed or not target.trace > 0:
            return math.inf
        generator = np.random.default_rng(0)
        carried = (self.factor @ generator.choice([-1.0, 1.0], (self.factor.shape[1], _PROBES))).astype(np.float32)
        signs = generator.choice([-1.0, 1.0], (width, _PROBES)).astype(np.float32)
        transport = float((carried * routines.spotrs(triangle, carried, lower=1)[0]).sum()) * (n - 1) / _PROBES
        solved = routines.spotrs(triangle, signs, lower=1)[0].astype(np.float64) * (n - 1)
        inverse = float((solved**2).sum()) / _PROBES
        if not transport > 0:  # all digits are lost
            return math.inf
        diagonal, beside = (error * target.trace / width for error in _SINGLE)
        first = diagonal * math.sqrt(width + transport)
        return first + beside**2 * width / 8 * math.sqrt(transport * inverse)

    def _check(self, target: Moments) -> None:
        if target.width != self.width:
            raise InputError(
                f"the pictures' features have {target.width} numbers and the reference's {self.width}: "
                "both must come from the same extractor"
            )


def _factor(covariance: Matrix) -> Matrix:
    """Return F with F F' = a covariance of any rank, shape (width, rank); one column of zeros where the rank is 0."""
    values, vectors = np.linalg.eigh(covariance)
    values = np.maximum(values, 0)
    kept = values > np.finfo(np.float64).eps * len(values) * float(values[-1])
    kept[-1] = True
    return cast(Matrix, vectors[:, kept] * np.sqrt(values[kept]))
