"""What a network of transformers wants to be shown: a picture, resized, cropped and normalised as its folder says.

Done here, by Pillow, whatever image processor the installed transformers would take: those of its torchvision backend
give other pixels, and with them other features, on machines that have torchvision.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

from ...errors import InputError
from .weights import read_object

if TYPE_CHECKING:
    from numpy.typing import NDArray

Triple = tuple[float, float, float]

CLIP_MEAN: Final[Triple] = (0.48145466, 0.4578275, 0.40821073)
CLIP_SPREAD: Final[Triple] = (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN: Final[Triple] = (0.485, 0.456, 0.406)
IMAGENET_SPREAD: Final[Triple] = (0.229, 0.224, 0.225)

_LARGEST: Final = 2048
"""Pixels; no published network looks at more than 1,024."""
_FARTHEST: Final = 1e6
"""Of a mean or a spread, either way; whole numbers in JSON have no bound of their own."""
_LARGEST_RESIZED: Final = 1 << 15
"""Pixels of the longer side, up to which all of a picture is resized before its middle is cut out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """How pictures are prepared."""

    shown: int
    """Pixels of each side of what the network sees."""
    edge: int
    """Pixels to which the shorter side is resized before the middle is cut out."""
    whole: bool = False
    """Squeeze the whole picture into the square instead."""
    resample: Image.Resampling = Image.Resampling.BICUBIC
    mean: Triple
    spread: Triple

    @property
    def signature(self) -> str:
        """Its part of a metric's signature: `prep=pil-bicubic-224`, and `-of-256` where the middle is cut out of more.

        >>> Preparation(shown=224, edge=256, mean=CLIP_MEAN, spread=CLIP_SPREAD).signature
        'prep=pil-bicubic-224-of-256'
        """
        cut = "-squeezed" if self.whole else f"-of-{self.edge}" if self.edge != self.shown else ""
        return f"prep=pil-{self.resample.name.lower()}-{self.shown}{cut}"

    def prepare(self, picture: Image.Image) -> NDArray[np.float32]:
        """Return the pixels of an RGB picture, float32, shape (3, shown, shown)."""
        pixels = np.array(self._cut(picture), dtype=np.float32)
        pixels /= 255
        pixels -= np.array(self.mean, dtype=np.float32)
        pixels /= np.array(self.spread, dtype=np.float32)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))

    def _cut(self, picture: Image.Image) -> Image.Image:
        size = (self.shown, self.shown)
        if self.whole:
            return picture.resize(size, self.resample)
        width, height = (self.edge * length // min(picture.size) for length in picture.size)
        left, upper = (width - self.shown) // 2, (height - self.shown) // 2
        if max(width, height) <= _LARGEST_RESIZED:
            whole = picture.resize((width, height), self.resample)
            return whole.crop((left, upper, left + self.shown, upper + self.shown))
        # In one step, to a rounding: all of a picture of 20,000 x 1 would be millions of pixels wide.
        across, down = picture.width / width, picture.height / height
        box = (left * across, upper * down, (left + self.shown) * across, (upper + self.shown) * down)
        return picture.resize(size, self.resample, box=box)


def read_preparation(folder: Path, side: int, *, mean: Triple, spread: Triple, fixed: bool = True) -> Preparation:
    """Read a folder's `preprocessor_config.json`; what it leaves open is as given.

    Args:
        folder: The network's folder.
        side: Pixels of each side that the network takes, or, of one that takes any, was made for.
        mean: Of the pictures that it was trained on.
        spread: Their standard deviation.
        fixed: Whether the network takes no other side.

    Raises:
        InputError: what it asks for is no picture that the network takes.
    """
    asked = _settings(folder)
    size = asked.get("size", side)
    edge, crop, whole = _sides(asked, size, side)
    told_mean, told_spread = _triple(asked.get("image_mean"), mean), _triple(asked.get("image_std"), spread)
    if not asked.get("do_normalize", True):
        told_mean, told_spread = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    resample = asked.get("resample", 3)
    if (
        edge is None
        or crop is None
        or edge < crop
        or (fixed and crop != side)
        or told_mean is None
        or told_spread is None
        or min(told_spread) <= 0
        or isinstance(resample, bool)
        or resample not in [int(way) for way in Image.Resampling]
    ):
        shown = f" ({side} x {side} pixels)" if fixed else ""
        raise InputError(
            f"{folder / 'preprocessor_config.json'} asks for pictures that the network does not take{shown}"
        )
    way = Image.Resampling(resample)
    return Preparation(shown=crop, edge=edge, whole=whole, resample=way, mean=told_mean, spread=told_spread)


def _sides(asked: dict[str, Any], size: object, side: int) -> tuple[int | None, int | None, bool]:
    """Return the shorter side's pixels, those of the square that is cut out, and whether all is squeezed into it."""
    edge = _side(size, side)
    if "crop_pct" in asked:  # ConvNext's processor, which ResNet has too: up to 384 the middle, and then all of it
        share = asked["crop_pct"] if asked["crop_pct"] is not None else 224 / 256
        if edge is None or not isinstance(share, int | float) or not 0.1 <= share <= 1:
            return None, None, False
        return (edge, edge, True) if edge >= 384 else (int(edge / share), edge, False)
    if not asked.get("do_center_crop", True):
        return edge, edge, True
    crop = _side(asked.get("crop_size"), side)
    # A height and a width are both kept to; the shorter edge leaves the longer one to be cut.
    return edge, crop, edge == crop and isinstance(size, dict) and "height" in size


def _settings(folder: Path) -> dict[str, Any]:
    """Return the image processor's settings; newer folders keep them within the processor's."""
    if asked := read_object(folder / "preprocessor_config.json"):
        return asked
    within = read_object(folder / "processor_config.json").get("image_processor")
    return within if isinstance(within, dict) else {}


def _side(size: object, default: int) -> int | None:
    """Return the pixels of a side of a square that is given as a number or by the names of its sides."""
    if size is None:
        return default
    if isinstance(size, dict):
        sides = {size[name] for name in ("shortest_edge", "height", "width") if isinstance(size.get(name), int)}
        size = sides.pop() if len(sides) == 1 else None
    return size if isinstance(size, int) and not isinstance(size, bool) and 1 <= size <= _LARGEST else None


def _triple(values: object, default: Triple) -> Triple | None:
    if values is None:
        return default
    if not (isinstance(values, list) and len(values) == 3):
        return None
    if not all(isinstance(value, int | float) and abs(value) <= _FARTHEST for value in values):
        return None
    red, green, blue = (float(value) for value in values)
    return red, green, blue
