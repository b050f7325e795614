"""Which files are still being written, so that none is judged before it is whole."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass

from .header import MAX_HEADER

PARTIAL = (".part", ".partial", ".tmp", ".crdownload", ".download", ".incomplete", ".aria2", ".!qb")
"""Endings under which browsers and downloaders keep what has not arrived, in lower case."""

GIVEN_UP = 60.0
"""Seconds after which a file that is not whole and does not grow is taken as it is: whoever wrote it has gone."""

_LARGE_HEADER = 10_000_000
"""Bytes; longer headers are those of whole models, and are not read only to see whether more will come."""


@dataclass(slots=True)
class _Motion:
    """How a file was last seen, and since when it has been so."""

    state: tuple[int, int] | None
    """Size and time; None where only a change of it was told."""
    since: float


class Unfinished:
    """Tells files that are still being written from those that are whole.

    A file is unfinished while its size or its time moves, and for `settle` seconds after; while it is empty, or its
    header promises more bytes than there are, or a downloader's partial file grows beside it, for `GIVEN_UP` seconds.

    Args:
        settle: Seconds for which a file must have been still.
    """

    def __init__(self, settle: float) -> None:
        self._settle = settle
        self._seen: dict[str, _Motion] = {}

    def touch(self, path: str) -> None:
        """Take note that a file has changed just now."""
        self._seen[path] = _Motion(None, time.monotonic())

    def __call__(self, path: str) -> bool:
        """Whether a file is still being written; of one that is gone, whether it went just now."""
        now = time.monotonic()
        motion = self._seen.get(path)
        if motion is not None and motion.state is None and now - motion.since < self._settle:
            return True
        try:
            status = os.stat(path)  # noqa: PTH116 - paths are text throughout the folder source
        except OSError:
            self._seen.pop(path, None)
            return False
        age = time.time() - status.st_mtime
        if motion is None and age >= GIVEN_UP and status.st_size:
            return False
        state = (status.st_size, status.st_mtime_ns)
        if motion is None:
            # A clock of another machine may run ahead of ours: what it wrote is as old as we have known it.
            motion = self._seen[path] = _Motion(state, now - max(age, 0.0))
        elif motion.state is None:
            motion.state = state
        elif motion.state != state:
            motion.state, motion.since = state, now
        still = now - motion.since
        if still < self._settle:
            return True
        if still < GIVEN_UP and lacks_bytes(path, status.st_size):
            return True
        return grows_beside(path)


def is_partial(name: str) -> bool:
    """Whether a file has a name that downloaders give to what has not arrived."""
    return name.lower().endswith(PARTIAL)


def lacks_bytes(path: str, size: int) -> bool:
    """Whether a safetensors file is empty, or shorter than its header promises; anything else lacks nothing."""
    if not path.lower().endswith(".safetensors"):
        return False
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            length = int.from_bytes(file.read(8) or b"", "little")
            if size < 8 or length == 0:  # a downloader may have reserved the space, as zeros
                return True
            if size < 8 + length:
                return length <= MAX_HEADER
            header = file.read(length) if length <= _LARGE_HEADER else None
    except OSError:
        return False
    return header is not None and size < 8 + length + _promised(header)


def _promised(header: bytes) -> int:
    """Return how many bytes of tensors a header tells of; 0 where it is no header."""
    try:
        told = json.loads(header)
        ends = [entry["data_offsets"][1] for name, entry in told.items() if name != "__metadata__"]
        return max((end for end in ends if isinstance(end, int)), default=0)
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return 0


def grows_beside(path: str) -> bool:
    """Whether a downloader's partial file of the same name lies beside a file, and was written to of late."""
    for ending in PARTIAL:
        try:
            if abs(time.time() - os.stat(path + ending).st_mtime) < GIVEN_UP:  # noqa: PTH116
                return True
        except OSError:
            continue
    return False
