"""Adapters that do what another one does: by its stored vectors, and by the words that name it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ..db.words import COLUMNS, texts
from ..records import Match, RefinedAdapter
from ..words import FUNCTION_WORDS
from .alike import same_files, same_weights
from .lists import top

if TYPE_CHECKING:
    from ..db import Store
    from ..protocols import Ids, Vectors
    from .corpus import Allowed, Corpus

BY_MEANING: Final = 0.35
"""A cosine below this says nothing to a reader, so it is not shown as a reason."""

_DEPTH: Final = 100
"""Entries per list."""
_WORDS: Final = 100
"""Naming words that count: a trigger may be somebody's whole prompt."""
_NAMING: Final = ("title", "triggers", "tags")
_NEAR: Final = (("card", "the card"), ("prompt", "an example prompt"))
"""The fields that have vectors, and what they are called."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a way of looking found."""

    scores: Mapping[int, float]
    """Between 0 and 1, by catalogue number."""
    explain: Callable[[Sequence[int]], Mapping[int, tuple[Match, ...]]]
    """Tells of some of these what matched; told of the ones that are shown alone."""


def similar(corpus: Corpus, own: RefinedAdapter, allowed: Allowed) -> Found:
    """Find what is like an adapter; versions of its page, and copies of its file or of its weights, are left out.

    The score is the mean of three shares, of which those count that this adapter can have: how near the cards are,
    how near the nearest two of their example prompts are (cosines), and how much of this adapter's naming words
    (title, triggers, tags) the other one bears, the rarer the more (BM25, over the best). An adapter without example
    prompts has none that are near.

    Args:
        corpus: The catalogue; without vectors its words alone tell.
        own: The adapter.
        allowed: What may be found.
    """
    store, page = corpus.store, corpus.pages.get(own.id)
    others = np.setdiff1d(allowed.numbers, [own.id, *(number for number, its in corpus.pages.items() if its == page)])
    named = dict(zip(COLUMNS, texts(own.record, None), strict=True))
    spoken = dict.fromkeys(" ".join(named[column] for column in _NAMING).split())
    query = tuple(word for word in spoken if word not in FUNCTION_WORDS)[:_WORDS]
    scores = corpus.lexicon.bm25(corpus.lexicon.ask(query), _NAMING)
    # By the best of all, allowed or not: a filter makes nothing more alike.
    best = float(scores.max(initial=0.0)) or 1.0
    ranked = corpus.lexicon.numbers[top(scores, corpus.only(others).rows, _DEPTH)].tolist()
    nearest = _nearest(corpus, own.id, others, ranked)
    found = list(dict.fromkeys([*ranked, *(number for near in nearest.values() for number in near)]))
    copies = _copies(store, own.id, found)
    rows = corpus.lexicon.rows_of(np.array(found, np.int64)).tolist()
    shares = [{number: scores[row] / best for number, row in zip(found, rows, strict=True)}, *nearest.values()]
    means = {
        number: min(1.0, float(sum(share.get(number, 0.0) for share in shares)) / len(shares))
        for number in found
        if number not in copies
    }

    def explain(numbers: Sequence[int]) -> dict[int, tuple[Match, ...]]:
        standing = store.matched_words(numbers, query)
        told: dict[int, tuple[Match, ...]] = {}
        for number in numbers:
            columns = standing.get(number, {})
            shared = [(column, columns[column]) for column in _NAMING if column in columns]
            told[number] = (
                *(Match(by=column, text=", ".join(hits), score=float(len(hits))) for column, hits in shared),
                *(
                    Match(by="meaning", text=what, score=round(nearest[field][number], 3))
                    for field, what in _NEAR
                    if nearest.get(field, {}).get(number, 0.0) >= BY_MEANING
                ),
            )
        return told

    return Found(means, explain)


def _nearest(corpus: Corpus, own: int, others: Ids, ranked: Sequence[int]) -> dict[str, dict[int, float]]:
    """Return, for each field of this adapter, the cosines with what any list found; the best of several."""
    if corpus.index is None or corpus.encoder is None:
        return {}
    store, encoder = corpus.store, corpus.encoder
    mine = store.vectors_of(*encoder, [own]).get(own, {})
    found = dict.fromkeys(ranked)
    for field, rows in mine.items():
        for row in rows:
            found.update(dict.fromkeys(corpus.index.best(row, field, _DEPTH, others)))
    theirs = store.vectors_of(*encoder, [number for number in found if number != own])
    return {
        field: {number: _best(rows, fields[field]) for number, fields in theirs.items() if field in fields}
        for field, rows in mine.items()
    }


def _best(mine: Vectors, theirs: Vectors) -> float:
    return max(0.0, float((mine @ theirs.T).max()))


def _copies(store: Store, own: int, found: Sequence[int]) -> set[int]:
    """Return those that are the same file, or do the same to weights."""
    told = store.identities([own, *found])
    pairs = (*same_files(list(told.values())), *same_weights(store, [own, *found]))
    return {number for pair in pairs if own in pair for number in pair}
