"""From large latents to a picture, tile by tile and in bounded memory, and from a picture to latents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..latents import scaled, unscaled
from .windows import Size, Window, tile_overlap, tiles

_EDGE = 0.25
"""The share of the overlap, at a tile's edge, that is not used: the decoder has not seen what lies beyond."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A picture out of latents."""

    pixels: NDArray[np.uint8]
    """Shape (height, width, 3)."""
    finite: bool
    """Whether every number of the decoder was one; the others are black."""


@torch.no_grad()
def decode(vae: Any, latents: Tensor, native: int, told: Callable[[int, int], None] | None = None) -> Decoded:
    """Decode latents in tiles of the model's own size, blended where they overlap.

    Beside the finished picture, one row of tiles is held.

    Args:
        vae: `AutoencoderKL` or `AutoencoderTiny` of diffusers, in the precision in which it is to work.
        latents: As the denoiser leaves them, shape (1, channels, height, width).
        native: The side of the latents that the model was trained on.
        told: Called after every tile with its number, from 1, and how many there are; may raise.
    """
    size = latents.shape[-2], latents.shape[-1]
    windows = tiles(size, native)
    picture: _Picture | None = None
    number = 0
    for _, row in groupby(windows, key=lambda window: window.top):
        for window in row:
            piece = latents[..., *window.slices]
            pixels = vae.decode(unscaled(vae, piece).to(vae.device, vae.dtype), return_dict=False)[0][0].float().cpu()
            if picture is None:
                picture = _Picture(size, window, tile_overlap(native), pixels.shape[-1] // window.width)
            picture.add(window, pixels)
            number += 1
            if told is not None:
                told(number, len(windows))
    if picture is None:
        raise ValueError("the latents are empty")
    return Decoded(picture.finished(), picture.finite)


@torch.no_grad()
def encode(vae: Any, pixels: Tensor, native: int) -> Tensor:
    """Return the latents of a picture on the denoiser's scale, float32, shape (1, channels, height, width).

    Args:
        vae: `AutoencoderKL` or `AutoencoderTiny` of diffusers.
        pixels: Between -1 and 1, shape (1, 3, height, width).
        native: The side in pixels that the model was trained on; a larger picture is encoded in tiles.
    """
    tiled = bool(vae.use_tiling)
    try:
        if max(pixels.shape[-2:]) > native:
            vae.enable_tiling()
        output = vae.encode(pixels.to(vae.device, vae.dtype))
    finally:
        vae.use_tiling = tiled
    return scaled(vae, (output.latent_dist.mode() if hasattr(output, "latent_dist") else output.latents).float())


class _Picture:
    """Blends tiles; holds what lies in the row of tiles that is being decoded as numbers, and all above as bytes."""

    def __init__(self, size: Size, tile: Window, overlap: int, factor: int) -> None:
        height, width = size
        self._size, self._overlap, self._factor = size, overlap, factor
        self._pixels = np.empty((height * factor, width * factor, 3), np.uint8)
        self._total = torch.zeros(3, tile.height * factor, width * factor)
        self._weight = torch.zeros(tile.height * factor, width * factor)
        self._top = 0
        self.finite = True

    def add(self, window: Window, pixels: Tensor) -> None:
        factor = self._factor
        if window.top > self._top:
            self._write(window.top - self._top)
            self._top = window.top
        self.finite = self.finite and bool(pixels.isfinite().all())
        down = self._ramp(window.top, window.height, self._size[0])
        across = self._ramp(window.left, window.width, self._size[1])
        weight = down[:, None] * across
        columns = slice(window.left * factor, (window.left + window.width) * factor)
        self._total[..., columns] += pixels.nan_to_num(-1.0, 1.0, -1.0) * weight
        self._weight[..., columns] += weight

    def finished(self) -> NDArray[np.uint8]:
        self._write(self._size[0] - self._top)
        return self._pixels

    def _write(self, rows: int) -> None:
        """Write the upper rows down for good, and move the others up."""
        factor = self._factor
        done, top = rows * factor, self._top * factor
        mean = self._total[:, :done] / self._weight[:done]
        levels = ((mean / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
        self._pixels[top : top + done] = levels.permute(1, 2, 0).numpy()
        for held in (self._total, self._weight):
            held.copy_(torch.cat([held[..., done:, :], torch.zeros_like(held[..., :done, :])], dim=-2))

    def _ramp(self, start: int, length: int, side: int) -> Tensor:
        """Return the weight of every row or column of a tile: it rises within the overlap with a neighbour."""
        overlap = self._overlap * self._factor
        place = torch.arange(length * self._factor) + 0.5
        edge = overlap * _EDGE
        rise = ((place - edge) / max(overlap - 2 * edge, 1)).clamp(0, 1)
        ones = torch.ones_like(rise)
        return (ones if start == 0 else rise) * (ones if start + length == side else rise.flip(0))
