"""The manifest of a run: a line of JSON for each picture, kept through a kill at any moment, amid a line too."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from ...errors import InputError
from ...only_one import only_one
from ...parameters import finite
from ...whole_file import sweep, whole_file

NAME: Final = "manifest.jsonl"

_LOCK: Final = ".run.lock"
_FILE: Final = re.compile(r"(?![.])[^/\\\x00-\x1f:]{1,250}\.png")
"""A name in the folder itself: a manifest that comes from elsewhere may climb out of it."""
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_BEGIN: Final = b'{"state": "'
"""Every line begins so; what does not was written by another program."""
_LARGEST: Final = 1 << 28
"""Bytes: a line has about 500."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Laid:
    """An adapter that a picture was painted with."""

    title: str
    weight: float
    file: str | None = None
    """Its name, without folders."""
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a run tells of one request: the picture, or why there is none."""

    request: str
    """The request's digest (see `digest`)."""
    prompt: str
    seed: int
    file: str | None = None
    """The picture's name in the folder; None where there is none."""
    sha256: str | None = None
    """Of that file."""
    seconds: float = 0.0
    adapters: tuple[Laid, ...] = ()
    model: str = ""
    """The checkpoint, without folders."""
    model_hash: str | None = None
    notes: tuple[str, ...] = ()
    error: str | None = None
    """Why it could not be painted: one sentence."""

    @property
    def is_done(self) -> bool:
        """Whether there is a picture."""
        return self.file is not None and self.sha256 is not None


class Manifest:
    """The entries of a folder, by the digests of their requests; made by `open_manifest`.

    Args:
        folder: The folder; it must be there.

    Raises:
        InputError: The manifest cannot be read, or is another program's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / NAME
        content = _read(self.path)
        self.entries = {entry.request: entry for entry in _entries(content, self.path)}
        """In the order in which they were first told; of several of one request the last."""

    def holds(self, request: str) -> bool:
        """Whether the picture of a request is there, as it was painted."""
        entry = self.entries.get(request)
        if entry is None or entry.file is None or entry.sha256 is None:
            return False
        try:
            return file_digest(self.folder / entry.file) == entry.sha256
        except OSError:
            return False

    def forget_failure(self, request: str) -> None:
        """Take out what is told of a request that failed; on the disk it stays until the manifest is settled."""
        entry = self.entries.get(request)
        if entry is not None and not entry.is_done:
            del self.entries[request]

    def append(self, entry: Entry) -> None:
        """Add a line; it is on the disk when this returns.

        Raises:
            InputError: The file cannot be written; it is left as it was.
        """
        line = _line(entry)
        try:
            with self.path.open("ab", buffering=0) as stream:
                start = stream.seek(0, os.SEEK_END)
                try:
                    if stream.write(line) != len(line):
                        raise OSError(None, "the disk is full")
                    os.fsync(stream.fileno())
                except OSError:
                    with suppress(OSError):
                        stream.truncate(start)
                    raise
        except OSError as error:
            raise InputError(f"{self.path} cannot be written: {error.strerror}") from None
        self.entries[entry.request] = entry

    def settle(self, order: Iterable[str]) -> None:
        """Write the file anew: those requests in their order, behind the others, each once.

        Raises:
            InputError: The file cannot be written; it is left as it was.
        """
        last = dict.fromkeys(order)
        sorted_ = [entry for request, entry in self.entries.items() if request not in last]
        sorted_ += [self.entries[request] for request in last if request in self.entries]
        self.entries = {entry.request: entry for entry in sorted_}
        replace_file(self.path, b"".join(map(_line, sorted_)))


@contextmanager
def open_manifest(folder: Path) -> Iterator[Manifest]:
    """Open a folder's manifest, which need not be there, for this process alone.

    What a killed process left is put in order: a line or a picture that it was amidst.

    Raises:
        InputError: Another process paints into this folder, it cannot be written to, or holds another program's file.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be written to: {error.strerror}") from None
    with only_one(folder / _LOCK, f"another process paints into {folder} now; wait for it, or name another folder"):
        _mend(folder)
        yield Manifest(folder)


def read_manifest(folder: Path) -> list[Entry]:
    """Return what a folder's manifest tells, in its order, and change nothing.

    Raises:
        InputError: The folder holds no run, or its manifest cannot be read.
    """
    if not (folder / NAME).is_file():
        raise InputError(f"{folder} holds no run: there is no {NAME} in it; make one with `velatura run`")
    return list(Manifest(folder).entries.values())


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file; raises OSError where it cannot be read."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def replace_file(path: Path, content: bytes) -> None:
    """Write a file as a whole or not at all.

    Raises:
        InputError: It cannot be written; it is left as it was.
    """
    try:
        with whole_file(path) as unfinished, unfinished.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from None


def _mend(folder: Path) -> None:
    """Take back what was being written when a process was killed."""
    path = folder / NAME
    content = _read(path)
    torn = content[content.rfind(b"\n") + 1 :]
    try:
        if torn and (torn.startswith(_BEGIN) or _BEGIN.startswith(torn)):
            with path.open("r+b") as stream:
                stream.truncate(len(content) - len(torn))
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be written to: {error.strerror}") from None
    sweep(folder)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(_LARGEST + 1)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > _LARGEST:
        raise InputError(f"{path} is larger than any manifest of a run; name another folder")
    return content


def _entries(content: bytes, path: Path) -> list[Entry]:
    """Return the entries; a damaged line costs its own picture alone, which is painted again."""
    lines = [line for line in content.split(b"\n") if line.strip()]
    if lines and not any(line.startswith(_BEGIN) for line in lines):
        raise InputError(f"{path} is no manifest of a run, but another program's; name another folder")
    return [entry for line in lines if (entry := _entry(line)) is not None]


def _entry(line: bytes) -> Entry | None:
    from pydantic import ValidationError

    try:
        plain = json.loads(line, parse_constant=finite, parse_float=finite)
        entry: Entry = _reader().validate_python(plain)
    except (ValueError, RecursionError, ValidationError):
        return None
    digests = [entry.request, *([entry.sha256] if entry.sha256 is not None else [])]
    is_sound = all(map(_DIGEST.fullmatch, digests)) and (entry.file is None or _FILE.fullmatch(entry.file))
    return entry if is_sound else None


@cache
def _reader() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Entry)


def _line(entry: Entry) -> bytes:
    told = {name: value for name, value in asdict(entry).items() if name == "prompt" or value not in (None, (), "")}
    adapters = [{name: value for name, value in laid.items() if value is not None} for laid in told.get("adapters", ())]
    plain = {"state": "done" if entry.is_done else "failed", **told, **({"adapters": adapters} if adapters else {})}
    # Half of a surrogate pair can only be written as its escape.
    return json.dumps(plain, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
