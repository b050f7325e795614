"""From several ranked lists to one probability per adapter.

A logistic model over these features, fitted by `benchmarks/fit_fusion.py` on prompts whose writers' own choice of
adapters is known. Ranks enter as 10 / (10 + rank), which no list's scale can disturb; trigger phrases by how rare
they are, which says the same in a catalogue of any size.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, fields
from typing import TypeVar

_RANK = 10.0

Page = TypeVar("Page", bound=Hashable)
"""Whatever is ranked as one."""


RANKED = ("named", "said", "prompts", "card")
"""The lists whose ranks count."""
LISTS = ("words", "triggers", *RANKED)
"""All lists; of `words` the share of the best counts, of `triggers` the score."""


@dataclass(frozen=True, slots=True)
class Features:
    """What the lists say of one adapter; 0 where a list does not have it."""

    words: float = 0.0
    """Its BM25 score over all fields, over the best one's."""
    triggers: float = 0.0
    """The rarity of the trigger phrase that calls it: 1 where no other page speaks of it."""
    named: float = 0.0
    said: float = 0.0
    prompts: float = 0.0
    card: float = 0.0


@dataclass(frozen=True, slots=True)
class Coefficients:
    """One weight per feature, and the bias."""

    words: float
    triggers: float
    named: float
    said: float
    prompts: float
    card: float
    bias: float


FITTED = Coefficients(words=3.26, triggers=7.18, named=2.0, said=1.1, prompts=3.44, card=0.04, bias=-9.11)


def features(lists: Mapping[str, Mapping[Page, float]]) -> dict[Page, Features]:
    """Return the features of everything that any list holds; each of `LISTS` maps pages to scores."""
    best = max(lists["words"].values(), default=1.0) or 1.0
    seen = {"words": {page: score / best for page, score in lists["words"].items()}, "triggers": lists["triggers"]}
    seen |= {name: _ranks(lists[name]) for name in RANKED}
    found = dict.fromkeys(page for name in LISTS for page in lists[name])
    return {page: Features(**{name: values.get(page, 0.0) for name, values in seen.items()}) for page in found}


def probability(seen: Features, fitted: Coefficients = FITTED) -> float:
    """Return the probability that a person would lay this adapter on, between 0 and 1.

    >>> probability(Features()) < 0.001 < 0.5 < probability(Features(1, 1, 1, 1, 1, 1))
    True
    """
    logit = fitted.bias + sum(getattr(fitted, f.name) * getattr(seen, f.name) for f in fields(Features))
    return 1.0 / (1.0 + math.exp(-logit))


def _ranks(scores: Mapping[Page, float]) -> dict[Page, float]:
    """Map each adapter to 10 / (10 + rank); equal scores share the better rank."""
    ranks: dict[Page, float] = {}
    rank, last = 0, math.inf
    for position, (adapter, score) in enumerate(sorted(scores.items(), key=lambda item: -item[1])):
        if score < last:
            rank, last = position, score
        ranks[adapter] = _RANK / (_RANK + rank)
    return ranks
