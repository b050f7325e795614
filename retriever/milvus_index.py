"""The passages' vectors in Milvus, kept in step with the catalogue.

The database is the truth, and the collection can be dropped at any time. An entity is a passage, under its own number,
which stands for one text for ever: to write one twice does no harm, and of several processes none has to wait. The
collection's note says of which state of the catalogue it is; it is written last, so that of a run that was killed
nothing is believed. Whatever a search finds is looked up among the catalogue's own rows, and for what may not be
found, or is there no more, others are fetched.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..db.catalogue_name import catalogue_name
from ..db.vectors import snapshot
from .milvus_client import CollectionGone
from .milvus_collection import MOST, Collection
from .remembered import Remembered

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..db import Store
    from ..db.vectors import Snapshot
    from ..protocols import Ids, TextEmbedder, Vectors
    from .milvus_client import Milvus

_LAYOUT: Final = "1"
"""Another one whenever entities are written otherwise."""
_TEXTS: Final = 16
"""Of so many passages the note tells the texts."""
_TRIES: Final = 3
"""So often what others have written meanwhile is made good at once."""
_TIMES: Final = 4
"""Where some of what was found may not be, so many times as much is asked for."""
_NONE: Ids = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class _Part:
    """The passages of one field, as the catalogue has them."""

    passages: Ids
    """Ascending."""
    adapters: Ids
    """Of each."""


@dataclass(frozen=True, slots=True)
class _Selected:
    """What a filter leaves of a field, and how Milvus is told."""

    part: _Part
    asked: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Work:
    """What there is to do until the collection is that of a state of the catalogue."""

    collection: Collection
    is_new: bool
    """Whether the collection has no note yet."""
    fresh: tuple[Ids, Ids, NDArray[np.str_], Vectors]
    """Passages, adapters, fields and vectors of what is to be written."""
    gone: Ids


class MilvusIndex:
    """Finds the adapters whose passages are nearest to a vector (implements `protocols.NearestPassages`).

    Args:
        store: The catalogue.
        embedder: The model whose vectors are searched.
        milvus: Where the collection is, or is made.

    Raises:
        CatalogueError: Milvus cannot be reached, or fails.
        MissingDependency: pymilvus or milvus-lite is not installed.
    """

    def __init__(self, store: Store, embedder: TextEmbedder, milvus: Milvus) -> None:
        self._store = store
        self._named = {"model": embedder.model, "revision": embedder.revision}
        self._milvus = milvus
        self._catalogue = catalogue_name(store)
        self._collection: Collection | None = None
        self._note: Mapping[str, Any] = {}
        self._parts: Mapping[str, _Part] = {}
        self._looked_through = False
        self._remembered: Remembered[str, _Selected] = Remembered()
        self.refresh()

    def __len__(self) -> int:
        return sum(len(part.passages) for part in self._parts.values())

    @property
    def passages(self) -> Ids:
        """The passages' ids, ascending."""
        return self._all()[0]

    @property
    def adapters(self) -> Ids:
        """The adapter of each of `passages`."""
        return self._all()[1]

    def refresh(self) -> bool:
        """Bring the collection up to date with the catalogue, whoever changed it.

        Returns:
            Whether anything had changed.

        Raises:
            CatalogueError: Milvus cannot be reached, or fails.
        """
        if self._is_current():
            return False
        with self._milvus.writing:
            self._follow()
        self._remembered = Remembered()
        self._looked_through = False
        return True

    def best(self, vector: Vectors, field: str, k: int, allowed: Ids | None = None) -> dict[int, float]:
        """Return the adapters with the k nearest passages of a field, and the cosine of each one's nearest.

        Args:
            vector: Shape (dimension,), of length 1.
            field: `card`, `prompt` or `image`.
            k: Passages looked at, at most 16,384; several may belong to one adapter.
            allowed: Sorted catalogue numbers; None allows all. The last few are remembered.

        Raises:
            CatalogueError: Milvus cannot be reached, or fails.
        """
        collection, selected = self._collection, self._selected(field, allowed)
        if collection is None or selected is None or k <= 0:
            return {}
        part = selected.part
        wanted = min(k, len(part.passages), MOST)
        try:
            passages, scores = _found(collection, vector, selected, wanted)
            lacks = len(passages) < wanted and not self._looked_through
        except CollectionGone:
            lacks = True
        if lacks:
            self._mend()
            passages, scores = _found(self._collection or collection, vector, selected, wanted)
        order = np.lexsort((passages, -scores))[:wanted]
        owners = part.adapters[np.searchsorted(part.passages, passages[order])]
        cosine: dict[int, float] = {}
        for adapter, score in zip(owners.tolist(), scores[order].tolist(), strict=True):
            cosine.setdefault(adapter, score)
        return cosine

    def _selected(self, field: str, allowed: Ids | None) -> _Selected | None:
        """Return what a filter leaves of a field; None where that is nothing."""
        part = self._parts.get(field)
        if part is None or self._collection is None:
            return None
        told = self._remembered.of(allowed)
        if field not in told:
            mask = np.ones(len(part.adapters), np.bool_) if allowed is None else np.isin(part.adapters, allowed)
            asked = self._collection.asked(field, part.adapters, mask)
            told[field] = _Selected(_Part(part.passages[mask], part.adapters[mask]), asked)
        return told[field] if len(told[field].part.passages) else None

    # ---------------------------------------------------------------- keeping step

    def _is_current(self) -> bool:
        return bool(self._note) and self._note["state"] == self._store.vector_state(**self._named)

    def _mend(self) -> None:
        """Make good what somebody did to the collection, since it does not give what the catalogue has."""
        with self._milvus.writing:
            # Looked through once: where it still lacks something, the next search is not kept waiting again.
            self._follow(believing=self._looked_through)
            self._looked_through = True

    def _follow(self, *, believing: bool = True) -> None:
        """Make the collection that of the catalogue's present state.

        Args:
            believing: Take its note at its word; otherwise what is there is listed.
        """
        try:
            for _ in range(_TRIES):
                with snapshot(self._store, **self._named) as now:
                    self._parts = self._rows(now)
                    self._note, work = self._work(now, believing=believing)
                if work is None:
                    return
                believing = self._done(work)
                if believing and self._is_current():
                    return
        except BaseException:
            self._note = {}  # it is not of that state yet
            raise

    def _rows(self, now: Snapshot) -> dict[str, _Part]:
        """Return the catalogue's rows; only those are read that came since, where the others are as they were."""
        before = self._note
        if before and _is_ground(now, before) and _same_history(now, before):
            parts, (passages, adapters, fields) = dict(self._parts), now.rows(before["last"])
        else:
            parts, (passages, adapters, fields) = {}, now.rows()
        for name in map(str, np.unique(fields)):
            place = fields == name
            part = parts.get(name, _Part(_NONE, _NONE))
            parts[name] = _Part(
                np.concatenate([part.passages, passages[place]]), np.concatenate([part.adapters, adapters[place]])
            )
        return parts

    def _work(self, now: Snapshot, *, believing: bool) -> tuple[Mapping[str, Any], _Work | None]:
        """Return the note of this state and what is to be done; None where the collection is in step."""
        passages = self.passages
        if not len(passages):
            return _noted(now, passages, {}), None
        last = int(passages[-1])
        dimension = now.load(last).shape[1]
        told = json.dumps([_LAYOUT, self._catalogue, *self._named.values(), dimension])
        name = f"velatura_{hashlib.sha256(told.encode()).hexdigest()[:32]}"
        self._collection = collection = Collection(self._milvus, name, dimension)
        note, count = collection.read_note(), collection.count()
        if not _same_history(now, note):
            if count:
                collection.drop()
            note, count = {}, 0
        if believing and note.get("state") == now.state and note["last"] == last and count == len(passages) + 1:
            return note, None
        if believing and note.get("last", last + 1) <= last and _is_ground(now, note):
            held = passages[passages <= note["last"]]
        else:
            held = collection.passages() if count else _NONE
        fresh = np.setdiff1d(passages, held)
        first = int(fresh[0]) - 1 if len(fresh) else last
        numbers, adapters, fields = now.rows(first)
        chosen = np.isin(numbers, fresh)
        columns = numbers[chosen], adapters[chosen], fields[chosen], now.load(first)[chosen]
        return _noted(now, passages, note), _Work(collection, not note, columns, np.setdiff1d(held, passages))

    def _done(self, work: _Work) -> bool:
        """Do it; return whether as many passages are there as should be, and the note."""
        if work.is_new:
            # Whoever comes when this was killed knows by the texts whose the passages are, and lists them.
            work.collection.write_note({**self._note, "state": None, "ground": None})
        work.collection.write(*work.fresh)
        # An adapter that was missing may have come back since, and another process have written its passages.
        if self._is_current():
            work.collection.delete(work.gone)
        work.collection.write_note(self._note)
        return work.collection.count() == len(self) + 1

    def _all(self) -> tuple[Ids, Ids]:
        if not self._parts:
            return _NONE, _NONE
        passages = np.concatenate([part.passages for part in self._parts.values()])
        adapters = np.concatenate([part.adapters for part in self._parts.values()])
        order = np.argsort(passages)
        return passages[order], adapters[order]


def _found(collection: Collection, vector: Vectors, selected: _Selected, wanted: int) -> tuple[Ids, Vectors]:
    """Return the nearest of what a filter leaves, in any order, with their scores: `wanted`, or more, or all."""
    limit = wanted
    while True:
        passages, scores = collection.search(vector, limit, selected.asked)
        known = np.isin(passages, selected.part.passages)
        if known.sum() >= wanted or len(passages) < limit or limit == MOST:
            return passages[known], scores[known]
        limit = min(limit * _TIMES, MOST)


def _noted(now: Snapshot, passages: Ids, before: Mapping[str, Any]) -> dict[str, Any]:
    """Return the note of a state: what its passages rest on, and the texts of a few, from the first to the last."""
    places = np.unique(np.linspace(0, len(passages) - 1, _TEXTS, dtype=int)) if len(passages) else ()
    last = int(passages[-1]) if len(passages) else 0
    texts = now.texts([int(passages[place]) for place in places])
    ground = asdict(now.ground(last, min(last, _whole(before))))
    return {"state": now.state, "last": last, "ground": ground, "texts": {str(at): text for at, text in texts.items()}}


def _whole(note: Mapping[str, Any]) -> int:
    """Return up to which passage none lacks its vector."""
    return note["last"] if (note.get("ground") or {}).get("lacking") == 0 else 0


def _is_ground(now: Snapshot, note: Mapping[str, Any]) -> bool:
    """Tell whether the passages of a note are still all there, and none up to the last of them is new."""
    return note.get("ground") == asdict(now.ground(note["last"], _whole(note)))


def _same_history(now: Snapshot, note: Mapping[str, Any]) -> bool:
    """Tell whether passages are still those that they were: an older copy put back gives numbers a second time."""
    texts: Mapping[str, str] = note.get("texts", {})
    present = now.texts([int(number) for number in texts])
    return bool(present) and all(texts[str(number)] == text for number, text in present.items())
