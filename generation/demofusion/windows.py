"""Where the views of a large latent lie: shifted windows, and dilated views of the whole. Lengths are in cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

_TILE_OVERLAP = 0.25
"""The share of a tile that its neighbour covers, too, at least."""
_SMALLEST_TILE = 64

Size = tuple[int, int]
"""Height and width."""
Jitter = Callable[[int, int], int]
"""Draws a whole number between two, both of them included."""


class Window(NamedTuple):
    """A view of a latent: a rectangle of its cells."""

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


def starts(length: int, window: int, stride: int) -> list[int]:
    """Return where windows begin on one side; the last ends with it.

    >>> starts(256, 128, 64), starts(200, 128, 64), starts(100, 128, 64)
    ([0, 64, 128], [0, 64, 72], [0])
    """
    if length <= window:
        return [0]
    count = -(-(length - window) // stride) + 1
    return [min(number * stride, length - window) for number in range(count)]


def grid(size: Size, window: int, stride: int) -> tuple[Window, ...]:
    """Return the windows that cover a latent, row by row (MultiDiffusion, section 4).

    Args:
        size: Of the latent.
        window: A window's side; where the latent is narrower, its windows are as wide as it is.
        stride: From window to window, at most `window`.
    """
    height, width = (min(window, side) for side in size)
    rows, columns = (starts(side, window, stride) for side in size)
    return tuple(Window(top, left, height, width) for top in rows for left in columns)


def margin(window: int, stride: int) -> int:
    """Return how far a window may be shifted, so that neighbours still touch (DemoFusion, section 3.2)."""
    return (window - stride) // 4


def shifted(windows: Sequence[Window], size: Size, reach: int, jitter: Jitter) -> list[Window]:
    """Shift every window by chance, in the frame of the latent with `reach` cells of padding on every side.

    A window at an edge is shifted outwards only, into the padding, and one that ends at both edges of a side stays.

    Args:
        windows: In the latent's own frame.
        size: Of the latent.
        reach: The largest shift.
        jitter: Draws the shifts: of each window first the one to the side, then the one down.
    """

    def shift(start: int, length: int, side: int) -> int:
        first, last = start == 0, start + length == side
        if first and last:
            return 0
        return jitter(0 if last else -reach, 0 if first else reach)

    def moved(window: Window) -> Window:
        left = shift(window.left, window.width, size[1])
        top = shift(window.top, window.height, size[0])
        return window._replace(top=window.top + top + reach, left=window.left + left + reach)

    return [moved(window) for window in windows]


def offsets(dilation: int) -> Iterator[Size]:
    """Yield the first cells of the views that take every `dilation`-th row and column (DemoFusion, section 3.4)."""
    return ((top, left) for top in range(dilation) for left in range(dilation))


def padding(size: Size, dilation: int) -> Size:
    """Return the rows above and the columns to the left that make both sides a multiple of `dilation`."""
    return -size[0] % dilation, -size[1] % dilation


def tiles(size: Size, native: int) -> tuple[Window, ...]:
    """Return the tiles in which a latent is decoded, row by row.

    Args:
        size: Of the latent.
        native: The side of the latents that the model was trained on, which is the tiles'; no less than 64.

    >>> [len(tiles((side, side), 128)) for side in (128, 256, 384, 512, 1024)]
    [1, 9, 16, 25, 121]
    """
    tile = max(native, _SMALLEST_TILE)
    return grid(size, tile, tile - tile_overlap(native))


def tile_overlap(native: int) -> int:
    """Return how far neighbouring tiles overlap at least."""
    return int(max(native, _SMALLEST_TILE) * _TILE_OVERLAP)
