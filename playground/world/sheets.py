"""Shows small pictures to people: enlarged without blur, in labelled rows."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence

Shown = npt.NDArray[np.uint8] | Image.Image

_PAPER: Final = "#ffffff"
_INK: Final = "#22242a"
_GAP: Final = 6
_MARGIN: Final = 14
_LEADING: Final = 1.25


def enlarge(picture: Shown, factor: int = 6) -> Image.Image:
    """Return the picture as RGB, each pixel a square of `factor` by `factor`."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    return image.convert("RGB").resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def sheet(
    rows: Sequence[Sequence[Shown]],
    *,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    title: str = "",
    factor: int = 4,
    text: int = 15,
) -> Image.Image:
    """Lay pictures out in rows, with labels to the left of the rows and above the columns.

    Args:
        rows: Pictures of one size: RGB bytes (height, width, 3) or Pillow images; rows may differ in length.
        row_labels: One for each row, or none.
        column_labels: One for each column, or none.
        title: A line above everything.
        factor: How many pixels wide and high one pixel of a picture is shown.
        text: Height of the letters in pixels.

    """
    shown = [[enlarge(picture, factor) for picture in row] for row in rows]
    wide, high = next((image.size for row in shown for image in row), (0, 0))
    font, heading = ImageFont.load_default(text), ImageFont.load_default(round(text * 1.4))
    line = round(text * _LEADING)
    beside = [_wrapped(label, font, max(9 * text, wide)) for label in row_labels]
    above = [_wrapped(label, font, wide) for label in column_labels]
    left = _MARGIN + (_widest(beside, font) + 2 * _GAP if beside else 0)
    top = _MARGIN + (2 * line if title else 0) + (line * max(map(len, above)) + _GAP if above else 0)
    right = max(left + max(map(len, shown), default=0) * (wide + _GAP) - _GAP, _widest([[title]], heading) + _MARGIN)
    paper = Image.new("RGB", (right + _MARGIN, top + len(shown) * (high + _GAP) - _GAP + _MARGIN), _PAPER)
    pen = ImageDraw.Draw(paper)
    pen.text((_MARGIN, _MARGIN - 2), title, fill=_INK, font=heading)
    for column, words in enumerate(above):
        middle = left + column * (wide + _GAP) + wide / 2
        _write(pen, words, (middle, top - _GAP - line * len(words)), font, line, "ma")
    for number, row in enumerate(shown):
        y = top + number * (high + _GAP)
        words = beside[number] if number < len(beside) else []
        _write(pen, words, (_MARGIN, y + (high - line * len(words)) / 2), font, line, "la")
        for column, image in enumerate(row):
            paper.paste(image, (left + column * (wide + _GAP), y))
    return paper


def _widest(labels: list[list[str]], font: Any) -> int:
    return ceil(max((font.getlength(row) for rows in labels for row in rows), default=0))


def _write(
    pen: ImageDraw.ImageDraw, rows: list[str], at: tuple[float, float], font: Any, line: int, anchor: str
) -> None:
    for number, row in enumerate(rows):
        pen.text((at[0], at[1] + number * line), row, fill=_INK, font=font, anchor=anchor)


def _wrapped(label: str, font: Any, width: float) -> list[str]:
    """Break a label into rows that fit the width; a word that is too long alone is cut short."""
    rows: list[str] = []
    for word in label.split():
        longer = f"{rows[-1]} {word}" if rows else word
        if rows and font.getlength(longer) <= width:
            rows[-1] = longer
        else:
            rows.append(word)
    return [_cut(row, font, width) for row in rows]


def _cut(row: str, font: Any, width: float) -> str:
    while len(row) > 1 and font.getlength(row) > width:
        row = f"{row.rstrip('…')[:-1]}…"
    return row
