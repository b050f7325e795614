"""The user's own words that a candidate serves."""

from __future__ import annotations

from ..records import Candidate
from ..syntax import phrases, plain_text
from ..words import FUNCTION_WORDS, places, words

NAMING = ("phrase", "triggers", "title", "names", "tags")
"""Fields that say what an adapter is; words that only its prose or its example prompts share say less."""

_GENERIC = 0.1
"""A trigger phrase that a hundred pages speak of, such as `1girl`, names none of them (1 / sqrt(100))."""


def span_of(prompt: str, candidate: Candidate) -> str:
    """Return the words of the prompt, as written, that the candidate serves; empty when nothing can be named.

    A trigger phrase is its own span. Otherwise it is the phrase of the prompt that holds most of the words that name
    the candidate, or, for a long sentence, the words from the first to the last of them.
    """
    trigger = calling_phrase(candidate)
    if trigger is not None and (written := _as_written(plain_text(prompt), trigger.split())):
        return written
    wanted = naming_words(candidate) or shared_words(candidate, NAMING)
    return _densest(prompt, wanted or shared_words(candidate, ("prompts", "description")))


def calling_phrase(candidate: Candidate) -> str | None:
    """Return the trigger phrase in the prompt that calls this candidate and few others."""
    return next((match.text for match in candidate.matched if match.by == "phrase" and match.score >= _GENERIC), None)


def naming_words(candidate: Candidate) -> set[str]:
    """Return the words of the prompt that say what the adapter is, and not only where it was shown or trained.

    These are words of a trigger phrase of which the prompt holds more than half, of a title of which it holds half,
    and of whole tags of the page; a word of a caption, a file's name or a long trigger names nothing by itself.
    """
    record = candidate.adapter.record
    shared = shared_words(candidate, NAMING)
    naming: set[str] = set()
    for text, least in (
        *((phrase, 0.51) for group in record.triggers for phrase in group),
        (record.title, 0.5),
        *((tag, 1.0) for tag in record.tags),
    ):
        own = set(words(text)) - FUNCTION_WORDS
        if own and len(own & shared) >= least * len(own):
            naming |= own & shared
    return naming


def shared_words(candidate: Candidate, fields: tuple[str, ...]) -> set[str]:
    """Return the words that the prompt shares with these fields, less function words and generic triggers."""
    generic = {
        word
        for match in candidate.matched
        if match.by == "phrase" and match.score < _GENERIC
        for word in words(match.text)
    }
    shared = {word for match in candidate.matched if match.by in fields for word in words(match.text)}
    return shared - generic - FUNCTION_WORDS


def _as_written(text: str, phrase: list[str]) -> str | None:
    spoken = places(text)
    for start in range(len(spoken) - len(phrase) + 1):
        if [word for word, _, _ in spoken[start : start + len(phrase)]] == phrase:
            return text[spoken[start][1] : spoken[start + len(phrase) - 1][2]]
    return None


def _densest(prompt: str, wanted: set[str]) -> str:
    best, most = "", 0
    for phrase in phrases(prompt):
        hits = [(word, start, end) for word, start, end in places(phrase) if word in wanted]
        if len({word for word, _, _ in hits}) > most:
            most = len({word for word, _, _ in hits})
            best = phrase[hits[0][1] : hits[-1][2]]
    return best
