"""Edges of a picture (Canny, 1986), as the maps that ControlNets for edges were trained with: those of OpenCV.

Sobel of 3x3 pixels without a blur before it, of each pixel the channel that changes most, the sum of both directions
for their length, thresholds of 100 and 200.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_Numbers: TypeAlias = NDArray[np.int64]
_Flags: TypeAlias = NDArray[np.bool_]

LOW: Final = 100
HIGH: Final = 200

_TANGENT: Final = 13573
"""tan(22.5°) times 2^15: directions are told in whole numbers, so that no rounding decides."""


def canny(picture: Image.Image, *, low: int = LOW, high: int = HIGH) -> Image.Image:
    """Return the edges, white on black, in RGB, of the same size.

    Args:
        picture: Any picture; it is read in RGB.
        low: Changes above this are edges where they are connected to a strong one.
        high: Changes above this are strong.
    """
    across, down = _gradients(np.asarray(picture.convert("RGB")).astype(np.int64))
    length = np.abs(across) + np.abs(down)
    thin = (length > low) & _crests(across, down, length)
    found = _connected(thin, thin & (length > high))
    return Image.fromarray(np.where(found, np.uint8(255), np.uint8(0))).convert("RGB")


def _gradients(values: _Numbers) -> tuple[_Numbers, _Numbers]:
    """Return how each pixel changes across and down, shape (height, width), of the channel that changes most."""
    edged = np.pad(values, ((1, 1), (1, 1), (0, 0)), mode="edge")
    smooth = edged[:-2] + 2 * edged[1:-1] + edged[2:]
    across = smooth[:, 2:] - smooth[:, :-2]
    smooth = edged[:, :-2] + 2 * edged[:, 1:-1] + edged[:, 2:]
    down = smooth[2:] - smooth[:-2]
    most = (np.abs(across) + np.abs(down)).argmax(axis=2)[..., None]
    return np.take_along_axis(across, most, 2)[..., 0], np.take_along_axis(down, most, 2)[..., 0]


def _crests(across: _Numbers, down: _Numbers, length: _Numbers) -> _Flags:
    """Say where a change is the longest along its own direction, of four; beyond the borders nothing changes."""
    around = np.pad(length, 1)
    height, width = length.shape

    def neighbour(rows: int, columns: int) -> _Numbers:
        return around[1 + rows : 1 + rows + height, 1 + columns : 1 + columns + width]

    run, rise = np.abs(across) * _TANGENT, np.abs(down) << 15
    level = rise < run
    upright = ~level & (rise > run + (np.abs(across) << 16))
    falling = ~level & ~upright & ((across ^ down) >= 0)
    rising = ~level & ~upright & ~falling
    crests: _Flags = (
        (level & (length > neighbour(0, -1)) & (length >= neighbour(0, 1)))
        | (upright & (length > neighbour(-1, 0)) & (length >= neighbour(1, 0)))
        | (falling & (length > neighbour(-1, -1)) & (length > neighbour(1, 1)))
        | (rising & (length > neighbour(-1, 1)) & (length > neighbour(1, -1)))
    )
    return crests


def _connected(thin: _Flags, strong: _Flags) -> _Flags:
    """Return the edges that touch a strong one, over any number of neighbours of eight."""
    left = np.pad(thin, 1)
    flat = left.reshape(-1)
    width = left.shape[1]
    steps = np.array([-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1])
    front = np.flatnonzero(np.pad(strong, 1))
    found = np.zeros(flat.shape, dtype=np.bool_)
    while front.size:
        found[front] = True
        flat[front] = False
        near = np.unique(front[:, None] + steps)
        front = near[flat[near]]
    return found.reshape(left.shape)[1:-1, 1:-1]
