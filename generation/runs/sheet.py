"""The contact sheets of a run: all of its pictures small, each with its prompt, its seed and its adapters."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from ...errors import InputError
from .manifest import Entry, replace_file

FIRST: Final = "contact.png"

_PAGE: Final = re.compile(r"contact(?:-(\d{1,6}))?\.png")
_COLUMNS, _ROWS = 6, 6
_SIDE: Final = 240
"""Pixels of a picture's longer side on the sheet."""
_TEXT, _LEADING = 14, 18
_PROMPT_ROWS: Final = 2
_GAP, _MARGIN = 14, 20
_PAPER, _INK, _FAINT = "#ffffff", "#22242a", "#6b6f78"
_LONGEST: Final = 500
"""Characters of a caption that are looked at."""
_MOST_PIXELS: Final = 100_000_000
_MARK: Final = ("Software", "Velatura contact sheet")


def write_sheets(entries: Sequence[Entry], folder: Path) -> list[Path]:
    """Write `contact.png`, and `contact-2.png` and on where there are more than 36 pictures, and return them.

    The same entries and pictures give the same bytes. Pages of an earlier, longer sheet are removed.

    Args:
        entries: What is shown, in this order; those without a picture are left out.
        folder: Where the pictures are.

    Raises:
        InputError: A page cannot be written, or a file of its name is none of ours.
    """
    refuse_foreign_sheets(folder)
    shown = [entry for entry in entries if entry.is_done]
    size = _COLUMNS * _ROWS
    pages = math.ceil(len(shown) / size)
    paths = [folder / (FIRST if page == 0 else f"contact-{page + 1}.png") for page in range(pages)]
    for page, path in enumerate(paths):
        told = f"page {page + 1} of {pages}" if pages > 1 else ""
        replace_file(path, _png(_page(shown[page * size : (page + 1) * size], folder, told)))
    for path in _pages(folder):
        if path not in paths:
            with suppress(OSError):
                path.unlink()
    return paths


def refuse_foreign_sheets(folder: Path) -> None:
    """Refuse a folder in which a person's own file has the name of a sheet.

    Raises:
        InputError: There is one.
    """
    for path in _pages(folder):
        if not _is_ours(path):
            raise InputError(f"{path} is no contact sheet of a run; name another folder, or rename that file")


def _pages(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if _PAGE.fullmatch(path.name))
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be read: {error.strerror}") from None


def _is_ours(path: Path) -> bool:
    try:
        with Image.open(path, formats=["PNG"]) as image:
            return image.info.get(_MARK[0]) == _MARK[1]
    except Exception:  # what a damaged picture raises depends on what is damaged
        return False


def _png(image: Image.Image) -> bytes:
    file, texts = io.BytesIO(), PngInfo()
    texts.add_text(*_MARK)
    image.save(file, "PNG", pnginfo=texts)
    return file.getvalue()


def _page(entries: Sequence[Entry], folder: Path, told: str) -> Image.Image:
    columns = min(_COLUMNS, len(entries))
    cells = [_thumbnail(folder, entry) for entry in entries]
    font: Any = ImageFont.load_default(_TEXT)
    rows = [cells[first : first + columns] for first in range(0, len(cells), columns)]
    heights = [max(cell.height for cell in row) for row in rows]
    caption = (_PROMPT_ROWS + 1) * _LEADING + 6
    wide = 2 * _MARGIN + columns * (_SIDE + _GAP) - _GAP
    high = 2 * _MARGIN + sum(heights) + len(rows) * (caption + _GAP) - _GAP + (_LEADING if told else 0)
    paper = Image.new("RGB", (wide, high), _PAPER)
    pen = ImageDraw.Draw(paper)
    y = _MARGIN
    for number, row in enumerate(rows):
        for column, cell in enumerate(row):
            x = _MARGIN + column * (_SIDE + _GAP)
            paper.paste(cell, (x, y + heights[number] - cell.height))
            _write(pen, entries[number * columns + column], (x, y + heights[number] + 6), font)
        y += heights[number] + caption + _GAP
    pen.text((_MARGIN, high - _MARGIN - _LEADING + 4), told, fill=_FAINT, font=font)
    return paper


def _write(pen: ImageDraw.ImageDraw, entry: Entry, at: tuple[int, int], font: Any) -> None:
    x, y = at
    adapters = [f"{laid.title} {laid.weight:.2g}" for laid in entry.adapters]
    below = _cut(_plain(" · ".join([f"seed {entry.seed}", *([", ".join(adapters)] if adapters else [])])), font)
    prompt = _wrapped(_plain(entry.prompt), font)
    for number, row in enumerate([*prompt, below]):
        pen.text((x, y + number * _LEADING), row, fill=_FAINT if number == len(prompt) else _INK, font=font)


def _thumbnail(folder: Path, entry: Entry) -> Image.Image:
    """Return the picture as the sheet has it: a small one enlarged without blur, a grey field for an unreadable one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(folder / str(entry.file), formats=["PNG"]) as image:
                if image.width * image.height > _MOST_PIXELS:
                    raise ValueError("too many pixels")
                picture = image.convert("RGB")
    except Exception:  # what a damaged picture raises depends on what is damaged
        field = Image.new("RGB", (_SIDE, _SIDE), "#e4e5e8")
        ImageDraw.Draw(field).text((_SIDE / 2, _SIDE / 2), "cannot be read", fill=_FAINT, anchor="mm")
        return field
    factor = _SIDE // max(picture.size)
    if factor > 1:
        size = picture.width * factor, picture.height * factor
        return picture.resize(size, Image.Resampling.NEAREST)
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    return picture


def _plain(text: str) -> str:
    """Return what a font can draw: one line without control characters and halves of characters."""
    drawn = "".join(letter if letter.isprintable() else " " for letter in text[:_LONGEST])
    return " ".join(drawn.split())


def _wrapped(text: str, font: Any) -> list[str]:
    """Break a text into as many rows as there is room for; what is left over is cut from the last."""
    rows: list[str] = []
    for word in text.split():
        longer = f"{rows[-1]} {word}" if rows else word
        if rows and (len(rows) == _PROMPT_ROWS or font.getlength(longer) <= _SIDE):
            rows[-1] = longer
        else:
            rows.append(word)
    return [_cut(row, font) for row in rows]


def _cut(row: str, font: Any) -> str:
    while len(row) > 1 and font.getlength(row) > _SIDE:
        row = f"{row.rstrip('…')[:-1].rstrip()}…"
    return row
