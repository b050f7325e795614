"""What each stage took and what came of it: `training.json` beside the trained folders."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .checkpoint import load_json, save_json

if TYPE_CHECKING:
    from .recipe import Recipe, Trained


class Ledger:
    """Keeps one entry for each finished stage."""

    def __init__(self, folder: Path, machine: str | None = None) -> None:
        self.file = folder / "training.json"
        self.machine = machine

    def read(self, stage: str) -> dict[str, Any] | None:
        """Return a finished stage's entry, or None."""
        entry: dict[str, Any] | None = load_json(self.file, {}).get(stage)
        return entry

    def write(self, stage: str, recipe: Recipe, trained: Trained, figures: dict[str, Any]) -> None:
        """Note a finished stage."""
        entry = {
            "samples": trained.samples,
            "wall_seconds": round(trained.seconds, 1),
            "processor_seconds": round(trained.processor_seconds, 1),
            "machine": self.machine or _machine(recipe.device),
            "loss": round(trained.loss, 5),
            "figures": figures,
            "recipe": asdict(recipe),
        }
        save_json(self.file, {**load_json(self.file, {}), stage: entry})


def _machine(device: str) -> str:
    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name(device))
    return f"{os.cpu_count()} processor cores"
