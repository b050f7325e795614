"""What is to be trained, how, and what is told of it on the way."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a model is trained."""

    steps: int
    batch: int
    """Samples per process and step."""
    rate: float
    warmup: int = 30
    held: float = 0.0
    """Share of the steps before the learning rate begins to fall, in a straight line, to 2 %."""
    decay: float = 0.01
    clip: float = 1.0
    """Greatest norm of AdamW's gradient."""
    average: float = 0.99
    """Share of the averaged weights that is kept at each step."""
    seed: int = 0
    processes: int = 1
    device: str = "cpu"
    bfloat16: bool = False
    """Multiply in bfloat16; weights stay in float32."""

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step.

        >>> recipe = Recipe(steps=100, batch=1, rate=1.0, warmup=4)
        >>> [round(recipe.rate_at(step), 2) for step in (0, 3, 50, 99)]
        [0.25, 0.97, 0.51, 0.03]
        """
        start = self.held * self.steps
        fallen = max(0.0, step - start) / max(1.0, self.steps - start)
        return self.rate * min(1.0, (step + 1) / max(1, self.warmup)) * (1 - 0.98 * fallen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One process's part of one step: what is drawn by lot is drawn from here."""

    size: int
    lot: random.Random
    generator: torch.Generator
    """On the CPU, so that every device gets the same draws."""
    device: torch.device


class Task(Protocol):
    """What is trained; it travels to each process, which builds the model there."""

    def build(self) -> nn.Module:
        """Return the model, always with the same first weights; those to be trained require a gradient."""

    def loss(self, model: Any, share: Share) -> Tensor:
        """Return the mean loss over newly drawn samples."""

    def is_matrix(self, name: str, weight: Tensor) -> bool:
        """Return whether Muon, rather than AdamW, moves this weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How far a stage is."""

    stage: str
    step: int
    steps: int
    loss: float
    """Averaged over the last steps."""
    speed: float
    """Samples a second."""
    left: float
    """Seconds to the end, as it looks."""

    def __str__(self) -> str:
        return (
            f"{self.stage}: step {self.step} of {self.steps}, loss {self.loss:.4f}, {self.speed:.0f} samples/s, "
            f"{self.left / 60:.1f} min left"
        )


Progress = Callable[[Report], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What came out, and what it took."""

    weights: dict[str, Tensor]
    """The averaged weights, by name."""
    samples: int
    seconds: float
    """Wall clock, all runs together."""
    processor_seconds: float
    """All processes and runs together."""
    loss: float
    """Averaged over the last steps."""
