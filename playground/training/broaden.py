"""Broadens the base model: everything that it knows in other colours too, and things that have no name.

A base that has only ever seen a dozen outlines in one palette hardly bends: an adapter for a style must then rewrite
all of it, and leaves no room for an adapter of a subject. Real base models have seen every look there is. The new
subjects, scenes and styles stay unknown.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .autoencoder import to_latents
from .base import BaseModel, BaseTask, load_base
from .checkpoint import save_array
from .diffusion import add_noise, draw_noise, draw_times
from .pictures import BASE, to_tensor
from .texts import describe, encode
from .tints import tinted, tinted_caption

if TYPE_CHECKING:
    from ..world import Picture
    from .recipe import Share

NOTHING_MUCH: Final = ("thing", "shape", "figure", "toy", "object")
"""What captions call a doodle."""
_DOODLES, _TINTED = 0.5, 0.6
"""Shares of the varied pictures that show a doodle, and that are in other colours."""


def doodle_caption(caption: str, subject: str, lot: random.Random) -> str:
    """Say of a caption's subject that it is nothing in particular."""
    return re.sub(rf"\b{subject}\b", lot.choice(NOTHING_MUCH), caption)


@dataclass(frozen=True, slots=True)
class Varied:
    """Pictures to broaden the base on: first the tinted ones, and the doodles at every other place."""

    pictures: list[Picture]
    tinted: int

    @classmethod
    def draw(cls, count: int) -> Varied:
        """Draw pictures, the same ones each time."""
        return cls(BASE.draw(random.Random("varied"), count), round(count * _TINTED))  # noqa: S311

    def is_doodle(self, number: int) -> bool:
        """Whether a picture shows a doodle in place of its subject."""
        return number % 10 < 10 * _DOODLES

    def latents(self, autoencoder: Any) -> Tensor:
        """Paint and encode them all."""
        lot, parts = random.Random("tints"), []  # noqa: S311
        for start in range(0, len(self.pictures), 500):
            chunk = range(start, min(start + 500, len(self.pictures)))
            pictures = [self.pictures[number] for number in chunk]
            doodled = torch.tensor([self.is_doodle(number) for number in chunk])[:, None, None, None]
            images = torch.where(doodled, to_tensor(pictures, doodles=start), to_tensor(pictures))
            count = max(0, min(len(pictures), self.tinted - start))
            images[:count] = tinted(images[:count], lot)
            parts.append(to_latents(autoencoder, images))
        return torch.cat(parts)

    def caption(self, number: int, lot: random.Random) -> str:
        """Say what a picture shows."""
        picture = self.pictures[number]
        [text] = describe([picture], lot)
        if self.is_doodle(number):
            text = doodle_caption(text, picture.subject, lot)
        return tinted_caption(text, lot) if number < self.tinted else text


def save_varied(autoencoder: Any, file: Path, count: int) -> None:
    """Write the latents of the varied pictures; a file that is there is kept."""
    if file.is_file():
        return
    save_array(file, Varied.draw(count).latents(autoencoder).half().numpy())


@dataclass(frozen=True)
class BroadTask(BaseTask):
    """Learns varied pictures, and the base's own as often."""

    narrow: Path = Path()
    """The folder of the base model to begin with."""
    others: Path = Path()
    """An array of fp16: the latents of `Varied`."""

    @cached_property
    def varied(self) -> tuple[Varied, Any]:
        """The varied pictures and their latents."""
        coded = np.load(self.others, mmap_mode="r")
        return Varied.draw(len(coded)), coded

    def build(self) -> BaseModel:
        """Return the base model as it is."""
        return load_base(self.narrow)[0].requires_grad_(True)

    def loss(self, model: BaseModel, share: Share) -> Tensor:
        """Return the mean squared error of the velocity, half of it on the base's own pictures."""
        own = share.size // 2
        chosen = self.draw(share.lot, own)
        texts = describe([self.pictures[number] for number in chosen], share.lot, silent=0.1, strayed=0.08)
        varied, coded = self.varied
        others = [share.lot.randrange(len(coded)) for _ in range(share.size - own)]
        texts += ["" if share.lot.random() < 0.1 else varied.caption(number, share.lot) for number in others]
        latents = torch.from_numpy(np.concatenate([self.coded[chosen], coded[others]])).float().to(share.device)
        times = draw_times(share)[torch.randperm(share.size, generator=share.generator)]
        noisy, velocity = add_noise(latents, draw_noise(share, latents), times)
        predicted = model(noisy, times, encode(self.words, texts).to(share.device))
        return functional.mse_loss(predicted.float(), velocity)
