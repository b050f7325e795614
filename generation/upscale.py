"""Plain upscaling: interpolation, or an upscaling model. The cheap comparison for what paints the details anew."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ..errors import InputError
from .esrgan import CompactNet, RRDBNet, load_upscaling_model

_TILE = 256
"""Pixels of a side of what passes through the model at once."""
_OVERLAP = 32
"""Pixels that neighbouring tiles share at least. The quarter at a tile's edge is not used: the model has not seen what
lies beyond."""


class Upscaler:
    """Enlarges pictures to a given size.

    Args:
        path: An upscaling model's `.safetensors` file; None interpolates (Lanczos).
        device: Where the model runs: `cpu`, `cuda`, `mps`.
        tile: Pixels of a side of what passes through the model at once, which bounds the memory.

    Raises:
        InputError: the tiles are too small.
        UnreadableFile: the model is not there, a pickle, damaged, or of no known architecture.
    """

    def __init__(
        self, path: str | Path | None = None, *, device: str | torch.device = "cpu", tile: int = _TILE
    ) -> None:
        if tile < 2 * _OVERLAP:
            raise InputError(f"the tiles must be at least {2 * _OVERLAP} pixels large, not {tile}")
        self._model = None if path is None else load_upscaling_model(Path(path).expanduser()).to(device)
        self._device, self._tile = device, tile

    @property
    def scale(self) -> int | None:
        """How many times larger the model makes a picture; None where it is interpolated."""
        return None if self._model is None else self._model.scale

    def upscale(
        self, image: Image.Image, width: int, height: int, *, progress: Callable[[float], None] | None = None
    ) -> Image.Image:
        """Return the picture at the size asked for.

        The model runs as often as it takes to reach that size, once at least, and Lanczos brings what it made to it.

        Args:
            image: In RGB.
            width: Pixels.
            height: Pixels.
            progress: Called after every tile with the share that is done, 0 to 1; what it raises ends the work.

        Raises:
            InputError: the size is not positive, or the model makes no numbers of the picture.
        """
        if min(width, height) < 1:
            raise InputError(f"a picture cannot be {width} x {height} pixels large")
        image = image.convert("RGB")
        if self._model is None:
            tiles = _Count(1, progress)
            tiles.made()
        else:
            grids = self._grids(self._model.scale, image.size, (width, height))
            tiles = _Count(sum(len(across) * len(down) for across, down in grids), progress)
            for across, down in grids:
                image = self._enlarged(self._model, image, across, down, tiles)
        return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.LANCZOS)

    def _grids(
        self, scale: int, size: tuple[int, int], wanted: tuple[int, int]
    ) -> list[tuple[list[_Span], list[_Span]]]:
        """Return the tiles' columns and rows for each pass that it takes until no side is too short."""
        grids: list[tuple[list[_Span], list[_Span]]] = []
        while not grids or (scale > 1 and any(have < want for have, want in zip(size, wanted, strict=True))):
            grids.append((_spread(size[0], self._tile), _spread(size[1], self._tile)))
            size = (size[0] * scale, size[1] * scale)
        return grids

    def _enlarged(
        self, model: RRDBNet | CompactNet, image: Image.Image, across: list[_Span], down: list[_Span], tiles: _Count
    ) -> Image.Image:
        """Pass a picture through the model once.

        The tiles of a row fade into one another, and then the rows do: where four tiles meet, no edge shows.
        """
        scale = model.scale
        larger = Image.new("RGB", (image.width * scale, image.height * scale))
        for row in down:
            strip = Image.new("RGB", (larger.width, scale * (row.end - row.start)))
            for column in across:
                made = self._made(model, image.crop((column.start, row.start, column.end, row.end)))
                strip.paste(made, (scale * column.start, 0), _mask(made.size, column.fade(scale)[None, :]))
                tiles.made()
            larger.paste(strip, (0, scale * row.start), _mask(strip.size, row.fade(scale)[:, None]))
        return larger

    def _made(self, model: RRDBNet | CompactNet, piece: Image.Image) -> Image.Image:
        values = torch.from_numpy(np.array(piece)).to(self._device).permute(2, 0, 1).unsqueeze(0) / 255
        with torch.no_grad():
            made = model(values)[0]
        if not made.isfinite().all():
            raise InputError("the upscaling model makes no numbers of the picture; take another one")
        pixels: NDArray[np.uint8] = (made.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        return Image.fromarray(pixels)


@dataclass(slots=True)
class _Count:
    """Counts the tiles that are made, and tells."""

    total: int
    progress: Callable[[float], None] | None
    done: int = 0

    def made(self) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(self.done / self.total)


@dataclass(frozen=True, slots=True)
class _Span:
    """Where a row or column of tiles lies."""

    start: int
    end: int
    overlap: int
    """How far the one before reaches into it."""

    def fade(self, scale: int) -> NDArray[np.float64]:
        """Return how much of it is shown where it is some times larger: 0 to 1 over the middle of the overlap."""
        places = (np.arange(scale * (self.end - self.start)) + 0.5) / scale
        if self.overlap == 0:
            return np.ones(len(places))
        return np.clip(2 * places / self.overlap - 0.5, 0.0, 1.0)


def _spread(length: int, side: int) -> list[_Span]:
    """Spread tiles evenly over a length."""
    if length <= side:
        return [_Span(0, length, 0)]
    last = math.ceil((length - _OVERLAP) / (side - _OVERLAP)) - 1
    starts = [number * (length - side) // last for number in range(last + 1)]
    overlaps = [0, *(before + side - start for before, start in itertools.pairwise(starts))]
    return [_Span(start, start + side, overlap) for start, overlap in zip(starts, overlaps, strict=True)]


def _mask(size: tuple[int, int], shown: NDArray[np.float64]) -> Image.Image:
    return Image.fromarray(np.broadcast_to((255 * shown).round().astype(np.uint8), size[::-1]))
