"""Features of pictures: read safely, prepared once for all networks, extracted once for all metrics.

`pictures` opens files that lie, `resize` and `preparation` make of them what networks take, `inception`, `clip` and
`vision` look at them, `run` feeds them all from one decode into the cache, and `cached` gives what is there.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cached import CachedFeatures, CachedTexts
    from .opening import open_extractor, open_extractors
    from .pictures import PictureFile, open_sample, read_picture_file
    from .run import Extraction, extract

__all__ = [
    "CachedFeatures",
    "CachedTexts",
    "Extraction",
    "PictureFile",
    "extract",
    "open_extractor",
    "open_extractors",
    "open_sample",
    "read_picture_file",
]

_HOMES = {
    "CachedFeatures": "cached",
    "CachedTexts": "cached",
    "Extraction": "run",
    "PictureFile": "pictures",
    "extract": "run",
    "open_extractor": "opening",
    "open_extractors": "opening",
    "open_sample": "pictures",
    "read_picture_file": "pictures",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
