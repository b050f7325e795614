"""MS-SSIM (Wang and others, 2003): how alike two pictures are in structure, over several scales.

Of each scale but the last the contrast and structure count, where the whole kernel lies inside the picture; of the last
one all of SSIM, with edges mirrored. Values below 0 count as 0. This is what torchmetrics reckons, without it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ..errors import InputError, MissingDependency
from .cells import Cell
from .diversity import mean_over_pairs
from .estimates import Estimate
from .records import Better

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

_WEIGHTS: Final = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the scales, the finest first (Wang and others, 2003, section 3.2); of fewer they are made to sum to 1."""
_C1, _C2 = 0.01**2, 0.03**2
_SIGMA, _KERNEL = 1.5, 11
"""The Gaussian of the paper; a smaller kernel has one narrower in proportion."""


class Scale(NamedTuple):
    """A picture at one scale, with what is reckoned of it alone."""

    picture: Tensor
    """Shape (3, 1, height, width), 0 to 1."""
    mean: Tensor
    variance: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class MsSsim:
    """The mean MS-SSIM over pairs of one prompt's pictures: low where they are diverse.

    Args:
        scales: How many, 1 to 5; each halves the side. Fewer and a smaller kernel make another metric, for small
            pictures: 2 and 7 fit such of 32 pixels.
        kernel: The width of the Gaussian, odd.
        most: Pairs of one prompt that are looked at; of more, so many are drawn.
        seed: For drawing them.

    Raises:
        MissingDependency: torch is not installed.
        InputError: There are no such scales or kernels.
    """

    scales: int = len(_WEIGHTS)
    kernel: int = _KERNEL
    most: int = 100
    seed: int = 0
    name: str = "ms-ssim"
    title: str = "MS-SSIM"
    unit: str = ""
    better: Better = "lower"
    ranking: bool = True
    needs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.scales <= len(_WEIGHTS):
            raise InputError(f"MS-SSIM has 1 to {len(_WEIGHTS)} scales, not {self.scales}")
        if self.kernel < 3 or self.kernel % 2 == 0:
            raise InputError(f"MS-SSIM's kernel is an odd number of pixels from 3 on, not {self.kernel}")
        if self.most < 1:
            raise InputError("MS-SSIM needs one pair of a prompt at the least")

    @property
    def smallest(self) -> int:
        """The smallest side that a picture may have."""
        return ((self.kernel - 1) << (self.scales - 1)) + 1

    @property
    def signature(self) -> str:
        """Scales, kernel, and how pairs are drawn."""
        drawn = f"pairs={self.most}|seed={self.seed}"
        return f"{self.name}|rgb|scales={self.scales}|kernel={self.kernel}|edge=mirrored|{drawn}"

    def estimate(self, cell: Cell) -> Estimate:
        """Measure a cell.

        Raises:
            InputError: no prompt has two pictures; or pictures are too small, of different sizes, or not to be read.
        """
        return mean_over_pairs(cell, self.prepare, self.compare, most=self.most, seed=self.seed)

    def prepare(self, image: Image) -> list[Scale]:
        """Return a picture at every scale.

        Raises:
            InputError: it is too small.
        """
        try:
            import torch
            from torch.nn import functional
        except ImportError:
            raise MissingDependency("torch", extra="eval") from None

        if min(image.size) < self.smallest:
            needed = f"{self.scales} scales and a kernel of {self.kernel} need {self.smallest} pixels a side"
            raise InputError(f"{needed}, and there are {image.width} x {image.height}; take fewer scales")
        pixels = np.array(image.convert("RGB"), np.float32) / 255
        picture = torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(1)
        pyramid = []
        with torch.no_grad():
            for place in range(self.scales):
                shown = self._mirrored(picture) if place == self.scales - 1 else picture
                mean = self._blur(shown)
                variance = (self._blur(shown * shown) - mean * mean).clamp(min=0)
                pyramid.append(Scale(shown, mean, variance))
                picture = functional.avg_pool2d(picture, 2)
        return pyramid

    def compare(self, one: list[Scale], other: list[Scale]) -> float:
        """Return how alike two pictures are: 1 where they are equal.

        Raises:
            InputError: they differ in size.
        """
        if one[0].picture.shape != other[0].picture.shape:
            raise InputError("they differ in size")
        weights = _WEIGHTS[: self.scales]
        alike = 1.0
        for place, (a, b) in enumerate(zip(one, other, strict=True)):
            covariance = self._blur(a.picture * b.picture) - a.mean * b.mean
            terms = (2 * covariance + _C2) / (a.variance + b.variance + _C2)
            if place == self.scales - 1:
                terms = terms * (2 * a.mean * b.mean + _C1) / (a.mean * a.mean + b.mean * b.mean + _C1)
            alike *= max(float(terms.mean()), 0.0) ** (weights[place] / sum(weights))
        return alike

    def _mirrored(self, picture: Tensor) -> Tensor:
        from torch.nn import functional

        return functional.pad(picture, (self.kernel // 2,) * 4, mode="reflect")

    def _blur(self, picture: Tensor) -> Tensor:
        """Return the local means, where the whole kernel lies inside."""
        import torch
        from torch.nn import functional

        sigma = _SIGMA * self.kernel / _KERNEL
        steps = range(-(self.kernel // 2), self.kernel // 2 + 1)
        bell = torch.tensor([math.exp(-((step / sigma) ** 2) / 2) for step in steps])
        bell = bell / bell.sum()
        return functional.conv2d(functional.conv2d(picture, bell.view(1, 1, -1, 1)), bell.view(1, 1, 1, -1))
