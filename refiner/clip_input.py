"""What a CLIP model wants to be shown: a picture, resized, cropped and normalised as its folder says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

from ..errors import InputError

if TYPE_CHECKING:
    from ..protocols import Vectors

_MEAN: Final = (0.48145466, 0.4578275, 0.40821073)
_SPREAD: Final = (0.26862954, 0.26130258, 0.27577711)
"""Of the pictures that OpenAI trained on; what transformers takes where a folder does not say."""
_LARGEST: Final = 2048
"""Pixels; no published model looks at more than 1,024."""
_FARTHEST: Final = 1e6
"""Of a mean or a spread, either way; whole numbers in JSON have no bound of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipInput:
    """How pictures are prepared."""

    shown: int
    """Pixels of each side of what the model sees."""
    edge: int
    """Pixels to which the shorter side is resized before the middle is cut out."""
    whole: bool = False
    """Squeeze the whole picture into the square instead."""
    resample: Image.Resampling = Image.Resampling.BICUBIC
    mean: tuple[float, float, float] = _MEAN
    spread: tuple[float, float, float] = _SPREAD

    def prepare(self, pictures: Sequence[Image.Image]) -> Vectors:
        """Return the pixels of pictures, shape (len(pictures), 3, shown, shown)."""
        pixels = np.empty((len(pictures), self.shown, self.shown, 3), dtype=np.float32)
        for place, picture in enumerate(pictures):
            pixels[place] = np.asarray(self._cut(picture.convert("RGB")))
        pixels /= 255
        pixels -= np.array(self.mean, dtype=np.float32)
        pixels /= np.array(self.spread, dtype=np.float32)
        return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))

    def _cut(self, picture: Image.Image) -> Image.Image:
        size = (self.shown, self.shown)
        if self.whole:
            return picture.resize(size, self.resample)
        # Resized, and the middle cut out, in one step: all of a picture of 20,000 x 1 would be millions of pixels wide.
        ends = [self._middle(length, min(picture.size)) for length in picture.size]
        return picture.resize(size, self.resample, box=(ends[0][0], ends[1][0], ends[0][1], ends[1][1]))

    def _middle(self, length: int, shorter: int) -> tuple[float, float]:
        """Return what is left of a side, in pixels, when the shorter side has become `edge` and the middle is cut."""
        resized = self.edge * length // shorter
        start = (resized - self.shown) // 2
        return start * length / resized, (start + self.shown) * length / resized


def read_clip_input(folder: Path, image_size: int) -> ClipInput:
    """Read a folder's `preprocessor_config.json`; without one pictures are prepared as OpenAI's models want it.

    Args:
        folder: The model's folder.
        image_size: Pixels of each side that its network takes.

    Raises:
        InputError: what it asks for is no picture that the network takes.
    """
    asked = _read(folder)
    size = asked.get("size", image_size)
    edge = _side(size, image_size)
    crop = _side(asked.get("crop_size"), image_size) if asked.get("do_center_crop", True) else edge
    # A height and a width are both kept to; the shorter edge leaves the longer one to be cut.
    whole = edge == crop and (not asked.get("do_center_crop", True) or (isinstance(size, dict) and "height" in size))
    mean, spread = _triple(asked.get("image_mean"), _MEAN), _triple(asked.get("image_std"), _SPREAD)
    if not asked.get("do_normalize", True):
        mean, spread = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    resample = asked.get("resample", 3)
    fits = crop == image_size and edge is not None and edge >= image_size
    if (
        not fits
        or edge is None
        or mean is None
        or spread is None
        or min(spread) <= 0
        or resample not in list(Image.Resampling)
    ):
        raise InputError(
            f"{folder / 'preprocessor_config.json'} asks for pictures that the model does not take "
            f"({image_size} x {image_size} pixels)"
        )
    return ClipInput(
        shown=image_size, edge=edge, whole=whole, resample=Image.Resampling(resample), mean=mean, spread=spread
    )


def _read(folder: Path) -> dict[str, Any]:
    """Return the image processor's settings; newer folders keep them within the processor's."""
    for name, part in (("preprocessor_config.json", None), ("processor_config.json", "image_processor")):
        path = folder / name
        if not path.is_file():
            continue
        try:
            asked = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{path} cannot be read ({type(error).__name__})") from None
        asked = asked.get(part) if part is not None and isinstance(asked, dict) else asked
        if isinstance(asked, dict):
            return asked
    return {}


def _side(size: object, default: int) -> int | None:
    """Return the pixels of a side of a square that is given as a number or by the names of its sides."""
    if size is None:
        return default
    if isinstance(size, dict):
        sides = {size[name] for name in ("shortest_edge", "height", "width") if isinstance(size.get(name), int)}
        size = sides.pop() if len(sides) == 1 else None
    return size if isinstance(size, int) and not isinstance(size, bool) and 1 <= size <= _LARGEST else None


def _triple(values: object, default: tuple[float, float, float]) -> tuple[float, float, float] | None:
    if values is None:
        return default
    if not (isinstance(values, list) and len(values) == 3):
        return None
    if not all(isinstance(value, int | float) and abs(value) <= _FARTHEST for value in values):
        return None
    red, green, blue = (float(value) for value in values)
    return red, green, blue
