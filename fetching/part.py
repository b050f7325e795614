"""What has arrived of a file: `X.safetensors.part`, and beside it a note of whose bytes these are.

A process that is killed at any moment leaves a part that a later one goes on with, or begins anew where the note does
not fit it. The file gets its own name when it is whole and checked, and never that of another file.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import mkstemp
from typing import IO, Final, Self

from ..errors import InputError

_PIECE: Final = 1 << 20
_LONGEST_NOTE: Final = 10_000
_OPENED: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Whose bytes a part holds."""

    version: str
    """The site's name of the file."""
    sha256: str | None
    """What the whole must have."""
    size: int | None
    """What the whole has, as the server says."""
    etag: str | None
    """The server's mark of the very bytes; None where it gives none."""


class Part:
    """An open part, which no other process touches until it is closed.

    Args:
        target: What the file will be called. Its folder is there.

    Raises:
        InputError: another process has it, or it cannot be opened.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(f"{target.name}.part")
        self._note_path = target.with_name(f"{target.name}.part.note")
        self._digest = hashlib.sha256()
        self.size = 0
        """Bytes that have arrived."""
        self.note: Note | None = None
        self.resumed = False
        """Whether some of them were there before."""
        try:
            self._file = self._open()
        except OSError as error:
            raise self._fault(error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def resume(self, version: str, sha256: str | None) -> None:
        """Take over what is there, where it is of this file; else begin anew."""
        note = self._read_note()
        is_same = note is not None and (note.version, note.sha256) == (version, sha256)
        if note is None or not is_same or (sha256 is None and note.etag is None):
            self.clear()
            return
        try:
            self._file.seek(0)
            while piece := self._file.read(_PIECE):
                self._digest.update(piece)
                self.size += len(piece)
        except OSError as error:
            raise self._fault(error) from None
        self.note, self.resumed = note, self.size > 0

    def clear(self) -> None:
        """Forget what has arrived."""
        try:
            self._file.seek(0)
            self._file.truncate()
        except OSError as error:
            raise self._fault(error) from None
        self._digest, self.size, self.note, self.resumed = hashlib.sha256(), 0, None, False

    def describe(self, note: Note) -> None:
        """Keep whose bytes follow, before the first of them."""
        if note == self.note:
            return
        try:
            handle, name = mkstemp(dir=self.path.parent, prefix=".", suffix=".part")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as stream:
                    json.dump(asdict(note), stream)
                os.replace(name, self._note_path)  # noqa: PTH105 - both are there already
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise self._fault(error) from None
        self.note = note

    def write(self, content: bytes) -> None:
        """Add what has arrived."""
        try:
            self._file.write(content)
        except OSError as error:
            raise self._fault(error) from None
        self._digest.update(content)
        self.size += len(content)

    def sha256(self) -> str:
        """Return the digest of what has arrived."""
        return self._digest.hexdigest()

    def finish(self) -> None:
        """Give the file its name.

        Raises:
            InputError: another file has it meanwhile, or it cannot be given.
        """
        try:
            os.fsync(self._file.fileno())
            try:
                os.link(self.path, self.target)
            except FileExistsError:
                raise
            except OSError:  # a file system without second names
                if os.path.lexists(self.target):
                    raise FileExistsError from None
                self._file.close()
                os.rename(self.path, self.target)  # noqa: PTH104 - on Windows it refuses a name that is taken
        except FileExistsError:
            raise InputError(f"{self.target} came to be meanwhile, and is left as it is") from None
        except OSError as error:
            raise self._fault(error) from None
        self.remove()

    def remove(self) -> None:
        """Take away the part and its note."""
        self._file.close()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
        with suppress(OSError):
            self._note_path.unlink(missing_ok=True)

    def _open(self) -> IO[bytes]:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
        for _ in range(_OPENED):
            # Unbuffered: what is killed has written all that it counted.
            file = os.fdopen(os.open(self.path, flags, 0o666), "r+b", buffering=0)
            try:
                if not _take(file):
                    raise InputError(f"{self.target.name} is being fetched by another process")
                state = os.fstat(file.fileno())
                if not stat.S_ISREG(state.st_mode):
                    raise InputError(f"{self.path} is no file of ours; take it away")
                with suppress(OSError):
                    if os.path.samestat(state, os.lstat(self.path)):
                        if state.st_nlink <= 1:
                            return file
                        # Its other name is that of a file which is whole: a process was killed after it gave it.
                        self.path.unlink()
            except BaseException:
                file.close()
                raise
            file.close()
        raise InputError(f"{self.path} is changed by another process all the time")

    def _read_note(self) -> Note | None:
        try:
            with self._note_path.open("rb") as stream:
                told = json.loads(stream.read(_LONGEST_NOTE))
            note = Note(**told)
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        texts = (note.version, note.sha256 or "", note.etag or "")
        is_sound = all(isinstance(text, str) for text in texts) and (note.size is None or type(note.size) is int)
        return note if is_sound else None

    def _fault(self, error: OSError) -> InputError:
        return InputError(f"{self.target.name} cannot be written into {self.target.parent}: {error.strerror or error}")


def _take(lock: IO[bytes]) -> bool:
    """Lock an open file, for as long as it is open; the system lets go of it when the process ends, however."""
    try:
        if sys.platform == "win32":
            import msvcrt

            # Far beyond its end, for there a locked byte cannot be read either.
            lock.seek(1 << 62)
            msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
            lock.seek(0)
        else:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a file system without locks
        return True
    return True
