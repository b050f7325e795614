"""Pictures larger than a model's own: DemoFusion, MultiDiffusion and ScaleCrafter over any denoiser.

DemoFusion (Du and others, CVPR 2024) paints at the model's own size, enlarges the latents, and denoises them again
from noise in two ways at once: in shifted windows, which paint details, and in dilated views of the whole, which hold
the picture together. `plan` tells what a size costs before anything is painted, `Painter` paints the latents, and
`decode` makes the picture of them tile by tile. Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .plan import Phase, Plan, plan

if TYPE_CHECKING:
    from .backend import DemoFusionBackend
    from .denoiser import Denoiser
    from .draws import Draws, SeededDraws
    from .loop import Painter, Progress
    from .solver import Schedule
    from .tiles import decode

__all__ = [
    "DemoFusionBackend",
    "Denoiser",
    "Draws",
    "Painter",
    "Phase",
    "Plan",
    "Progress",
    "Schedule",
    "SeededDraws",
    "decode",
    "plan",
]

_MODULES = {
    "DemoFusionBackend": "backend",
    "Denoiser": "denoiser",
    "Draws": "draws",
    "Painter": "loop",
    "Progress": "loop",
    "Schedule": "solver",
    "SeededDraws": "draws",
    "decode": "tiles",
}


def __getattr__(name: str) -> Any:
    """Import a public name on its first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
