"""Pictures as a page holds them: all of one size and one format, and nothing in them but pixels.

A generated PNG tells its prompt and its adapters in text chunks, and its size and format may tell the method.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image, ImageOps

from ..extract.pictures import read_picture_file

_LOSSLESS: Final = 256
"""Pixels of the longer side, up to which pictures are kept without loss: they are shown magnified."""
_GREY: Final = (128, 128, 128)


@dataclass(frozen=True, slots=True)
class Encoded:
    """A picture as the page holds it."""

    uri: str
    sha256: str
    """Of the file that it is from."""


@dataclass(frozen=True, slots=True)
class Box:
    """What all pictures are fitted into."""

    width: int
    height: int
    is_padded: bool
    """Whether the pictures are of different shapes, so that some have grey borders."""
    is_scaled: bool
    """Whether they are of different sizes."""


def fit_box(files: Iterable[Path], side: int) -> Box:
    """Return the box for some pictures: as large as the largest of them, but no side longer than `side`.

    Raises:
        InputError: one of them cannot be opened.
    """
    sizes = {read_picture_file(path).decode().size for path in files}
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    is_padded = any(abs(size[0] * height - size[1] * width) > 0.02 * size[1] * width for size in sizes)
    if is_padded:
        width = height = max(map(max, sizes))
    scale = min(1.0, side / max(width, height))
    return Box(max(1, round(width * scale)), max(1, round(height * scale)), is_padded, len(sizes) > 1)


def encode_picture(path: Path, box: Box, sha256: str | None = None) -> Encoded:
    """Return a picture file as a data URI of the box's size.

    Args:
        path: The file.
        box: What it is fitted into.
        sha256: What the file should have; None takes whatever it has.

    Raises:
        InputError: it cannot be read, or is another file than it should be.
    """
    file = read_picture_file(path, sha256)
    size = (box.width, box.height)
    fitted = ImageOps.pad(file.decode(), size, Image.Resampling.LANCZOS, color=_GREY)
    bare = Image.new("RGB", size)  # profiles and comments stay behind
    bare.paste(fitted)
    stream = io.BytesIO()
    if max(size) <= _LOSSLESS:
        kind = "png"
        bare.save(stream, "PNG", optimize=True)
    else:
        kind = "jpeg"
        bare.save(stream, "JPEG", quality=92, subsampling=0)
    return Encoded(f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}", file.sha256)
