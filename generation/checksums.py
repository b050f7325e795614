"""The two digests of a safetensors file that the field goes by."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

_CHUNK = 1 << 20


class Digests(NamedTuple):
    """SHA-256 in lower-case hexadecimal, 64 digits each."""

    whole: str
    """Over the whole file; its first ten digits are AutoV2."""
    tensors: str
    """Over what follows the header; its first twelve digits are AutoV3."""


def digests(path: Path) -> Digests:
    """Return both digests in one reading; a file that has not changed is read once."""
    stat = path.stat()
    return _digests(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4096)
def _digests(path: Path, size: int, mtime: int) -> Digests:
    whole, tensors = hashlib.sha256(), hashlib.sha256()
    with path.open("rb") as stream:
        start = stream.read(8)
        whole.update(start)
        skip = int.from_bytes(start, "little")
        while chunk := stream.read(_CHUNK):
            whole.update(chunk)
            if skip < len(chunk):
                tensors.update(chunk[skip:])
            skip = max(0, skip - len(chunk))
    return Digests(whole.hexdigest(), tensors.hexdigest())
