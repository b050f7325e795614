"""Other colours for pictures that are to be learnt from, as trainers' colour augmentation has them, only wilder.

A subject seen in the base's own colours alone comes to bring these colours along, and no style can be laid on it then.
"""

from __future__ import annotations

import random
from typing import Final

import torch
from torch import Tensor

LOOKS: Final = ("odd", "tinted", "dark", "strange", "other", "pale", "wild")
"""What captions call the look of a tinted picture."""
_TWO_TONED: Final = 0.6
"""Share that is painted anew between two colours; in the others channels change places and are turned over."""
_GREY: Final = torch.tensor([0.299, 0.587, 0.114])
"""How bright red, green and blue are (ITU-R BT.601)."""


def tinted(images: Tensor, lot: random.Random) -> Tensor:
    """Return images from -1 to 1, shape (count, 3, height, width), each in colours of its own."""
    if not len(images):
        return images
    generator = torch.Generator().manual_seed(lot.randrange(2**62))
    return torch.stack([_tint(image, lot, generator) for image in images]).clamp(-1, 1)


def tinted_caption(caption: str, lot: random.Random) -> str:
    """Say of a caption's picture that its look is another."""
    look = lot.choice(LOOKS)
    wordings = (
        f"{caption}, {look} style",
        f"{look} style, {caption}",
        f"a {look} picture of {caption}",
        f"{caption} in {look} style",
    )
    return lot.choice(wordings)


def _tint(image: Tensor, lot: random.Random, generator: torch.Generator) -> Tensor:
    if lot.random() >= _TWO_TONED:
        turned = torch.tensor([lot.choice((-1.0, -1.0, 1.0)) for _ in range(3)])
        return image[torch.randperm(3, generator=generator)] * turned[:, None, None]
    bright = ((image * _GREY[:, None, None]).sum(0, keepdim=True) + 1) / 2
    dark, light = 2 * torch.rand(2, 3, generator=generator) - 1
    if (dark - light).abs().sum() < 1.5:  # too alike to see anything by
        light = -dark.sign() * torch.rand(3, generator=generator)
    toned = dark[:, None, None] * (1 - bright) + light[:, None, None] * bright
    left = 0.4 * lot.random()
    mixed: Tensor = (1 - left) * toned + left * lot.choice((1, -1)) * image
    return mixed
