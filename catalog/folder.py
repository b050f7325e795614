"""A folder tree of adapters, with whatever other tools keep beside them. Nothing is ever written into it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from ..errors import InputError, UnreadableFile
from ..protocols import Entry
from ..records import AdapterRecord, Hashes, Rejection
from .architecture import Architecture
from .header import Header, other_format, read_header
from .identity import fingerprint, hash_file, read_scalar, title_of
from .layout import Layout, read_layout
from .merge import merge
from .sidecars import PICTURE_EXTENSIONS, SIDECAR_EXTENSIONS, owner_of, read_sidecars
from .text import clean_line
from .told import Beside, Level, Told
from .training import output_name, read_training

READER_VERSION = "1"
"""Part of every stamp: raise it when readers find more or other things, and everything is read again."""

HASHED = "+hash"
"""Ends the stamp of an entry that is read with its hashes.

An entry is unchanged when its stamp equals the stored one, and also when the stored one is its stamp and this ending:
what was hashed once need not be read again because hashes are not asked for today.
"""

SOURCE = "folder"
_MODEL = "safetensors"
_OTHER_MODELS = frozenset({"pt", "bin", "ckpt", "pth"})
_BESIDE = SIDECAR_EXTENSIONS | PICTURE_EXTENSIONS


class FolderSource:
    """Every `.safetensors` file under a folder, one record each.

    Links to folders are followed, each folder is visited once. A folder that cannot be listed is a rejection, and
    the source no longer calls itself complete: what lies in that folder is not gone.
    """

    name = SOURCE

    def __init__(self, root: Path | str, *, hash_files: bool = False) -> None:
        """Take a folder.

        Args:
            root: The folder.
            hash_files: Also read every file to its end, for SHA256, AutoV2 and AutoV3.

        Raises:
            InputError: There is no such folder.
        """
        path = Path(root).expanduser().resolve()
        if not path.is_dir():
            what = "is a file; name the folder that holds it" if path.exists() else "does not exist"
            raise InputError(f"The folder {clean_line(str(path), 1000)} {what}")
        if not _is_text(str(path)):
            raise InputError(f"The name of the folder {_printable(str(path))} is not valid text; rename it")
        self._root = str(path)
        self._hash_files = hash_files
        self._complete = True

    @property
    def scope(self) -> str:
        """The folder's absolute path."""
        return self._root

    @property
    def complete(self) -> bool:
        """Whether everything under the folder was offered; False once a folder in it could not be listed."""
        return self._complete

    def entries(self) -> Iterator[Entry | Rejection]:
        """Walk the tree, each folder in the order of names, without opening a file."""
        self._complete = True
        visited: set[object] = set()
        waiting, links = [self._root], []
        while waiting or links:
            # A folder that is reached by its own name and by a link goes by its own name.
            folder = waiting.pop() if waiting else links.pop(0)
            try:
                if (place := _place(folder)) in visited:
                    continue
                visited.add(place)
                with os.scandir(folder) as listing:
                    found = sorted(listing, key=lambda entry: entry.name)
                inner = [entry for entry in found if entry.is_dir()]
            except OSError as error:
                self._complete = False
                yield _rejection(folder, f"the folder cannot be listed: {error.strerror}; nothing in it is indexed")
                continue
            for entry in reversed(inner):
                if not _is_text(entry.name):
                    yield _misnamed(entry.path)
                elif entry.is_symlink():
                    links.append(entry.path)
                else:
                    waiting.append(entry.path)
            yield from self._offer(os.path.join(folder, ""), found)

    def _offer(self, folder: str, found: Sequence[os.DirEntry[str]]) -> Iterator[Entry | Rejection]:
        """Group the files of one listing into entries."""
        models: list[os.DirEntry[str]] = []
        others: list[os.DirEntry[str]] = []
        beside: list[os.DirEntry[str]] = []
        for entry in found:
            extension = entry.name.rpartition(".")[2].lower()
            if extension == _MODEL:
                models.append(entry)
            elif extension in _BESIDE:
                beside.append(entry)
            elif extension in _OTHER_MODELS:
                others.append(entry)
        companions: dict[str, list[os.DirEntry[str]]] = {entry.name.rpartition(".")[0]: [] for entry in models}
        if companions:
            for entry in beside:
                stem = owner_of(entry.name, companions)
                if stem is not None and not entry.is_dir():
                    companions[stem].append(entry)
        for entry in models + others:
            if entry.is_dir() or entry.name.startswith("._"):  # macOS keeps a file's colour under such a name
                continue
            if not _is_text(entry.name):
                yield _misnamed(entry.path)
                continue
            if entry in others:
                yield self._entry(folder, entry, (), _OtherFormat(folder, entry.name))
            else:
                yield self._adapter(folder, entry, companions[entry.name.rpartition(".")[0]])
