"""What each stage took and what came of it: `training.json` beside the trained folders."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from ...errors import InputError
from .checkpoint import load_json, save_json

if TYPE_CHECKING:
    from .recipe import Recipe, Trained


_DECIDING: Final = ("steps", "rate", "warmup", "held", "decay", "clip", "average", "seed")
"""What decides what comes out, besides the pictures of a step; where it is computed does not."""


class Ledger:
    """Keeps one entry for each finished stage."""

    def __init__(self, folder: Path, machine: str | None = None) -> None:
        self.file = folder / "training.json"
        self.machine = machine

    def read(self, stage: str) -> dict[str, Any] | None:
        """Return a finished stage's entry, or None."""
        entry: dict[str, Any] | None = load_json(self.file, {}).get(stage)
        return entry

    def check(self, stage: str, recipe: Recipe) -> None:
        """Refuse a finished stage that was trained by another recipe.

        Raises:
            InputError: it was; one that is not finished passes.

        """
        entry = self.read(stage)
        if entry is not None and _course(entry.get("recipe")) != _course(asdict(recipe)):
            named = stage if stage.startswith("adapter ") else f"stage {stage}"
            raise InputError(
                f"the {named} in {self.file.parent} was trained by another plan: take another folder, or delete its "
                f"entry in {self.file.name} and its file in the folder state to train it anew"
            )

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


def _course(told: Any) -> tuple[Any, ...] | None:
    """Return what must be alike in two recipes; None for what is not a recipe."""
    if not isinstance(told, dict):
        return None
    batch, processes = told.get("batch"), told.get("processes")
    if not isinstance(batch, int) or not isinstance(processes, int):
        return None
    return (batch * processes, *(told.get(name) for name in _DECIDING))


def _machine(device: str) -> str:
    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name(device))
    return f"{os.cpu_count()} processor cores"
