"""Trains the playground's models on its painted world: autoencoder, base, evaluator, adapters, one-step model, XL."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .plan import Plan, gpu_plan, processor_plan, trial_plan
    from .recipe import Report
    from .stages import STAGES, train

__all__ = ["STAGES", "Plan", "Report", "gpu_plan", "processor_plan", "train", "trial_plan"]

_HOMES = {
    "STAGES": "stages",
    "Plan": "plan",
    "Report": "recipe",
    "gpu_plan": "plan",
    "processor_plan": "plan",
    "train": "stages",
    "trial_plan": "plan",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used: its module needs torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
