"""What each way of looking says of every adapter, for one prompt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ..db.triggers import longest
from ..records import Id
from ..syntax import phrases, plain_text
from ..words import FUNCTION_WORDS, terms, words

if TYPE_CHECKING:
    from ..protocols import Vectors
    from .corpus import Allowed, Corpus
    from .postings import Scores

DEPTH: Final = 500
"""Entries of a list that count."""
CROWD: Final = 1000
"""Pages beyond which it makes no difference how many speak of a phrase."""

FIELDS: Final = ("title", "triggers", "tags", "names", "prompts", "description")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lists:
    """What was found; arrays have a number for each row of the corpus, 0 where there is nothing to say."""

    query_words: tuple[str, ...]
    words: Scores
    """BM25 over all fields."""
    said: Scores
    """BM25 over the example prompts."""
    title: Scores
    """How much the word of its title that says most says, of those that stand in the prompt."""
    coverage: Scores
    """The share of one of its trigger phrases that stands in the prompt, in any order, by what its words say."""
    prompts: Scores
    """Cosine with the nearest example prompt."""
    card: Scores
    """Cosine with the card; Stylus's own retriever is this list alone."""
    triggers: Mapping[int, float]
    """The rarest trigger phrase that stands in the prompt, by row: one over the root of the number of pages that speak
    of it.

    Pages that name it anywhere count: `smile` is the trigger of one adapter and stands in the prompts of a thousand.
    """
    phrases: Mapping[int, str]
    """That phrase."""


def look(corpus: Corpus, prompt: str, *, vector: Vectors | None = None, allowed: Allowed | None = None) -> Lists:
    """Look in every way for what a prompt asks for.

    Everything present is looked at, allowed or not: a rank says how well something fits among everything, so a filter
    may not make it better.

    Args:
        corpus: The catalogue.
        prompt: As its writer wrote it.
        vector: The prompt's embedding, shape (dimension,); None leaves the lists by meaning empty.
        allowed: What may be found, of which the nearest are looked for too; None allows all.
    """
    query = query_words(prompt)
    asked = corpus.lexicon.ask(query)
    said = corpus.lexicon.bm25(asked, ("prompts",))
    triggers, called = _triggers(corpus, prompt)
    return Lists(
        query_words=query,
        words=said + corpus.lexicon.bm25(asked, (field for field in FIELDS if field != "prompts")),
        said=said,
        title=corpus.lexicon.best_word(asked, "title"),
        coverage=corpus.lexicon.coverage(asked),
        prompts=_nearest(corpus, vector, "prompt", allowed),
        card=_nearest(corpus, vector, "card", allowed),
        triggers=triggers,
        phrases=called,
    )


def query_words(prompt: str) -> tuple[str, ...]:
    """Return the words that a prompt asks for, each once: those that say nothing only where there are no others."""
    spoken = tuple(dict.fromkeys(terms(plain_text(prompt))))
    return tuple(word for word in spoken if word not in FUNCTION_WORDS) or spoken


def top(scores: Scores, rows: np.ndarray, count: int) -> np.ndarray:
    """Return the rows of the best scores above 0 among some rows (a mask), in no order."""
    found = np.flatnonzero(np.where(rows, scores, 0.0) > 0)
    if len(found) <= count:
        return found
    return found[np.argpartition(-scores[found], count)[:count]]


def rarity(adapters: Iterable[int], pages: Mapping[int, Id]) -> float:
    """Return one over the root of the number of pages that some adapters are on; one without a page is its own."""
    rare: float = len({pages.get(adapter, -adapter) for adapter in adapters}) ** -0.5
    return rare


def _nearest(corpus: Corpus, vector: Vectors | None, field: str, allowed: Allowed | None) -> Scores:
    nearest = np.zeros(len(corpus.lexicon))
    if vector is None or corpus.index is None:
        return nearest
    for numbers in (None,) if allowed is None else (None, allowed.numbers):
        found = corpus.index.best(vector, field, DEPTH, numbers)
        rows = corpus.lexicon.rows_of(np.fromiter(found, np.int64, len(found)))
        cosines = np.fromiter(found.values(), np.float64, len(found))
        nearest[rows[rows >= 0]] = cosines[rows >= 0]
    return nearest


def _triggers(corpus: Corpus, prompt: str) -> tuple[dict[int, float], dict[int, str]]:
    """Find the rows one of whose trigger phrases stands, word for word, in one phrase of the prompt."""
    spoken = [words(phrase) for phrase in phrases(prompt)]
    grams = {
        " ".join(phrase[start : start + length])
        for phrase in spoken
        for length in range(1, longest(phrase) + 1)
        for start in range(len(phrase) - length + 1)
    }
    scores: dict[int, float] = {}
    called: dict[int, str] = {}
    for phrase, rows in corpus.lexicon.called(sorted(grams)).items():
        if phrase not in corpus.rarities:
            corpus.rarities[phrase] = _rarity(corpus, phrase, rows)
        rare = corpus.rarities[phrase]
        for row in rows:
            if rare > scores.get(row, -1.0):
                scores[row] = rare
                called[row] = phrase
    return scores, called


def _rarity(corpus: Corpus, phrase: str, rows: list[int]) -> float:
    """Return one over the root of the number of pages that speak of a phrase, or that it calls."""
    if " " in phrase:
        speaking = corpus.store.mentions([phrase], CROWD)[phrase]
        also = corpus.lexicon.rows_of(np.fromiter(speaking, np.int64, len(speaking)))
        also = also[also >= 0]
    else:
        also = corpus.lexicon.speaking(phrase)
    pages = corpus.pages_of(np.concatenate([also, np.array(rows, np.int64)]))
    rare: float = pages**-0.5
    return rare
