"""The sheet of a comparison: its pictures in labelled panels, as one PNG.

The letters are those of DejaVu Sans where matplotlib, which brings it, is installed (Latin, Greek, Cyrillic and more),
else those that come with Pillow, the plain Latin ones. A letter that the font lacks loses its accents; what is of
another script, or written from right to left, is drawn as boxes, beside the adapter's file name where nothing else of
a title is left.
"""

from __future__ import annotations

import io
import math
import unicodedata
import warnings
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

if TYPE_CHECKING:
    from .comparison import Column, Comparison, Panel, Shown
    from .records import Choice

_SIDE, _SMALL_SIDE = 208, 128
"""Pixels of a picture's longer side, and where there are many pictures."""
_MANY: Final = 240
_NARROWEST: Final = 150
"""Pixels of a column at least, for its label."""
_COLUMNS: Final = 8
"""Side by side; more go below."""
_TEXT, _HEADING = 14, 22
_LEADING: Final = 1.3
_GAP, _MARGIN = 12, 24
_WIDEST_LABEL: Final = 110
_LEAST_WIDE: Final = 640
_PAPER, _INK, _FAINT, _FIELD = "#ffffff", "#22242a", "#6b6f78", "#e4e5e8"
_LONGEST: Final = 1000
"""Characters of a text that are looked at."""
_LONGEST_MODEL: Final = 60
_FEW: Final = 24
"""Characters of a title that stand behind a file's name."""
_PROMPT_ROWS, _TITLE_ROWS = 4, 2
_MOST_PIXELS: Final = 100_000_000
_PLAIN: Final = str.maketrans("×−–—‐‑’‘„‚ßæøłđÆØŁĐ", "x-----''\"'saoldAOLD")

Draw = Callable[[ImageDraw.ImageDraw, Image.Image], None]


def draw_sheet(comparison: Comparison) -> bytes:
    """Return the sheet as PNG; the same comparison gives the same bytes."""
    image = _Page(comparison).drawn()
    file, texts = io.BytesIO(), PngInfo()
    texts.add_text("Software", "Velatura comparison")
    image.save(file, "PNG", pnginfo=texts)
    return file.getvalue()


def drawable(text: str) -> str:
    r"""Return a text on one line with what the font can draw: boxes for other scripts, no marks on letters or emoji.

    >>> drawable("Red \U0001f98a\n\u202estyle"), drawable("\u8d5b\u535a Fox")
    ('Red style', '\u25a1\u25a1 Fox')
    """
    kept: list[str] = []
    for letter in unicodedata.normalize("NFC", text[:_LONGEST]):
        kept += [letter] if _is_drawn(letter) else map(_drawn, unicodedata.normalize("NFKD", letter.translate(_PLAIN)))
    return " ".join("".join(kept).split())


def _drawn(letter: str) -> str:
    """Return what stands for a letter, which is nothing for what is none."""
    if letter.isspace():
        return " "
    if _is_drawn(letter):
        return letter
    return _BOX if unicodedata.category(letter)[0] == "L" else ""


def _is_drawn(letter: str) -> bool:
    # Marks of their own would stand on each other, and what goes to the left would be drawn backwards.
    is_plain = unicodedata.category(letter)[0] != "M" and unicodedata.bidirectional(letter) not in ("R", "AL")
    return letter.isprintable() and is_plain and _has(letter)


def names_of(choices: Sequence[Choice]) -> dict[str, str]:
    """Return what adapters are called on a sheet, by their keys: the title, and the file where that does not tell."""
    titles = {choice.adapter.key: drawable(choice.adapter.title) for choice in choices}
    counts = Counter(titles.values())
    names = {}
    for choice in choices:
        title = titles[choice.adapter.key]
        if any(letter.isalnum() for letter in title.replace(_BOX, "")) and counts[title] == 1:
            names[choice.adapter.key] = title
        else:
            file = Path(choice.adapter.path or choice.adapter.file_name or choice.adapter.key).name
            names[choice.adapter.key] = f"{drawable(file)} {title[:_FEW]}".strip() or "?"
    return names


def fitted(text: str, font: Any, width: float, rows: int) -> list[str]:
    """Break a text into so many rows of that width at the most; words too long are broken, what is left over is cut."""
    found: list[str] = []
    for word in _pieces(text, font, width):
        longer = f"{found[-1]} {word}" if found else word
        if found and font.getlength(longer) <= width:
            found[-1] = longer
        elif len(found) < rows:
            found.append(word)
        else:
            found[-1] = _cut(f"{found[-1]} {word}…", font, width)
            break
    return found


_BOX: Final = "□"
_DEJAVU: Final = "fonts/ttf/DejaVuSans.ttf"


@cache
def _font(size: int) -> Any:
    try:
        import matplotlib
    except ImportError:
        return ImageFont.load_default(size)
    try:
        return ImageFont.truetype(Path(matplotlib.get_data_path(), _DEJAVU), size)
    except OSError:  # a package without its data
        return ImageFont.load_default(size)


@cache
def _has(letter: str) -> bool:
    """Say whether the font has a letter; what it lacks is drawn as what no font has."""
    font = _font(40)
    return letter == " " or bytes(font.getmask(letter)) != bytes(font.getmask("\U0010fffd"))


def _pieces(text: str, font: Any, width: float) -> Iterator[str]:
    for word in text.split():
        while font.getlength(word) > width and len(word) > 1:
            rooms = range(1, len(word))
            room = max(1, bisect_right(rooms, width, key=lambda size, word=word: font.getlength(word[:size])))  # type: ignore[misc]
            yield word[:room]
            word = word[room:]
        yield word


def _cut(row: str, font: Any, width: float) -> str:
    while len(row) > 1 and font.getlength(row) > width:
        row = f"{row.rstrip('…')[:-1].rstrip()}…"
    return row


def _short(model: str) -> str:
    """Return a model's own name, without folders."""
    name = Path(model).name
    return name if len(name) <= _LONGEST_MODEL else f"{name[: _LONGEST_MODEL - 1]}…"


def _high(rows: int, size: int = _TEXT) -> int:
    return rows * math.ceil(size * _LEADING)


class _Page:
    """Lays a comparison out from top to bottom, then draws it."""

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison
        cells = [shown for panel in comparison.pictures for column in panel for shown in column]
        worn = max((column.composition.choices for column in comparison.panels[0].columns), key=len)
        self._names = names_of(worn)
        self._side = _SIDE if len(cells) <= _MANY else _SMALL_SIDE
        self._images = {path: _enlarged(path, self._side) for path in {shown.path for shown in cells if shown.path}}
        shown = [image.size for image in self._images.values() if image is not None] or [(self._side, self._side)]
        self._wide = max(_NARROWEST, *(width for width, _ in shown))
        self._high = max(height for _, height in shown)
        self._left = _MARGIN
        if len(comparison.seeds) > 1:
            widest = max(_font(_TEXT).getlength(f"seed {seed}") for seed in comparison.seeds)
            self._left += min(math.ceil(widest), _WIDEST_LABEL) + _GAP
        columns = min(_COLUMNS, max(len(panel.columns) for panel in comparison.panels))
        self._right = max(self._left + columns * (self._wide + _GAP) - _GAP, _LEAST_WIDE)
        self._y = _MARGIN
        self._draws: list[Draw] = []

    def drawn(self) -> Image.Image:
        """Return the page."""
        self._head()
        for panel, pictures in zip(self._comparison.panels, self._comparison.pictures, strict=True):
            self._panel(panel, pictures)
        paper = Image.new("RGB", (self._right + _MARGIN, self._y + _MARGIN), _PAPER)
        pen = ImageDraw.Draw(paper)
        for draw in self._draws:
            draw(pen, paper)
        return paper

    def _head(self) -> None:
        width = self._right - _MARGIN
        request, seeds = self._comparison.request, self._comparison.seeds
        prompt = drawable(request.composition.prompt) or "(a prompt without letters)"
        self._text(_MARGIN, fitted(prompt, _font(_HEADING), width, _PROMPT_ROWS), width, size=_HEADING)
        told = [
            f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}",
            f"model {_short(request.model)}",
            f"{request.steps} steps",
            f"guidance {request.guidance or 0:g}",
            f"{request.width}x{request.height}",
            request.scheduler or "",
            f"CLIP scores by {_short(self._comparison.clip)}" if self._comparison.clip else "",
        ]
        facts = drawable(" · ".join(filter(None, told)))
        self._text(_MARGIN, fitted(facts, _font(_TEXT), width, _TITLE_ROWS), width, ink=_FAINT)

    def _panel(self, panel: Panel, pictures: Sequence[Sequence[Shown]]) -> None:
        self._y += 2 * _GAP
        top, width = self._y, self._right - _MARGIN
        self._draws.append(
            lambda pen, _: pen.line((_MARGIN, top - _GAP, self._right, top - _GAP), fill=_FIELD, width=2)
        )
        title = panel.title
        if panel.swept is not None:
            named = fitted(self._names[panel.swept.adapter.key], _font(_TEXT + 3), width * 0.75, 1)[0]
            title = f"{named} alone, by weight (chosen: {panel.swept.weight:.4g})"
        self._text(_MARGIN, fitted(title, _font(_TEXT + 3), width, _TITLE_ROWS), width, size=_TEXT + 3)
        for first in range(0, len(panel.columns), _COLUMNS):
            some = slice(first, first + _COLUMNS)
            self._columns(panel.columns[some], pictures[some], titled=panel.swept is None)

    def _columns(self, columns: Sequence[Column], pictures: Sequence[Sequence[Shown]], *, titled: bool) -> None:
        labels = [_label(column, self._names, self._wide, titled=titled) for column in columns]
        self._y += _GAP // 2
        for place, rows in enumerate(labels):
            x = self._x(place)
            head, rest = rows[:1], rows[1:]
            y, self._y = self._y, self._y
            self._text(x, head, self._wide)
            self._text(x, rest, self._wide, ink=_FAINT)
            self._y = y
        self._y += _high(max(map(len, labels))) + _GAP // 2
        for number, seed in enumerate(self._comparison.seeds):
            row = [column[number] for column in pictures]
            if len(self._comparison.seeds) > 1:
                y = self._y
                told = fitted(f"seed {seed}", _font(_TEXT), self._left - _MARGIN - _GAP, 2)
                self._y += (self._high - _high(len(told))) // 2
                self._text(_MARGIN, told, self._left)
                self._y = y
            for place, shown in enumerate(row):
                self._picture(shown, self._x(place), self._y)
            self._y += self._high
            if any(shown.score is not None for shown in row):
                y = self._y = self._y + 4
                for place, shown in enumerate(row):
                    self._y = y
                    if shown.score is not None:
                        self._text(self._x(place), [f"CLIP {shown.score:.1f}"], self._wide, ink=_FAINT)
                self._y = y + _high(1)
            self._y += _GAP

    def _picture(self, shown: Shown, x: int, y: int) -> None:
        image = self._images.get(shown.path) if shown.path else None
        if image is not None:
            self._draws.append(lambda _, paper: paper.paste(image, (x, y)))
            return
        self._draws.append(lambda pen, _: pen.rectangle((x, y, x + self._wide - 1, y + self._high - 1), fill=_FIELD))
        most = max(1, (self._high - _GAP) // _high(1))
        why = drawable(shown.error or "there is no picture")
        before, self._y = self._y, y + _GAP // 2
        self._text(x + 6, fitted(why, _font(_TEXT), self._wide - 12, most), self._wide)
        self._y = before

    def _text(self, x: int, rows: Sequence[str], width: float, *, size: int = _TEXT, ink: str = _INK) -> None:
        """Write rows below each other, and go on below them."""
        for row in rows:
            at = x, self._y
            self._draws.append(lambda pen, _, at=at, row=row: pen.text(at, row, fill=ink, font=_font(size)))  # type: ignore[misc]
            self._y += _high(1, size)

    def _x(self, place: int) -> int:
        return self._left + place * (self._wide + _GAP)


def _label(column: Column, names: Mapping[str, str], width: float, *, titled: bool) -> list[str]:
    """Return what stands above a column: what is done, then each adapter, whose weight is never cut off.

    Args:
        column: The column.
        names: What adapters are called.
        width: In pixels.
        titled: Whether the adapters are named; else the panel does that, and the weight stands alone.
    """
    font, choices = _font(_TEXT), column.composition.choices
    if not titled and len(choices) == 1:
        return [_cut(f"at {choices[0].weight:.4g}", font, width)]
    rows = fitted(column.label, font, width, 1)
    most = 2 if len(choices) <= 3 else 1
    for choice in choices:
        weight = f" {choice.weight:.4g}"
        name = fitted(names[choice.adapter.key], font, width, most)
        if font.getlength(name[-1] + weight) > width and len(name) < most:
            rows += [*name, weight.strip()]
        else:
            rows += [*name[:-1], _cut(name[-1], font, width - font.getlength(weight)) + weight]
    return rows


def _enlarged(path: Path, side: int) -> Image.Image | None:
    """Return a picture as the sheet has it: a small one enlarged without blur; None for an unreadable one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=["PNG"]) as image:
                if image.width * image.height > _MOST_PIXELS:
                    return None
                picture = image.convert("RGB")
    except Exception:  # what a damaged picture raises depends on what is damaged
        return None
    factor = side // max(picture.size)
    if factor > 1:
        return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return picture
