"""Opens the pictures that are measured, whatever these files claim to be."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ...errors import InputError, UnreadableFile
from ..records import Sample

DECODER: Final = "1"
"""Changes when the same file would give other pixels; part of every fingerprint."""
SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp"})
MOST_BYTES: Final = 100_000_000
MOST_PIXELS: Final = 100_000_000

_MOST_SCANS: Final = 200
"""Of a JPEG; encoders write up to a dozen, and a thumbnail may lie within."""
_FORMATS: Final = ("PNG", "JPEG", "WEBP")
_DEEP: Final = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
"""Pillow's modes of grey values of 16 bits, which it would cut off at 255."""


@dataclass(frozen=True, slots=True)
class PictureFile:
    """The bytes of a file that may hold a picture, and their SHA-256."""

    path: Path
    content: bytes
    sha256: str
    changed: int
    """When the file that was read was last written, in nanoseconds."""

    def decode(self) -> Image.Image:
        """Return the picture, as `decode_picture` does.

        Raises:
            UnreadableFile: it is no PNG, JPEG or WebP, is damaged, or has more than 100 million pixels.
        """
        return decode_picture(self.content, str(self.path))


def read_picture_file(path: str | Path, sha256: str | None = None) -> PictureFile:
    """Read a file that may hold a picture.

    Args:
        path: Where it lies.
        sha256: What a manifest says of it; None where it says nothing.

    Raises:
        InputError: it is not there, no file, or another one than the manifest tells of.
        UnreadableFile: it cannot be read, or is larger than 100 MB.
    """
    try:
        where = Path(path)
        if not stat.S_ISREG(where.stat().st_mode):
            raise InputError(f"{path} is no file")
        with where.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
            changed = os.fstat(file.fileno()).st_mtime_ns
    except FileNotFoundError:
        raise InputError(f"there is no picture {path}") from None
    except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
        raise UnreadableFile(f"{path} cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if len(content) > MOST_BYTES:
        raise UnreadableFile(f"{path} is larger than {MOST_BYTES // 1_000_000} MB; make it smaller")
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and sha256.lower() != found:
        raise InputError(f"{path} is not the picture that the manifest tells of: its SHA-256 is {found}")
    return PictureFile(where, content, found, changed)


def open_sample(sample: Sample) -> Image.Image:
    """Return a sample's picture in RGB, as `decode_picture` does.

    Raises:
        InputError: it is not there, no file, or another one than the sample tells of.
        UnreadableFile: it is no PNG, JPEG or WebP, is damaged, or is too large.
    """
    return read_picture_file(sample.image, sample.sha256).decode()


def decode_picture(content: bytes, name: str) -> Image.Image:
    """Return the picture in RGB, upright as its EXIF says, of an animation the first frame.

    What is transparent becomes white; grey values of 16 bits are scaled to 8; colour profiles are not applied, as no
    published metric does. May be called by several threads at once.

    Args:
        content: The bytes of a file.
        name: What an error calls it.

    Raises:
        UnreadableFile: it is no PNG, JPEG or WebP, is damaged, or has more than 100 million pixels.
    """
    with no_warnings():  # Pillow warns of what is only large, and of harmless damage to EXIF
        try:
            return _decoded(content)
        except (Image.DecompressionBombError, _TooLarge):
            raise UnreadableFile(f"{name} has more than {MOST_PIXELS:,} pixels; make it smaller") from None
        except UnidentifiedImageError:
            raise UnreadableFile(f"{name} is no PNG, JPEG or WebP picture") from None
        except Exception as error:  # what a damaged picture raises depends on what is damaged
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UnreadableFile(f"{name} is a damaged picture ({reason})") from None


class _TooLarge(Exception):
    """A picture says that it has more pixels than are decoded."""


def _decoded(content: bytes) -> Image.Image:
    # Each scan of a JPEG goes over all of it again; within its data the bytes of a marker cannot stand.
    if content.startswith(b"\xff\xd8") and content.count(b"\xff\xda") > _MOST_SCANS:
        raise ValueError(f"more than {_MOST_SCANS} scans")
    with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
        if image.width * image.height > MOST_PIXELS:
            raise _TooLarge
        picture = _opaque(image)
        with suppress(Exception):  # damaged EXIF costs the picture nothing but its turn
            picture = ImageOps.exif_transpose(picture)
        return picture


def _opaque(image: Image.Image) -> Image.Image:
    """Return the picture in RGB, on white, with what it says of how it is turned."""
    image.load()
    exif = b""
    with suppress(Exception):
        exif = image.getexif().tobytes()
    if image.mode in _DEEP:
        deep = np.asarray(image).astype(np.uint32).clip(0, 65535)
        opaque = Image.fromarray(((deep * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
    elif image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        clear = image.convert("RGBA")
        opaque = Image.new("RGB", clear.size, "white")
        opaque.paste(clear, mask=clear.getchannel("A"))
    else:
        opaque = image.convert("RGB")
    opaque.info["exif"] = exif
    return opaque


class _Silence:
    """The filters of warnings, which all threads share: the first that decodes sets them, the last puts them back."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.holders = 0
        self.caught = warnings.catch_warnings()

    def enter(self) -> None:
        with self.lock:
            if self.holders == 0:
                self.caught = warnings.catch_warnings()
                self.caught.__enter__()
                warnings.simplefilter("ignore")
            self.holders += 1

    def leave(self) -> None:
        with self.lock:
            self.holders -= 1
            if self.holders == 0:
                self.caught.__exit__(None, None, None)


_SILENCE: Final = _Silence()


@contextmanager
def no_warnings() -> Iterator[None]:
    """Let no warning through while the block runs, here and in every other thread."""
    _SILENCE.enter()
    try:
        yield
    finally:
        _SILENCE.leave()
