"""The multiplicative kinds: rotations of the outputs (OFT, BOFT) and scales of rows or columns (IA3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .network import Shape, Turning


class OFT(Turning):
    """W' = R' W with R block-diagonal and orthogonal, the Cayley transform of a skew block (Qiu et al. 2023).

    As in LyCORIS and kohya's scripts: the alpha is a constraint on the norm, times the number of outputs.
    """

    __slots__ = ()
    kind = "OFT"

    @property
    def extent(self) -> int:
        """The values of the blocks: a file does not tell how many inputs are turned."""
        return math.prod(self.parts["blocks"].shape)

    def fits(self, shape: Shape) -> bool:
        """Whether the blocks are square and together as many as the outputs."""
        blocks = self.parts["blocks"].shape
        if len(shape) < 2 or len(blocks) != 3:
            return False
        number, size, other = blocks
        return size == other and number * size == shape[0] and self._rescales(shape)

    def turned(self, weight: Tensor, amount: float) -> Tensor:
        """Return W + amount (rescale R' W - W)."""
        rotation = self._rotation(weight.shape[0])
        blocks = weight.view(rotation.shape[0], rotation.shape[1], -1)
        whole = (rotation.transpose(1, 2) @ blocks).view_as(weight)
        return torch.lerp(weight, self._rescaled(whole), amount)

    def _rotation(self, outputs: int) -> Tensor:
        blocks = self.parts["blocks"].read()
        skew = blocks - blocks.transpose(-1, -2)
        limit = (self.strength.alpha or 0.0) * outputs
        if limit > 0 and (norm := float(skew.norm()) + 1e-8) > limit:
            skew = skew * (limit / norm)
        one = torch.eye(blocks.shape[-1])
        # (1 + Q)(1 - Q)^-1 as one solve; the two commute.
        rotation: Tensor = torch.linalg.solve(one - skew, one + skew)
        return rotation

    def _rescales(self, shape: Shape) -> bool:
        return "rescale" not in self.parts or math.prod(self.parts["rescale"].shape) == shape[0]

    def _rescaled(self, weight: Tensor) -> Tensor:
        return weight * self.parts["rescale"].read().reshape(-1, 1) if "rescale" in self.parts else weight


class BOFT(OFT):
    """OFT through several butterfly stages (Liu et al. 2024); each stage is weighted, as in LyCORIS."""

    __slots__ = ()
    kind = "BOFT"

    def fits(self, shape: Shape) -> bool:
        """Whether every stage's blocks are square, even, and together as many as the outputs."""
        blocks = self.parts["blocks"].shape
        if len(shape) < 2 or len(blocks) != 4:
            return False
        stages, number, size, other = blocks
        widest = 2 ** (stages - 1) * size  # outputs that the last stage mixes
        whole = number * size == shape[0] and shape[0] % widest == 0 if stages < 32 else False
        return size == other and size % 2 == 0 and whole and self._rescales(shape)

    def turned(self, weight: Tensor, amount: float) -> Tensor:
        """Return rescale B_m ... B_1 W, each stage drawn towards the identity by 1 - amount."""
        rotations = self._rotation(weight.shape[0])
        one = torch.eye(rotations.shape[-1])
        whole = weight
        for stage, rotation in enumerate(rotations):
            reach = 2**stage * (rotation.shape[-1] // 2)
            mixed = whole.reshape(-1, 2, reach, whole.shape[-1]).transpose(1, 2).reshape(*rotation.shape[:2], -1)
            mixed = torch.lerp(one, rotation, amount) @ mixed
            whole = mixed.reshape(-1, reach, 2, whole.shape[-1]).transpose(1, 2).reshape_as(weight)
        if "rescale" in self.parts:
            return torch.lerp(whole, self._rescaled(whole), amount)
        return whole


class IA3(Turning):
    """W' = W (1 + amount w), w over the outputs, or over the inputs where the file says so (Liu et al. 2022)."""

    __slots__ = ()
    kind = "IA3"

    @property
    def extent(self) -> int:
        """The values of the scale."""
        return math.prod(self.parts["weight"].shape)

    def fits(self, shape: Shape) -> bool:
        """Whether there is one scale a row, or a column."""
        values = math.prod(self.parts["weight"].shape)
        return len(shape) >= 2 and values == shape[1 if self._on_input else 0]

    @property
    def _on_input(self) -> bool:
        return bool(self.parts["on_input"].read().any())

    def turned(self, weight: Tensor, amount: float) -> Tensor:
        """Return the scaled weight."""
        scale = 1 + amount * self.parts["weight"].read().flatten()
        if self._on_input:
            return (weight.view(weight.shape[0], scale.numel(), -1) * scale.view(1, -1, 1)).view_as(weight)
        return weight * scale.unsqueeze(1)
