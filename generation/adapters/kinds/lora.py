"""LoRA: plain, over convolutions (LoCon), and with a Tucker core."""

from __future__ import annotations

import math

from torch import Tensor

from .network import LowRank, Shape, squeeze


class LoRA(LowRank):
    """delta = (alpha / rank) up @ down (Hu et al. 2021). With `mid`, down is contracted with it (LyCORIS, Tucker)."""

    __slots__ = ()
    kind = "LoRA"

    @property
    def rank(self) -> int:
        """The columns of the up factor."""
        return self.parts["up"].shape[1]

    @property
    def scale(self) -> float:
        """Alpha / rank."""
        return self.strength.over(self.rank)

    @property
    def idle(self) -> bool:
        """Whether alpha is 0."""
        return self.scale == 0

    @property
    def width(self) -> int:
        """The smaller side of the weight."""
        outputs = self.parts["up"].shape[0]
        return min(outputs, self.extent // outputs)

    @property
    def extent(self) -> int:
        """Outputs x inputs x kernel."""
        down = self.parts.get("mid", self.parts["down"]).shape
        return self.parts["up"].shape[0] * self.parts["down"].shape[1] * math.prod(down[2:])

    def fits(self, shape: Shape) -> bool:
        """Whether the product of the factors has this shape."""
        if len(shape) < 2:
            return False
        (outputs, inputs, *kernel), down, up = shape, self.parts["down"].shape, self.parts["up"].shape
        if math.prod(up[2:]) != 1 or up[0] != outputs or down[1] != inputs:
            return False
        if "mid" not in self.parts:
            return down[0] == up[1] and squeeze(down[2:]) == squeeze(kernel)
        mid = self.parts["mid"].shape
        return mid[:2] == (up[1], down[0]) and math.prod(down[2:]) == 1 and squeeze(mid[2:]) == squeeze(kernel)

    def factors(self, base: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Read both factors."""
        up = self.parts["up"].read()
        down = self.parts["down"].read()
        if "mid" in self.parts:
            core = self.parts["mid"].read()
            down = (core.reshape(*core.shape[:2], -1).transpose(1, 2) @ down.flatten(1)).transpose(1, 2)
        return up.reshape(up.shape[0], -1) * self.scale, down.reshape(down.shape[0], -1)


class LoCon(LoRA):
    """LoRA on a convolution wider than one pixel."""

    __slots__ = ()
    kind = "LoCon"


class TuckerLoCon(LoRA):
    """LoCon whose down factor is kept as a Tucker decomposition."""

    __slots__ = ()
    kind = "LoCon with a Tucker core"
