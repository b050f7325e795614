"""Drawings of nothing in particular: what a style is practised on, so that it learns to follow any outline."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from .sprites import BROWN, DARK, FRAME, GLASS, GOLD, GREY, LEAF, MAIN, NOTHING, WARM, WHITE, Codes, finished

Mask = npt.NDArray[np.bool_]

_SIDE: Final = FRAME - 2
"""An outline goes round the drawing."""
_DETAILS: Final = (WHITE, WHITE, DARK, GOLD, WARM, GLASS, GREY, BROWN, LEAF)


def doodle(number: int) -> Codes:
    """Return a drawing of overlapping shapes with details on them, as `sprites.sprite` returns a subject's.

    Args:
        number: Decides the drawing.

    """
    lot = np.random.default_rng(number)
    alike = lot.random() < 0.65

    def shapes(count: int, least: float, most: float) -> Mask:
        found = np.zeros((_SIDE, _SIDE), np.bool_)
        for _ in range(count):
            found |= _shape(lot, least, most)
        return found | found[:, ::-1] if alike else found

    body = shapes(int(lot.integers(2, 5)), 3.0, 8.5)
    drawing = np.where(body, MAIN, NOTHING).astype(np.uint8)
    for _ in range(int(lot.integers(1, 5))):
        drawing[shapes(1, 1.0, 3.5) & body] = lot.choice(_DETAILS)
    return finished(drawing)


def _shape(lot: np.random.Generator, least: float, most: float) -> Mask:
    """Return a leaning ellipse, rectangle or rhombus near the middle."""
    down, right = lot.uniform(-6, 6, 2)
    high, wide = lot.uniform(least, most, 2)
    turn = lot.choice([0.0, 0.0, lot.uniform(0, np.pi)])
    rows, columns = np.mgrid[:_SIDE, :_SIDE] - (_SIDE - 1) / 2
    rows, columns = rows - down, columns - right
    along = np.abs(rows * np.cos(turn) + columns * np.sin(turn)) / high
    across = np.abs(columns * np.cos(turn) - rows * np.sin(turn)) / wide
    kind = lot.integers(3)
    distance = np.hypot(along, across) if kind == 0 else np.maximum(along, across) if kind == 1 else along + across
    return np.asarray(distance <= 1)
