"""The places where a subject stands, as maps of numbered cells and the colours of the numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

SIZE: Final = 32
"""A picture is a square of this many pixels."""

Palette = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scene:
    """A scene as it is drawn, before a style colours it."""

    cells: npt.NDArray[np.uint8]
    """Index into `palette`, shape (`SIZE`, `SIZE`)."""
    palette: npt.NDArray[np.uint8]
    """RGB, shape (colours, 3)."""
    dark: bool
    """Whether it is dark there."""


def _plain(_: ImageDraw.ImageDraw) -> None:
    """Nothing but the wall."""


def _stars(pen: ImageDraw.ImageDraw, big: list[tuple[int, int]], small: list[tuple[int, int]], ink: int) -> None:
    for x, y in big:
        pen.line((x - 1, y, x + 1, y), fill=ink)
        pen.line((x, y - 1, x, y + 1), fill=ink)
    pen.point(small, fill=ink)


def _night(pen: ImageDraw.ImageDraw) -> None:
    _stars(pen, [(3, 4), (28, 8)], [(9, 1), (20, 2), (26, 2), (1, 12), (30, 16), (3, 20), (14, 4), (29, 22)], 1)
    pen.ellipse((-8, 25, 18, 50), fill=2)
    pen.ellipse((10, 27, 44, 54), fill=3)


def _meadow(pen: ImageDraw.ImageDraw) -> None:
    pen.rectangle((22, 3, 30, 5), fill=1)
    pen.rectangle((24, 1, 28, 3), fill=1)
    pen.rectangle((0, 6, 5, 7), fill=1)
    pen.rectangle((0, 4, 3, 5), fill=1)
    pen.ellipse((-14, 19, 30, 60), fill=2)
    pen.ellipse((6, 23, 52, 62), fill=3)
    for x, y in ((2, 28), (9, 30), (28, 29), (21, 30)):
        pen.point((x, y), fill=4)
        pen.point([(x - 1, y), (x + 1, y), (x, y - 1), (x, y + 1)], fill=1)


def _sea(pen: ImageDraw.ImageDraw) -> None:
    pen.ellipse((1, 1, 7, 7), fill=4)
    pen.rectangle((0, 15, 31, 31), fill=1)
    pen.rectangle((0, 23, 31, 31), fill=2)
    for x, y in ((0, 18), (27, 17), (25, 21), (2, 25), (9, 29), (20, 30), (27, 26)):
        pen.line((x, y, x + 3, y), fill=3)


def _desert(pen: ImageDraw.ImageDraw) -> None:
    pen.ellipse((24, 1, 30, 7), fill=1)
    pen.polygon([(0, 17), (8, 13), (18, 21), (31, 15), (31, 31), (0, 31)], fill=2)
    pen.polygon([(0, 26), (12, 22), (31, 28), (31, 31), (0, 31)], fill=3)
    pen.polygon([(0, 17), (8, 13), (6, 18), (0, 21)], fill=4)


def _sunset(pen: ImageDraw.ImageDraw) -> None:
    for number, top in enumerate((0, 5, 10, 15, 20)):
        pen.rectangle((0, top, 31, top + 4), fill=number)
    pen.ellipse((2, 17, 14, 29), fill=5)
    pen.rectangle((0, 25, 31, 31), fill=6)
    pen.line((3, 27, 12, 27), fill=5)
    pen.line((5, 29, 10, 29), fill=5)


def _snow(pen: ImageDraw.ImageDraw) -> None:
    for x, top in ((3, 8), (28, 6)):
        pen.polygon([(x, top), (x - 4, top + 9), (x + 4, top + 9)], fill=3)
        pen.polygon([(x, top + 5), (x - 5, top + 17), (x + 5, top + 17)], fill=3)
    pen.ellipse((-10, 22, 24, 60), fill=1)
    pen.ellipse((8, 24, 46, 60), fill=2)
    pen.point([(8, 2), (15, 1), (22, 3), (12, 5), (1, 3), (31, 1), (25, 10), (7, 10), (8, 19), (24, 20)], fill=2)


def _city(pen: ImageDraw.ImageDraw) -> None:
    for left, top, right in ((0, 9, 7), (8, 4, 13), (14, 11, 20), (21, 6, 26), (27, 2, 31)):
        pen.rectangle((left, top, right, 26), fill=1 if left % 2 == 0 else 2)
        for y in range(top + 2, 25, 4):
            for x in range(left + 1, right - 1, 3):
                pen.rectangle((x, y, x + 1, y + 1), fill=3)
    pen.rectangle((0, 27, 31, 31), fill=4)
    for x in (1, 9, 17, 25):
        pen.rectangle((x, 29, x + 4, 29), fill=5)


def _space(pen: ImageDraw.ImageDraw) -> None:
    _stars(pen, [(28, 20)], [(8, 2), (14, 1), (21, 3), (2, 12), (30, 13), (1, 20), (29, 28), (18, 30), (11, 29)], 1)
    pen.ellipse((24, 2, 30, 8), fill=2)
    pen.line((22, 6, 31, 4), fill=3)
    pen.ellipse((-6, 23, 8, 37), fill=4)
    pen.ellipse((-6, 25, 4, 37), fill=5)


_DRAWN: Final[dict[str, tuple[Callable[[ImageDraw.ImageDraw], None], Palette]]] = {
    "plain": (_plain, ("#d9dbe0",)),
    "night": (_night, ("#1b1d4d", "#fff6c8", "#101336", "#0a0c26")),
    "meadow": (_meadow, ("#8fd3ff", "#ffffff", "#5dbb4a", "#7fd457", "#ffd93b")),
    "sea": (_sea, ("#bdeaff", "#2f8fd0", "#1d6bb0", "#d8f4ff", "#ffe680")),
    "desert": (_desert, ("#ffe3a3", "#fffbe0", "#e8a955", "#d18a3a", "#f4c274")),
    "sunset": (_sunset, ("#5a2d82", "#9c3d8f", "#e0557a", "#f98a54", "#ffc15e", "#fff0a0", "#3a1e5c")),
    "snow": (_snow, ("#a9c4de", "#dfeaf5", "#ffffff", "#2f6b5a")),
    "city": (_city, ("#9fb4c7", "#5b6b86", "#47546e", "#ffe27a", "#33363f", "#e8e8e8")),
    "space": (_space, ("#08060f", "#ffffff", "#e08a4f", "#ffd9a0", "#3fa7a0", "#6fd0b8")),
}
_DARK: Final = frozenset({"night", "space"})


@cache
def scene(name: str, mirrored: bool) -> Scene:
    """Draw one of the scenes, seen one way or the other."""
    draw, colours = _DRAWN[name]
    paper = Image.new("L", (SIZE, SIZE))
    draw(ImageDraw.Draw(paper))
    cells = np.asarray(paper)
    palette = np.array([tuple(bytes.fromhex(colour[1:])) for colour in colours], np.uint8)
    return Scene(cells=cells[:, ::-1].copy() if mirrored else cells, palette=palette, dark=name in _DARK)
