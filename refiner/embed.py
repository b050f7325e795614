"""Keeps the catalogue's vectors up to date with its adapters."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from .passages import FIELDS, VERSION, digest, passages

if TYPE_CHECKING:
    from ..db import Store
    from ..protocols import TextEmbedder, Vectors

Through: TypeAlias = "Callable[[Iterable[Sequence[str]]], Iterable[tuple[int, Vectors]]]"
"""Embeds batches of texts, wherever: gives the vectors of each with its place, in whatever order."""

_CHUNK = 1024
"""Adapters per step: large enough to sort texts by length, small enough to lose little when killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedReport:
    """What a run of `embed` has done so far."""

    adapters: int = 0
    """Adapters whose passages or vectors were out of date."""
    done: int = 0
    texts: int = 0
    """Texts that went through the model; a text shared by several adapters goes once."""
    seconds: float = 0.0


def embed(
    store: Store,
    embedder: TextEmbedder,
    *,
    through: Through | None = None,
    progress: Callable[[EmbedReport], None] | None = None,
) -> EmbedReport:
    """Embed every passage that has no vector of this model yet.

    Can be killed at any moment and called again: what is stored is not embedded twice.

    Args:
        store: The catalogue.
        embedder: The model.
        through: Has batches of texts embedded by the same model elsewhere; None does it here.
        progress: Called as adapters are done.
    """
    stale = store.unembedded(VERSION, embedder.model, embedder.revision, FIELDS)
    run = _Run(store, embedder, len(stale), progress)
    batches = run.batches(stale)
    for place, vectors in _here(embedder, batches) if through is None else through(batches):
        run.keep(place, vectors)
    return run.report


def embed_texts(store: Store, embedder: TextEmbedder, ids: Sequence[int], fields: Collection[str] = FIELDS) -> int:
    """Make the passages of these adapters anew, and embed the texts of some fields that have no vector yet.

    Returns:
        How many texts went through the model.
    """
    chunk = _read(store, embedder, ids, fields)
    if chunk.missing:
        _put(store, embedder, chunk, embedder.embed(list(chunk.missing.values())))
    # Last, so that a kill before this line leaves the adapters out of date and the next run finishes them.
    store.set_passages(chunk.rows, VERSION)
    return len(chunk.missing)


@dataclass(slots=True, kw_only=True)
class _Chunk:
    """Some adapters."""

    adapters: int
    rows: list[tuple[int, list[tuple[str, str]]]] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    """The texts that have no vector, by their addresses."""
    is_embedded: bool = False


class _Run:
    """One call of `embed`."""

    def __init__(
        self, store: Store, embedder: TextEmbedder, adapters: int, progress: Callable[[EmbedReport], None] | None
    ) -> None:
        self.report = EmbedReport(adapters=adapters)
        self._store, self._embedder, self._progress = store, embedder, progress
        self._started = time.perf_counter()
        self._chunks: deque[_Chunk] = deque()
        """Those whose passages are not written, in order."""
        self._sent: dict[int, _Chunk] = {}
        """By the places of their batches."""
        self._under_way: set[str] = set()
        self._next = 0

    def batches(self, stale: Sequence[int]) -> Iterator[Sequence[str]]:
        """Read adapters as they are wanted, and yield what is to be embedded; a text that is under way is not again."""
        for start in range(0, len(stale), _CHUNK):
            chunk = _read(self._store, self._embedder, stale[start : start + _CHUNK], FIELDS, self._under_way)
            self._chunks.append(chunk)
            if not chunk.missing:
                chunk.is_embedded = True
                self._settle()
                continue
            self._sent[self._next] = chunk
            self._under_way |= chunk.missing.keys()
            self._next += 1
            yield list(chunk.missing.values())

    def keep(self, place: int, vectors: Vectors) -> None:
        """Write the vectors of a batch."""
        chunk = self._sent.pop(place)
        _put(self._store, self._embedder, chunk, vectors)
        self._under_way -= chunk.missing.keys()
        chunk.is_embedded = True
        self._settle()

    def _settle(self) -> None:
        """Write the passages of adapters all of whose texts have vectors: in order, since a text is embedded once.

        After the vectors, so that a kill in between leaves the adapters out of date and the next run finishes them.
        """
        while self._chunks and self._chunks[0].is_embedded:
            chunk = self._chunks.popleft()
            self._store.set_passages(chunk.rows, VERSION)
            self.report = replace(
                self.report,
                done=self.report.done + chunk.adapters,
                texts=self.report.texts + len(chunk.missing),
                seconds=time.perf_counter() - self._started,
            )
            if self._progress is not None:
                self._progress(self.report)


def _here(embedder: TextEmbedder, batches: Iterable[Sequence[str]]) -> Iterator[tuple[int, Vectors]]:
    for place, texts in enumerate(batches):
        yield place, embedder.embed(texts)


def _read(
    store: Store,
    embedder: TextEmbedder,
    ids: Sequence[int],
    fields: Collection[str],
    under_way: Collection[str] = (),
) -> _Chunk:
    """Return the passages of adapters, and which texts of some fields neither have a vector nor are under way."""
    chunk = _Chunk(adapters=len(ids))
    texts: dict[str, str] = {}
    for adapter in store.adapters(ids):
        named = [(name, digest(text), text) for name, text in passages(adapter)]
        chunk.rows.append((adapter.id, [(name, address) for name, address, _ in named]))
        texts.update({address: text for name, address, text in named if name in fields})
    wanted = [address for address in texts if address not in under_way]
    missing = sorted(store.missing_vectors(embedder.model, embedder.revision, wanted))
    chunk.missing = {address: texts[address] for address in missing}
    return chunk


def _put(store: Store, embedder: TextEmbedder, chunk: _Chunk, vectors: Vectors) -> None:
    store.put_vectors(embedder.model, embedder.revision, dict(zip(chunk.missing, vectors, strict=True)))
