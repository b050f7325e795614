"""Measures the playground: what the right adapters bring, what Velatura's own picks reach of it, what wrong ones do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .report import text_of
    from .run import measure
    from .sheets import write_sheet

__all__ = ["measure", "text_of", "write_sheet"]

_PLACES = {"measure": ".run", "text_of": ".report", "write_sheet": ".sheets"}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _PLACES:
        return getattr(import_module(_PLACES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
