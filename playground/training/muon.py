"""Muon: momentum whose matrices are made orthogonal before each step (Keller Jordan and others, 2024).

Scaled so that it takes AdamW's learning rate (Liu and others, "Muon is Scalable for LLM Training", 2025, section 2.2).
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

_QUINTIC: Final = (3.4445, -4.7750, 2.0315)
"""Coefficients of the Newton-Schulz step: steep at nought, so that five steps bring all singular values near one."""
_STEPS: Final = 5
_LIKE_ADAMW: Final = 0.2
"""Root mean square of AdamW's usual update."""


def orthogonalise(matrices: Tensor) -> Tensor:
    """Return the nearest semi-orthogonal matrices, roughly: singular values between 0.7 and 1.2.

    Args:
        matrices: Shape (count, rows, columns), float.

    """
    a, b, c = _QUINTIC
    tall = matrices.shape[-2] > matrices.shape[-1]
    x: Tensor = matrices.mT if tall else matrices
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    for _ in range(_STEPS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    result: Tensor = x.mT if tall else x
    return result


def muon_updates(gradients: Tensor, momentum: Tensor, *, beta: float) -> Tensor:
    """Advance the momentum in place and return what to subtract from the weights, for a learning rate of one.

    Args:
        gradients: Shape (count, rows, columns).
        momentum: The same shape; changed in place.
        beta: Share of the momentum that is kept; the step looks ahead (Nesterov).

    """
    momentum.lerp_(gradients, 1 - beta)
    ahead = torch.lerp(gradients, momentum, beta)
    rows, columns = gradients.shape[-2:]
    return orthogonalise(ahead).mul_(_LIKE_ADAMW * max(rows, columns) ** 0.5)
