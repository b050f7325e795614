"""DoRA: direction and magnitude apart."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from torch import Tensor

from .network import Additive, Shape, Stored


@dataclass(frozen=True, slots=True, eq=False)
class DoRA(Additive):
    """W' = m V / |V| with V = W + the difference of an inner network (Liu et al. 2024, eq. 5).

    What is weighted is W' - W (as in ComfyUI), and W is the unchanged weight, so DoRA commutes with its neighbours.
    The norm runs over the inputs where the magnitude has one value an output, and over the outputs where it has one
    an input (OneTrainer, older LyCORIS): the magnitude's shape tells which, (outputs, 1, ...) or (1, inputs, ...).
    """

    kind = "DoRA"
    inner: Additive = field(kw_only=True)

    @property
    def needs_base(self) -> bool:
        """Always."""
        return True

    @property
    def rank(self) -> int | None:
        """The inner network's."""
        return self.inner.rank

    @property
    def extent(self) -> int:
        """The inner network's."""
        return self.inner.extent

    def fits(self, shape: Shape) -> bool:
        """Whether the inner network fits, and the magnitude is a row or a column of the weight."""
        if len(shape) < 2 or not self.inner.fits(shape):
            return False
        return math.prod(self._magnitude.shape) == shape[1 if self._by_input else 0]

    def delta(self, base: Tensor | None = None) -> Tensor:
        """Return m V / |V| - W."""
        if base is None:
            raise ValueError("DoRA needs the weight it lies on")
        direction = base + self.inner.delta(base).view_as(base)
        magnitude = self._magnitude.read().flatten()
        if self._by_input:
            direction = direction.view(base.shape[0], magnitude.numel(), -1)
            norm = direction.square().sum((0, 2)).sqrt().clamp_min(1e-30)
            return (direction * (magnitude / norm).view(1, -1, 1)).view_as(base) - base
        norm = direction.square().sum(1).sqrt().clamp_min(1e-30)
        return direction * (magnitude / norm).unsqueeze(1) - base

    @property
    def _magnitude(self) -> Stored:
        return self.parts["dora_scale"] if "dora_scale" in self.parts else self.parts["magnitude"]

    @property
    def _by_input(self) -> bool:
        # PEFT keeps its magnitude of a convolution as (1, outputs, 1, 1), and knows no norm over outputs.
        shape = self._magnitude.shape
        return "dora_scale" in self.parts and len(shape) > 1 and shape[0] == 1 and shape[1] > 1
