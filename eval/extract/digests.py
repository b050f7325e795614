"""The SHA-256 of files, remembered by size and time, so that a large grid is not read to be recognised."""

from __future__ import annotations

import json
import re
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ...errors import InputError
from ..whole import append_line

if TYPE_CHECKING:
    from .pictures import PictureFile

_FILE: Final = "digests.jsonl"
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class FileDigests:
    """What files' SHA-256 were when they were last read; a file that was touched since is not known.

    Lines of JSON that are only ever added to: processes may write at once, and a damaged line costs itself.

    Args:
        folder: Made when something is first remembered.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE
        self._lock = threading.Lock()
        self._known: dict[str, tuple[int, int, str]] | None = None
        self._new: list[str] = []

    def get(self, path: Path) -> str | None:
        """Return a file's SHA-256; None where it is not known."""
        try:
            found = path.stat()
            kept = self._learnt().get(str(path.absolute()))
        except (OSError, ValueError):
            return None
        return kept[2] if kept is not None and kept[:2] == (found.st_size, found.st_mtime_ns) else None

    def note(self, file: PictureFile) -> None:
        """Remember a file's SHA-256, for good when `flush` is called."""
        name, size = str(file.path.absolute()), len(file.content)
        with self._lock:
            self._learnt()[name] = size, file.changed, file.sha256
            self._new.append(json.dumps([name, size, file.changed, file.sha256]) + "\n")

    def flush(self) -> None:
        """Write down what is new; where that cannot be, files are read again another time."""
        with self._lock:
            new, self._new = self._new, []
        if new:
            with suppress(InputError):
                append_line(self._path, "".join(new).encode())

    def _learnt(self) -> dict[str, tuple[int, int, str]]:
        if self._known is None:
            known: dict[str, tuple[int, int, str]] = {}
            with suppress(OSError):
                for line in self._path.read_bytes().splitlines():
                    with suppress(ValueError, TypeError, RecursionError, OverflowError):
                        name, size, changed, sha256 = json.loads(line)
                        if isinstance(name, str) and _SHA256.fullmatch(sha256):
                            known[name] = int(size), int(changed), sha256
            self._known = known
        return self._known
