"""A task that trains in no time, for `test_training_trainer`; as a program it trains slowly, to be killed."""

from __future__ import annotations

import multiprocessing
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from velatura.playground.training.recipe import Recipe
from velatura.playground.training.trainer import train_model

RECIPE = Recipe(steps=12, batch=4, rate=0.02, warmup=2)


@dataclass(frozen=True)
class Sums:
    """Learns to add up eight numbers."""

    seconds: float = 0.0
    """How long each step is made to take."""
    dies: bool = False
    """Whether the second process fails."""

    def build(self):
        return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4), nn.Linear(4, 1))

    def is_matrix(self, name, weight):
        return name == "2.weight"

    def loss(self, model, share):
        time.sleep(self.seconds)
        if self.dies and multiprocessing.parent_process() is not None:
            raise RuntimeError("as asked")
        numbers = torch.randn(share.size, 8, generator=share.generator) + share.lot.random()
        return functional.mse_loss(model(numbers)[:, 0], numbers.sum(1))


def train(state, task=None, recipe=RECIPE, **how):
    return train_model(task or Sums(), recipe, stage="sums", state=state, **how)


if __name__ == "__main__":
    train(Path(sys.argv[1]), Sums(seconds=0.1), replace(RECIPE, processes=int(sys.argv[2])), every=0.0)
