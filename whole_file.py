"""Files that appear whole or not at all, and what a killed process leaves of one, which the next one removes."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

try:
    from fcntl import LOCK_EX, LOCK_NB, flock
except ModuleNotFoundError:  # elsewhere than on Unix nobody can tell whether a file is still being written
    flock = None  # type: ignore[assignment]

_UNFINISHED: Final = re.compile(r"\.[0-9a-f]{32}\.part")
_swept: set[str] = set()
"""The folders that this process has looked through."""


@contextmanager
def whole_file(path: Path, settle: Callable[[Path, Path], object] = Path.replace) -> Iterator[Path]:
    """Have a file written beside its place, under a name that no other process takes, and put it there at the end.

    Where the block fails, nothing is left of it, and what stood in the place stays.

    Args:
        path: The place; its folder must be there.
        settle: Gives what was written, its first argument, the name that is its second.

    Yields:
        The file to write; it is there, and empty.

    Raises:
        OSError: It cannot be written, or not be put there.
    """
    if (folder := str(path.parent.absolute())) not in _swept:
        _swept.add(folder)
        sweep(path.parent)
    unfinished, lock = _begin(path.parent)
    try:
        yield unfinished
        settle(unfinished, path)
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        if lock is not None:
            os.close(lock)


def sweep(folder: Path) -> None:
    """Remove from a folder what killed processes left; what another process is writing now stays."""
    if flock is None:
        return
    with suppress(OSError), os.scandir(folder) as entries:
        for name in [entry.name for entry in entries if _UNFINISHED.fullmatch(entry.name)]:
            with suppress(OSError):
                descriptor = os.open(folder / name, os.O_RDWR | os.O_NOFOLLOW)
                try:
                    flock(descriptor, LOCK_EX | LOCK_NB)  # its writer's, for as long as that lives
                    (folder / name).unlink(missing_ok=True)
                finally:
                    os.close(descriptor)


def _begin(folder: Path) -> tuple[Path, int | None]:
    """Make an empty file and lock it; return it, and what holds the lock, None where there are none."""
    while True:
        unfinished = folder / f".{secrets.token_hex(16)}.part"
        descriptor = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        if flock is None:
            os.close(descriptor)  # an open file could not be given another name
            return unfinished, None
        with suppress(OSError):  # a file system without locks: then nobody sweeps, either
            flock(descriptor, LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return unfinished, descriptor
        os.close(descriptor)  # swept before it was locked
