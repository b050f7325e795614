"""What was worked out for the last few filters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

if TYPE_CHECKING:
    from ..protocols import Ids

K = TypeVar("K")
V = TypeVar("V")

_REMEMBERED = 4


class Remembered(Generic[K, V]):
    """Keeps a dictionary for each of the last few filters."""

    def __init__(self) -> None:
        self._kept: list[tuple[Ids | None, dict[K, V]]] = []

    def of(self, allowed: Ids | None) -> dict[K, V]:
        """Return the dictionary of a filter, which is compared by what is in it: an array may be filled anew.

        Args:
            allowed: Sorted catalogue numbers; None allows all.
        """
        for known, told in self._kept:
            if known is allowed or (known is not None and allowed is not None and np.array_equal(known, allowed)):
                return told
        new: dict[K, V] = {}
        kept = None if allowed is None else allowed.copy()
        self._kept = [(kept, new), *self._kept[: _REMEMBERED - 1]]
        return new
