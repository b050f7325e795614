"""The composer: which candidates serve which words of a prompt, and at which weight.

tasks.py     the prompt cut into what can be asked of adapters
spans.py     the user's own words that a candidate serves, and what names it
picks.py     what a composer chooses
builtin.py   chooses without any language model
llm.py       chooses by one question to a language model; cards.py, chosen.py, quoting.py: what it reads and answers
stylus.py    chooses as the paper does, in two turns
arrange.py   from picks to a composition, by:
weights.py   a weight from what people used and advised
triggers.py  the trigger words that fit this prompt (asked.py: what the prompt says of them)
conflicts.py what cannot go together, and what to do about it (worn.py: its nouns)
budget.py    the strength of all together
masks.py     which choices are on in one picture
formats/     compositions in the forms of other tools, and back
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .arrange import Manner as Manner
    from .arrange import arrange as arrange
    from .builtin import BuiltinComposer as BuiltinComposer
    from .llm import LlmComposer as LlmComposer
    from .stylus import StylusComposer as StylusComposer

_HOMES = {
    "Manner": "arrange",
    "arrange": "arrange",
    "BuiltinComposer": "builtin",
    "LlmComposer": "llm",
    "StylusComposer": "stylus",
}

__all__ = ["BuiltinComposer", "LlmComposer", "Manner", "StylusComposer", "arrange"]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
