"""All that is left to chance in an enlargement."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Draws(Protocol):
    """The source of noise and jitter, asked in the order in which they are needed."""

    def noise(self, shape: tuple[int, ...]) -> Tensor:
        """Draw standard normal noise of that shape, float32, on the CPU."""

    def jitter(self, low: int, high: int) -> int:
        """Draw a whole number from `low` to `high`, both included."""

    @property
    def generator(self) -> torch.Generator:
        """What a solver draws its noise from while a picture is painted in one piece."""

    def seed(self) -> int:
        """Draw the seed of the noise that all solvers share in one step of an enlargement."""


class SeededDraws:
    """Draws everything from one generator.

    Args:
        generator: On the CPU, so that chance does not depend on the device.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def noise(self, shape: tuple[int, ...]) -> Tensor:
        """Draw standard normal noise."""
        return torch.randn(shape, generator=self._generator)

    def jitter(self, low: int, high: int) -> int:
        """Draw a whole number."""
        return int(torch.randint(low, high + 1, (), generator=self._generator))

    @property
    def generator(self) -> torch.Generator:
        """The one."""
        return self._generator

    def seed(self) -> int:
        """Draw a seed."""
        return self.jitter(0, 2**62)
