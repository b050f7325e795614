"""Adapters that a trigger phrase calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..records import Match
from ..words import words
from .lists import rarity
from .similar import Found

if TYPE_CHECKING:
    from .corpus import Allowed, Corpus


def called(corpus: Corpus, phrase: str, allowed: Allowed) -> Found:
    """Find the adapters that a trigger phrase calls, then those that a phrase calls which begins with it.

    The rarity of a phrase is one over the root of the number of pages that speak of it; of one that only begins with
    it, of those that it calls. Where the phrase is the trigger the score is half of one plus its rarity, so more than
    0.5; where it is the beginning of the trigger, half of its rarity, times the share of the letters asked for.

    Args:
        corpus: The catalogue.
        phrase: The trigger, or the beginning of one; case, accents and punctuation make no difference.
        allowed: What may be found; what is not counts for rarity all the same.

    Raises:
        InputError: The phrase has no words.
    """
    asked = " ".join(words(phrase))
    if not asked:
        raise InputError("the trigger phrase has no words")
    callers: dict[str, list[int]] = {}
    for trigger, number in corpus.store.triggers_beginning(asked):
        callers.setdefault(trigger, []).append(number)
    may = set(np.intersect1d(allowed.numbers, [number for numbers in callers.values() for number in numbers]).tolist())
    scores: dict[int, float] = {}
    reasons: dict[int, Match] = {}
    for trigger, numbers in callers.items():
        rows = corpus.lexicon.rows_of(np.array(numbers, np.int64))
        rare = rarity(corpus, trigger, rows[rows >= 0], spoken=trigger == asked)
        score = (1 + rare) / 2 if trigger == asked else rare * len(asked) / len(trigger) / 2
        for number in may.intersection(numbers):
            if score > scores.get(number, 0.0):
                scores[number] = score
                reasons[number] = Match(by="phrase", text=trigger, score=rare)

    def explain(numbers: Sequence[int]) -> dict[int, tuple[Match, ...]]:
        return {number: (reasons[number],) for number in numbers}

    return Found(scores, explain)
