"""The cards of the candidates, numbered and fenced, within a budget of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..fenced import card
from ..records import RefinedAdapter

_CARD: Final = 600
"""Characters of a card that has room."""
_SHORTEST: Final = 270
"""Characters down to which all cards are shortened before the last are left out: room for a sentence on each."""
_PER_TOKEN: Final = 3.4
"""Characters of a token in cards. English prose has 4 and more; names, tags and trigger words have fewer."""


def estimated_tokens(text: str) -> int:
    """Return about how many tokens a text has, without any tokenizer; beyond ASCII each character counts as one.

    >>> estimated_tokens("a red fox in deep snow, ink wash"), estimated_tokens("赛博朋克")
    (9, 4)
    """
    plain = sum(map(str.isascii, text)) if not text.isascii() else len(text)
    return round(plain / _PER_TOKEN) + len(text) - plain


def numbered_cards(adapters: Sequence[RefinedAdapter], budget: int) -> list[str]:
    """Return the cards in their order, numbered from 1, that fit into so many tokens; at least one.

    All are shortened evenly, which leaves short ones as they are; where that is not enough, the last are left out.
    """
    shown = list(adapters)
    while len(shown) > 1 and (needed := _tokens(shown, _SHORTEST)) > budget:
        # By the mean of those that are there, so that hundreds do not take hundreds of rounds.
        del shown[max(1, min(len(shown) - 1, int(budget * len(shown) / needed))) :]
    low, high = _SHORTEST, _CARD
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _tokens(shown, middle) <= budget else (low, middle - 1)
    return _cards(shown, low)


def _tokens(adapters: Sequence[RefinedAdapter], longest: int) -> int:
    return sum(estimated_tokens(text) + 1 for text in _cards(adapters, longest))


def _cards(adapters: Sequence[RefinedAdapter], longest: int) -> list[str]:
    return [f"<card {number}>\n{card(one, longest)}\n</card>" for number, one in enumerate(adapters, 1)]
