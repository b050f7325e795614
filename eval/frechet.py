"""The Fréchet distance, with a standard error.

Between Gaussians with the moments of two sets of features (Heusel et al. 2017, equation 6)

    |m_g - m_r|^2 + tr S_g + tr S_r - 2 tr (S_r S_g)^(1/2)

where the last trace is the sum of the roots of the eigenvalues of F' S_g F for any F with F F' = S_r. F is found once
for a reference, so that a set costs one symmetric eigenproblem, and no root of an unsymmetric matrix.

The reference is taken as given: standard errors are of the generated pictures alone. There is no bootstrap: resampled
pictures are fewer different ones, and since the distance falls with their number its percentiles do not even hold it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .cells import Cell
from .estimates import Estimate, Values, grouped, sum_pulls
from .gaussian import Reference
from .moments import Moments, check_features, merged, moments_of
from .records import Better
from .spectra import Tridiagonal

_BLOCK = 512
"""Pictures whose influence is computed at once."""

# Rows of a Hadamard matrix: four ways of halving eight groups, none of which tells of another.
_HALVES = (
    (1, 1, 1, 1, 0, 0, 0, 0),
    (1, 1, 0, 0, 1, 1, 0, 0),
    (1, 0, 1, 0, 1, 0, 1, 0),
    (1, 0, 0, 1, 0, 1, 1, 0),
)


def frechet_estimate(
    reference: Reference, features: NDArray[Any], prompts: Sequence[str], *, errors: bool = True
) -> Estimate:
    """Return the Fréchet distance of a cell, with the pull of each prompt by the delta method.

    With no more pictures than numbers of a feature the covariance is singular and the influence function is not
    defined: the value is exact all the same, without an error and not comparable.

    Args:
        reference: What the features are held against.
        features: Shape (pictures, width).
        prompts: Of each picture its prompt.
        errors: Whether the pulls are wanted; they take as long again as the value.

    Raises:
        InputError: the widths differ, there are fewer than two pictures, or features are not finite.
    """
    rows = check_features(features)
    if len(rows) != len(prompts):
        raise ValueError("each picture has features and a prompt")
    found = reference.measure(rows)
    n = len(rows)
    if found.product is None:
        note = (
            f"{n} pictures are too few for a Fréchet distance over {reference.width} numbers: "
            "not comparable, and without an error; KID and CMMD have no such limit"
        )
        names = grouped(prompts)[0]
        return Estimate(value=found.value, prompts=names, pulls=None, n=n, comparable=False, notes=(note,))
    if not errors:
        return Estimate(value=found.value, prompts=grouped(prompts)[0], pulls=None, n=n)
    names, pulls = sum_pulls(prompts, influences(reference, rows, found.moments, found.product))
    return Estimate(value=found.value, prompts=names, pulls=pulls, n=n)


def influences(reference: Reference, rows: NDArray[Any], moments: Moments, product: Tridiagonal) -> Values:
    """Return the influence function of the distance at each picture, up to a constant.

    At x it is 2 (m_g - m_r)'(x - m_g) + (x - m_g)'(I - T)(x - m_g), where T = F (F' S_g F)^(-1/2) F' is the matrix of
    the optimal transport from the one Gaussian to the other. Single precision is plenty: it only makes an error.

    Args:
        reference: What the features are held against.
        rows: The features, shape (pictures, width).
        moments: Of these.
        product: F' S_g F, as `Reference.product` has it.
    """
    from scipy.linalg.blas import ssyrk, strmm

    values = product.values()
    kept = values > values[-1] * values.size * np.finfo(np.float64).eps
    roots = np.where(kept, np.maximum(values, np.finfo(np.float64).tiny) ** -0.25, 0)
    vectors, factor = product.vectors(), reference.factor.astype(np.float32)
    carried = strmm(1.0, factor, vectors, lower=1) if reference.triangular else factor @ vectors
    # x'Ax is x'Bx, where B is the lower triangle of A with what lies below its diagonal doubled: half the work.
    form = ssyrk(-2.0, carried * roots.astype(np.float32), lower=1)
    np.fill_diagonal(form, 1 + form.diagonal() / 2)
    mean, linear = moments.mean.astype(np.float32), (2 * (moments.mean - reference.mean)).astype(np.float32)
    found = np.empty(len(rows))
    centred = np.empty((min(_BLOCK, len(rows)), len(mean)), np.float32)
    turned = np.empty_like(centred)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        size = len(block)
        np.subtract(block, mean, out=centred[:size], casting="same_kind")
        turned[:size] = centred[:size]
        image = strmm(1.0, form, turned[:size].T, lower=1, trans_a=1, overwrite_b=True).T
        found[start : start + size] = centred[:size] @ linear + np.einsum("ij,ij->i", centred[:size], image)
    return found


def fid_infinity(
    reference: Reference, features: NDArray[Any], prompts: Sequence[str], *, seed: int = 0, errors: bool = True
) -> Estimate:
    """Return the distance that infinitely many pictures would have (Chong and Forsyth 2020).

    The distance grows linearly in 1/n. The prompts are dealt into eight groups; the groups are halved in four ways;
    and the line goes through the distance of all and the mean of the eight halves'. Every picture has the same weight
    in the halves, so that what draws the line moves with what it is drawn from: the result varies hardly more than the
    plain distance does, where subsets drawn at random of different sizes make it vary nearly twice as much.

    Args:
        reference: What the features are held against.
        features: Shape (pictures, width).
        prompts: Of each picture its prompt; those of one stay together.
        seed: Of the dealing.
        errors: Whether the pulls are wanted.

    Raises:
        InputError: there are fewer than eight prompts, or half of the pictures are no more than the width.
    """
    rows = check_features(features)
    whole = frechet_estimate(reference, rows, prompts, errors=errors)
    names, places = grouped(prompts)
    if len(names) < len(_HALVES[0]):
        raise InputError(f"FID∞ needs eight prompts at least, and there are {len(names)}")
    group = np.random.default_rng(seed).permutation(len(names)) % len(_HALVES[0])
    parts = [moments_of(rows[group[places] == which]) for which in range(len(_HALVES[0]))]
    sizes: list[int] = []
    distances: list[float] = []
    for halving in _HALVES:
        for side in (1, 0):
            half = merged([part for part, on in zip(parts, halving, strict=True) if on == side])
            if cast(int, half.n) <= reference.width:
                raise InputError(
                    f"FID∞ needs more than {2 * reference.width} pictures, twice the numbers of a feature, "
                    f"and there are {len(rows)}"
                )
            sizes.append(cast(int, half.n))
            distances.append(reference.distance(half))
    near, far = 1 / len(rows), float(np.mean(1 / np.asarray(sizes)))
    value = (whole.value * far - float(np.mean(distances)) * near) / (far - near)
    return Estimate(value=value, prompts=whole.prompts, pulls=whole.pulls, n=whole.n)


class FrechetDistance:
    """FID of InceptionV3's features, or the like of others'.

    Args:
        name: As it is asked for.
        extractor: Whose features it reads.
        reference: The moments of the reference's features.
        reference_signature: The reference's name and digest: `coco14v:6f3a1b2c`.
        extractor_signature: The extractor's: `inc=2015-12-05:6f3a1b2c|resize=clean`.
        title: As tables have it.
        errors: Whether standard errors are wanted.

    Raises:
        InputError: the reference is of fewer than two pictures.
    """

    unit = ""
    better: Better = "lower"
    ranking = True

    def __init__(
        self,
        name: str,
        extractor: str,
        reference: Moments,
        reference_signature: str,
        extractor_signature: str,
        *,
        title: str = "FID",
        errors: bool = True,
    ) -> None:
        self.name = name
        self.title = title
        self.needs: tuple[str, ...] = (extractor,)
        self.signature = f"{title}|{extractor_signature}|ref={reference_signature}"
        self._reference = Reference(reference)
        self._errors = errors

    def estimate(self, cell: Cell) -> Estimate:
        """Measure a cell.

        Raises:
            InputError: there are fewer than two pictures, or their features are not the reference's.
        """
        return frechet_estimate(self._reference, cell.features[self.needs[0]], cell.prompts, errors=self._errors)


class FidInfinity(FrechetDistance):
    """FID at infinitely many pictures; arguments as `FrechetDistance`, and the seed of the dealing."""

    def __init__(
        self,
        name: str,
        extractor: str,
        reference: Moments,
        reference_signature: str,
        extractor_signature: str,
        *,
        title: str = "FID∞",
        errors: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(
            name, extractor, reference, reference_signature, extractor_signature, title=title, errors=errors
        )
        self.signature += f"|halves=4x2|seed={seed}"
        self._seed = seed

    def estimate(self, cell: Cell) -> Estimate:
        """Measure a cell.

        Raises:
            InputError: there are fewer than eight prompts, or too few pictures to halve.
        """
        features = cell.features[self.needs[0]]
        return fid_infinity(self._reference, features, cell.prompts, seed=self._seed, errors=self._errors)
