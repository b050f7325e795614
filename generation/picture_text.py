"""The texts inside a picture file, read without decoding the picture and without trusting its lengths."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

from ..errors import UnreadableFile

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LARGEST = 1 << 24
"""Bytes of one text, packed or unpacked."""
_MOST_CHUNKS = 100_000
"""Of a PNG; beyond them no more texts are looked for."""
_LARGEST_PICTURE = 200_000_000
"""Bytes of a JPEG or a WebP, which is held whole; larger ones are not looked at."""
_EXIF, _USER_COMMENT = 0x8769, 0x9286


def read_texts(path: Path, wanted: Collection[str]) -> dict[str, str]:
    """Return the wanted texts of a PNG by keyword; of a JPEG or WebP those of its EXIF.

    There the comment is `parameters`, and ComfyUI writes `prompt:{...}` and `workflow:{...}` into tags of the camera.

    Raises:
        UnreadableFile: it is no picture, or one of its texts unpacks to more than 16 MiB.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for, and a device never ends
            raise UnreadableFile(f"{path} is no file")
        with path.open("rb") as stream:
            if stream.read(8) == _SIGNATURE:
                return dict(_texts(stream, path.name, wanted))
            if stream.seek(0, 2) > _LARGEST_PICTURE:
                raise UnreadableFile(f"{path.name} is larger than {_LARGEST_PICTURE // 1_000_000} MB")
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read: {error.strerror}") from None
    return {keyword: text for keyword, text in _exif(path) if keyword in wanted}


def _texts(stream: BinaryIO, name: str, wanted: Collection[str]) -> Iterator[tuple[str, str]]:
    left = set(wanted)
    for _ in range(_MOST_CHUNKS):
        if len(head := stream.read(8)) < 8 or not left:
            return
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IEND":
            return
        if kind not in (b"tEXt", b"zTXt", b"iTXt") or length > _LARGEST:
            stream.seek(length + 4, 1)
            continue
        data = stream.read(length)
        keyword = data.partition(b"\0")[0].decode("latin-1")
        checksum = stream.read(4)
        if keyword in left and checksum == struct.pack(">I", zlib.crc32(kind + data)):
            left.remove(keyword)  # what stands twice is not unpacked twice
            yield keyword, _text(kind, data[len(keyword) + 1 :], name)


def _text(kind: bytes, body: bytes, name: str) -> str:
    if kind == b"tEXt":
        return body.decode("latin-1")
    if kind == b"zTXt":
        return _unpack(body[1:], name).decode("latin-1")
    packed = body[:1] == b"\1"
    text = body[2:].split(b"\0", 2)[-1]
    return (_unpack(text, name) if packed else text).decode("utf-8", "replace")


def _unpack(packed: bytes, name: str) -> bytes:
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(packed, _LARGEST)
    except zlib.error:
        raise UnreadableFile(f"{name} holds a text that is damaged") from None
    if inflater.unconsumed_tail:
        raise UnreadableFile(f"{name} holds a text that unpacks to more than {_LARGEST >> 20} MiB")
    return text


def _exif(path: Path) -> Iterator[tuple[str, str]]:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's worry about size: no pixel is decoded here
            with Image.open(path, formats=("JPEG", "WEBP")) as picture:
                exif = picture.getexif()
                raw, tags = exif.get_ifd(_EXIF).get(_USER_COMMENT), dict(exif)
    except Exception:  # what damaged EXIF raises depends on what is damaged
        raise UnreadableFile(f"{path.name} is not a PNG, JPEG or WebP picture") from None
    for value in tags.values():
        keyword, colon, text = value.partition(":") if isinstance(value, str) else ("", "", "")
        if colon and keyword.isidentifier() and text.lstrip().startswith(("{", "[")):
            yield keyword, text.rstrip("\0")
    if comment := _comment(raw):
        yield "parameters", comment


def _comment(raw: object) -> str | None:
    if not isinstance(raw, bytes):
        return raw if isinstance(raw, str) else None
    if raw.startswith(b"UNICODE\0"):
        wide = raw[8:]
        # The standard leaves the order of bytes open; most write the high one first.
        low_first = wide[1:2000:2].count(0) > wide[0:2000:2].count(0)
        return wide.decode("utf-16-le" if low_first else "utf-16-be", "replace").removeprefix("\ufeff")
    return raw.removeprefix(b"ASCII\0\0\0").removeprefix(b"\0" * 8).decode("utf-8", "replace")
