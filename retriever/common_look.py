"""What the pictures of one adapter have in common, told apart from what they happen to show."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..protocols import Vectors

_LEAST: Final = 0.1
"""Share of the usual spread that every direction is given beside its own: few pictures know few directions."""


@dataclass(frozen=True, slots=True)
class CommonLook:
    """Where pictures lie when what varies among the pictures of one adapter is made small."""

    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    """Shape (dimension, dimension)."""

    def place(self, pictures: Vectors) -> Vectors:
        """Return pictures, one a row, where they lie: rows of length 1."""
        rows = (pictures.astype(np.float64) - self.centre) @ self.scale
        return _of_length_one(rows)

    def direction(self, picture: Vectors) -> Vectors:
        """Return the direction in which pictures lie that are near to one, as a model's vectors are, of length 1."""
        moved = (picture.astype(np.float64) - self.centre) @ self.scale @ self.scale.T
        row: Vectors = _of_length_one(moved[None])[0]
        return row


def common_look(pictures: Collection[Vectors]) -> CommonLook:
    """Learn from adapters' pictures what matters.

    A cosine of CLIP weighs what a picture shows, its place, its colours and its style alike. The pictures of an adapter
    for a style show many things, those of one for a thing many places; only what it is for stays. So directions are
    scaled by the inverse root of the covariance within adapters (Hatch, Kajarekar and Stolcke, 2006, for the voices of
    speakers), shrunk towards the same for all. Where no adapter has two pictures all directions count alike.

    Args:
        pictures: The pictures of each adapter, one a row; at least one adapter.
    """
    rows = np.concatenate(list(pictures)).astype(np.float64)
    # One more in the middle of nowhere, so that a picture that is alone is not the centre itself.
    centre = rows.sum(0) / (len(rows) + 1)
    within = np.concatenate([own.astype(np.float64) - own.mean(0, dtype=np.float64) for own in pictures])
    dimension = rows.shape[1]
    covariance = within.T @ within
    spread = np.trace(covariance) / dimension
    if not spread > 1e-12:
        return CommonLook(centre, np.eye(dimension))
    shrunk = covariance / spread + _LEAST * np.eye(dimension)
    return CommonLook(centre, np.linalg.cholesky(np.linalg.inv(shrunk)))


def _of_length_one(rows: NDArray[np.float64]) -> Vectors:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.ascontiguousarray(rows / np.maximum(lengths, 1e-12), dtype=np.float32)
