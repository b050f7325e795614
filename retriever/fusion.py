"""From several ranked lists to one probability per adapter.

A logistic model over five features, fitted by `benchmarks/fit_fusion.py` on prompts whose writers' own choice of
adapters is known. Ranks enter as 10 / (10 + rank), which no list's scale can disturb.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

from ..records import Id

_RANK = 10.0


@dataclass(frozen=True, slots=True)
class Features:
    """What the lists say of one adapter; 0 where a list does not have it."""

    words_share: float = 0.0
    """Its BM25 score over the best one's."""
    words: float = 0.0
    triggers: float = 0.0
    prompts: float = 0.0
    card: float = 0.0


@dataclass(frozen=True, slots=True)
class Coefficients:
    """One weight per feature, and the bias."""

    words_share: float
    words: float
    triggers: float
    prompts: float
    card: float
    bias: float


FITTED = Coefficients(words_share=3.7, words=2.5, triggers=2.7, prompts=2.5, card=0.7, bias=-9.0)


def features(
    words: Mapping[Id, float],
    triggers: Mapping[Id, float],
    prompts: Mapping[Id, float],
    card: Mapping[Id, float],
) -> dict[Id, Features]:
    """Return the features of everything that any list holds; the lists map pages to scores."""
    best = max(words.values(), default=1.0) or 1.0
    ranked = {"words": _ranks(words), "triggers": _ranks(triggers), "prompts": _ranks(prompts), "card": _ranks(card)}
    found = dict.fromkeys([*words, *triggers, *prompts, *card])
    return {
        adapter: Features(
            words_share=words.get(adapter, 0.0) / best,
            **{name: ranks.get(adapter, 0.0) for name, ranks in ranked.items()},
        )
        for adapter in found
    }


def probability(seen: Features, fitted: Coefficients = FITTED) -> float:
    """Return the probability that a person would lay this adapter on, between 0 and 1.

    >>> probability(Features()) < 0.001 < 0.5 < probability(Features(1, 1, 1, 1, 1))
    True
    """
    logit = fitted.bias + sum(getattr(fitted, f.name) * getattr(seen, f.name) for f in fields(Features))
    return 1.0 / (1.0 + math.exp(-logit))


def _ranks(scores: Mapping[Id, float]) -> dict[Id, float]:
    """Map each adapter to 10 / (10 + rank); equal scores share the better rank."""
    ranks: dict[Id, float] = {}
    rank, last = 0, math.inf
    for position, (adapter, score) in enumerate(sorted(scores.items(), key=lambda item: -item[1])):
        if score < last:
            rank, last = position, score
        ranks[adapter] = _RANK / (_RANK + rank)
    return ranks
