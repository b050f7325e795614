"""Features of a cell, checked, as the numbers that are reckoned with."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .cells import Cell, Features

Vectors = NDArray[np.float64]
"""One row for each sample; shape (samples, width)."""


def vectors(cell: Cell, extractor: str, *, texts: bool = False) -> Vectors:
    """Return the features of a cell's pictures, or of its prompts, in double precision.

    Raises:
        InputError: there are none, not one for each sample, or one holds what is no number.
    """
    if not cell.samples:
        raise InputError(f"{cell.name} has no pictures")
    held: Mapping[str, Features] = cell.texts if texts else cell.features
    what = f"{extractor} features of {'texts' if texts else 'pictures'}"
    try:
        rows = np.asarray(held[extractor], np.float64)
    except KeyError:
        raise InputError(f"{cell.name} has no {what}; extract them first") from None
    return checked(cell, rows, what)


def unit_vectors(cell: Cell, extractor: str, *, texts: bool = False) -> Vectors:
    """Return the same at length 1.

    Raises:
        InputError: as `vectors`; or one is 0 and has no direction.
    """
    return normalised(cell, vectors(cell, extractor, texts=texts), extractor)


def checked(cell: Cell, rows: Vectors, what: str) -> Vectors:
    """Return rows as they are.

    Raises:
        InputError: there is not one for each sample, or one holds what is no number.
    """
    if rows.ndim != 2 or len(rows) != len(cell.samples):
        raise InputError(f"{cell.name} has {len(cell.samples)} pictures, and {what} of shape {rows.shape}")
    whole = np.isfinite(rows).all(axis=1)
    if not whole.all():
        sample = cell.samples[int(np.argmin(whole))]
        raise InputError(f"the {what} hold values that are no numbers, first for {sample.image}; extract them again")
    return rows


def normalised(cell: Cell, rows: Vectors, extractor: str) -> Vectors:
    """Return rows at length 1.

    Raises:
        InputError: one is 0 and has no direction.
    """
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not lengths.all():
        sample = cell.samples[int(np.argmin(lengths))]
        raise InputError(f"the {extractor} features of {sample.image} are all 0 and have no direction")
    unit: Vectors = rows / lengths
    return unit
