"""Where adapters come from: a folder, Civitai, Hugging Face; each gives `AdapterRecord`s, one for each file.

`open_source` looks at what it is given and returns the source that reads it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .open import KINDS, open_source

if TYPE_CHECKING:
    from .civitai import CivitaiDump
    from .civitai_live import CivitaiLive
    from .folder import FolderSource
    from .huggingface import HuggingFaceDump, HuggingFaceLive

__all__ = [
    "KINDS",
    "CivitaiDump",
    "CivitaiLive",
    "FolderSource",
    "HuggingFaceDump",
    "HuggingFaceLive",
    "open_source",
]

_HOMES = {
    "CivitaiDump": "civitai",
    "CivitaiLive": "civitai_live",
    "FolderSource": "folder",
    "HuggingFaceDump": "huggingface",
    "HuggingFaceLive": "huggingface",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
