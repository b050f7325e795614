"""What each way of looking says of every adapter, for one prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ..db.triggers import longest
from ..syntax import phrases, plain_text
from ..words import FUNCTION_WORDS, terms, words
from .postings import FIELDS

if TYPE_CHECKING:
    from ..protocols import Vectors
    from .corpus import Allowed, Corpus, Rows
    from .postings import Scores

DEPTH: Final = 500
"""Entries of a list that count."""
CROWD: Final = 1000
"""Pages beyond which it makes no difference how many speak of a phrase."""

_CROWDED: Final = 8
"""Rows above 0 beyond which, times those that count, most are passed over at a glance."""


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
    """Cosine with the nearest example prompt, of what is nearest among everything, and among what is allowed."""
    card: Scores
    """Cosine with the card; Stylus's own retriever is this list alone."""
    meaning: Scores
    """The greater of both, of what is nearest among everything alone: what ranks are told by."""
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
    nearest = {field: _nearest(corpus, vector, field, None) for field in ("prompt", "card")}
    allowed_too = nearest
    if allowed is not None:
        allowed_too = {
            name: np.maximum(near, _nearest(corpus, vector, name, allowed)) for name, near in nearest.items()
        }
    triggers, called = _triggers(corpus, prompt)
    return Lists(
        query_words=query,
        words=said + corpus.lexicon.bm25(asked, (field for field in FIELDS if field != "prompts")),
        said=said,
        title=corpus.lexicon.best_word(asked, "title"),
        coverage=corpus.lexicon.coverage(asked),
        prompts=allowed_too["prompt"],
        card=allowed_too["card"],
        meaning=np.maximum(nearest["prompt"], nearest["card"]),
        triggers=triggers,
        phrases=called,
    )


def query_words(prompt: str) -> tuple[str, ...]:
    """Return the words that a prompt asks for, each once: those that say nothing only where there are no others."""
    spoken = tuple(dict.fromkeys(terms(plain_text(prompt))))
    return tuple(word for word in spoken if word not in FUNCTION_WORDS) or spoken


def top(scores: Scores, rows: np.ndarray, count: int) -> np.ndarray:
    """Return the rows of the best scores above 0 among some rows (a mask), in no order; of equal scores the first."""
    found = np.flatnonzero((scores > 0) & rows)
    if len(found) <= count:
        return found
    told = scores[found]
    if len(found) > _CROWDED * count:
        # What is below the last that counts of a part of them is below that of all.
        high = told >= _last(told[:: _CROWDED // 2], count)
        found, told = found[high], told[high]
    least = _last(told, count)
    above = found[told > least]
    return np.concatenate([above, found[told == least][: count - len(above)]])


def _last(scores: Scores, count: int) -> float:
    """Return the score that so many reach."""
    last: float = np.partition(scores, -count)[-count]
    return last


def rarity(corpus: Corpus, phrase: str, rows: Sequence[int] | Rows, *, spoken: bool = True) -> float:
    """Return one over the root of the number of pages that a phrase calls; those that only speak of it count, too.

    Args:
        corpus: The catalogue.
        phrase: Its words, joined by spaces.
        rows: Those that it calls.
        spoken: Whether pages count that only speak of it.
    """
    also = np.empty(0, np.int64)
    if spoken and " " not in phrase:
        also = corpus.lexicon.speaking(phrase)
    elif spoken:
        speaking = corpus.store.mentions([phrase], CROWD)[phrase]
        also = corpus.lexicon.rows_of(np.fromiter(speaking, np.int64, len(speaking)))
    pages = corpus.pages_of(np.concatenate([also[also >= 0], np.array(rows, np.int64)]))
    rare: float = pages**-0.5
    return rare


def _nearest(corpus: Corpus, vector: Vectors | None, field: str, allowed: Allowed | None) -> Scores:
    """Return the cosines of the nearest, of what is allowed or of all."""
    nearest = np.zeros(len(corpus.lexicon))
    if vector is None or corpus.index is None:
        return nearest
    found = corpus.index.best(vector, field, DEPTH, None if allowed is None else allowed.numbers)
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
    calling = corpus.lexicon.called(sorted(grams, reverse=True))
    for phrase, rows in calling.items():
        if phrase not in corpus.rarities:
            corpus.rarities[phrase] = rarity(corpus, phrase, rows)
    scores: dict[int, float] = {}
    called: dict[int, str] = {}
    for phrase in sorted(calling, key=corpus.rarities.__getitem__):  # the rarest last, which stays
        scores.update(dict.fromkeys(calling[phrase], corpus.rarities[phrase]))
        called.update(dict.fromkeys(calling[phrase], phrase))
    return scores, called
