"""The clean resize: what clean-fid does to a picture before the Inception network, to the bit.

Each channel is resized for itself as 32-bit floats by Pillow's bicubic filter, which smooths where it shrinks, and
clipped to 0 to 255 without rounding (Parmar et al., "On Aliased Resizing and Surprising Subtleties in GAN Evaluation",
CVPR 2022; clean-fid 0.1.35, `build_resizer("clean")`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    Pixels = NDArray[np.float32]

Resize = Literal["pil", "torch"]
Crop = Literal["squeeze", "centre"]


def clean_resize(picture: Image.Image, side: int = 299) -> Pixels:
    """Return an RGB picture's pixels, squeezed into a square: float32, 0 to 255, shape (3, side, side)."""
    channels = [
        np.asarray(channel.convert("F").resize((side, side), Image.Resampling.BICUBIC)) for channel in picture.split()
    ]
    pixels: Pixels = np.stack(channels).clip(0, 255)
    return pixels


def torch_resize(pictures: NDArray[np.uint8], side: int = 299, *, device: str = "cpu") -> Pixels:
    """Return the same of pictures of one size at once, less than 0.001 grey levels apart.

    In 64 bits: in 32 torch places its samples up to 0.01 levels apart. No faster than Pillow on a CPU; meant for a GPU.

    Args:
        pictures: RGB bytes, shape (pictures, height, width, 3).
        side: Pixels of each side of the square.
        device: Where it is computed.

    Returns:
        float32, 0 to 255, shape (pictures, 3, side, side).
    """
    import torch
    from torch.nn.functional import interpolate

    given = torch.tensor(pictures, device=device).permute(0, 3, 1, 2).double()
    resized = interpolate(given, size=(side, side), mode="bicubic", antialias=True, align_corners=False)
    pixels: Pixels = resized.clip(0, 255).float().cpu().numpy()
    return pixels


@dataclass(frozen=True, slots=True)
class Squared:
    """How a picture becomes a square for the Inception network."""

    resize: Resize = "pil"
    """`pil` is clean-fid's to the bit; `torch`, for a GPU, less than 0.001 grey levels apart."""
    crop: Crop = "squeeze"
    """`squeeze` takes all of a picture that is no square, as clean-fid does; `centre` its middle."""
    side: int = 299
    device: str = "cpu"
    """Where torch resizes."""

    @property
    def signature(self) -> str:
        """Its part of a metric's signature: `resize=clean`."""
        named = "clean" if self.resize == "pil" else "clean-torch"
        return f"resize={named}" + ("" if self.crop == "squeeze" else f"|crop={self.crop}")

    def prepare(self, picture: Image.Image) -> Pixels:
        """Return an RGB picture's pixels: float32, 0 to 255, shape (3, side, side)."""
        if self.crop == "centre" and picture.width != picture.height:
            edge = min(picture.size)
            left, top = (picture.width - edge) // 2, (picture.height - edge) // 2
            picture = picture.crop((left, top, left + edge, top + edge))
        if self.resize == "pil":
            return clean_resize(picture, self.side)
        pixels: Pixels = torch_resize(np.asarray(picture)[None], self.side, device=self.device)[0]
        return pixels
