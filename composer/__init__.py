"""The composer: which candidates serve which words of a prompt, and at which weight.

builtin.py   chooses without any language model
spans.py     the user's own words that a candidate serves
weights.py   a weight from what people used and advised
triggers.py  the trigger words that fit this prompt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .builtin import BuiltinComposer as BuiltinComposer

__all__ = ["BuiltinComposer"]


def __getattr__(name: str) -> object:
    if name == "BuiltinComposer":
        from .builtin import BuiltinComposer

        return BuiltinComposer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
