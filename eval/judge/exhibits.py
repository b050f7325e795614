"""Pictures as a judge is given them: of one size and one format, and without a trace of who made which."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..extract import read_picture_file
from .records import Exhibit, Pairing

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..extract import PictureFile

_SIDE: Final = 768
"""The longest side of a picture that is shown alone: models look at no more of it."""
_TILE: Final = 320
"""The longest side of one of several on a sheet."""
_COLUMNS: Final = 3
_GAP: Final = 8
_GREY: Final = (128, 128, 128)


def exhibits(folder: Path, pairing: Pairing) -> tuple[tuple[Exhibit, ...], tuple[Exhibit, ...]]:
    """Return the exhibits of either side of a pairing. Files are read now, and decoded when one is opened.

    Raises:
        InputError: a file is not there, cannot be read, or is not the one that the manifest tells of.
    """
    sides = [
        [read_picture_file(folder / sample.image, sample.sha256) for sample in side]
        for side in (pairing.of, pairing.against)
    ]
    shown = _Shown([file for side in sides for file in side])
    places = iter(range(len(sides[0]) + len(sides[1])))
    of, against = (
        tuple(Exhibit(digest=file.sha256, open=partial(shown.open, next(places))) for file in side) for side in sides
    )
    return of, against


def as_png(side: Sequence[Exhibit]) -> bytes:
    """Return a side as one PNG file: its picture, or a contact sheet of its pictures, three in a row.

    Raises:
        UnreadableFile: a picture is damaged.
    """
    longest = _SIDE if len(side) == 1 else _TILE
    pictures = [_shrunk(exhibit.open(), longest) for exhibit in side]
    picture = pictures[0] if len(pictures) == 1 else _sheet(pictures)
    picture.info = {}  # prompts and the names of models stand there
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


class _Shown:
    """The pictures of one question, all at the size of the smallest, with grey where their shapes differ."""

    def __init__(self, files: Sequence[PictureFile]) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._pictures: list[Image] = []

    def open(self, place: int) -> Image:
        """Return the picture of a file.

        Raises:
            UnreadableFile: one of the pictures is damaged, or too large.
        """
        with self._lock:
            if not self._pictures:
                whole = [file.decode() for file in self._files]
                width, height = (min(side) for side in zip(*(picture.size for picture in whole), strict=True))
                self._pictures = [_fitted(picture, (width, height)) for picture in whole]
            return self._pictures[place]


def _fitted(picture: Image, size: tuple[int, int]) -> Image:
    from PIL import Image, ImageOps

    if picture.size == size:
        return picture
    fitted = ImageOps.contain(picture, size, Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", size, _GREY)
    canvas.paste(fitted, ((size[0] - fitted.width) // 2, (size[1] - fitted.height) // 2))
    return canvas


def _shrunk(picture: Image, longest: int) -> Image:
    from PIL import Image

    small = picture.copy()
    small.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return small


def _sheet(pictures: Sequence[Image]) -> Image:
    from PIL import Image

    width, height = pictures[0].size
    columns = min(_COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (width + _GAP) - _GAP, rows * (height + _GAP) - _GAP), _GREY)
    for place, picture in enumerate(pictures):
        row, column = divmod(place, columns)
        sheet.paste(picture, (column * (width + _GAP), row * (height + _GAP)))
    return sheet
