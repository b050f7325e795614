"""How well pictures fit their prompts, by a model that sees pictures and texts in one space (CLIP)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from .cells import Cell, Features
from .estimates import Estimate, Values, mean_estimate
from .records import Better
from .vectors import Vectors, checked, normalised, unit_vectors

PREFIX: Final = "A photo depicts "
"""What Hessel and others (2021) put before every text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipScore:
    """100 times the cosine of a picture and its prompt: the mean over prompts.

    Pictures are scored against what the user wrote, never against what a model read, trigger words and all. CLIP hardly
    sees which word belongs to which; `YesProbability` does.
    """

    extractor: str = "clip"
    extractor_signature: str = ""
    truncated: Callable[[Sequence[str]], int] | None = None
    """The extractor's own: how many texts are longer than it reads."""
    name: str = "clip"
    title: str = "CLIP score"
    unit: str = ""
    better: Better = "higher"
    ranking: bool = True

    @property
    def needs(self) -> tuple[str, ...]:
        """The extractor."""
        return (self.extractor,)

    @property
    def signature(self) -> str:
        """The scale, what is read, and the model."""
        return "|".join((self.name, "scale=100", "text=prompt", self.extractor_signature or self.extractor))

    def estimate(self, cell: Cell) -> Estimate:
        """Measure a cell.

        Raises:
            InputError: a feature is missing or of no use.
        """
        pictures = unit_vectors(cell, self.extractor)
        texts = unit_vectors(cell, self.extractor, texts=True)
        estimate = mean_estimate(cell.prompts, 100 * _cosines(pictures, texts))
        return replace(estimate, notes=_unread(cell, self.truncated, ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipS:
    """CLIP-S of Hessel and others (2021): 2.5 times the cosine, no less than 0, of texts that begin with a prefix."""

    read: Callable[[Sequence[str]], Features]
    """The extractor's own: the features of texts."""
    extractor: str = "clip"
    extractor_signature: str = ""
    truncated: Callable[[Sequence[str]], int] | None = None
    name: str = "clip-s"
    title: str = "CLIP-S"
    unit: str = ""
    better: Better = "higher"
    ranking: bool = True

    @property
    def needs(self) -> tuple[str, ...]:
        """The extractor."""
        return (self.extractor,)

    @property
    def signature(self) -> str:
        """The scale, what is read, and the model."""
        return "|".join((self.name, "scale=2.5", f'text="{PREFIX}"+prompt', self.extractor_signature or self.extractor))

    def estimate(self, cell: Cell) -> Estimate:
        """Measure a cell.

        Raises:
            InputError: a feature is missing or of no use.
        """
        pictures = unit_vectors(cell, self.extractor)
        names = list(dict.fromkeys(sample.prompt for sample in cell.samples))
        read = np.asarray(self.read([PREFIX + name for name in names]), np.float64)
        places = {name: place for place, name in enumerate(names)}
        rows = read[[places[sample.prompt] for sample in cell.samples]]
        texts = normalised(cell, checked(cell, rows, f"{self.extractor} features of texts"), self.extractor)
        estimate = mean_estimate(cell.prompts, 2.5 * np.maximum(_cosines(pictures, texts), 0))
        return replace(estimate, notes=_unread(cell, self.truncated, PREFIX))


def _cosines(pictures: Vectors, texts: Vectors) -> Values:
    cosines: Values = np.einsum("ij,ij->i", pictures, texts)
    return cosines


def _unread(cell: Cell, truncated: Callable[[Sequence[str]], int] | None, prefix: str) -> tuple[str, ...]:
    """Return how many prompts are too long, in words."""
    if truncated is None:
        return ()
    texts = list(dict.fromkeys(prefix + sample.prompt for sample in cell.samples))
    count = truncated(texts)
    told = f"{count} of {len(texts)} prompts are longer than the model reads; their ends count for nothing"
    return (told,) if count else ()
