"""Mean and covariance of features, gathered in double precision, merged, and kept in `.npz` files.

A file holds `mu`, `sigma` and `n`. The files of clean-fid and pytorch-fid, which lack `n`, are read too; none is ever
unpickled.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, MissingDependency, UnreadableFile
from ..whole_file import whole_file

Matrix = NDArray[np.float64]

_BLOCK = 512
"""Rows that are multiplied at once."""
_COLUMNS = 256
"""Columns of the upper triangle of a product that are added up at once."""
_WIDEST = 8192
"""The widest features that a file may hold: a square of them takes 512 MB."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moments:
    """What a Fréchet distance needs of a set of feature vectors.

    `n` is None where a file does not tell it. Then `scatter` holds the covariance itself, and such moments cannot be
    merged.
    """

    n: int | None
    """Feature vectors."""
    mean: Matrix
    """Shape (width,)."""
    scatter: Matrix
    """The sum of the outer products of the centred vectors, shape (width, width)."""

    @property
    def width(self) -> int:
        """Numbers of a feature vector."""
        return len(self.mean)

    @property
    def covariance(self) -> Matrix:
        """The unbiased covariance, over n - 1.

        Raises:
            InputError: there are fewer than two vectors.
        """
        return self.scatter / self._divisor

    @property
    def trace(self) -> float:
        """The trace of the covariance.

        Raises:
            InputError: there are fewer than two vectors.
        """
        return float(np.trace(self.scatter)) / self._divisor

    @property
    def _divisor(self) -> int:
        """What the scatter is divided by.

        Raises:
            InputError: there are fewer than two vectors.
        """
        if self.n is None:
            return 1
        if self.n < 2:
            raise InputError(f"a covariance needs two pictures at least, and there are {self.n}")
        return self.n - 1

    def merge(self, other: Moments) -> Moments:
        """Return the moments of both sets together (Chan, Golub and LeVeque 1979, equation 1.5).

        Raises:
            InputError: their widths differ, or the size of one is not known.
        """
        if self.n is None or other.n is None:
            raise InputError("moments of an unknown number of pictures cannot be merged with others")
        if self.width != other.width:
            raise InputError(f"features of {self.width} and of {other.width} numbers cannot be merged")
        n = self.n + other.n
        if not n:
            return self
        apart = other.mean - self.mean
        between = np.outer(apart, apart) * (self.n * other.n / n)
        return Moments(n=n, mean=self.mean + apart * (other.n / n), scatter=self.scatter + other.scatter + between)

    def save(self, path: str | Path) -> None:
        """Write `mu`, `sigma` and, where it is known, `n`; whole or not at all.

        Raises:
            InputError: there are fewer than two vectors, or the file cannot be written.
        """
        arrays: dict[str, Any] = {"mu": self.mean, "sigma": self.covariance}
        if self.n is not None:
            arrays["n"] = np.int64(self.n)
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as unfinished, unfinished.open("wb") as file:
                np.savez(file, **arrays)
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror or error}") from error

    @classmethod
    def load(cls, path: str | Path) -> Moments:
        """Read a file of ours, clean-fid's or pytorch-fid's.

        Raises:
            UnreadableFile: it is not such a file, or what it holds cannot be moments; one sentence that says why.
        """
        path = Path(path)
        try:
            with ZipFile(path) as archive:
                mean = _array(archive, "mu", widest=1)
                sigma = _array(archive, "sigma", widest=2)
                n = _array(archive, "n", widest=0) if "n.npy" in archive.namelist() else None
        except OSError as error:
            raise UnreadableFile(f"{path} cannot be read: {error.strerror or error}") from error
        except (BadZipFile, ValueError, KeyError, EOFError, NotImplementedError, RuntimeError) as error:
            reason = error.args[0] if isinstance(error, KeyError) else error
            raise UnreadableFile(f"{path} does not hold the mean and covariance of features: {reason}") from error
        except Exception as error:  # zlib, lzma and bz2 each have errors of their own
            raise UnreadableFile(f"{path} is damaged: {error}") from error
        return _checked(path, mean, sigma, n)


def moments_of(features: NDArray[Any], *, single: bool = False) -> Moments:
    """Return the moments of feature vectors.

    Blocks are centred on the mean of the first before they are multiplied, so that a mean far from zero costs no
    digits; their products are added up in double precision.

    Args:
        features: Shape (n, width); any kind of number.
        single: Whether blocks are multiplied in single precision, in two thirds of the time. An entry of the covariance
            is then off by some 1e-8 to 1e-7 of the mean variance, which counts where features hardly vary in a
            direction; `eval.gaussian` knows when.

    Raises:
        InputError: the shape is another, or a number is not finite.
        MissingDependency: scipy is not installed.
    """
    try:
        from scipy.linalg.blas import dsyr, dsyrk, ssyrk
    except ImportError:
        raise MissingDependency("scipy", extra="eval") from None
    rows = check_features(features)
    n, width = rows.shape
    kind = np.float32 if single else np.float64
    centre = rows[:_BLOCK].mean(axis=0, dtype=np.float64).astype(kind) if n else np.zeros(width, kind)
    total = np.zeros(width)
    gram = np.zeros((width, width), order="F")
    part = np.zeros((width, width), np.float32, order="F") if single else None
    room = np.empty((min(_BLOCK, n), width), kind)
    for start in range(0, n, _BLOCK):
        block = rows[start : start + _BLOCK]
        block = np.subtract(block, centre, out=room[: len(block)], casting="same_kind")
        total += block.sum(axis=0, dtype=np.float64)
        if part is None:
            gram = dsyrk(1.0, block.T, beta=1.0, c=gram, overwrite_c=True)
            continue
        part = ssyrk(1.0, block.T, beta=0.0, c=part, overwrite_c=True)
        for left in range(0, width, _COLUMNS):
            gram[: left + _COLUMNS, left : left + _COLUMNS] += part[: left + _COLUMNS, left : left + _COLUMNS]
    if not np.isfinite(total).all() or not np.isfinite(gram.diagonal()).all():
        raise InputError("some features are not finite numbers, or too large to square; extract them again")
    shift = total / max(n, 1)
    gram = dsyr(-float(n), shift, a=gram, overwrite_a=True)
    _mirror(gram)
    return Moments(n=n, mean=centre + shift, scatter=gram.T)


def merged(parts: list[Moments]) -> Moments:
    """Return the moments of all the sets together.

    Raises:
        InputError: there are none, their widths differ, or the size of one is not known.
    """
    if not parts:
        raise InputError("there are no moments to merge")
    return reduce(Moments.merge, parts)


def check_features(features: NDArray[Any]) -> NDArray[Any]:
    """Return features that are a table of numbers.

    Raises:
        InputError: they are not.
    """
    rows = np.asarray(features)
    if rows.ndim != 2 or not rows.shape[1]:
        raise InputError(f"features are one row of numbers for each picture, and these have the shape {rows.shape}")
    if rows.dtype.kind not in "fiu":
        raise InputError(f"features are real numbers, and these are {rows.dtype}")
    return rows


def _mirror(square: Matrix) -> None:
    """Write the upper triangle of a matrix over its lower one, in place."""
    for start in range(0, len(square), _BLOCK):
        stop = start + _BLOCK
        square[stop:, start:stop] = square[start:stop, stop:].T
        corner = square[start:stop, start:stop]
        corner[:] = np.triu(corner) + np.triu(corner, 1).T


def _array(archive: ZipFile, name: str, *, widest: int) -> NDArray[Any]:
    """Read one array of an archive, after its header was found to agree with its size."""
    if f"{name}.npy" not in archive.namelist():
        raise ValueError(f"it has no {name}")
    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as file:
        shape, dtype, length = _header(file)
        if dtype.kind not in "fiu" or len(shape) > 2 or any(not 0 < side <= _WIDEST for side in shape):
            raise ValueError(f"{name} is {dtype} of the shape {shape}")
        count = int(np.prod(shape, dtype=np.int64))
        if count > _WIDEST**widest or info.file_size != length + count * dtype.itemsize:
            raise ValueError(f"{name} is not of the size that it tells")
    with archive.open(info) as file:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Return the shape and kind of numbers that an `.npy` file tells, and how many bytes tell them."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"its arrays are of the version {version}")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype, file.tell()


def _checked(path: Path, mean: NDArray[Any], sigma: NDArray[Any], n: NDArray[Any] | None) -> Moments:
    """Return what a file holds, once it can be moments."""
    width = mean.size
    if mean.ndim != 1 or sigma.shape != (width, width):
        raise UnreadableFile(f"{path} holds a mean of the shape {mean.shape} and a covariance of {sigma.shape}")
    mean, sigma = mean.astype(np.float64), sigma.astype(np.float64)
    if not np.isfinite(mean).all() or not np.isfinite(sigma).all():
        raise UnreadableFile(f"{path} holds numbers that are not finite")
    largest = float(np.abs(sigma).max())
    if np.abs(sigma - sigma.T).max() > 1e-4 * largest or sigma.diagonal().min() < 0:
        raise UnreadableFile(
            f"{path} holds a matrix that is no covariance: it is not symmetric, or a variance is negative"
        )
    sigma = (sigma + sigma.T) / 2
    if n is None:
        return Moments(n=None, mean=mean, scatter=sigma)
    if n.size != 1 or not 2 <= float(n.reshape(())) < 2**53 or float(n.reshape(())) % 1:
        raise UnreadableFile(f"{path} tells that it is of {n.tolist()!s:.40} pictures")
    count = int(n.reshape(()))
    return Moments(n=count, mean=mean, scatter=sigma * (count - 1))
