"""Pictures of the painted world as tensors."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor

from ..world import (
    BASE_SCENES,
    BASE_SUBJECTS,
    COLOURS,
    SCENES,
    STYLES,
    SUBJECTS,
    VARIANTS,
    Picture,
    doodle,
    draw,
    paint,
)

if TYPE_CHECKING:
    import random

PARTS: Final[dict[str, tuple[str, ...]]] = {
    "subject": SUBJECTS,
    "colour": COLOURS,
    "scene": SCENES,
    "style": STYLES,
}
"""What a picture is made of, and what each part can be, in the order of classifiers."""


@dataclass(frozen=True, slots=True)
class Choices:
    """The part of the world that pictures are drawn from."""

    subjects: tuple[str, ...] = SUBJECTS
    scenes: tuple[str, ...] = SCENES
    styles: tuple[str, ...] = STYLES

    def draw(self, lot: random.Random, count: int) -> list[Picture]:
        """Draw pictures by lot."""
        return [draw(lot, subjects=self.subjects, scenes=self.scenes, styles=self.styles) for _ in range(count)]

    def every(self) -> list[Picture]:
        """Return every picture there is."""
        return [
            Picture(subject=subject, colour=colour, scene=scene, style=style, variant=variant)
            for subject, colour, scene, style, variant in itertools.product(
                self.subjects, COLOURS, self.scenes, self.styles, range(VARIANTS)
            )
        ]


WORLD: Final = Choices()
BASE: Final = Choices(subjects=BASE_SUBJECTS, scenes=BASE_SCENES, styles=("flat",))
"""What the base model knows."""


def to_tensor(pictures: Sequence[Picture], *, doodles: int | None = None) -> Tensor:
    """Paint pictures: float, shape (count, 3, height, width), from -1 to 1.

    Args:
        pictures: What to paint.
        doodles: Put a doodle in place of each subject, the first one being of this number.

    """
    drawings = [None if doodles is None else doodle(doodles + place) for place in range(len(pictures))]
    painted = torch.from_numpy(np.stack([paint(*both) for both in zip(pictures, drawings, strict=True)]))
    return painted.permute(0, 3, 1, 2).float().div(127.5).sub(1)


def to_bytes(images: Tensor) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    """Turn images from -1 to 1, shape (count, 3, height, width), into RGB bytes (height, width, 3)."""
    shown = images.detach().float().clamp(-1, 1).add(1).mul(127.5).round().byte().permute(0, 2, 3, 1)
    return list(shown.cpu().numpy())


def to_labels(pictures: Sequence[Picture]) -> Tensor:
    """Return which of `PARTS` each picture shows: int64, shape (count, 4)."""
    return torch.tensor([[PARTS[part].index(getattr(picture, part)) for part in PARTS] for picture in pictures])
