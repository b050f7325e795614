"""The user's own words that a candidate serves."""

from __future__ import annotations

import re

from ..records import Candidate
from ..syntax import phrases, plain_text

_WORD = re.compile(r"[^\W_]+")

_NAMING = ("phrase", "triggers", "title", "names", "tags")
"""Fields that say what an adapter is; words that only its prose or its example prompts share say less."""


def span_of(prompt: str, candidate: Candidate) -> str:
    """Return the words of the prompt, as written, that the candidate serves; empty when nothing can be named.

    A trigger phrase is its own span. Otherwise it is the phrase of the prompt that holds most of the words which
    the candidate's naming fields share, or, for a long sentence, the words from the first to the last of them.
    """
    trigger = next((match.text for match in candidate.matched if match.by == "phrase"), None)
    if trigger is not None and (written := _as_written(prompt, trigger)):
        return written
    naming = _matched(candidate, _NAMING)
    return _densest(prompt, naming) if naming else _densest(prompt, _matched(candidate, ("prompts", "description")))


def _matched(candidate: Candidate, fields: tuple[str, ...]) -> set[str]:
    return {word.casefold() for match in candidate.matched if match.by in fields for word in _WORD.findall(match.text)}


def _as_written(prompt: str, phrase: str) -> str | None:
    pattern = r"[\W_]+".join(re.escape(word) for word in _WORD.findall(phrase))
    found = re.search(pattern, plain_text(prompt), re.IGNORECASE)
    return found.group(0) if found else None


def _densest(prompt: str, words: set[str]) -> str:
    best, most = "", 0
    for phrase in phrases(prompt):
        places = [match for match in _WORD.finditer(phrase) if match.group(0).casefold() in words]
        if len({place.group(0).casefold() for place in places}) > most:
            most = len({place.group(0).casefold() for place in places})
            best = phrase[places[0].start() : places[-1].end()]
    return best
