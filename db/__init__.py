"""The catalogue in a database: records in, records out.

`open_store` opens it. A source is synchronised into it, adapters are found, filtered and read from it, and the
vectors of their texts are kept beside them. It holds the truth; an index is only ever built from it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .connect import file_of as file_of
    from .connect import name_of as name_of
    from .identity import Duplicates as Duplicates
    from .stats import Stats as Stats
    from .store import Store as Store
    from .store import open_store as open_store
    from .sync import SyncReport as SyncReport
    from .words import COLUMNS as COLUMNS

_HOME = {
    "COLUMNS": "words",
    "Duplicates": "identity",
    "Stats": "stats",
    "Store": "store",
    "SyncReport": "sync",
    "file_of": "connect",
    "name_of": "connect",
    "open_store": "store",
}

__all__ = ["COLUMNS", "Duplicates", "Stats", "Store", "SyncReport", "file_of", "name_of", "open_store"]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
