"""A prompt and a filter in, candidates out, each with what matched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from ..errors import InputError
from ..records import Candidate, Filter, Id, Match
from ..syntax import plain_text, quoted
from ..words import words
from .baselines import RANKERS
from .fusion import Features, features, probability
from .lists import Lists, look
from .passages import PassageIndex

if TYPE_CHECKING:
    from ..db import Store
    from ..protocols import Ids, TextEmbedder, Vectors
    from .baselines import Ranker

Method = Literal["fused", "dense", "bm25", "tfidf", "overlap", "random"]
"""`fused` is ours, `dense` Stylus's retriever (its section 3.2), `bm25` the words alone; the others are `baselines`."""

_BATCH = 64
_EVERY = 10**9
_BY_MEANING = 0.35
"""A cosine below this says nothing to a reader, so it is not shown as a reason."""


class Retriever:
    """Finds the adapters that could serve a prompt.

    Args:
        store: the catalogue.
        embedder: None searches by words alone.
        index_path: where the vectors' index file lies; None keeps it in memory.
    """

    def __init__(self, store: Store, embedder: TextEmbedder | None = None, index_path: Path | None = None) -> None:
        self._store = store
        self._embedder = embedder
        self._index = PassageIndex(store, embedder, index_path) if embedder is not None else None
        self._pages = store.pages()
        self._rankers: dict[str, Ranker] = {}

    def search(
        self,
        prompt: str,
        filter: Filter | None = None,
        limit: int = 10,
        method: Method = "fused",
        *,
        quotes: bool = False,
    ) -> list[Candidate]:
        """Return the best candidates for a prompt, best first; versions of one page are one candidate.

        Args:
            prompt: As its writer wrote it.
            filter: What may be found.
            limit: How many.
            method: How they are ranked.
            quotes: Find only what has each phrase in double quotes somewhere in its texts, as it stands. In a search
                box quotes mean that; in a prompt they may be what a sign in the picture says.
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
        allowed = self._store.select(filter or Filter())
        remaining = iter(prompts)
        while batch := list(islice(remaining, _BATCH)):
            for prompt, vector in zip(batch, self._embed(batch), strict=True):
                may = self._holding(quoted(prompt), allowed) if quotes else allowed
                yield self._search_one(prompt, vector, may, limit, method)

    def features(self, prompts: Iterable[str]) -> Iterator[dict[Id, Features]]:
        """Yield, for each prompt, what the lists say of every page found: what `fusion` is fitted on."""
        remaining = iter(prompts)
        while batch := list(islice(remaining, _BATCH)):
            for prompt, vector in zip(batch, self._embed(batch), strict=True):
                lists = look(self._store, prompt, pages=self._pages, vector=vector, index=self._index)
                seen = features(_Paged(lists, self._pages, None).scores)
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

    def _search_one(
        self, prompt: str, vector: Vectors | None, allowed: Ids, limit: int, method: Method
    ) -> list[Candidate]:
        lists = look(self._store, prompt, pages=self._pages, vector=vector, index=self._index, allowed=allowed)
        if method in RANKERS:
            lists = Lists(query_words=lists.query_words, words=self._ranker(method)(prompt))
        paged = _Paged(lists, self._pages, allowed)
        scores = ((page, score) for page, score in _page_scores(paged, method).items() if page[1])
        best = sorted(scores, key=lambda item: -item[1])[:limit]
        chosen = {page: _representative(paged.members[page], lists) for page, _ in best}
        found = {adapter.id: adapter for adapter in self._store.adapters(list(chosen.values()))}
        standing = self._store.matched_words(list(found), lists.query_words)
        return [
            Candidate(
                adapter=found[chosen[page]],
                score=score,
                matched=_explain(chosen[page], lists, standing.get(chosen[page], {})),
                alternatives=tuple(other for other in paged.members[page] if other != chosen[page]),
            )
            for page, score in best
        ]


_Page = tuple[Id, bool]
"""A page, and whether these members of it are allowed."""


class _Paged:
    """The lists by page, each page with its best member's score, so that ninety versions do not fill a list.

    What is not allowed keeps its place in the ranks, apart from the allowed members of its page.
    """

    def __init__(self, lists: Lists, pages: Mapping[int, Id], allowed: Ids | None) -> None:
        found = list(dict.fromkeys(adapter for scores in lists.scores.values() for adapter in scores))
        passes = [True] * len(found) if allowed is None else np.isin(found, allowed).tolist()
        self._page_of = {
            adapter: (pages.get(adapter, -adapter), may) for adapter, may in zip(found, passes, strict=True)
        }
        self.members: dict[_Page, list[int]] = {}
        for adapter, page in self._page_of.items():
            self.members.setdefault(page, []).append(adapter)
        self.scores = {name: self._by_page(scores) for name, scores in lists.scores.items()}

    def _by_page(self, scores: Mapping[int, float]) -> dict[_Page, float]:
        pages: dict[_Page, float] = {}
        for adapter, score in scores.items():
            page = self._page_of[adapter]
            if score > pages.get(page, float("-inf")):
                pages[page] = score
        return pages


def _page_scores(paged: _Paged, method: Method) -> dict[_Page, float]:
    if method == "dense":
        return {page: max(0.0, cosine) for page, cosine in paged.scores["card"].items()}
    if method != "fused":
        words = paged.scores["words"]
        top = max(words.values(), default=1.0)
        return {page: score / top for page, score in words.items()}
    return {page: probability(seen) for page, seen in features(paged.scores).items()}


def _representative(members: list[int], lists: Lists) -> int:
    """Return the page's member that fits best; among equals the first listed, which sites show first."""

    def fit(adapter: int) -> tuple[float, float, float, int]:
        trigger, words = lists.triggers.get(adapter, 0.0), lists.words.get(adapter, 0.0)
        return (round(trigger, 3), round(words, 2), lists.prompts.get(adapter, 0.0), -adapter)

    return max(members, key=fit)


def _explain(adapter: int, lists: Lists, standing: Mapping[str, tuple[str, ...]]) -> tuple[Match, ...]:
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
        if scores.get(adapter, 0.0) >= _BY_MEANING:
            matches.append(Match(by="meaning", text=what, score=round(scores[adapter], 3)))
    return tuple(matches)
