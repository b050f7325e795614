"""Where short labels stand beside their points, so that they hide neither points nor each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ANGLES = (45, 135, -45, -135, 90, -90, 0, 180)
_RADII = (8.0, 12.0, 17.0, 23.0)
_MARKER = 4.0
_TAKEN = 100.0


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in points of 1/72 inch."""

    left: float
    bottom: float
    right: float
    top: float

    def overlap(self, other: Box) -> float:
        """Return the area in common."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return width * height if width > 0 and height > 0 else 0.0


def place_labels(
    anchors: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    lines: NDArray[np.float64],
    frame: Box,
) -> list[tuple[float, float] | None]:
    """Return of each label how far its centre stands from its point; None where every place is taken.

    Earlier labels have the choice. Lengths are in points of 1/72 inch.

    Args:
        anchors: The points.
        sizes: Of each label its width and height.
        lines: Places along what is drawn, better not written over, shape (places, 2).
        frame: The axes; labels stay inside.
    """
    markers = [Box(x - _MARKER, y - _MARKER, x + _MARKER, y + _MARKER) for x, y in anchors]
    placed: list[Box] = []
    offsets: list[tuple[float, float] | None] = []
    for (x, y), (width, height) in zip(anchors, sizes, strict=True):
        best: tuple[float, tuple[float, float], Box] | None = None
        for offset in _offsets(width):
            box = Box(
                x + offset[0] - width / 2,
                y + offset[1] - height / 2,
                x + offset[0] + width / 2,
                y + offset[1] + height / 2,
            )
            cost = math.hypot(*offset) + _cost(box, placed, markers, lines, frame)
            if cost < _TAKEN and (best is None or cost < best[0]):
                best = cost, offset, box
        offsets.append(best[1] if best else None)
        if best:
            placed.append(best[2])
    return offsets


def _offsets(width: float) -> list[tuple[float, float]]:
    """Return places about a point, wide labels pushed further to the side."""
    return [
        (radius * math.cos(math.radians(angle)) + math.cos(math.radians(angle)) * width / 2,
         radius * math.sin(math.radians(angle)))
        for radius in _RADII
        for angle in _ANGLES
    ]  # fmt: skip


def _cost(box: Box, placed: Sequence[Box], markers: Sequence[Box], lines: NDArray[np.float64], frame: Box) -> float:
    if box.left < frame.left or box.right > frame.right or box.bottom < frame.bottom or box.top > frame.top:
        return _TAKEN
    if any(box.overlap(other) for other in placed):
        return _TAKEN
    hidden = sum(box.overlap(marker) for marker in markers)
    inside = (lines[:, 0] > box.left) & (lines[:, 0] < box.right) & (lines[:, 1] > box.bottom) & (lines[:, 1] < box.top)
    return 3 * hidden + 2 * min(int(np.count_nonzero(inside)), 10)
