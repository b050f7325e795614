"""The Vendi score (Friedman and Dieng, 2023): how many different pictures there are, as it were.

It is the exponential of the entropy of the eigenvalues of K / n, with K the cosines of all pairs: 1 where all are the
same, n where each is at a right angle to all others. Its value grows with n, so that only equal numbers compare.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from ..errors import InputError
from .cells import Cell
from .diversity import Places, repeated
from .estimates import Estimate, Values, mean_estimate, sum_pulls
from .records import Better
from .vectors import Vectors, unit_vectors

_LEAST: Final = 1e-12
"""Eigenvalues below this are rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VendiScore:
    """The Vendi score of one prompt's pictures: the mean over prompts."""

    extractor: str = "inception"
    extractor_signature: str = ""
    first: int | None = None
    """Of each prompt only the first so many pictures; a prompt with fewer is left out. None takes all, of which every
    prompt must then have as many."""
    name: str = "vendi"
    title: str = "Vendi score"
    unit: str = ""
    better: Better = "higher"
    ranking: bool = True
    grows: bool = True
    """With the pictures of a prompt: cells with different numbers of them are not compared."""

    def __post_init__(self) -> None:
        if self.first is not None and self.first < 2:
            raise InputError("the Vendi score needs two pictures of a prompt at the least")

    @property
    def needs(self) -> tuple[str, ...]:
        """The extractor."""
        return (self.extractor,)

    @property
    def signature(self) -> str:
        """The kernel, the pictures taken, and the model."""
        taken = "all" if self.first is None else f"first-{self.first}"
        model = self.extractor_signature or self.extractor
        return "|".join((self.name, "kernel=cosine", f"of={taken}", model))

    def estimate(self, cell: Cell) -> Estimate:
        """Measure a cell.

        Raises:
            InputError: prompts have different numbers of pictures, or none has two; or a feature is missing or of no
                use.
        """
        rows = unit_vectors(cell, self.extractor)
        groups, notes = repeated(cell)
        if self.first is None:
            chosen = groups
            _refuse_different(groups)
        else:
            chosen = {prompt: places[: self.first] for prompt, places in groups.items() if len(places) >= self.first}
            if not chosen:
                raise InputError(f"{cell.name} has no prompt with {self.first} pictures")
            left = len(cell.by_prompt()) - len(chosen)
            notes = (f"{left} prompts have fewer than {self.first} pictures and are left out",) if left else ()
        values = [score(rows[places]) for places in chosen.values()]
        each = len(next(iter(chosen.values())))
        estimate = mean_estimate(list(chosen), values, n=each * len(chosen))
        return replace(estimate, notes=(*notes, f"of {each} pictures a prompt, which is the most it can be"))


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeVendiScore:
    """The Vendi score of a whole cell."""

    extractor: str = "inception"
    extractor_signature: str = ""
    name: str = "vendi-whole"
    title: str = "Vendi score (whole)"
    unit: str = ""
    better: Better = "higher"
    ranking: bool = True

    @property
    def needs(self) -> tuple[str, ...]:
        """The extractor."""
        return (self.extractor,)

    @property
    def signature(self) -> str:
        """The kernel and the model."""
        return "|".join((self.name, "kernel=cosine", self.extractor_signature or self.extractor))

    def estimate(self, cell: Cell) -> Estimate:
        """Measure a cell; pulls are by the delta method, of the entropy of X'X / n.

        Raises:
            InputError: a feature is missing or of no use.
        """
        rows = unit_vectors(cell, self.extractor)
        value, influences = _score_and_influences(rows)
        prompts, pulls = sum_pulls(cell.prompts, influences)
        told = f"of {len(rows)} pictures: with more it grows, and the interval does not say by how much"
        return Estimate(value=value, prompts=prompts, pulls=pulls, n=len(rows), notes=(told,))


def score(rows: Vectors) -> float:
    """Return the Vendi score of rows of length 1.

    >>> round(score(np.eye(3)), 6), round(score(np.ones((3, 1))), 6)
    (3.0, 1.0)
    """
    small = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
    shares = np.linalg.eigvalsh(small / len(rows))
    shares = shares[shares > _LEAST]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _score_and_influences(rows: Vectors) -> tuple[float, Values]:
    """Return the score, and how much each row moves it, but for a constant: -score * x' log(X'X / n) x."""
    # Of the smaller of the two matrices, whose eigenvalues above 0 are the same: a row's share in each direction of
    # X'X / n is its entry in the eigenvector of XX' / n, squared, times n times the eigenvalue.
    gram = len(rows) <= rows.shape[1]
    small = rows @ rows.T if gram else rows.T @ rows
    shares, directions = np.linalg.eigh(small / len(rows))
    kept = shares > _LEAST
    shares, directions = shares[kept], directions[:, kept]
    logs = np.log(shares)
    entropy = -float((shares * logs).sum())
    parts = directions**2 * (len(rows) * shares) if gram else (rows @ directions) ** 2
    value = float(np.exp(entropy))
    return value, -value * (parts @ logs)


def _refuse_different(groups: Mapping[str, Places]) -> None:
    counts = {len(places) for places in groups.values()}
    if len(counts) > 1:
        told = f"prompts have {min(counts)} to {max(counts)} pictures, and the Vendi score grows with their number"
        raise InputError(f"{told}; score the first {min(counts)} of each, or make as many of all")
