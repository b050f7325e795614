"""The vectors of word lists, which a model on a CPU takes a minute for: computed once, and kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from ..whole_file import whole_file

if TYPE_CHECKING:
    from ..protocols import ImageEmbedder, Vectors

_CHUNK: Final = 64


def word_vectors(
    embedder: ImageEmbedder,
    texts: Sequence[str],
    width: int,
    cache: Path | None = None,
    told: Callable[[int, int], None] | None = None,
) -> Vectors:
    """Return the vectors of texts, shape (len(texts), width), float32, from the cache where they are in it.

    Args:
        embedder: The model.
        texts: At least one.
        width: The length of the model's vectors.
        cache: A folder; None computes them anew. One that cannot be written to is gone without.
        told: Called with (texts embedded, texts) while they are computed.
    """
    path = None
    if cache is not None:
        key = "\0".join([embedder.model, embedder.revision, *texts])
        path = cache / f"{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}.npy"
        with suppress(OSError, ValueError, EOFError):  # not there, or damaged
            kept = np.load(path, allow_pickle=False)
            if kept.shape == (len(texts), width) and kept.dtype == np.float32 and np.isfinite(kept).all():
                return np.asarray(kept)
    found = []
    for start in range(0, len(texts), _CHUNK):
        found.append(embedder.embed(texts[start : start + _CHUNK]))
        if told is not None:
            told(min(start + _CHUNK, len(texts)), len(texts))
    vectors = np.concatenate(found)
    if path is not None:
        with suppress(OSError):
            _write(path, vectors)
    return vectors


def _write(path: Path, vectors: Vectors) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as unfinished, unfinished.open("wb") as stream:
        np.save(stream, vectors, allow_pickle=False)
        stream.flush()
        os.fsync(stream.fileno())
