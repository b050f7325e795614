"""The ranked lists of one prompt, each a mapping from catalogue number to score, higher is better."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..db.triggers import LONGEST
from ..db.words import words
from ..syntax import plain_text
from .fusion import LISTS

if TYPE_CHECKING:
    from ..db import Store
    from ..protocols import Ids, Vectors
    from .passages import PassageIndex

DEPTH = 500
"""Entries per list."""

_NAMING = ("title", "triggers", "tags", "names")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lists:
    """What each way of looking found."""

    query_words: tuple[str, ...] = ()
    words: dict[int, float] = field(default_factory=dict)
    """BM25 over all fields."""
    named: dict[int, float] = field(default_factory=dict)
    """BM25 over the fields that name the adapter: title, triggers, tags, file and version."""
    said: dict[int, float] = field(default_factory=dict)
    """BM25 over its example prompts."""
    triggers: dict[int, float] = field(default_factory=dict)
    """The rarest trigger phrase that stands in the prompt: one over the number of adapters that it calls."""
    phrases: dict[int, str] = field(default_factory=dict)
    """That phrase."""
    prompts: dict[int, float] = field(default_factory=dict)
    """Cosine with the nearest example prompt."""
    card: dict[int, float] = field(default_factory=dict)
    """Cosine with the card; Stylus's own retriever is this list alone."""

    @property
    def scores(self) -> dict[str, dict[int, float]]:
        """The lists by the names that `fusion.Features` gives them."""
        return {name: getattr(self, name) for name in LISTS}


def look(
    store: Store,
    prompt: str,
    *,
    vector: Vectors | None = None,
    index: PassageIndex | None = None,
    allowed: Ids | None = None,
) -> Lists:
    """Make every list for a prompt.

    Args:
        store: the catalogue.
        prompt: as its writer wrote it.
        vector: the prompt's embedding, shape (dimension,); None leaves the lists by meaning empty.
        index: the passages' vectors.
        allowed: sorted catalogue numbers that may be found; None allows all.
    """
    spoken = words(plain_text(prompt))
    query = tuple(dict.fromkeys(spoken))
    triggers, phrases = _triggers(store, spoken, allowed)
    prompts: dict[int, float] = {}
    card: dict[int, float] = {}
    if vector is not None and index is not None:
        prompts, _ = index.best(vector, "prompt", DEPTH, allowed)
        card, _ = index.best(vector, "card", DEPTH, allowed)
    named = dict(store.search_words(query, _NAMING, DEPTH, allowed))
    said = dict(store.search_words(query, ("prompts",), DEPTH, allowed))
    told = dict(store.search_words(query, ("description",), DEPTH, allowed))
    return Lists(
        query_words=query,
        words=_sum(named, said, told),
        named=named,
        said=said,
        triggers=triggers,
        phrases=phrases,
        prompts=prompts,
        card=card,
    )


def _sum(*lists: dict[int, float]) -> dict[int, float]:
    total: dict[int, float] = {}
    for scores in lists:
        for adapter, score in scores.items():
            total[adapter] = total.get(adapter, 0.0) + score
    return total


def _triggers(store: Store, spoken: list[str], allowed: Ids | None) -> tuple[dict[int, float], dict[int, str]]:
    """Find the adapters one of whose trigger phrases stands in the prompt, word for word."""
    grams = {
        " ".join(spoken[start : start + length])
        for length in range(1, LONGEST + 1)
        for start in range(len(spoken) - length + 1)
    }
    may = None if allowed is None else set(allowed.tolist())
    scores: dict[int, float] = {}
    phrases: dict[int, str] = {}
    for phrase, adapters in store.triggered(sorted(grams)).items():
        rarity = 1.0 / len(adapters)
        for adapter in adapters:
            if (may is None or adapter in may) and rarity > scores.get(adapter, -1.0):
                scores[adapter] = rarity
                phrases[adapter] = phrase
    return scores, phrases
