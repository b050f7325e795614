"""The ranked lists of one prompt, each a mapping from catalogue number to score, higher is better."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np

from ..db.triggers import LONGEST
from ..records import Id
from ..syntax import phrases, plain_text
from ..words import FUNCTION_WORDS, words
from .fusion import LISTS

if TYPE_CHECKING:
    from ..db import Store
    from ..protocols import Ids, Vectors
    from .passages import PassageIndex

DEPTH = 500
"""Entries per list."""

_ALL = 10**9
CROWD = 1000
"""Pages beyond which it makes no difference how many speak of a phrase."""

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
    """The rarest trigger phrase that stands in the prompt: one over the root of the number of pages that speak of it.

    Pages that name it anywhere count: `smile` is the trigger of one adapter and stands in the prompts of a thousand.
    """
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
    pages: Mapping[int, Id],
    vector: Vectors | None = None,
    index: PassageIndex | None = None,
    allowed: Ids | None = None,
) -> Lists:
    """Make every list for a prompt.

    A list holds the best of the whole catalogue, allowed or not, and the best of what is allowed: a rank says how
    well something fits among everything, so a filter may not make it better.

    Args:
        store: the catalogue.
        prompt: as its writer wrote it.
        pages: the page of each adapter.
        vector: the prompt's embedding, shape (dimension,); None leaves the lists by meaning empty.
        index: the passages' vectors.
        allowed: sorted catalogue numbers that may be found; None allows all.
    """
    spoken = tuple(dict.fromkeys(words(plain_text(prompt))))
    query = tuple(word for word in spoken if word not in FUNCTION_WORDS) or spoken
    triggers, called = _triggers(store, [words(phrase) for phrase in phrases(prompt)], pages)
    prompts: dict[int, float] = {}
    card: dict[int, float] = {}
    if vector is not None and index is not None:
        for may in (None,) if allowed is None else (None, allowed):
            prompts |= index.best(vector, "prompt", DEPTH, may)
            card |= index.best(vector, "card", DEPTH, may)
    named = _best(store.search_words(query, _NAMING, _ALL), allowed)
    said = _best(store.search_words(query, ("prompts",), _ALL), allowed)
    told = _best(store.search_words(query, ("description",), _ALL), allowed)
    return Lists(
        query_words=query,
        words=_sum(named, said, told),
        named=named,
        said=said,
        triggers=triggers,
        phrases=called,
        prompts=prompts,
        card=card,
    )


def _best(ranked: list[tuple[int, float]], allowed: Ids | None) -> dict[int, float]:
    """Keep the best of all, and the best of what is allowed."""
    best = dict(ranked[:DEPTH])
    if allowed is not None and len(ranked) > DEPTH:
        rest = ranked[DEPTH:]
        passes = np.isin([adapter for adapter, _ in rest], allowed)
        best |= dict(list(compress(rest, passes))[:DEPTH])
    return best


def _sum(*lists: dict[int, float]) -> dict[int, float]:
    total: dict[int, float] = {}
    for scores in lists:
        for adapter, score in scores.items():
            total[adapter] = total.get(adapter, 0.0) + score
    return total


def rarity(adapters: Iterable[int], pages: Mapping[int, Id]) -> float:
    """Return one over the root of the number of pages that some adapters are on; one without a page is its own."""
    rare: float = len({pages.get(adapter, -adapter) for adapter in adapters}) ** -0.5
    return rare


def _triggers(
    store: Store, spoken: list[list[str]], pages: Mapping[int, Id]
) -> tuple[dict[int, float], dict[int, str]]:
    """Find the adapters one of whose trigger phrases stands, word for word, in one phrase of the prompt."""
    grams = {
        " ".join(phrase[start : start + length])
        for phrase in spoken
        for length in range(1, LONGEST + 1)
        for start in range(len(phrase) - length + 1)
    }
    scores: dict[int, float] = {}
    called: dict[int, str] = {}
    calls = store.triggered(sorted(grams))
    for phrase, speaking in store.mentions(calls, CROWD).items():
        adapters = calls[phrase]
        rare = rarity(speaking.union(adapters), pages)
        for adapter in adapters:
            if rare > scores.get(adapter, -1.0):
                scores[adapter] = rare
                called[adapter] = phrase
    return scores, called
