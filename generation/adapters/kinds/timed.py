"""T-LoRA: ranks that act only at some time steps."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .network import LowRank, Shape, same


class TimedLoRA(LowRank):
    """P diag(l) Q - P0 diag(l0) Q0, of which only the first ranks act at noisy steps (Soboleva et al. 2025, 3.2).

    Given as a LoRA of twice the rank, so that the paper's mask, repeated, is a mask over its ranks. Because it
    depends on the time step it cannot lie on the weights. Files of LyCORIS leave out P0, l0 and Q0: these are the
    first singular vectors and values of the unchanged weight.
    """

    __slots__ = ()
    kind = "T-LoRA"
    timed = True

    @property
    def needs_base(self) -> bool:
        """Whether the file leaves out where its training began."""
        return "base_p" not in self.parts

    @property
    def rank(self) -> int:
        """The ranks of the difference: twice the file's."""
        return 2 * self.parts["q"].shape[0]

    @property
    def idle(self) -> bool:
        """Whether alpha is 0."""
        return self.strength.over(self.parts["q"].shape[0]) == 0

    @property
    def extent(self) -> int:
        """Outputs x inputs."""
        return self.parts["p"].shape[0] * self.parts["q"].shape[1]

    def fits(self, shape: Shape) -> bool:
        """Whether both products have this shape."""
        if len(shape) < 2 or math.prod(shape[2:]) != 1:
            return False
        rank = self.parts["q"].shape[0]
        return rank <= min(shape[:2]) and all(
            same(self.parts[f"{start}p"].shape, (shape[0], rank))
            and same(self.parts[f"{start}q"].shape, (rank, shape[1]))
            and math.prod(self.parts[f"{start}lambda"].shape) == rank
            for start in (("",) if self.needs_base else ("", "base_"))
        )

    def factors(self, base: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Read (P, -P0) and (l Q, l0 Q0)."""
        p, q, values = (self.parts[name].read() for name in ("p", "q", "lambda"))
        rank = q.shape[0]
        if self.needs_base:
            if base is None:
                raise ValueError("this T-LoRA needs the weight it lies on")
            u, s, v = torch.linalg.svd(base, full_matrices=False)
            p0, values0, q0 = u[:, :rank], s[:rank], v[:rank]
        else:
            p0, q0, values0 = (self.parts[name].read() for name in ("base_p", "base_q", "base_lambda"))
        up = torch.cat([p.reshape(p.shape[0], -1), -p0.reshape(p.shape[0], -1)], dim=1)
        down = torch.cat([values.reshape(-1, 1) * q.reshape(rank, -1), values0.reshape(-1, 1) * q0.reshape(rank, -1)])
        return up * self.strength.over(rank), down
