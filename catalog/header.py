"""The header of a safetensors file, read without trusting one word of it.

A file is an 8-byte little-endian length N, N bytes of JSON, then the tensors' bytes without gaps. Only the header
is read here. What it promises is held against the size of the file, so a file that is cut off, padded or that lies
about itself is refused in one sentence.
"""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, wraps
from io import FileIO
from os import fstat
from typing import NoReturn, TypeVar
from weakref import WeakKeyDictionary

from ..errors import UnreadableFile
from .text import clean_line

T = TypeVar("T")

MAX_HEADER = 100_000_000
"""Bytes; the limit that the format itself sets."""

MAX_DIMENSIONS = 32

_MOST_BITS = 1 << 60
_MOST_VALUES = 10_000_000
"""Commas and brackets: each value takes up to a hundred bytes once it is read."""
_SHARED = 500_000
"""Characters: longer headers are those of whole models, and nothing of them is kept."""

DTYPE_BITS: dict[str, int] = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}
"""Every dtype of the format with its width."""

# Nearly every adapter's header fits into the first read; only larger ones cost a second.
_FIRST_READ = 1 << 16

_FOREIGN: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (
        re.compile(rb"version https://git-lfs"),
        "is a Git LFS pointer and not the file itself; fetch it with git lfs pull",
    ),
    (re.compile(rb"\s*<(?:!doctype|html|\?xml)", re.IGNORECASE), "is a web page and not a model; download it again"),
    (
        re.compile(rb"PK\x03\x04|\x80[\x02-\x05]"),
        "is a pickle, which can run code when it is opened; convert it to .safetensors",
    ),
    (re.compile(rb"GGUF"), "is a GGUF file under a false name; only .safetensors adapters are read"),
    (re.compile(rb"\s*\{"), "is a bare JSON text and not a model; download it again"),
)


@dataclass(frozen=True, slots=True)
class TensorType:
    """The dtype and shape that the tensors of a file share."""

    dtype: str
    shape: tuple[int, ...]
    size: int
    """Bytes."""
    spelling: str
    """Dtype and shape as one text."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Tensors:
    """The tensors of a file, found to follow each other without gaps; files with the same ones share this."""

    types: Mapping[str, TensorType]
    """Each tensor's dtype and shape, in the header's order."""
    begins: Mapping[str, int]
    """Each tensor's first byte, counted from the first byte of all tensors."""
    size: int
    """Bytes of all tensors."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a safetensors file says about itself, found to be consistent with its size."""

    size: int
    """Bytes of the whole file."""
    data_start: int
    """Where the tensors' bytes begin: 8 + N."""
    metadata: Mapping[str, str]
    """`__metadata__`; values that are not text are left out."""
    tensors: Tensors


def remembered(function: Callable[[Tensors], T]) -> Callable[[Tensors], T]:
    """Work something out once for all files that share their tensors, and forget it with them."""
    known: WeakKeyDictionary[Tensors, T] = WeakKeyDictionary()

    @wraps(function)
    def answer(tensors: Tensors) -> T:
        try:
            return known[tensors]
        except KeyError:
            found = known[tensors] = function(tensors)
            return found

    return answer


def read_header(file: FileIO, name: str) -> Header:
    """Read the header of an open file that stands at its first byte.

    Args:
        file: A safetensors file opened unbuffered for reading.
        name: What to call the file in a complaint.

    Raises:
        UnreadableFile: The file is no safetensors file, or is damaged, or is cut off.
    """
    size = fstat(file.fileno()).st_size
    head = file.read(_FIRST_READ) or b""
    length = int.from_bytes(head[:8], "little")
    if size < 8 or length > size - 8 or length > MAX_HEADER or head[8:9] != b"{":
        raise _no_safetensors(head, length, size, name)
    while len(head) < 8 + length:
        more = file.read(8 + length - len(head))
        if not more:
            raise UnreadableFile(f"{_shown(name)} ends in the middle of its header; download it again")
        head += more
    metadata, tensors = _parse(head[8 : 8 + length], name)
    expected = 8 + length + tensors.size
    if expected > size:
        raise UnreadableFile(
            f"{_shown(name)} is cut off: its header promises {expected} bytes and the file has {size};"
            " download it again"
        )
    if expected < size:
        raise UnreadableFile(
            f"{_shown(name)} is damaged: its header accounts for {expected} bytes and the file has {size};"
            " download it again"
        )
    texts = metadata.items() if isinstance(metadata, dict) else ()
    return Header(
        size=size,
        data_start=8 + length,
        metadata={key: value for key, value in texts if isinstance(value, str)},
        tensors=tensors,
    )


def other_format(head: bytes) -> str | None:
    r"""Say by its first bytes what a file is that is no safetensors file, and what to do; None when nobody knows.

    >>> other_format(b"PK\x03\x04")
    'is a pickle, which can run code when it is opened; convert it to .safetensors'
    """
    return next((what for pattern, what in _FOREIGN if pattern.match(head)), None)


def _no_safetensors(head: bytes, length: int, size: int, name: str) -> UnreadableFile:
    """Say what a file is that does not begin as a safetensors file does."""
    shown = _shown(name)
    if size == 0:
        return UnreadableFile(f"{shown} is empty; download it again")
    what = other_format(head)
    if what is not None:
        return UnreadableFile(f"{shown} {what}")
    if size < 8 or head[8:9] not in (b"{", b""):
        return UnreadableFile(f"{shown} is no safetensors file: it does not begin with a header; download it again")
    if length > MAX_HEADER:
        return UnreadableFile(
            f"{shown} is no safetensors file: it claims a header of {length} bytes, and {MAX_HEADER} are allowed"
        )
    return UnreadableFile(
        f"{shown} is cut off: its header alone promises {length} bytes and the file has {size}; download it again"
    )


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
_STRICT_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_unique)
_METADATA_FIRST = re.compile(r'\{\s*"__metadata__"\s*:\s*')
_NEXT_KEY = re.compile(r'\s*,\s*(?=")')


def _parse(raw: bytes, name: str) -> tuple[object, Tensors]:
    """Return (`__metadata__`, the tensors) of a header."""
    if sum(map(raw.count, (b",", b"[", b"{"))) > _MOST_VALUES:
        raise UnreadableFile(f"{_shown(name)} has a header of more values than any model has; download it again")
    try:
        text = raw.decode("utf-8")
        metadata: object = None
        first = _METADATA_FIRST.match(text)
        if first:
            # What follows the metadata is the same in all adapters of one shape, and is worked out once for them.
            metadata, end = _DECODER.raw_decode(text, first.end())
            comma = _NEXT_KEY.match(text, end)
            if comma is None and text[end:].strip() != "}":
                raise ValueError("Expecting ',' delimiter")
            text = "{" + text[comma.end() if comma else end :]
        read = _parse_tensors if len(text) <= _SHARED else _parse_tensors.__wrapped__
        inner, tensors = read(text)
    except UnicodeDecodeError:
        raise UnreadableFile(f"{_shown(name)} has a header that is not UTF-8; download it again") from None
    except RecursionError:
        raise UnreadableFile(f"{_shown(name)} has a header nested too deeply to be a safetensors header") from None
    except _Damaged as damage:
        raise UnreadableFile(f"{_shown(name)} has a damaged header: {damage}; download it again") from None
    except ValueError as error:
        reason = str(error).partition(":")[0]
        raise UnreadableFile(f"{_shown(name)} has a header that is not JSON ({reason}); download it again") from None
    if first and inner is not None:
        raise UnreadableFile(f"{_shown(name)} has a damaged header: its metadata is given twice")
    return (metadata if first else inner), tensors


class _Damaged(Exception):
    """The entries of a header contradict themselves; says how."""


@lru_cache(maxsize=32)
def _parse_tensors(text: str) -> tuple[object, Tensors]:
    """Parse the JSON of a header, with or without `__metadata__`, and return that and the tensors.

    Raises:
        _Damaged: An entry is not that of a tensor, or tensors overlap or leave gaps.
        ValueError: It is not JSON, or a key is given twice.
    """
    with _collector_at_rest():
        entries: dict[str, object] = _DECODER.decode(text)
        # Asking at every object is slow, so that is done only where counting shows that something may be lost.
        if text.count('"data_offsets"') != len(entries) - ("__metadata__" in entries):
            entries = _STRICT_DECODER.decode(text)
    metadata = entries.pop("__metadata__", None)
    known: dict[tuple[object, ...], TensorType] = {}
    types: dict[str, TensorType] = {}
    begins: dict[str, int] = {}
    place = 0
    in_order = True
    for name, entry in entries.items():
        try:
            key = (entry["dtype"], *entry["shape"])  # type: ignore[index]
            type_ = known.get(key)
            if type_ is None:
                type_ = known[key] = _tensor_type(entry["dtype"], entry["shape"])  # type: ignore[index]
            begin, end = entry["data_offsets"]  # type: ignore[index]
        except (KeyError, TypeError, ValueError):
            raise _Damaged(f"the entry of {clean_line(name, 120)} is not that of a tensor") from None
        if type(begin) is not int or type(end) is not int or begin < 0 or end - begin != type_.size:
            raise _Damaged(f"the offsets of {clean_line(name, 120)} do not fit its shape")
        types[name] = type_
        begins[name] = begin
        in_order = in_order and begin == place
        place = end
    if not in_order:
        place = 0
        for begin, size in sorted((begin, types[name].size) for name, begin in begins.items()):
            if begin != place:
                raise _Damaged("its tensors overlap or leave gaps")
            place += size
    return metadata, Tensors(types, begins, place)


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """Keep Python's garbage collector from looking at the thousands of containers of a header while they are made.

    None of them can be garbage, and looking takes longer than making them.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _tensor_type(dtype: object, shape: object) -> TensorType:
    """Return the type of one tensor; a size beyond any file is not computed to its end."""
    bits = DTYPE_BITS.get(dtype) if isinstance(dtype, str) else None
    if bits is None or not isinstance(dtype, str):
        raise _Damaged("a tensor's dtype is unknown")
    is_shape = isinstance(shape, list) and len(shape) <= MAX_DIMENSIONS
    if not isinstance(shape, list) or not is_shape or any(type(extent) is not int or extent < 0 for extent in shape):
        raise _Damaged("a tensor's shape is no list of a few whole numbers")
    for extent in sorted(shape):  # an extent of 0 comes first, and whatever follows makes no bytes
        bits *= extent
        if bits > _MOST_BITS:
            raise _Damaged("a tensor's shape is larger than any file")
    if bits % 8:
        raise _Damaged("a tensor does not end on a whole byte")
    return TensorType(dtype, tuple(shape), bits // 8, f" {dtype} {shape}")


def _shown(name: str) -> str:
    return clean_line(name, 200) or "the file"
