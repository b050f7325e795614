"""A prompt, another adapter or a trigger phrase in, candidates out, each with what matched."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np

from ..errors import InputError
from ..records import Candidate, Filter, Id, Match
from ..syntax import plain_text, quoted
from ..words import FUNCTION_WORDS, words
from .alike import collapse
from .baselines import RANKERS
from .called import called
from .fusion import Features, features, probability
from .lists import Lists, look
from .paged import Page, Paged, representative
from .passages import PassageIndex
from .similar import BY_MEANING, Found, similar

if TYPE_CHECKING:
    from ..db import Store
    from ..protocols import Ids, Reranker, TextEmbedder, Vectors
    from .baselines import Ranker

Method = Literal["fused", "dense", "bm25", "rerank", "tfidf", "overlap", "random"]
"""`fused` is ours, `dense` Stylus's retriever (its section 3.2), `rerank` the same with a cross-encoder over its best,
`bm25` the words alone; the others are `baselines`."""

_BATCH: Final = 32
"""Prompts embedded at once: so few that the embedder computes them as exactly as one alone."""
_EVERY: Final = 10**9
_RERANKED: Final = 150
"""Candidates that Stylus gives to a cross-encoder."""
_POOL: Final = 4
"""Near-duplicates are looked for among so many times the candidates that are asked for,"""
_BEYOND: Final = 100
"""but among no more than so many beyond them."""
_AS_GOOD: Final = 0.8
"""Share of the best score that fits about as well."""


@dataclass(frozen=True, slots=True)
class _Shown:
    """An adapter that stands for its page, and maybe for others."""

    adapter: int
    score: float
    others: tuple[int, ...]
    notes: tuple[Match, ...] = ()
    """What is told of it before what matched."""


_Explain = Callable[[Sequence[int]], Mapping[int, tuple[Match, ...]]]


class Retriever:
    """Finds the adapters that could serve a prompt.

    Args:
        store: The catalogue.
        embedder: None searches by words alone.
        index_path: Where the vectors' index file lies; None keeps it in memory.
        reranker: Orders the best candidates of a prompt anew; None leaves them as they are.
        reranked: How many it reads.
    """

    def __init__(
        self,
        store: Store,
        embedder: TextEmbedder | None = None,
        index_path: Path | None = None,
        *,
        reranker: Reranker | None = None,
        reranked: int = 50,
    ) -> None:
        self._store = store
        self._embedder = embedder
        self._index = PassageIndex(store, embedder, index_path) if embedder is not None else None
        self._encoder = (embedder.model, embedder.revision) if embedder is not None else None
        self._pages = store.pages()
        self._rankers: dict[str, Ranker] = {}
        self._reranker = reranker
        self._read = reranked

    def search(
        self,
        prompt: str,
        filter: Filter | None = None,
        limit: int = 10,
        method: Method = "fused",
        *,
        quotes: bool = False,
    ) -> list[Candidate]:
        """Return the best candidates for a prompt, best first; versions and near-duplicates are one candidate.

        Args:
            prompt: As its writer wrote it.
            filter: What may be found.
            limit: How many.
            method: How they are ranked.
            quotes: Find only what has each phrase in double quotes somewhere in its texts, as it stands. In a search
                box quotes mean that; in a prompt they may be what a sign in the picture says.

        Raises:
            InputError: There is no such method, or it needs a reranker and there is none.
        """
        return next(self.search_all([prompt], filter, limit, method, quotes=quotes))

    def search_all(
        self,
        prompts: Iterable[str],
        filter: Filter | None = None,
        limit: int = 10,
        method: Method = "fused",
        *,
        quotes: bool = False,
    ) -> Iterator[list[Candidate]]:
        """Yield the candidates of each prompt, in order, as `search` does; prompts are embedded in batches."""
        if method not in get_args(Method):
            raise InputError(f"there is no retrieval method {method!r}; take one of {', '.join(get_args(Method))}")
        if method == "rerank" and self._reranker is None:
            raise InputError("the method 'rerank' needs a cross-encoder; name one with --reranker or VELATURA_RERANKER")
        wanted = filter or Filter()
        allowed = self._store.select(wanted)
        remaining = iter(prompts)
        while batch := list(islice(remaining, _BATCH)):
            vectors = [None] * len(batch) if method in RANKERS else self._embed(batch)
            for prompt, vector in zip(batch, vectors, strict=True):
                may = self._holding(quoted(prompt), allowed) if quotes else allowed
                lists = self._look(prompt, vector, may, method)
                shown = self._rank(prompt, lists, may, limit, method)
                if method == "fused":
                    shown = self._collapsed(shown, limit, wanted)
                yield self._candidates(shown[:limit], partial(self._explain, lists))

    def similar(self, number: int, filter: Filter | None = None, limit: int = 10) -> list[Candidate]:
        """Return the adapters that do what one does, best first; its own page and copies of it are left out.

        Args:
            number: The adapter's catalogue number.
            filter: What may be found.
            limit: How many.

        Raises:
            InputError: No adapter has the number.
        """
        wanted = filter or Filter()
        own = self._store.adapter(number)
        found = similar(
            self._store,
            own,
            pages=self._pages,
            allowed=self._store.select(wanted),
            index=self._index,
            encoder=self._encoder,
        )
        return self._gathered(found, limit, wanted)

    def by_trigger(self, phrase: str, filter: Filter | None = None, limit: int = 10) -> list[Candidate]:
        """Return the adapters that a trigger phrase calls, then those that a phrase calls which begins with it.

        Phrases that call few pages come first, then files on this machine, then what was downloaded most.

        Args:
            phrase: The trigger, or the beginning of one.
            filter: What may be found.
            limit: How many.

        Raises:
            InputError: The phrase has no words.
        """
        wanted = filter or Filter()
        found = called(self._store, phrase, pages=self._pages, allowed=self._store.select(wanted))
        return self._gathered(found, limit, wanted)

    def features(self, prompts: Iterable[str]) -> Iterator[dict[Id, Features]]:
        """Yield, for each prompt, what the lists say of every page found: what `fusion` is fitted on."""
        remaining = iter(prompts)
        while batch := list(islice(remaining, _BATCH)):
            for prompt, vector in zip(batch, self._embed(batch), strict=True):
                lists = look(self._store, prompt, pages=self._pages, vector=vector, index=self._index)
                seen = features(Paged(lists, self._pages, None).scores)
                yield {page: values for (page, _), values in seen.items()}

    def _holding(self, phrases: Iterable[str], allowed: Ids) -> Ids:
        """Keep those in whose texts every phrase stands."""
        asked = filter(None, (" ".join(words(phrase)) for phrase in phrases))
        for standing in self._store.mentions(asked, _EVERY).values():
            allowed = allowed[np.isin(allowed, list(standing))]
        return allowed

    def _ranker(self, method: Method) -> Ranker:
        if method not in self._rankers:
            adapters = list(self._store.adapters(self._store.select(Filter()).tolist()))
            self._rankers[method] = RANKERS[method](adapters)
        return self._rankers[method]

    def _embed(self, prompts: list[str]) -> list[Vectors | None]:
        if self._embedder is None or not self._index:
            return [None] * len(prompts)
        return list(self._embedder.embed([plain_text(prompt) for prompt in prompts]))

    def _look(self, prompt: str, vector: Vectors | None, allowed: Ids, method: Method) -> Lists:
        if method in RANKERS:
            asked = tuple(word for word in dict.fromkeys(words(plain_text(prompt))) if word not in FUNCTION_WORDS)
            return Lists(query_words=asked, words=self._ranker(method)(prompt))
        return look(self._store, prompt, pages=self._pages, vector=vector, index=self._index, allowed=allowed)

    def _rank(self, prompt: str, lists: Lists, allowed: Ids, limit: int, method: Method) -> list[_Shown]:
        """Return the best pages, each with the member that represents it; more than `limit` where some may fall out."""
        paged = Paged(lists, self._pages, allowed)
        scores = [(page, score) for page, score in _page_scores(paged, method).items() if page[1]]
        reads = 0 if self._reranker is None else {"fused": self._read, "rerank": _RERANKED}.get(method, 0)
        depth = _RERANKED if method == "rerank" else max(reads, _pool(limit) if method == "fused" else limit)
        shown = []
        for page, score in sorted(scores, key=lambda item: -item[1])[:depth]:
            first = representative(paged.members[page], lists)
            shown.append(_Shown(first, score, tuple(other for other in paged.members[page] if other != first)))
        if self._reranker is None or not reads:
            return shown
        return [*_reranked(self._reranker, self._store, prompt, shown[:reads], method), *shown[reads:]]

    def _gathered(self, found: Found, limit: int, wanted: Filter) -> list[Candidate]:
        """Make candidates of what was found: each page's best represents it, and among equals what is installed."""
        told = self._store.identities(list(found.scores))

        def place(number: int) -> tuple[float, bool, int, int]:
            return -found.scores[number], told[number].path is None, -(told[number].downloads or 0), number

        members: dict[Id, list[int]] = {}
        for number in sorted(told, key=place):
            members.setdefault(self._pages.get(number, -number), []).append(number)
        shown = [_Shown(first, found.scores[first], tuple(others)) for first, *others in members.values()]
        return self._candidates(self._collapsed(shown, limit, wanted), found.explain)

    def _collapsed(self, shown: Sequence[_Shown], limit: int, wanted: Filter) -> list[_Shown]:
        """Return the best of them, near-duplicates joined.

        Of those that fit about as well, the one that most people took stands for all: makers keep a burnt last epoch,
        and others upload a copy, beside the adapter that is used.
        """
        pool = {item.adapter: item for item in shown[: _pool(limit)]}
        groups = collapse(self._store, list(pool), encoder=self._encoder, across_families=wanted.family is None)
        chosen = dict(islice(groups.items(), limit))
        told = self._store.identities([number for first, same in chosen.items() if same for number in (first, *same)])
        joined = []
        for first, same in chosen.items():
            best, group = pool[first].score, [first, *same]
            fitting = [number for number in group if pool[number].score >= _AS_GOOD * best]
            taken = max(fitting, key=lambda number: told[number].downloads or 0) if same else first
            others = (other for item in group for other in (item, *pool[item].others) if other != taken)
            joined.append(replace(pool[taken], score=best, others=tuple(others)))
        return joined

    def _candidates(self, shown: Sequence[_Shown], explain: _Explain) -> list[Candidate]:
        found = {adapter.id: adapter for adapter in self._store.adapters([item.adapter for item in shown])}
        reasons = explain(list(found))
        return [
            Candidate(
                adapter=found[item.adapter],
                score=item.score,
                matched=(*item.notes, *reasons.get(item.adapter, ())),
                alternatives=item.others,
            )
            for item in shown
            if item.adapter in found
        ]

    def _explain(self, lists: Lists, numbers: Sequence[int]) -> dict[int, tuple[Match, ...]]:
        standing = self._store.matched_words(numbers, lists.query_words)
        return {number: _reasons(number, lists, standing.get(number, {})) for number in numbers}


def _page_scores(paged: Paged, method: Method) -> dict[Page, float]:
    if method in ("dense", "rerank"):
        return {page: max(0.0, cosine) for page, cosine in paged.scores["card"].items()}
    if method != "fused":
        words = paged.scores["words"]
        top = max(words.values(), default=1.0)
        return {page: score / top for page, score in words.items()}
    return {page: probability(seen) for page, seen in features(paged.scores).items()}


def _reranked(reranker: Reranker, store: Store, prompt: str, shown: Sequence[_Shown], method: Method) -> list[_Shown]:
    """Order candidates by what a reranker says of them.

    What it gives is no probability of being used, so the probabilities of `fused` stay: they are given out anew in
    its order, and a threshold means what it meant.
    """
    adapters = store.adapters([item.adapter for item in shown])
    given = [_bounded(number) for number in reranker.score(prompt, adapters)]
    if len(given) != len(shown):
        raise InputError(f"the reranker {reranker.name} gave {len(given)} numbers for {len(shown)} adapters")
    order = sorted(range(len(shown)), key=lambda place: -given[place])
    scores = [item.score for item in shown] if method == "fused" else [given[place] for place in order]
    return [
        replace(shown[place], score=score, notes=(Match(by="reranker", text=reranker.name, score=given[place]),))
        for place, score in zip(order, scores, strict=True)
    ]


def _pool(limit: int) -> int:
    return min(limit * _POOL, limit + _BEYOND)


def _bounded(number: float) -> float:
    return min(1.0, max(0.0, number)) if math.isfinite(number) else 0.0


def _reasons(adapter: int, lists: Lists, standing: Mapping[str, tuple[str, ...]]) -> tuple[Match, ...]:
    """Say what matched: the trigger phrase, the words that stand in each field, what is near in meaning."""
    matches: list[Match] = []
    phrase = lists.phrases.get(adapter)
    if phrase is not None:
        matches.append(Match(by="phrase", text=phrase, score=lists.triggers[adapter]))
    for column, hits in standing.items():
        if column == "triggers" and phrase is not None:
            hits = tuple(word for word in hits if word not in phrase.split())
        if hits:
            matches.append(Match(by=column, text=", ".join(hits), score=float(len(hits))))
    for what, scores in (("an example prompt", lists.prompts), ("the card", lists.card)):
        if scores.get(adapter, 0.0) >= BY_MEANING:
            matches.append(Match(by="meaning", text=what, score=round(scores[adapter], 3)))
    return tuple(matches)
