"""A prompt, another adapter or a trigger phrase in, candidates out, each with what matched."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final, get_args

import numpy as np

from ..errors import InputError
from ..protocols import Method
from ..records import Candidate, Filter, Id, Match
from ..syntax import plain_text, quoted
from ..words import words
from .alike import collapse
from .baselines import RANKERS
from .called import called
from .corpus import Allowed, Corpus
from .fusion import features, found, probability
from .lists import DEPTH, Lists, look, top
from .paged import Paged, representative
from .similar import BY_MEANING, Found, similar

if TYPE_CHECKING:
    from ..db import Store
    from ..protocols import Reranker, TextEmbedder, Vectors
    from .milvus_client import Milvus
    from .pictured import PictureIndex
    from .postings import Scores

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
    """Finds the adapters that could serve a prompt; any number of threads may ask at once.

    Args:
        store: The catalogue.
        embedder: None searches by words alone.
        index_path: Where the vectors' index file lies, and beside it that of the words; None keeps both in memory.
        milvus: Where the vectors are kept instead; None keeps them in that file.
        reranker: Orders the best candidates of a prompt anew; None leaves them as they are.
        reranked: How many it reads.
    """

    def __init__(
        self,
        store: Store,
        embedder: TextEmbedder | None = None,
        index_path: Path | None = None,
        *,
        milvus: Milvus | None = None,
        reranker: Reranker | None = None,
        reranked: int = 50,
    ) -> None:
        self._store = store
        self._embedder = embedder
        self._seen = Corpus(store, embedder, index_path, milvus)
        self._refreshing = Lock()
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
        least: float = 0.0,
    ) -> list[Candidate]:
        """Return the best candidates for a prompt, best first; versions and near-duplicates are one candidate.

        Args:
            prompt: As its writer wrote it.
            filter: What may be found.
            limit: How many.
            method: How they are ranked.
            quotes: Find only what has each phrase in double quotes somewhere in its texts, as it stands. In a search
                box quotes mean that; in a prompt they may be what a sign in the picture says.
            least: Leave out what scores less.

        Raises:
            InputError: There is no such method, or it needs a reranker and there is none.
        """
        return next(self.search_all([prompt], filter, limit, method, quotes=quotes, least=least))

    def search_all(
        self,
        prompts: Iterable[str],
        filter: Filter | None = None,
        limit: int = 10,
        method: Method = "fused",
        *,
        quotes: bool = False,
        least: float = 0.0,
    ) -> Iterator[list[Candidate]]:
        """Yield the candidates of each prompt, in order, as `search` does; prompts are embedded in batches."""
        if method not in get_args(Method):
            raise InputError(f"there is no retrieval method {method!r}; take one of {', '.join(get_args(Method))}")
        if method == "rerank" and self._reranker is None:
            raise InputError("the method 'rerank' needs a cross-encoder; name one with --reranker or VELATURA_RERANKER")
        if limit < 0:
            raise InputError(f"the limit must be 0 or more, not {limit}")
        wanted = filter or Filter()
        remaining = iter(prompts)
        while batch := list(islice(remaining, _BATCH)):
            corpus = self._corpus()
            allowed = corpus.allow(wanted)
            vectors = [None] * len(batch) if method in RANKERS else self._embed(corpus, batch)
            for prompt, vector in zip(batch, vectors, strict=True):
                may = _holding(corpus, quoted(prompt), allowed) if quotes else allowed
                lists = look(corpus, prompt, vector=vector, allowed=None if may is corpus.all else may)
                shown = self._rank(corpus, prompt, lists, may, limit, method)
                if method == "fused":
                    shown = _collapsed(corpus, shown, limit, wanted)
                likely = [item for item in shown[:limit] if item.score >= least]
                yield _candidates(corpus, likely, partial(_explain, corpus, lists))

    def allowed(self, filter: Filter) -> Collection[int]:
        """Return the catalogue numbers that a filter lets through."""
        return self._corpus().allow(filter).members

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
        corpus = self._corpus()
        return _gathered(corpus, similar(corpus, self._store.adapter(number), corpus.allow(wanted)), limit, wanted)

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
        corpus = self._corpus()
        return _gathered(corpus, called(corpus, phrase, corpus.allow(wanted)), limit, wanted)

    def by_image(
        self, vector: Vectors, pictures: PictureIndex, filter: Filter | None = None, limit: int = 10
    ) -> list[Candidate]:
        """Return the adapters whose look or subject a picture shows, best first; see `PictureIndex.near`.

        Args:
            vector: The picture, as the model of the index sees it: shape (dimension,), of length 1.
            pictures: The vectors of pictures and cards.
            filter: What may be found.
            limit: How many.

        Raises:
            InputError: Nothing is embedded by this model.
        """
        wanted = filter or Filter()
        corpus = self._corpus()
        pictures.refresh()
        return _gathered(corpus, pictures.near(vector, corpus.allow(wanted).numbers), limit, wanted)

    def features(self, prompts: Iterable[str]) -> Iterator[tuple[list[Id], Scores]]:
        """Yield, for each prompt, the pages found and the table of their `fusion.Features`, on which it is fitted."""
        remaining = iter(prompts)
        while batch := list(islice(remaining, _BATCH)):
            corpus = self._corpus()
            for prompt, vector in zip(batch, self._embed(corpus, batch), strict=True):
                lists = look(corpus, prompt, vector=vector)
                pages = found(corpus, lists, corpus.all)
                names = [corpus.page_names[page] for page in pages.pages.tolist()]
                yield names, features(corpus, lists, pages).table()

    def _corpus(self) -> Corpus:
        """Return the catalogue as it is now; a search keeps to the one that it began with."""
        if not self._seen.is_current:
            with self._refreshing:  # the first brings it up to date, and the others wait for that
                self._seen = self._seen.refreshed()
        return self._seen

    def _embed(self, corpus: Corpus, prompts: list[str]) -> list[Vectors | None]:
        if self._embedder is None or not corpus.index:
            return [None] * len(prompts)
        return list(self._embedder.embed([plain_text(prompt) for prompt in prompts]))

    def _rank(
        self, corpus: Corpus, prompt: str, lists: Lists, allowed: Allowed, limit: int, method: Method
    ) -> list[_Shown]:
        """Return the best pages, each with the member that represents it; more than `limit` where some may fall out."""
        pages, scores = _score(corpus, prompt, lists, allowed, method)
        reads = 0 if self._reranker is None else {"fused": self._read, "rerank": _RERANKED}.get(method, 0)
        depth = _RERANKED if method == "rerank" else max(reads, _pool(limit) if method == "fused" else limit)
        shown = []
        numbers = corpus.lexicon.numbers
        best = np.argsort(-scores, kind="stable")[:depth]
        for group, score in zip(best.tolist(), scores[best].tolist(), strict=True):
            members = pages.members(group)
            first = representative(members, lists, numbers)
            others = tuple(sorted(int(numbers[row]) for row in members if row != first)) if len(members) > 1 else ()
            shown.append(_Shown(int(numbers[first]), score, others))
        if self._reranker is None or not reads:
            return shown
        return [*_reranked(self._reranker, self._store, prompt, shown[:reads], method), *shown[reads:]]


def _holding(corpus: Corpus, phrases: Iterable[str], allowed: Allowed) -> Allowed:
    """Keep those in whose texts every phrase stands."""
    asked = [cut for phrase in phrases if (cut := " ".join(words(phrase)))]
    if not asked:
        return allowed
    numbers = allowed.numbers
    for standing in corpus.store.mentions(asked, _EVERY).values():
        numbers = numbers[np.isin(numbers, list(standing))]
    return corpus.only(numbers)


def _score(corpus: Corpus, prompt: str, lists: Lists, allowed: Allowed, method: Method) -> tuple[Paged, Scores]:
    """Return the pages found and their scores."""
    if method == "fused":
        pages = found(corpus, lists, allowed)
        return pages, probability(features(corpus, lists, pages))
    scores = (
        lists.card
        if method in ("dense", "rerank")
        else lists.words
        if method == "bm25"
        else _ranked_by(corpus, method, prompt)
    )
    pages = Paged(corpus, top(scores, allowed.rows, DEPTH))
    present = corpus.all.rows
    most = 1.0 if method in ("dense", "rerank") else float((scores * present).max(initial=0.0)) or 1.0
    return pages, pages.best(scores) / most


def _ranked_by(corpus: Corpus, method: Method, prompt: str) -> Scores:
    """Return what another people's method says of each row."""
    if method not in corpus.rankers:
        corpus.rankers[method] = RANKERS[method](corpus.store.adapters(corpus.all.numbers))
    told = corpus.rankers[method](prompt)
    rows = corpus.lexicon.rows_of(np.fromiter(told, np.int64, len(told)))
    scores = np.zeros(len(corpus.lexicon))
    scores[rows] = list(told.values())
    return scores


def _gathered(corpus: Corpus, told: Found, limit: int, wanted: Filter) -> list[Candidate]:
    """Make candidates of what was found: each page's best represents it, and among equals what is installed."""
    known = corpus.known.identities(list(told.scores))

    def place(number: int) -> tuple[float, bool, int, int]:
        return -told.scores[number], known[number].path is None, -(known[number].downloads or 0), number

    members: dict[Id, list[int]] = {}
    for number in sorted(known, key=place):
        members.setdefault(corpus.pages.get(number, -number), []).append(number)
    shown = [_Shown(first, told.scores[first], tuple(others)) for first, *others in members.values()]
    return _candidates(corpus, _collapsed(corpus, shown, limit, wanted), told.explain)


def _collapsed(corpus: Corpus, shown: Sequence[_Shown], limit: int, wanted: Filter) -> list[_Shown]:
    """Return the best of them, near-duplicates joined.

    Of those that fit about as well, the one that most people took stands for all: makers keep a burnt last epoch,
    and others upload a copy, beside the adapter that is used.
    """
    pool = {item.adapter: item for item in shown[: _pool(limit)]}
    groups = collapse(corpus.known, list(pool), encoder=corpus.encoder, across_families=wanted.family is None)
    chosen = dict(islice(groups.items(), limit))
    told = corpus.known.identities([number for first, same in chosen.items() if same for number in (first, *same)])
    joined = []
    for first, same in chosen.items():
        best, group = pool[first].score, [first, *same]
        fitting = [number for number in group if pool[number].score >= _AS_GOOD * best]
        taken = max(fitting, key=lambda number: told[number].downloads or 0) if same else first
        others = (other for item in group for other in (item, *pool[item].others) if other != taken)
        joined.append(replace(pool[taken], score=best, others=tuple(others)))
    return joined


def _candidates(corpus: Corpus, shown: Sequence[_Shown], explain: _Explain) -> list[Candidate]:
    found = {adapter.id: adapter for adapter in corpus.known.adapters([item.adapter for item in shown])}
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


def _explain(corpus: Corpus, lists: Lists, numbers: Sequence[int]) -> dict[int, tuple[Match, ...]]:
    rows = corpus.lexicon.rows_of(np.array(numbers, np.int64))
    standing = corpus.lexicon.standing(lists.query_words, rows)
    told = zip(numbers, rows.tolist(), standing, strict=True)
    return {number: _reasons(row, lists, fields) for number, row, fields in told}


def _reranked(reranker: Reranker, store: Store, prompt: str, shown: Sequence[_Shown], method: Method) -> list[_Shown]:
    """Order candidates by what a reranker says of them.

    What it gives is no probability of being used, so the probabilities of `fused` stay: they are given out anew in
    its order, and a threshold means what it meant.
    """
    adapters = store.adapters([item.adapter for item in shown])
    told = reranker.score(prompt, adapters)
    if told is None:
        return list(shown)
    given = [_bounded(number) for number in told]
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


def _reasons(row: int, lists: Lists, standing: Mapping[str, Sequence[str]]) -> tuple[Match, ...]:
    """Say what matched: the trigger phrase, the words that stand in each field, what is near in meaning."""
    matches: list[Match] = []
    phrase = lists.phrases.get(row)
    if phrase is not None:
        matches.append(Match(by="phrase", text=phrase, score=lists.triggers[row]))
    for column, hits in standing.items():
        if column == "triggers" and phrase is not None:
            hits = [word for word in hits if word not in phrase.split()]
        if hits:
            matches.append(Match(by=column, text=", ".join(hits), score=float(len(hits))))
    for what, cosines in (("an example prompt", lists.prompts), ("the card", lists.card)):
        if cosines[row] >= BY_MEANING:
            matches.append(Match(by="meaning", text=what, score=round(float(cosines[row]), 3)))
    return tuple(matches)
