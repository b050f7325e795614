"""Distances without bias at any number of pictures: squared maximum mean discrepancies, over all pairs of prompts.

KID has the polynomial kernel (x'y / d + 1)^3 over Inception's features (Bińkowski et al. 2018); CMMD a Gaussian one of
width 10 over CLIP's features of length 1, times 1000 (Jayasumana et al. 2024). Both are the unbiased estimate of
Gretton et al. (2012, equation 3), which may be below 0. CMMD's authors take the biased one (equation 5) in their code,
which is larger by about 1000 (1 - the mean kernel) (1/n + 1/m); `Cmmd(biased=True)` gives theirs.

Two pictures of one prompt are no pair: they are not drawn independently of each other. With a picture a prompt that is
every pair, and what others compute.

The reference is taken as given: errors are of the generated pictures alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .cells import Cell, Features
from .estimates import Estimate, grouped, sum_pulls
from .moments import Matrix, check_features
from .records import Better

_ROWS, _COLUMNS = 512, 2048
"""The pairs whose kernel is computed at once."""


class Kernel(Protocol):
    """A function of t = slope x'y + a term of x + a term of y, where x and y are centred on one point."""

    @property
    def signature(self) -> str:
        """What it is, for signatures."""

    @property
    def scale(self) -> float:
        """What the discrepancy is multiplied by."""

    def prepare(self, rows: NDArray[Any]) -> Matrix:
        """Return features as the kernel takes them."""

    def slope(self, width: int) -> float:
        """Return what the product of two features is multiplied by."""

    def term(self, centred: Matrix, centre: Matrix) -> Matrix:
        """Return the term of each feature vector."""

    def apply(self, t: Matrix) -> Matrix:
        """Return the kernel, less a constant; may write on what it was given."""


@dataclass(frozen=True, slots=True)
class Cubic:
    """(x'y / d + 1)^3."""

    signature = "kernel=poly3"
    scale = 1.0

    def prepare(self, rows: NDArray[Any]) -> Matrix:
        """Return the features in double precision."""
        return rows.astype(np.float64)

    def slope(self, width: int) -> float:
        """Return 1 / d."""
        return 1 / width

    def term(self, centred: Matrix, centre: Matrix) -> Matrix:
        """Return x'c / d and half of what is constant."""
        return (centred @ centre + (centre @ centre) / 2) / len(centre) + 0.5

    def apply(self, t: Matrix) -> Matrix:
        """Return t^3."""
        cube: Matrix = t * t
        cube *= t
        return cube


@dataclass(frozen=True, slots=True)
class Gaussian:
    """exp(-|x - y|^2 / (2 sigma^2)) - 1 over features of length 1."""

    sigma: float = 10.0
    scale: float = 1000.0

    @property
    def signature(self) -> str:
        """Its width and scale."""
        return f"kernel=rbf{self.sigma:g}|scale={self.scale:g}"

    def prepare(self, rows: NDArray[Any]) -> Matrix:
        """Return the features with length 1; those of length 0 stay."""
        doubled = rows.astype(np.float64)
        lengths = np.linalg.norm(doubled, axis=1, keepdims=True)
        doubled /= np.where(lengths > 0, lengths, 1)
        return doubled

    def slope(self, width: int) -> float:
        """Return 1 / sigma^2."""
        return 1 / self.sigma**2

    def term(self, centred: Matrix, centre: Matrix) -> Matrix:
        """Return -|x|^2 / (2 sigma^2)."""
        squares: Matrix = np.einsum("ij,ij->i", centred, centred)
        return squares / (-2 * self.sigma**2)

    def apply(self, t: Matrix) -> Matrix:
        """Return exp(t) - 1, which keeps the digits that exp(t) would lose."""
        np.expm1(t, out=t)
        return t


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """One set of features, centred: their products are taken in single precision, and added up in double."""

    rows: NDArray[np.float32]
    terms: Matrix


class KernelReference:
    """The features that others are held against, and the mean kernel of their own pairs.

    Args:
        kernel: The kernel.
        features: Shape (pictures, width).

    Raises:
        InputError: there are fewer than two pictures, or features are not finite.
    """

    def __init__(self, kernel: Kernel, features: NDArray[Any]) -> None:
        self.kernel = kernel
        rows = _finite(kernel, features)
        self.centre: Matrix = rows.mean(axis=0)
        self._side = self._centred(rows)

    @property
    def width(self) -> int:
        """Numbers of a feature vector."""
        return len(self.centre)

    @cached_property
    def sums(self) -> Matrix:
        """Of each picture the sum of its kernel with all the others."""
        return self._among(self._side)

    @property
    def own(self) -> float:
        """The mean kernel of all its pairs."""
        m = len(self.sums)
        return float(self.sums.sum()) / (m * (m - 1))

    def estimate(self, features: NDArray[Any], prompts: Sequence[str], *, biased: bool = False) -> Estimate:
        """Return the squared discrepancy of a set of features, with the pull of each prompt.

        The pulls are of the projection of the statistic on single pictures (Hájek's): at x twice the mean kernel with
        the others less that with the reference.

        Args:
            features: Shape (pictures, width).
            prompts: Of each picture its prompt.
            biased: Whether each picture counts as its own neighbour, too.

        Raises:
            InputError: the width is another, there are fewer than two pictures, or features are not finite.
        """
        rows = _finite(self.kernel, features)
        if rows.shape[1] != self.width:
            raise InputError(
                f"the pictures' features have {rows.shape[1]} numbers and the reference's {self.width}: "
                "both must come from the same extractor"
            )
        if len(rows) != len(prompts):
            raise ValueError("each picture has features and a prompt")
        side = self._centred(rows)
        n, m = len(rows), len(self._side.rows)
        own, among, others = self.own, self._among(side), np.full(n, n - 1.0)
        if biased:
            among, others = among + self._alone(side), np.full(n, float(n))
            own = (own * (m - 1) + float(self._alone(self._side).mean())) / m
        else:
            within, mates = self._within(side, prompts)
            among, others = among - within, others - mates
        pairs = others.mean()
        across = self._across(side) / m
        first = float(among.mean() / pairs)
        value = first + own - 2 * float(across.mean())
        # Where prompts have unequal numbers of pictures, a picture counts by how many it is paired with.
        names, pulls = sum_pulls(prompts, 2 * (among / pairs - first * others / pairs - across))
        return Estimate(value=value * self.kernel.scale, prompts=names, pulls=pulls * self.kernel.scale, n=n)

    def _within(self, side: _Side, prompts: Sequence[str]) -> tuple[Matrix, Matrix]:
        """Return of each picture the sum of its kernel with the others of its prompt, and how many these are.

        They are no independent draws: counted as such, pictures that are alike within their prompts would look farther
        from the reference. Of one prompt alone there are no other pairs, so there nothing is left out.
        """
        sums, mates = np.zeros(len(side.rows)), np.zeros(len(side.rows))
        names, places = grouped(prompts)
        if len(names) < 2:
            return sums, mates
        order = np.argsort(places, kind="stable")
        for members in np.split(order, np.cumsum(np.bincount(places))[:-1]):
            if len(members) > 1:
                part = _Side(side.rows[members], side.terms[members])
                sums[members], mates[members] = self._among(part), len(members) - 1
        return sums, mates

    def _centred(self, rows: Matrix) -> _Side:
        rows -= self.centre
        return _Side(rows.astype(np.float32), self.kernel.term(rows, self.centre))

    def _alone(self, side: _Side) -> Matrix:
        """Return the kernel of each picture with itself."""
        squares = np.einsum("ij,ij->i", side.rows, side.rows, dtype=np.float64)
        return self.kernel.apply(squares * self.kernel.slope(self.width) + 2 * side.terms)

    def _across(self, side: _Side) -> Matrix:
        """Return the sum of each picture's kernel with the reference's."""
        sums = np.zeros(len(side.rows))
        for rows in _slices(len(sums), _ROWS):
            for columns in _slices(len(self._side.rows), _COLUMNS):
                sums[rows] += self._tile(side, rows, self._side, columns).sum(axis=1)
        return sums

    def _among(self, side: _Side) -> Matrix:
        """Return the sum of each picture's kernel with the others of its own side; each pair is computed once."""
        sums = np.zeros(len(side.rows))
        for rows in _slices(len(sums), _ROWS):
            tile = self._tile(side, rows, side, rows)
            np.fill_diagonal(tile, 0)
            sums[rows] += tile.sum(axis=1)
            for columns in _slices(len(sums), _COLUMNS, start=rows.stop):
                tile = self._tile(side, rows, side, columns)
                sums[rows] += tile.sum(axis=1)
                sums[columns] += tile.sum(axis=0)
        return sums

    def _tile(self, left: _Side, rows: slice, right: _Side, columns: slice) -> Matrix:
        t = (left.rows[rows] @ right.rows[columns].T).astype(np.float64)
        t *= self.kernel.slope(self.width)
        t += left.terms[rows, None]
        t += right.terms[columns]
        return self.kernel.apply(t)


class KernelDistance:
    """KID of InceptionV3's features, or the like of others'.

    Args:
        name: As it is asked for.
        extractor: Whose features it reads.
        reference: The reference's features, shape (pictures, width).
        reference_signature: The reference's name and digest: `coco14v:6f3a1b2c`.
        extractor_signature: The extractor's.
        title: As tables have it.
        most: The most pictures of either side to take, whole prompts of a cell's; None takes all, which costs the
            square of their number. The same prompts are taken of every cell that has the same.
        seed: Of that choice.

    Raises:
        InputError: `most` is below two, or the reference has fewer pictures.
    """

    unit = ""
    better: Better = "lower"
    ranking = True
    _kernel: Kernel = Cubic()

    def __init__(
        self,
        name: str,
        extractor: str,
        reference: Features,
        reference_signature: str,
        extractor_signature: str,
        *,
        title: str = "KID",
        most: int | None = None,
        seed: int = 0,
    ) -> None:
        if most is not None and most < 2:
            raise InputError(f"a kernel distance needs two pictures at least, and {most} are to be taken")
        self.name = name
        self.title = title
        self.needs: tuple[str, ...] = (extractor,)
        parts = [title, extractor_signature, self._kernel.signature, "pairs=prompts", f"ref={reference_signature}"]
        self.signature = "|".join(parts + ([f"most={most}", f"seed={seed}"] if most is not None else []))
        if most is not None and len(reference) > most:
            reference = reference[np.sort(np.random.default_rng(seed).permutation(len(reference))[:most])]
        self._reference = KernelReference(self._kernel, reference)
        self._most, self._seed = most, seed
        self._biased = False

    def estimate(self, cell: Cell) -> Estimate:
        """Measure a cell.

        Raises:
            InputError: there are fewer than two pictures, or their features are not the reference's.
        """
        features, prompts = cell.features[self.needs[0]], cell.prompts
        if self._most is not None and len(prompts) > self._most:
            taken = chosen(prompts, self._most, self._seed)
            features, prompts = features[taken], tuple(prompts[place] for place in taken)
        return self._reference.estimate(features, prompts, biased=self._biased)


class Cmmd(KernelDistance):
    """CMMD of CLIP's features of pictures; arguments as `KernelDistance`, and `biased` for its authors' estimate."""

    _kernel: Kernel = Gaussian()

    def __init__(
        self,
        name: str,
        extractor: str,
        reference: Features,
        reference_signature: str,
        extractor_signature: str,
        *,
        title: str = "CMMD",
        most: int | None = None,
        seed: int = 0,
        biased: bool = False,
    ) -> None:
        super().__init__(
            name, extractor, reference, reference_signature, extractor_signature, title=title, most=most, seed=seed
        )
        if biased:
            self.signature = self.signature.replace("pairs=prompts", "biased")
        self._biased = biased


def chosen(prompts: Sequence[str], most: int, seed: int) -> NDArray[np.intp]:
    """Return the places of pictures, at most so many, of whole prompts; which ones, their names and the seed decide.

    Raises:
        InputError: even the first prompt has more pictures.
    """
    names, places = grouped(prompts)
    keys = [hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogatepass")).digest() for name in names]
    order = sorted(range(len(names)), key=keys.__getitem__)
    sizes = np.cumsum(np.bincount(places)[order])
    count = int(np.searchsorted(sizes, most, side="right"))
    if not count:
        raise InputError(f"{most} pictures are to be taken, and one prompt alone has more")
    return np.flatnonzero(np.isin(places, order[:count]))


def _finite(kernel: Kernel, features: NDArray[Any]) -> Matrix:
    rows = check_features(features)
    if len(rows) < 2:
        raise InputError(f"a kernel distance needs two pictures at least, and there are {len(rows)}")
    if not np.isfinite(rows).all():
        raise InputError("some features are not finite numbers; extract them again")
    return kernel.prepare(rows)


def _slices(count: int, size: int, *, start: int = 0) -> list[slice]:
    return [slice(place, min(place + size, count)) for place in range(start, count, size)]
