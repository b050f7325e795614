"""How much the pictures of one prompt differ from each other.

All of these are means over prompts of an unbiased mean within the prompt: over its pairs of pictures, or, which for
squared distances is the same, over n - 1. So a prompt with more pictures is measured more closely and not higher, and
prompts may have different numbers of them, as Stylus's masks bring; that they have is told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .cells import Cell
from .estimates import Estimate, mean_estimate
from .records import Better
from .vectors import Vectors, unit_vectors, vectors

if TYPE_CHECKING:
    from PIL.Image import Image

Prepared = TypeVar("Prepared")
Places = NDArray[np.intp]

_HELD: Final = 16
"""Prepared pictures that are kept for the pairs to come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceDispersion:
    """dFID: the trace of the covariance of the features of one prompt's pictures (Stylus, section 4.2.3).

    That is half of the mean squared distance between two of them.
    """

    extractor: str = "inception"
    """`inception`, or a narrower layer of it: `inception-64`, `inception-192`, `inception-768`."""
    extractor_signature: str = ""
    name: str = "dfid"
    unit: str = ""
    better: Better = "higher"
    ranking: bool = True

    @property
    def title(self) -> str:
        """The name as people spell it: `dFID`, `dFID (clip)`."""
        name, _, extractor = self.name.partition(":")
        title = "dFID" + name.removeprefix("dfid")
        return f"{title} ({extractor})" if extractor else title

    @property
    def needs(self) -> tuple[str, ...]:
        """The extractor."""
        return (self.extractor,)

    @property
    def signature(self) -> str:
        """The divisor and the model."""
        return "|".join((self.name, "divisor=n-1", self.extractor_signature or self.extractor))

    def estimate(self, cell: Cell) -> Estimate:
        """Measure a cell.

        Raises:
            InputError: no prompt has two pictures, or a feature is missing or of no use.
        """
        rows = vectors(cell, self.extractor)
        return mean_within(cell, lambda _, places: float(rows[places].var(axis=0, ddof=1).sum()))


@dataclass(frozen=True, slots=True, kw_only=True)
class DiversityScore:
    """The mean distance between two pictures of one prompt, in features of ResNet-50 of length 1: 0 to 2."""

    extractor: str = "resnet50"
    extractor_signature: str = ""
    name: str = "diversity"
    title: str = "Diversity Score"
    unit: str = ""
    better: Better = "higher"
    ranking: bool = True

    @property
    def needs(self) -> tuple[str, ...]:
        """The extractor."""
        return (self.extractor,)

    @property
    def signature(self) -> str:
        """The distance and the model."""
        return "|".join((self.name, "distance=l2", "norm=l2", self.extractor_signature or self.extractor))

    def estimate(self, cell: Cell) -> Estimate:
        """Measure a cell.

        Raises:
            InputError: no prompt has two pictures, or a feature is missing or of no use.
        """
        rows = unit_vectors(cell, self.extractor)
        return mean_within(cell, lambda _, places: _mean_distance(rows[places]))


def _mean_distance(rows: Vectors) -> float:
    """Return the mean over all pairs; from differences, since products would not give 0 for equal rows."""
    from scipy.spatial.distance import pdist

    return float(pdist(rows).mean())


def repeated(cell: Cell) -> tuple[dict[str, Places], tuple[str, ...]]:
    """Return the places of each prompt's pictures where there are two or more, and what should be told of that.

    Raises:
        InputError: there is no such prompt.
    """
    groups = cell.by_prompt() if cell.samples else {}
    kept = {prompt: places for prompt, places in groups.items() if len(places) > 1}
    if not kept:
        raise InputError(f"{cell.name} has no prompt with two pictures or more; how they differ cannot be measured")
    notes = []
    if alone := len(groups) - len(kept):
        notes.append(f"{alone} of {len(groups)} prompts have one picture and are left out")
    fewest, most = (count(map(len, kept.values())) for count in (min, max))
    if fewest < most:
        notes.append(f"prompts have {fewest} to {most} pictures; each prompt counts the same")
    return kept, tuple(notes)


def mean_within(cell: Cell, measure: Callable[[str, Places], float]) -> Estimate:
    """Return the mean over prompts of what is measured of each, of those that have two pictures or more.

    Args:
        cell: The pictures.
        measure: Called with each prompt's id and the places of its pictures.

    Raises:
        InputError: as `repeated`.
    """
    groups, notes = repeated(cell)
    values = [measure(prompt, places) for prompt, places in groups.items()]
    return replace(mean_estimate(list(groups), values, n=sum(map(len, groups.values()))), notes=notes)


def mean_over_pairs(
    cell: Cell,
    prepare: Callable[[Image], Prepared],
    compare: Callable[[Prepared, Prepared], float],
    *,
    most: int,
    seed: int,
) -> Estimate:
    """Return the mean over prompts of the mean over pairs of each prompt's pictures.

    Args:
        cell: The pictures.
        prepare: Makes of a picture what is compared.
        compare: Compares two.
        most: Pairs of one prompt that are looked at; of more, so many are drawn.
        seed: For drawing them; with it, a prompt's pairs are the same in every cell.

    Raises:
        InputError: as `repeated`; or a picture cannot be read or compared.
    """
    open_image = cell.image
    if open_image is None:
        raise InputError(f"the pictures of {cell.name} are not at hand, and this is measured on them")

    @lru_cache(maxsize=_HELD)
    def held(place: int) -> Prepared:
        return prepare(open_image(cell.samples[place]))

    def measure(prompt: str, places: Places) -> float:
        drawn = draw_pairs(len(places), most, seed=seed, prompt=prompt)
        values = []
        for first, second in drawn:
            one, other = int(places[first]), int(places[second])
            try:
                values.append(compare(held(one), held(other)))
            except InputError as error:
                names = f"{cell.samples[one].image} and {cell.samples[other].image}"
                raise InputError(f"{names} cannot be compared: {error}") from None
        return float(np.mean(values))

    return mean_within(cell, measure)


def draw_pairs(count: int, most: int, *, seed: int, prompt: str) -> list[tuple[int, int]]:
    """Return all pairs of so many things, or `most` of them, drawn without repetition.

    >>> draw_pairs(3, 10, seed=0, prompt="a fox")
    [(0, 1), (0, 2), (1, 2)]
    """
    starts = np.concatenate(([0], np.cumsum(np.arange(count - 1, 0, -1))))
    total = int(starts[-1])
    ranks: NDArray[Any] = np.arange(total)
    if total > most:
        digest = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest()
        generator = np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])
        ranks = np.sort(generator.choice(total, most, replace=False))
    first = np.searchsorted(starts, ranks, side="right") - 1
    second = ranks - starts[first] + first + 1
    return list(zip(first.tolist(), second.tolist(), strict=True))
