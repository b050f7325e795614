"""A cell: the samples that are measured as one, with what was extracted of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .estimates import grouped
from .records import CellName, Sample

if TYPE_CHECKING:
    from PIL.Image import Image

Features = NDArray[np.float32]
"""One row for each picture or text, not normalised; shape (rows, width)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cell:
    """The samples of a method at a guidance, sorted by prompt and index, and what was extracted of them."""

    name: CellName
    samples: tuple[Sample, ...]
    features: Mapping[str, Features] = field(default_factory=dict)
    """By the extractor's name; a row for each sample. May be extracted when first asked for."""
    texts: Mapping[str, Features] = field(default_factory=dict)
    """By the extractor's name, of extractors that read texts too: a row for each sample's prompt."""
    image: Callable[[Sample], Image] | None = None
    """Opens a sample's picture, RGB."""

    @property
    def prompts(self) -> tuple[str, ...]:
        """Of each sample its prompt's id."""
        return tuple(sample.prompt_id for sample in self.samples)

    def by_prompt(self) -> dict[str, NDArray[np.intp]]:
        """Return the places of each prompt's samples, by the prompt's id, sorted."""
        names, places = grouped(self.prompts)
        order = np.argsort(places, kind="stable")
        bounds = np.cumsum(np.bincount(places))[:-1]
        return dict(zip(names, np.split(order, bounds), strict=True))
