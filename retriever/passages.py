"""The passages' vectors as index files beside the catalogue, kept in step with it; or what does the same elsewhere.

The database is the truth and the files can be deleted at any time. They are mapped, so that processes share them, and
replaced as a whole, so that one process may read what another replaces.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..db.vectors import snapshot
from .faiss_index import Selection
from .growth import NOTED, caught_up
from .remembered import Remembered
from .segment import Field, Segment, read_note

if TYPE_CHECKING:
    from ..db import Store
    from ..protocols import Ids, NearestPassages, TextEmbedder, Vectors
    from .milvus_client import Milvus

_Selections = dict[tuple[int, str], Selection | None]


def open_index(store: Store, embedder: TextEmbedder, path: Path | None, milvus: Milvus | None) -> NearestPassages:
    """Return the index of a model's vectors: in Milvus, or where that is None in files.

    Args:
        store: The catalogue.
        embedder: The model whose vectors are searched.
        path: Where the files lie; None keeps them in memory.
        milvus: Where the vectors are kept instead.

    Raises:
        CatalogueError: Milvus cannot be reached, or fails.
        MissingDependency: A package that it needs is not installed.
    """
    if milvus is None:
        return PassageIndex(store, embedder, path)
    from .milvus_index import MilvusIndex

    return MilvusIndex(store, embedder, milvus)


class PassageIndex:
    """Finds the adapters whose passages are nearest to a vector (implements `protocols.NearestPassages`).

    Args:
        store: the catalogue.
        embedder: the model whose vectors are searched.
        path: the base's file, beside which the second one lies; None keeps the index in memory.
    """

    def __init__(self, store: Store, embedder: TextEmbedder, path: Path | None) -> None:
        self._store = store
        self._named = {"model": embedder.model, "revision": embedder.revision}
        self._path = path
        self._segments: tuple[Segment, ...] = ()
        self._remembered: Remembered[tuple[int, str], Selection | None] = Remembered()
        self.refresh()

    def __len__(self) -> int:
        return sum(map(len, self._segments)) - len(self._gone())

    @property
    def passages(self) -> Ids:
        """The passages' ids, ascending."""
        return self._living()[0]

    @property
    def adapters(self) -> Ids:
        """The adapter of each of `passages`."""
        return self._living()[1]

    def refresh(self) -> bool:
        """Bring the index up to date with the catalogue, whoever changed it.

        Returns:
            Whether anything had changed.
        """
        if self._state() == self._store.vector_state(**self._named):
            return False
        self._read_files()
        with snapshot(self._store, **self._named) as now:
            if self._state() != now.state:
                before = self._segments
                self._segments = caught_up(now, self._named, before)
                self._write_files(before)
        self._remembered = Remembered()
        return True

    def best(self, vector: Vectors, field: str, k: int, allowed: Ids | None = None) -> dict[int, float]:
        """Return the adapters with the k nearest passages of a field, and the cosine of each one's nearest.

        Args:
            vector: shape (dimension,), of length 1.
            field: `card` or `prompt`.
            k: passages looked at; several may belong to one adapter.
            allowed: sorted catalogue numbers; None allows all. The last few are remembered.
        """
        selections = self._remembered.of(allowed)
        scores, adapters = [], []
        for number, segment in enumerate(self._segments):
            part = segment.fields.get(field)
            if part is None:
                continue
            selection = self._selection(selections, number, field, part, allowed)
            if selection is None or selection.count:
                found, rows = part.index.search(vector[None, :], k, selection)
                scores.append(found[0][rows[0] >= 0])
                adapters.append(part.adapters[rows[0][rows[0] >= 0]])
        if not scores:
            return {}
        together = np.concatenate(scores)
        order = np.argsort(-together, kind="stable")[:k] if len(scores) > 1 else slice(k)
        cosine: dict[int, float] = {}
        for adapter, score in zip(np.concatenate(adapters)[order].tolist(), together[order].tolist(), strict=True):
            cosine.setdefault(adapter, score)
        return cosine

    def _selection(
        self, selections: _Selections, number: int, field: str, part: Field, allowed: Ids | None
    ) -> Selection | None:
        """Return the rows of a part that may be found; None for all of them."""
        if (number, field) not in selections:
            mask = np.isin(part.passages, self._gone(), invert=True)
            if allowed is not None:
                mask &= np.isin(part.adapters, allowed)
            selections[number, field] = None if mask.all() else Selection(mask)
        return selections[number, field]

    def _state(self) -> str | None:
        return self._segments[-1].note["state"] if self._segments else None

    def _gone(self) -> Ids:
        return self._segments[-1].gone if self._segments else np.empty(0, dtype=np.int64)

    def _living(self) -> tuple[Ids, Ids]:
        parts = [part for segment in self._segments for part in segment.fields.values()]
        if not parts:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        passages = np.concatenate([part.passages for part in parts])
        adapters = np.concatenate([part.adapters for part in parts])
        order = np.argsort(passages)
        order = order[np.isin(passages[order], self._gone(), invert=True)]
        return passages[order], adapters[order]

    def _read_files(self) -> None:
        """Take what the files have, when it is something else than what is at hand."""
        if self._path is None:
            return
        beside = _beside(self._path)
        notes = read_note(self._path), read_note(beside)
        if notes[0] is None or any(notes[0].get(key) != name for key, name in self._named.items()):
            return
        if [segment.note for segment in self._segments] == [note for note in notes if note is not None]:
            return
        base, recent = Segment.load(self._path), Segment.load(beside)
        if base is None or not base.note.keys() >= NOTED:
            return
        fits = recent is not None and recent.note.keys() >= NOTED and recent.note["base"] == base.note["base"]
        self._segments = (base, recent) if recent is not None and fits else (base,)

    def _write_files(self, written: tuple[Segment, ...]) -> None:
        """Write the segments of the index that are not among those written before."""
        if self._path is None:
            return
        paths = self._path, _beside(self._path)
        # Where nothing may be written the index lives in memory, and the next run builds it again.
        with suppress(OSError):
            for path, segment in zip(paths, self._segments, strict=False):
                if not any(segment is one for one in written):
                    segment.save(path)
            if len(self._segments) == 1:
                paths[1].unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.recent")
