"""What is said of a picture while a model learns it."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any

from ...words import FUNCTION_WORDS
from ..world import captions, vocabulary

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from torch import Tensor

    from ..world import Picture

_OTHER_WORDS = tuple(sorted(FUNCTION_WORDS - set(vocabulary())))


def known_words() -> tuple[str, ...]:
    """Return the words that get a token of their own: the world's, and the small words of English."""
    return (*vocabulary(), *_OTHER_WORDS)


def describe(
    pictures: Sequence[Picture], lot: random.Random, *, silent: float = 0.0, strayed: float = 0.0
) -> list[str]:
    """Say what pictures show.

    Args:
        pictures: Shown.
        lot: Chooses the wording.
        silent: Share of captions left empty, from which guidance comes (Ho and Salimans, 2022).
        strayed: Share of captions with a word or two that mean nothing, so that the model learns to pass over
            what it does not know.

    """
    return [_describe(picture, lot, silent, strayed) for picture in pictures]


def _describe(picture: Picture, lot: random.Random, silent: float, strayed: float) -> str:
    if lot.random() < silent:
        return ""
    text = captions(picture, lot)
    if lot.random() < strayed:
        stray = " ".join(_stray(lot) for _ in range(lot.randint(1, 2)))
        text = lot.choice((f"{text}, {stray}", f"{text} {stray}", f"{stray} {text}", f"{stray}, {text}"))
    return text


def _stray(lot: random.Random) -> str:
    if lot.random() < 0.5:
        return lot.choice(_OTHER_WORDS)
    return "".join(lot.choices(string.ascii_lowercase, k=lot.randint(3, 8)))


def encode(tokenizer: Any, texts: Sequence[str]) -> Tensor:
    """Turn texts into the numbers of their tokens: int64, shape (texts, the tokenizer's length)."""
    numbers: Tensor = tokenizer(list(texts), padding="max_length", truncation=True, return_tensors="pt").input_ids
    return numbers
