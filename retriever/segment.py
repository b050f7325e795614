"""Some of the passages' vectors, an index for each field, and the file that they are kept in.

The file: the indices and the numbers of their rows one after another, each from a multiple of 64 bytes on, so that all
is used where it is mapped; then a note in JSON that says where each lies and what they were made from; its length, and
four letters that tell a whole file.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ..whole_file import whole_file
from .faiss_index import FaissIndex
from .mapped import ALIGNED, checksum

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..protocols import Ids

_MAGIC = b"VEL2"
_TRAILER = struct.Struct("<Q4s")


@dataclass(frozen=True, slots=True)
class Field:
    """The passages of one field."""

    index: FaissIndex
    passages: Ids
    """Of each row."""
    adapters: Ids
    """Of each row."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Passages that were indexed together, by field."""

    fields: Mapping[str, Field]
    gone: Ids
    """The passages, of this segment or of the one before, that are no more to be found."""
    note: Mapping[str, Any]
    """What it was made from."""

    def __len__(self) -> int:
        return sum(len(field.passages) for field in self.fields.values())

    def save(self, path: Path) -> None:
        """Write the file; a reader never sees half of it.

        Raises:
            OSError: it cannot be written.
        """
        with whole_file(path) as part, part.open("wb") as file:
            places = {
                name: _write(file, field.passages, field.adapters, *field.index.parts())
                for name, field in self.fields.items()
            }
            told = {**self.note, "gone": _write(file, self.gone), "places": places}
            file.flush()
            end = file.tell()
            content = np.memmap(part, dtype=np.uint8, mode="r", shape=(end,)) if end else np.empty(0, np.uint8)
            note = json.dumps(told | {"sum": checksum(content)}).encode()
            file.write(note + _TRAILER.pack(len(note), _MAGIC))

    @classmethod
    def load(cls, path: Path) -> Segment | None:
        """Map a file that `save` wrote; None when there is none, or it is damaged."""
        try:
            with path.open("rb") as file:  # opened once: another process may replace it meanwhile
                note = _read_note(file)
                content: NDArray[np.uint8] = np.memmap(file, dtype=np.uint8, mode="r")
            places, gone = note.pop("places"), note.pop("gone")
            end = max(start + size for at in (*places.values(), gone) for start, size in at)
            if note.pop("sum") != checksum(content[:end]):
                return None
            fields = {name: _field(content, at) for name, at in places.items()}
            return cls(fields, _pieces(content, gone)[0].view(np.int64), note)
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError, struct.error):
            return None


def read_note(path: Path) -> dict[str, Any] | None:
    """Return the note of a file; None when there is none to be read."""
    try:
        with path.open("rb") as file:
            note = _read_note(file)
    except (OSError, ValueError, RecursionError, struct.error):
        return None
    return {name: value for name, value in note.items() if name not in ("places", "gone", "sum")}


def _read_note(file: BinaryIO) -> dict[str, Any]:
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - _TRAILER.size))
    length, magic = _TRAILER.unpack(file.read(_TRAILER.size))
    if magic != _MAGIC or length > end - _TRAILER.size:
        raise ValueError("no index")
    file.seek(end - _TRAILER.size - length)
    note = json.loads(file.read(length))
    if not isinstance(note, dict):
        raise ValueError("no index")
    return note


def _write(file: BinaryIO, *contents: NDArray[Any]) -> list[tuple[int, int]]:
    """Write arrays, and return the place and the size of each."""
    places = []
    for content in contents:
        file.write(b"\0" * (-file.tell() % ALIGNED))
        places.append((file.tell(), content.nbytes))
        file.write(np.ascontiguousarray(content).data)
    return places


def _pieces(content: NDArray[np.uint8], places: list[tuple[int, int]]) -> list[NDArray[np.uint8]]:
    pieces = [content[start : start + size] for start, size in places]
    if any(len(piece) != size for piece, (_, size) in zip(pieces, places, strict=True)):
        raise ValueError("a piece is cut off")
    return pieces


def _field(content: NDArray[np.uint8], places: list[tuple[int, int]]) -> Field:
    """Raise an error, whichever, where the pieces do not fit."""
    passages, adapters, *parts = _pieces(content, places)
    field = Field(FaissIndex.from_parts(parts), passages.view(np.int64), adapters.view(np.int64))
    if not len(field.passages) == len(field.adapters) == len(field.index):
        raise ValueError("pieces of several lengths")
    return field
