"""What a catalogue tells of its adapters, each asked once: for a process that answers one prompt after another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..records import Probe, RefinedAdapter
    from .identity import Identity
    from .store import Store

T = TypeVar("T")

_MOST: Final = 8192
"""Adapters that are remembered, of about 8 KB each; then it begins anew."""


class Known:
    """What a store tells, in one state of it; any number of threads may ask.

    Args:
        store: The catalogue.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        # Before anything is read: what is written meanwhile makes this out of date.
        self._mark = store.mark()
        self._adapters = _Remembered(lambda asked: {found.id: found for found in store.adapters(asked)})
        self._identities = _Remembered(store.identities)
        self._sketches = _Remembered(store.sketches_of)
        self._vectors: dict[tuple[str, str], _Remembered[dict[str, NDArray[np.float32]]]] = {}
        self._probes: dict[str | None, _Remembered[list[Probe]]] = {}

    def fresh(self) -> Known:
        """Return this, or one that knows nothing yet where anybody has written to the catalogue since."""
        return self if self._store.mark() == self._mark else Known(self._store)

    def adapters(self, numbers: Sequence[int]) -> list[RefinedAdapter]:
        """Return what `Store.adapters` does."""
        found = self._adapters.of(numbers)
        return [found[number] for number in numbers if number in found]

    def identities(self, numbers: Sequence[int]) -> dict[int, Identity]:
        """Return what `Store.identities` does."""
        return self._identities.of(numbers)

    def sketches_of(self, numbers: Sequence[int]) -> dict[int, tuple[str, NDArray[np.float32]]]:
        """Return what `Store.sketches_of` does."""
        return self._sketches.of(numbers)

    def vectors_of(
        self, model: str, revision: str, numbers: Sequence[int]
    ) -> dict[int, dict[str, NDArray[np.float32]]]:
        """Return what `Store.vectors_of` does."""
        if (model, revision) not in self._vectors:
            self._vectors[model, revision] = _Remembered(lambda asked: self._store.vectors_of(model, revision, asked))
        return self._vectors[model, revision].of(numbers)

    def probes(self, numbers: Sequence[int], family: str | None = None) -> dict[int, list[Probe]]:
        """Return what `Store.probes` does."""
        if family not in self._probes:
            self._probes[family] = _Remembered(lambda asked: self._store.probes(asked, family))
        return self._probes[family].of(numbers)


class _Remembered(Generic[T]):
    """One thing of each adapter; None is remembered where there is none.

    No lock: at the worst two threads read the same.
    """

    def __init__(self, read: Callable[[list[int]], Mapping[int, T]]) -> None:
        self._read = read
        self._known: dict[int, T | None] = {}

    def of(self, numbers: Sequence[int]) -> dict[int, T]:
        known = self._known
        if new := [number for number in dict.fromkeys(numbers) if number not in known]:
            if len(known) + len(new) > _MOST:
                # Another dict: somebody may be reading this one.
                known = self._known = {}
                new = list(dict.fromkeys(numbers))
            found = self._read(new)
            known.update((number, found.get(number)) for number in new)
        return {number: told for number in numbers if (told := known[number]) is not None}
