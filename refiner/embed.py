"""Keeps the catalogue's vectors up to date with its adapters."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .passages import FIELDS, VERSION, digest, passages

if TYPE_CHECKING:
    from ..db import Store
    from ..protocols import TextEmbedder

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
    store: Store, embedder: TextEmbedder, *, progress: Callable[[EmbedReport], None] | None = None
) -> EmbedReport:
    """Embed every passage that has no vector of this model yet.

    Can be killed at any moment and called again: what is stored is not embedded twice.
    """
    started = time.perf_counter()
    stale = store.unembedded(VERSION, embedder.model, embedder.revision, FIELDS)
    report = EmbedReport(adapters=len(stale))
    for start in range(0, len(stale), _CHUNK):
        chunk = stale[start : start + _CHUNK]
        texts = embed_texts(store, embedder, chunk)
        report = replace(
            report,
            done=report.done + len(chunk),
            texts=report.texts + texts,
            seconds=time.perf_counter() - started,
        )
        if progress is not None:
            progress(report)
    return report


def embed_texts(store: Store, embedder: TextEmbedder, ids: Sequence[int], fields: Collection[str] = FIELDS) -> int:
    """Make the passages of these adapters anew, and embed the texts of some fields that have no vector yet.

    Returns:
        How many texts went through the model.
    """
    rows: list[tuple[int, list[tuple[str, str]]]] = []
    texts: dict[str, str] = {}
    for adapter in store.adapters(ids):
        named = [(field, digest(text), text) for field, text in passages(adapter)]
        rows.append((adapter.id, [(field, address) for field, address, _ in named]))
        texts.update({address: text for field, address, text in named if field in fields})
    missing = sorted(store.missing_vectors(embedder.model, embedder.revision, list(texts)))
    if missing:
        vectors = embedder.embed([texts[address] for address in missing])
        store.put_vectors(embedder.model, embedder.revision, dict(zip(missing, vectors, strict=True)))
    # Last, so that a kill before this line leaves the adapters out of date and the next run finishes them.
    store.set_passages(rows, VERSION)
    return len(missing)
