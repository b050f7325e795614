"""A lock that one process has at a time, and that the system takes back when it ends, however."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .errors import InputError


@contextmanager
def only_one(path: Path, taken: str) -> Iterator[None]:
    """Hold a lock while the block runs. Its file is empty, and stays: one that is taken away could be locked twice.

    Args:
        path: The file; its folder must be there.
        taken: What is told where another process has it.

    Raises:
        InputError: Another process has it, or the file cannot be made.
    """
    try:
        file = path.open("ab")
    except OSError as error:
        raise InputError(f"the folder {path.parent} cannot be written to: {error.strerror}") from None
    with file:
        if not _take(file):
            raise InputError(taken)
        yield


def _take(file: IO[bytes]) -> bool:
    """Lock an open file, for as long as it is open; say whether nobody else has."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a file system without locks
        return True
    return True
