"""The header of a safetensors file, read without trusting one word of it.

A file is an 8-byte little-endian length N, N bytes of JSON, then the tensors' bytes without gaps. Only the header
is read here. What it promises is held against the size of the file, so a file that is cut off, padded or that lies
about itself is refused in one sentence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from io import FileIO
from os import fstat
from typing import NoReturn

from ..errors import UnreadableFile
from .text import clean_text

MAX_HEADER = 100_000_000
"""Bytes; the limit that the format itself sets."""

MAX_DIMENSIONS = 32

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


@dataclass(frozen=True, slots=True)
class Header:
    """What a safetensors file says about itself, found to be consistent with its size."""

    size: int
    """Bytes of the whole file."""
    data_start: int
    """Where the tensors' bytes begin: 8 + N."""
    metadata: Mapping[str, str]
    """`__metadata__`; values that are not text are left out."""
    types: Mapping[str, TensorType]
    """Each tensor's dtype and shape, in the header's order."""
    begins: Mapping[str, int]
    """Each tensor's first byte, counted from `data_start`."""


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
    raw = head[8 : 8 + length]
    tensors = _parse(raw, name)
    metadata = tensors.pop("__metadata__", None)
    types, begins, total = _check(tensors, size - 8 - length, name)
    if total > size - 8 - length:
        raise UnreadableFile(
            f"{_shown(name)} is cut off: its header promises {8 + length + total} bytes and the file has {size};"
            " download it again"
        )
    if total < size - 8 - length:
        raise UnreadableFile(
            f"{_shown(name)} is damaged: its header accounts for {8 + length + total} bytes and the file has {size};"
            " download it again"
        )
    texts = metadata.items() if isinstance(metadata, dict) else ()
    return Header(
        size=size,
        data_start=8 + length,
        metadata={key: value for key, value in texts if isinstance(value, str)},
        types=types,
        begins=begins,
    )


def other_format(head: bytes) -> str | None:
    """Say by its first bytes what a file is that is no safetensors file, and what to do; None when nobody knows.

    >>> other_format(b"PK\\x03\\x04")
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


def _parse(raw: bytes, name: str) -> dict[str, object]:
    """Parse the header's JSON; a key given twice is refused."""
    try:
        text = raw.decode("utf-8")
        found: dict[str, object] = _DECODER.decode(text)
        # Asking at every object is slow, so that is done only where counting shows that something may be lost.
        entries = len(found) - ("__metadata__" in found)
        if raw.count(b'"data_offsets"') != entries or raw.count(b'"dtype"') != entries:
            found = _STRICT_DECODER.decode(text)
    except UnicodeDecodeError:
        raise UnreadableFile(f"{_shown(name)} has a header that is not UTF-8; download it again") from None
    except RecursionError:
        raise UnreadableFile(f"{_shown(name)} has a header nested too deeply to be a safetensors header") from None
    except ValueError as error:
        reason = str(error).partition(":")[0]
        raise UnreadableFile(f"{_shown(name)} has a header that is not JSON ({reason}); download it again") from None
    return found


def _check(tensors: Mapping[str, object], room: int, name: str) -> tuple[dict[str, TensorType], dict[str, int], int]:
    """Check every entry and return (types, begins, bytes in all); the tensors must follow each other without gaps."""
    known: dict[tuple[object, ...], TensorType] = {}
    types: dict[str, TensorType] = {}
    begins: dict[str, int] = {}
    spans: list[tuple[int, int]] = []
    tensor = ""
    try:
        for tensor, entry in tensors.items():
            key = (entry["dtype"], *entry["shape"])  # type: ignore[index]
            type_ = known.get(key)
            if type_ is None:
                type_ = known[key] = _tensor_type(entry["dtype"], entry["shape"], room)  # type: ignore[index]
            begin, end = entry["data_offsets"]  # type: ignore[index]
            if type(begin) is not int or type(end) is not int or begin < 0 or end - begin != type_.size:
                raise ValueError("its offsets do not fit its shape")
            types[tensor] = type_
            begins[tensor] = begin
            spans.append((begin, end))
    except (KeyError, TypeError, ValueError) as error:
        reason = str(error) if type(error) is ValueError else "its entry is not that of a tensor"
        shown = clean_text(tensor, 120) or "?"
        raise UnreadableFile(f"{_shown(name)} has a damaged header: tensor {shown}: {reason}") from None
    spans.sort()
    place = 0
    for begin, end in spans:
        if begin != place:
            raise UnreadableFile(f"{_shown(name)} has a damaged header: its tensors overlap or leave gaps")
        place = end
    return types, begins, place


def _tensor_type(dtype: object, shape: object, room: int) -> TensorType:
    """Return the type of one tensor; a size beyond any file is not computed to its end.

    Raises:
        ValueError: With the reason.
    """
    bits = DTYPE_BITS.get(dtype) if isinstance(dtype, str) else None
    if bits is None or not isinstance(dtype, str):
        raise ValueError("its dtype is unknown")
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS:
        raise ValueError("its shape is no shape")
    if any(type(extent) is not int or extent < 0 for extent in shape):
        raise ValueError("its shape is no shape")
    limit = max(room, MAX_HEADER) << 20
    if 0 not in shape:
        for extent in shape:
            bits *= extent
            if bits > limit:
                raise ValueError("its shape is larger than any file")
    else:
        bits = 0
    if bits % 8:
        raise ValueError("its shape does not end on a byte")
    return TensorType(dtype, tuple(shape), bits // 8, f" {dtype} {shape}")


def _shown(name: str) -> str:
    return clean_text(name, 200) or "the file"
