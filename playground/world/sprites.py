"""Reads a subject's drawing and gives it an outline and a bevel lit from the top left."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from .sprites_base import SPRITES as BASE
from .sprites_new import SPRITES as NEW

Codes = npt.NDArray[np.uint8]

NOTHING, INK, MAIN, SHADE, LIGHT, WHITE, BROWN, LEAF, GOLD, WARM, GLASS, GREY, DARK = range(13)
"""What one pixel of a sprite is. The caption's colour gives `MAIN`, `SHADE` and `LIGHT`; the rest is fixed."""

FRAME: Final = 24
"""A sprite with its outline lies in the middle of a square of this many pixels."""

_LETTERS: Final = dict(zip(".kmshwbgyrcln", range(13), strict=True)) | {"#": INK}

_SAME_FROM_BOTH_SIDES: Final = frozenset({"ball", "balloon", "box", "tree", "heart", "sword", "snowman"})
"""Subjects that are not mirrored: their lights would move to the wrong side."""


@cache
def sprite(subject: str, mirrored: bool) -> Codes:
    """Return the sprite as codes of shape (`FRAME`, `FRAME`)."""
    rows = [_whole(row) for row in (BASE | NEW)[subject].split()]
    if mirrored and subject not in _SAME_FROM_BOTH_SIDES:
        rows = [row[::-1] for row in rows]
    drawing = np.array([[_LETTERS[letter] for letter in row] for row in rows], np.uint8)
    lines = np.array([[letter == "#" for letter in row] for row in rows])
    return finished(drawing, lines)


def finished(drawing: Codes, lines: npt.NDArray[np.bool_] | None = None) -> Codes:
    """Return a drawing in the middle of its frame, with outline and bevel.

    Args:
        drawing: Codes of at most `FRAME` - 2 rows and columns.
        lines: Where a line parts two of its pieces, shaped like the drawing.

    """
    framed = _centred(drawing)
    edge = framed == NOTHING
    if lines is not None:
        edge |= _centred(lines.astype(np.uint8)).astype(bool)
    return _outlined(_bevelled(framed, edge))


def _whole(row: str) -> str:
    return row[:-1] + row[-2::-1] if row.endswith("|") else row


def _centred(drawing: Codes) -> Codes:
    height, width = drawing.shape
    framed = np.zeros((FRAME, FRAME), np.uint8)
    top, left = (FRAME - height) // 2, (FRAME - width) // 2
    framed[top : top + height, left : left + width] = drawing
    return framed


def _bevelled(codes: Codes, edge: npt.NDArray[np.bool_]) -> Codes:
    """Shade the main colour at the lower right of each part, deeper where it is thick, and light its upper left."""
    walled = np.pad(edge, 2, constant_values=True)

    def beside(down: int, right: int) -> npt.NDArray[np.bool_]:
        return walled[2 + down : 2 + down + FRAME, 2 + right : 2 + right + FRAME]

    main = codes == MAIN
    shaded = main & (beside(1, 1) | (beside(2, 2) & ~beside(-2, -2)))
    lit = main & ~shaded & (beside(-1, -1) | beside(-1, 0))
    return np.where(shaded, SHADE, np.where(lit, LIGHT, codes)).astype(np.uint8)


def _outlined(codes: Codes) -> Codes:
    inside = np.pad(codes != NOTHING, 1)
    near = inside[:-2, 1:-1] | inside[2:, 1:-1] | inside[1:-1, :-2] | inside[1:-1, 2:]
    return np.where((codes == NOTHING) & near, INK, codes).astype(np.uint8)
