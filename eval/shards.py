"""One file of features: rows of 32-bit floats, and of each the SHA-256 of the picture that it is of."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from ..errors import UnreadableFile
from .whole import write_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .cells import Features

SUFFIX: Final = ".safetensors"


def write_shard(folder: Path, keys: Sequence[bytes], rows: Features) -> Path:
    """Write a shard under a name that no other process takes.

    Args:
        folder: Where shards lie.
        keys: SHA-256 digests, 32 bytes each.
        rows: Of each its features, shape (len(keys), width).
    """
    from safetensors.numpy import save

    names = np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), 32)
    values = np.ascontiguousarray(rows, np.float32)
    path = folder / f"{uuid.uuid4().hex}{SUFFIX}"
    write_whole(path, save({"keys": names, "rows": values}, {"checksum": _checksum(names, values)}))
    return path


def read_keys(path: Path) -> list[bytes]:
    """Return the keys of a shard.

    Raises:
        UnreadableFile: it is no shard, or damaged.
    """
    keys, _ = _read(path, rows=False)
    return [key.tobytes() for key in keys]


def read_rows(path: Path) -> tuple[list[bytes], Features]:
    """Return the keys of a shard, and their rows, which are what was written.

    Raises:
        FileNotFoundError: it is not there any more.
        UnreadableFile: it is no shard, or damaged.
    """
    keys, rows = _read(path, rows=True)
    return [key.tobytes() for key in keys], rows


def _read(path: Path, *, rows: bool) -> tuple[NDArray[np.uint8], Features]:
    from safetensors import safe_open

    try:
        with safe_open(path, framework="np") as file:
            keys: NDArray[np.uint8] = file.get_tensor("keys")
            values: Features = file.get_tensor("rows") if rows else np.empty((len(keys), 0), np.float32)
            checksum = (file.metadata() or {}).get("checksum")
    except FileNotFoundError:
        raise
    except Exception as error:  # it depends on what is damaged
        raise UnreadableFile(f"{path} is no shard of features, or damaged ({error})") from None
    if keys.dtype != np.uint8 or keys.ndim != 2 or keys.shape[1] != 32:
        raise UnreadableFile(f"{path} is no shard of features")
    if rows and (values.dtype != np.float32 or values.ndim != 2 or _checksum(keys, values) != checksum):
        raise UnreadableFile(f"{path} is damaged")
    return keys, values


def _checksum(keys: NDArray[np.uint8], rows: Features) -> str:
    content = hashlib.blake2b(keys.tobytes(), digest_size=16)
    content.update(str(rows.shape).encode())
    content.update(np.ascontiguousarray(rows).data)
    return content.hexdigest()
