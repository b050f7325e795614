"""Differences that are kept whole: of weights, of biases, of norms."""

from __future__ import annotations

import math

from torch import Tensor

from .network import Dense, Shape, same


class Difference(Dense):
    """W' = W + weight * diff (LyCORIS `full`; extraction tools)."""

    __slots__ = ()
    kind = "full difference"

    def fits(self, shape: Shape) -> bool:
        """Whether the difference has this shape."""
        return same(self.parts["diff"].shape, shape)

    def delta(self, base: Tensor | None = None) -> Tensor:
        """Read the difference."""
        diff = self.parts["diff"].read()
        return diff.flatten(1) if diff.ndim > 1 else diff


class BiasDifference(Difference):
    """A difference of a bias."""

    __slots__ = ()
    kind = "bias difference"

    def fits(self, shape: Shape) -> bool:
        """Whether there is one value an output."""
        return len(shape) == 1 and math.prod(self.parts["diff"].shape) == shape[0]

    def delta(self, base: Tensor | None = None) -> Tensor:
        """Read the difference."""
        return self.parts["diff"].read().flatten()


class NormDifference(BiasDifference):
    """A difference of the weight or bias of a norm."""

    __slots__ = ()
    kind = "norm difference"


class LoRABias(BiasDifference):
    """The bias of a LoRA's up factor (PEFT's `lora_bias`); it shares the LoRA's scale."""

    __slots__ = ()
    kind = "LoRA bias"

    @property
    def scale(self) -> float:
        """Alpha / rank."""
        return self.strength.over(self.parts["up"].shape[1])

    @property
    def idle(self) -> bool:
        """Whether alpha is 0."""
        return self.scale == 0

    @property
    def extent(self) -> int:
        """One value an output."""
        return math.prod(self.parts["diff"].shape)

    def delta(self, base: Tensor | None = None) -> Tensor:
        """Read the scaled bias."""
        return super().delta(base) * self.scale
