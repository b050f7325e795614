"""Velatura: a prompt in, the right adapters out of thousands, laid on the model, with the reason for each.

The repository's root is this package; each folder is one stage of the system. Nothing is imported until it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .errors import VelaturaError as VelaturaError
    from .pipeline import Velatura as Velatura
    from .records import AdapterRecord as AdapterRecord
    from .records import Candidate as Candidate
    from .records import Choice as Choice
    from .records import Composition as Composition
    from .records import Filter as Filter
    from .records import GeneratedImage as GeneratedImage
    from .records import GenerationRequest as GenerationRequest
    from .settings import Settings as Settings

__version__ = "0.1.0"

_HOME = {
    "AdapterRecord": "records",
    "Candidate": "records",
    "Choice": "records",
    "Composition": "records",
    "Filter": "records",
    "GeneratedImage": "records",
    "GenerationRequest": "records",
    "Settings": "settings",
    "Velatura": "pipeline",
    "VelaturaError": "errors",
}

_NODES = ("NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS")
"""What ComfyUI asks for where the repository lies among its custom nodes."""

__all__ = [
    *_HOME,
    "__version__",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        from importlib import import_module

        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    if name in _NODES:
        from importlib import import_module

        return getattr(import_module(".comfyui", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
