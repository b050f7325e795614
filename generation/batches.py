"""Rows of images, parted into batches that are drawn at once.

Rows that differ in nothing but words, adapters and seed are drawn together, each with its own set of adapters. Where
sets lie on the weights, rows of one set are drawn after each other, so that each set is laid once; where it is cheaper,
sets go beside the weights, and one batch wears them all.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from ..records import Composition, GenerationRequest
from .adapters.choice import Way
from .adapters.plan import AdapterPlan

if TYPE_CHECKING:
    from .adapters.embeddings import LearnedToken

Item = TypeVar("Item")
Laying = Mapping[AdapterPlan, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One image of a batch."""

    place: int
    """Among those that were asked for."""
    request: GenerationRequest
    """Complete: nothing in it is left to the model."""
    seed: int
    laying: Laying
    learned: tuple[LearnedToken, ...] = ()

    @property
    def steps(self) -> int:
        """Denoising steps."""
        return int(self.request.steps or 0)

    @property
    def guidance(self) -> float:
        """Classifier-free guidance; up to 1 is none."""
        return float(self.request.guidance or 0.0)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return int(self.request.width or 0), int(self.request.height or 0)

    @property
    def generator(self) -> torch.Generator:
        """A fresh generator with the image's seed. On the CPU, so that noise does not depend on the device."""
        return torch.Generator().manual_seed(self.seed)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that are drawn at once."""

    rows: Sequence[Row]
    way: Way
    """Where their adapters go; on the weights, all rows have one set."""


@dataclass(frozen=True, slots=True)
class Part:
    """A batch as it is told to whoever paints it elsewhere: by places among what was asked for."""

    places: tuple[int, ...]
    way: Way


def batches(
    rows: Sequence[Row],
    *,
    size: int,
    alike: Callable[[Row], Hashable],
    way: Callable[[Sequence[Row]], Way],
) -> Iterator[Batch]:
    """Part rows into batches, those of one set of adapters after each other.

    Args:
        rows: The images that are asked for.
        size: Rows of a batch at most.
        alike: Says what rows must share beside their requests to be drawn together.
        way: Says where the adapters of rows go that are drawn together.
    """
    for together in _grouped(rows, lambda row: (_shared(row.request), alike(row))):
        sets = _grouped(together, lambda row: tuple(row.laying.items()))
        # One image at a time must not depend on its neighbours: each goes the way that it would go alone.
        mixed = size > 1 and len(sets) > 1 and way(together) == "beside"
        for drawn in [together] if mixed else sets:
            for first in range(0, len(drawn), size):
                batch = drawn[first : first + size]
                yield Batch(batch, "beside" if mixed else way(batch[:1]))


def on_text(laying: Laying) -> tuple[tuple[AdapterPlan, float], ...]:
    """Return the part of a set that changes what text encoders say."""
    return tuple(
        (plan, weight) for plan, weight in laying.items() if any(name.startswith("text_encoder") for name in plan.parts)
    )


def text_state(row: Row, way: Way) -> Hashable:
    """Return what tells the state of the text encoders; on the weights and beside them they agree to rounding."""
    found = on_text(row.laying)
    return (found, way) if found else ()


def _shared(request: GenerationRequest) -> GenerationRequest:
    """Return what rows must share to be drawn together: all but words, adapters and seed."""
    return replace(request, composition=Composition(prompt=""), mask=None, seed=0, negative="")


def _grouped(items: Sequence[Item], key: Callable[[Item], Any]) -> list[list[Item]]:
    """Return the items with the same key together, in the order of the first of each."""
    groups: dict[Any, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())
