"""A folder tree of adapters, with whatever other tools keep beside them. Nothing is ever written into it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from ..errors import InputError
from ..protocols import Entry
from ..records import AdapterRecord, Rejection
from . import civitai_json
from .adapter_file import SOURCE, read_adapter, refuse_other
from .listing import ModelFile, Trouble, is_text, walk
from .text import clean_line

READER_VERSION = f"folder-1/{civitai_json.READER_VERSION}"
"""Part of every stamp: raise it when readers find more or other things, and everything is read again."""

HASHED = "+hash"
"""Ends the stamp of an entry that is read with its hashes.

An entry is unchanged when its stamp equals the stored one, and also when the stored one is its stamp and this ending:
what was hashed once need not be read again because hashes are not asked for today.
"""


class FolderSource:
    """Every `.safetensors` file under a folder, one record each.

    Links to folders are followed, and each folder is visited once. A folder that cannot be listed is a rejection,
    and the source no longer calls itself complete then: what lies in that folder is not gone.
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
        try:
            path = Path(root).expanduser().resolve()
            is_folder, exists = path.is_dir(), path.exists()
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(f"The folder {_printable(str(root))} cannot be found: {error}") from error
        if not is_folder:
            what = "is a file; name the folder that holds it" if exists else "does not exist"
            raise InputError(f"The folder {_printable(str(path))} {what}")
        if not is_text(str(path)):
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
        """Whether everything under the folder was offered: False once some of it could not be listed."""
        return self._complete

    def entries(self) -> Iterator[Entry | Rejection]:
        """Walk the tree and offer every model file, without opening one."""
        self._complete = True
        hashed = HASHED if self._hash_files else ""
        for found in walk(self._root):
            if isinstance(found, Trouble):
                self._complete = self._complete and not found.hides
                path = _printable(found.path)
                yield Rejection(source=SOURCE, locator=path, reason=f"{Path(path).name}: {found.reason}")
                continue
            digest = blake2b(found.state.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
            yield Entry(
                locator=found.folder + found.name,
                stamp=f"{READER_VERSION}-{digest}{hashed if found.is_safetensors else ''}",
                read=_Reading(found, self._hash_files),
            )


@dataclass(frozen=True, slots=True)
class _Reading:
    """Reads one file when it is called; thousands of these are made and few are called."""

    file: ModelFile
    hash_it: bool

    def __call__(self) -> Sequence[AdapterRecord | Rejection]:
        file = self.file
        if not file.is_safetensors:
            return (refuse_other(file.folder, file.name),)
        return (read_adapter(file.folder, file.name, file.companions, hash_it=self.hash_it),)


def _printable(path: str) -> str:
    """Return a path with its undecodable bytes spelt out."""
    return clean_line(os.fsencode(path).decode("utf-8", "backslashreplace"), 4000) or "?"
