"""Opens pictures that people have on their disks, whatever these claim to be."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import threading
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import InputError, UnreadableFile

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif"})
"""Names under which still pictures lie beside adapters; films lie there as well."""
MOST_BYTES: Final = 50_000_000
MOST_PIXELS: Final = 100_000_000

_MOST_SCANS: Final = 200
"""Of a JPEG; encoders write up to a dozen, and a thumbnail may lie within."""
_FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF")
_SIDE: Final = 1024
"""Pixels of the longer side that are kept: models look at a quarter of that, and a batch must fit into memory."""


@dataclass(frozen=True, slots=True)
class PictureFile:
    """The bytes of a file that may hold a picture."""

    path: Path
    content: bytes
    stamp: str
    """See `stamp`; of the very file that was read."""

    @property
    def digest(self) -> str:
        """The content's address, 32 hexadecimal digits."""
        return hashlib.blake2b(self.content, digest_size=16).hexdigest()

    def decode(self) -> Image.Image:
        """Return the picture, as `decode_picture` does.

        Raises:
            UnreadableFile: it is no PNG, JPEG, WebP or GIF, is damaged, or has more than 100 million pixels.
        """
        return decode_picture(self.content, str(self.path))


def decode_picture(content: bytes, name: str, *, most_pixels: int = MOST_PIXELS) -> Image.Image:
    """Return the picture in RGB, upright, no side longer than 1,024 pixels, of an animation the first frame.

    What is transparent becomes white.

    Args:
        content: The bytes of a file.
        name: What an error calls it.
        most_pixels: More than these are refused before any is decoded.

    Raises:
        UnreadableFile: it is no PNG, JPEG, WebP or GIF, is damaged, or has too many pixels.
    """
    with _DECODING, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of what is only large, and of harmless damage to EXIF
        try:
            return _decode(content, most_pixels)
        except (Image.DecompressionBombError, _TooLarge):
            raise UnreadableFile(f"{name} has more than {most_pixels:,} pixels; make it smaller") from None
        except UnidentifiedImageError:
            raise UnreadableFile(f"{name} is no PNG, JPEG, WebP or GIF picture") from None
        except Exception as error:  # what a damaged picture raises depends on what is damaged
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UnreadableFile(f"{name} is a damaged picture ({reason})") from None


_DECODING: Final = threading.Lock()
"""One picture at a time: the filters of warnings are shared by all threads, and a large picture takes much memory."""


class _TooLarge(Exception):
    """A picture says that it has more pixels than are looked at."""


def _decode(content: bytes, most_pixels: int) -> Image.Image:
    # Each scan of a JPEG goes over all of it again; within its data the bytes of a marker cannot stand.
    if content.startswith(b"\xff\xd8") and content.count(b"\xff\xda") > _MOST_SCANS:
        raise ValueError(f"more than {_MOST_SCANS} scans")
    with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
        if image.width * image.height > most_pixels:
            raise _TooLarge
        if max(image.size) > _SIDE:  # a JPEG is decoded no larger than needed
            image.draft("RGB", (_SIDE, _SIDE))
        clear = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
        mode = "RGBA" if clear else "RGB"
        picture = image if image.mode == mode else image.convert(mode)
        picture.thumbnail((_SIDE, _SIDE))
        with suppress(Exception):  # damaged EXIF costs the picture nothing but its turn
            picture = ImageOps.exif_transpose(picture)
        if clear:
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
        return picture.copy()


def read_picture_file(path: Path) -> PictureFile:
    """Read a file that may hold a picture.

    Raises:
        InputError: it is not there, or no file.
        UnreadableFile: it cannot be read, or is larger than 50 MB.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"{path} is no file")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
            read = stamp(path, os.fstat(file.fileno()))
    except FileNotFoundError:
        raise InputError(f"there is no picture {path}") from None
    except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
        raise UnreadableFile(f"{path} cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if len(content) > MOST_BYTES:
        raise UnreadableFile(f"{path} is larger than {MOST_BYTES // 1_000_000} MB; make it smaller")
    return PictureFile(path, content, read)


def stamp(path: Path, found: os.stat_result) -> str:
    """Return what changes whenever a file does, or moves."""
    told = f"{path}\n{found.st_size}\n{found.st_mtime_ns}"
    return hashlib.blake2b(told.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
