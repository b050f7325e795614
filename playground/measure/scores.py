"""What the evaluator says of painted pictures, prompt by prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .evaluator import Evaluator, Pixels, clip_scores
from .frechet import Distance, Reference
from .intervals import Values
from .prompts import Ask

PARTS: Final = ("subject", "style", "scene")
"""What must be right in a picture."""


@dataclass(frozen=True, slots=True)
class Scored:
    """The pictures of some prompts under one condition."""

    asks: tuple[Ask, ...]
    features: NDArray[np.float32]
    """Shape (prompts, pictures of each, width)."""
    clip: Values
    """100 times the cosine with the prompt, as its writer wrote it; shape (prompts, pictures of each)."""
    hits: Mapping[str, NDArray[np.bool_]]
    """For each of `PARTS` whether a picture shows what it should; shape (prompts, pictures of each)."""

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether a picture shows every part that the prompt needs an adapter for; all parts, where it needs none."""
        whole = np.ones(self.clip.shape, np.bool_)
        for part in PARTS:
            asked = np.array([not ask.needs or any(need == part for need, _ in ask.needs) for ask in self.asks])
            whole &= self.hits[part] | ~asked[:, None]
        return whole

    def of(self, kinds: Sequence[str]) -> Scored:
        """Return the part about prompts of these kinds."""
        kept = np.array([ask.kind in kinds for ask in self.asks], np.bool_)
        hits = {part: values[kept] for part, values in self.hits.items()}
        asks = tuple(ask for ask, keep in zip(self.asks, kept, strict=True) if keep)
        return Scored(asks, self.features[kept], self.clip[kept], hits)

    def distance(self, reference: Reference) -> Distance | None:
        """Return the Fréchet distance of all pictures from a reference; None where they are too few."""
        prompts, pictures, width = self.features.shape
        return reference.distance(self.features.reshape(-1, width), np.repeat(np.arange(prompts), pictures))


def score(asks: Sequence[Ask], pictures: Sequence[Pixels], evaluator: Evaluator) -> Scored:
    """Score the pictures of each prompt.

    Args:
        asks: The prompts.
        pictures: For each the same number of them.
        evaluator: What looks at them.
    """
    count = len(pictures[0])
    seen = evaluator.see(np.concatenate(list(pictures)))
    read = evaluator.read([ask.prompt for ask in asks])
    grouped = seen.reshape(len(asks), count, -1)
    hits = {}
    for part in PARTS:
        wanted = np.repeat([getattr(ask.picture, part) for ask in asks], count)
        hits[part] = (np.array(evaluator.name(seen, part)) == wanted).reshape(len(asks), count)
    clip = np.stack([clip_scores(own, text) for own, text in zip(grouped, read, strict=True)])
    return Scored(tuple(asks), grouped, clip, hits)
