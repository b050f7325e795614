"""Opens the pictures that something is painted from, whatever these files claim to be."""

from __future__ import annotations

import hashlib
import io
import stat
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageFilter, ImageOps, UnidentifiedImageError

from ..errors import InputError, UnreadableFile
from ..records import Picture
from .shared_settings import FILTERS

MOST_BYTES: Final = 100_000_000
MOST_PIXELS: Final = 100_000_000

_MOST_SCANS: Final = 200
"""Of a JPEG; encoders write up to a dozen, and a thumbnail may lie within."""
_FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF")
_DEEP: Final = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
"""Pillow's modes of grey values of 16 bits, which it would cut off at 255."""
_FEATHER: Final = 128
"""One pixel of a mask's rim runs over for this many pixels of the shorter side: 4 at 512, as A1111's mask blur."""


def read_picture(picture: Picture) -> tuple[Image.Image, str]:
    """Return a picture in RGB, upright, of an animation the first frame, and the SHA-256 of its file.

    What is transparent becomes white.

    Raises:
        InputError: it is not there, no file, or not the file whose digest `picture` names.
        UnreadableFile: it is no PNG, JPEG, WebP or GIF, is damaged, or is larger than 100 MB or 100 million pixels.
    """
    return _read(picture, "RGB")


def read_mask(picture: Picture) -> tuple[Image.Image, str]:
    """Return a mask in grey (mode L), upright, and the SHA-256 of its file; what is transparent becomes black.

    Raises:
        InputError: it is not there, no file, or not the file whose digest `picture` names.
        UnreadableFile: it is no PNG, JPEG, WebP or GIF, is damaged, or is larger than 100 MB or 100 million pixels.
    """
    return _read(picture, "L")


def fitted(picture: Image.Image, width: int, height: int) -> Image.Image:
    """Return a picture of that size in pixels: scaled until it covers it, and the middle cut out (Lanczos)."""
    if picture.size == (width, height):
        return picture
    return ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)


def size_from(picture: tuple[int, int], width: int | None, height: int | None, multiple: int) -> tuple[int, int]:
    """Return the width and height to paint at from a picture: what is asked for, and else the picture's own.

    Where one side is asked for the other keeps the picture's shape; a side that is left open goes down to a multiple.

    Args:
        picture: Width and height of the picture to start from, in pixels.
        width: What is asked for.
        height: What is asked for.
        multiple: Of which the sides that are left open are.

    Raises:
        InputError: a side that is left open would be none; one sentence.

    >>> size_from((100, 70), None, None, 8), size_from((100, 70), 200, None, 8), size_from((100, 70), 64, 64, 8)
    ((96, 64), (200, 136), (64, 64))
    """
    wide, high = picture
    if width is None:
        width = (wide if height is None else wide * height // high) // multiple * multiple
        height = high // multiple * multiple if height is None else height
    elif height is None:
        height = high * width // wide // multiple * multiple
    if width == 0 or height == 0:
        raise InputError(f"the picture is {wide}x{high}, too small to start from; ask for a width and a height")
    return width, height


def cells(mask: Image.Image, side: int) -> Image.Image:
    """Return which cells of the latents a mask touches, each as a square of `side` white pixels.

    A cell counts as soon as one of its pixels is at least half white, so that a thin line is not lost between the
    pixels that a smaller mask would take.

    Args:
        mask: In grey; both sides are multiples of `side`.
        side: Pixels of a cell.
    """
    values = np.asarray(mask)
    height, width = (length // side for length in values.shape)
    touched = values.reshape(height, side, width, side).max(axis=(1, 3)) >= 128
    whole = touched.repeat(side, axis=0).repeat(side, axis=1)
    return Image.fromarray(np.where(whole, np.uint8(255), np.uint8(0)))


def pasted(painted: Image.Image, original: Image.Image, mask: Image.Image) -> Image.Image:
    """Return the painted picture where the mask is white, and the original's own pixels where it is black.

    The rim runs over within the white, so that what is black is kept to the byte; grey mixes.

    Args:
        painted: In RGB.
        original: In RGB, of the same size.
        mask: In grey, of the same size.
    """
    layers = [mask]
    for _ in range(round(min(mask.size) / _FEATHER) - 1):
        layers.append(layers[-1].filter(ImageFilter.MinFilter(3)))
    share = sum(np.asarray(layer, dtype=np.float32) for layer in layers) / np.float32(len(layers))
    return Image.composite(painted, original, Image.fromarray(np.asarray(share).round().astype(np.uint8)))


def _read(picture: Picture, mode: str) -> tuple[Image.Image, str]:
    content = _content(picture.path)
    digest = hashlib.sha256(content).hexdigest()
    if picture.sha256 is not None and picture.sha256.lower() != digest:
        raise InputError(f"{picture.path} has changed since the request was made; ask for it anew")
    with FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of what is only large, and of harmless damage to EXIF
        try:
            return _decoded(content, mode), digest
        except (Image.DecompressionBombError, _TooLarge):
            raise UnreadableFile(f"{picture.path} has more than {MOST_PIXELS:,} pixels; make it smaller") from None
        except UnidentifiedImageError:
            raise UnreadableFile(f"{picture.path} is no PNG, JPEG, WebP or GIF picture") from None
        except Exception as error:  # what a damaged picture raises depends on what is damaged
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UnreadableFile(f"{picture.path} is a damaged picture ({reason})") from None


def _content(name: str) -> bytes:
    try:
        path = Path(name).expanduser()
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"{name} is no file")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise InputError(f"there is no picture {name}") from None
    except (OSError, ValueError, RuntimeError) as error:  # a name with a NUL, ~ of a person that is not known
        raise UnreadableFile(f"{name} cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if len(content) > MOST_BYTES:
        raise UnreadableFile(f"{name} is larger than {MOST_BYTES // 1_000_000} MB; make it smaller")
    return content


class _TooLarge(Exception):
    """A picture says that it has more pixels than are decoded."""


def _decoded(content: bytes, mode: str) -> Image.Image:
    # Each scan of a JPEG goes over all of it again; within its data the bytes of a marker cannot stand.
    if content.startswith(b"\xff\xd8") and content.count(b"\xff\xda") > _MOST_SCANS:
        raise ValueError(f"more than {_MOST_SCANS} scans")
    with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
        if image.width * image.height > MOST_PIXELS:
            raise _TooLarge
        picture = _opaque(image, "black" if mode == "L" else "white").convert(mode)
        with suppress(Exception):  # damaged EXIF costs the picture nothing but its turn
            picture = ImageOps.exif_transpose(picture)
        return picture


def _opaque(image: Image.Image, ground: str) -> Image.Image:
    """Return the picture in 8 bits on a ground, with what it says of how it is turned."""
    exif = image.getexif()
    if image.mode in _DEEP:
        deep = np.asarray(image).astype(np.uint32).clip(0, 65535)
        opaque = Image.fromarray(((deep * 255 + 32767) // 65535).astype(np.uint8))
    elif image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        clear = image.convert("RGBA")
        opaque = Image.new("RGB", clear.size, ground)
        opaque.paste(clear, mask=clear.getchannel("A"))
    else:
        opaque = image.convert("RGB") if image.mode != "L" else image.copy()
    opaque.info["exif"] = exif.tobytes()
    return opaque
