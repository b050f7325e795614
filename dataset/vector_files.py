"""The vectors of a dataset: safetensors files with two tensors, the digests of texts and the vector of each."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import UnreadableFile
from .manifest import Embedded

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIGEST: Final = 16
"""Bytes of a text's digest."""
_HEADER: Final = 1 << 16
"""Bytes of a header of ours; a longer one is none."""
_ROWS: Final = 2048
_UNIT: Final = 0.02
"""How far from 1 the length of a vector may be: all that search is built on are of length 1."""


def file_stem(model: str, revision: str) -> str:
    """Return the beginning of the names of a model's files, another one for each model and revision.

    >>> file_stem("sentence-transformers/all-MiniLM-L6-v2", "1")
    'embeddings-all-MiniLM-L6-v2-629195dc'
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", model.rstrip("/").split("/")[-1]).strip("-._")[:60] or "model"
    return f"embeddings-{name}-{hashlib.sha256(f'{model}@{revision}'.encode()).hexdigest()[:8]}"


def write_vectors(
    path: Path, model: str, revision: str, digests: NDArray[np.uint8], vectors: NDArray[np.float32]
) -> None:
    """Write one file.

    Args:
        path: The file.
        model: What embedded the texts.
        revision: Its revision.
        digests: Shape (texts, 16).
        vectors: Shape (texts, dimension).
    """
    from safetensors.numpy import save_file

    # One entry alone: safetensors writes several in any order, and the same catalogue is to give the same bytes.
    about = {"velatura": json.dumps({"model": model, "revision": revision})}
    save_file({"digests": digests, "vectors": vectors}, path, metadata=about)
    path.chmod(0o644)  # it is made for its owner alone, and the other files of a dataset are not


def read_vectors(path: Path, told: Embedded) -> Iterator[tuple[list[str], NDArray[np.float32], int]]:
    """Yield (digests of texts, their vectors, how many beside them are none) of a file, some thousand at a time.

    A vector is finite and of length 1.

    Raises:
        UnreadableFile: It is not the file that the manifest tells of.
    """
    offsets = _offsets(path, told.dimension)
    count = (offsets["digests"][1] - offsets["digests"][0]) // DIGEST
    digests = _mapped(path, np.dtype(np.uint8), offsets["digests"][0], (count, DIGEST))
    vectors = _mapped(path, np.dtype("<f4"), offsets["vectors"][0], (count, told.dimension))
    for start in range(0, count, _ROWS):
        some = np.array(vectors[start : start + _ROWS], np.float32)
        with np.errstate(all="ignore"):
            good = np.abs(np.linalg.norm(some.astype(np.float64), axis=1) - 1) <= _UNIT
        names = [bytes(row).hex() for row in digests[start : start + _ROWS][good]]
        yield names, some[good], int(len(some) - good.sum())


def _offsets(path: Path, dimension: int) -> dict[str, tuple[int, int]]:
    """Return where each tensor begins and ends in the file."""
    wrong = UnreadableFile(f"{path.name} is no file of vectors of {dimension} numbers")
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > min(_HEADER, size - 8):
                raise wrong
            header = json.loads(stream.read(length))
        count = header["digests"]["shape"][0]
        wanted = {"digests": ("U8", [count, DIGEST], 1), "vectors": ("F32", [count, dimension], 4)}
        found: dict[str, tuple[int, int]] = {}
        for name, (dtype, shape, width) in wanted.items():
            tensor = header[name]
            begin, end = tensor["data_offsets"]
            whole = type(begin) is int and type(end) is int and type(count) is int and count >= 0
            if not whole or tensor["dtype"] != dtype or tensor["shape"] != shape or dimension < 1:
                raise wrong
            if begin < 0 or end - begin != shape[0] * shape[1] * width or 8 + length + end > size:
                raise wrong
            found[name] = (8 + length + begin, 8 + length + end)
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        raise wrong from None
    return found


def _mapped(path: Path, dtype: np.dtype[Any], begin: int, shape: tuple[int, int]) -> NDArray[Any]:
    if not shape[0]:
        return np.empty(shape, dtype)
    try:
        return np.memmap(path, dtype, "r", begin, shape)
    except (OSError, ValueError):
        raise UnreadableFile(f"{path.name} cannot be read") from None
