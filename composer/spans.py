"""The user's own words that a candidate serves."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..records import Candidate
from ..syntax import phrases, plain_text
from ..words import FUNCTION_WORDS, places, words
from .tasks import BOILERPLATE
from .triggers import is_generic

EXAMPLE = "an example prompt"
"""What a match by meaning says of an example prompt."""
NAMING = ("phrase", "triggers", "title", "names", "tags")
"""Fields that say what an adapter is; words that only its prose or its example prompts share say less."""

_GENERIC = 0.1
"""A trigger phrase that a hundred pages speak of, such as `1girl`, names none of them (1 / sqrt(100))."""
_RARE = 0.5
"""Rarity of a trigger phrase of which no more than four pages speak."""
_HEAD = re.compile(r"\s*[(（\[【|/／:：,]|\s+[-–—]\s")
"""What parts the name in a title from whatever it is of."""
_WORDED = 0.8
"""Share of the prompt's words in one adapter's examples that stands for a near one where nothing is embedded,"""
_ENOUGH = 4
"""in a prompt of so many words."""


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


def nearness(candidate: Candidate, prompt: str) -> float:
    """Return how near the nearest example prompt is, 0 to 1: its cosine, or 0 where it is not worth telling.

    Without vectors it is 0.7 where nearly all words of the prompt stand in the examples.
    """
    cosines = [match.score for match in candidate.matched if match.by == "meaning"]
    if cosines:
        return max((match.score for match in candidate.matched if match.text == EXAMPLE), default=0.0)
    asked = set(words(plain_text(prompt))) - BOILERPLATE
    said = shared_words(candidate, ("prompts",)) & asked
    return 0.7 if len(asked) >= _ENOUGH and len(said) >= _WORDED * len(asked) else 0.0


def names_somebody(candidate: Candidate, prompt: str) -> bool:
    """Say whether the prompt names whom an adapter draws: by a trigger phrase that is a name, or by the title.

    A word that hardly anybody else uses was made up for the adapter, as `hanakodef`. A phrase of several may tell what
    somebody wears, as `sailor hat`, and names nobody unless it is in the title. Nor does one word of a title
    of several parts: `crossing` asks for no Animal Crossing. And a first name that stands before another surname is
    somebody else's: `Emma Watson` is not the Emma of a game.
    """
    record = candidate.adapter.record
    own = set(words(" ".join(filter(None, (record.title, record.version_name, record.file_name, *record.tags)))))
    name = _name_in(candidate, prompt, own)
    if name is not None:
        return not _continues(prompt, words(name), own)
    head = set(words(_HEAD.split(record.title, maxsplit=1)[0])) - FUNCTION_WORDS
    shared = shared_words(candidate, ("title",))
    if head and head <= shared:
        return not _continues(prompt, words(_HEAD.split(record.title, maxsplit=1)[0]), own)
    return len(shared) >= 2


def other_thing(candidate: Candidate, asked: Sequence[str]) -> str | None:
    """Return the task of which a title shares a word and means another thing, or None.

    `jet` of the task `jet ski` stands in the title `Fighter Jet`; each is more than that word, and neither the other.

    Args:
        candidate: One that no trigger phrase calls.
        asked: The prompt's tasks.
    """
    if calling_phrase(candidate) is not None:
        return None
    named = naming_words(candidate)
    title = set(words(candidate.adapter.record.title)) - FUNCTION_WORDS
    tags = {word for tag in candidate.adapter.record.tags for word in words(tag)}
    if not named or named - title or title <= named or named <= tags:
        return None
    for task in asked:
        spoken = set(words(task)) - FUNCTION_WORDS
        if named <= spoken and len(spoken) < _ENOUGH and spoken - title:
            return task
    return None


def _name_in(candidate: Candidate, prompt: str, own: set[str]) -> str | None:
    """Return the trigger phrase in the prompt that is a name, or None."""
    phrase = calling_phrase(candidate)
    if phrase is not None and (set(words(phrase)) & own - FUNCTION_WORDS or _is_coined(phrase, candidate)):
        return phrase
    # Authors put the name first; it may stand in the prompt beside the rarer phrase that called.
    spoken = f" {' '.join(words(plain_text(prompt)))} "
    for group in candidate.adapter.record.triggers:
        first = words(group[0])
        is_name = (len(group) > 1 and len(first) <= 2) or bool(set(first) & own)
        if is_name and f" {' '.join(first)} " in spoken and not is_generic(group[0]):
            return group[0]
    return None


def _is_coined(phrase: str, candidate: Candidate) -> bool:
    """Say whether a trigger phrase is one word of which hardly anybody else speaks; `suzu_me` is one."""
    rarity = max(match.score for match in candidate.matched if match.by == "phrase" and match.text == phrase)
    written = (told for group in candidate.adapter.record.triggers for told in group)
    return rarity >= _RARE and any(" " not in told and " ".join(words(told)) == phrase for told in written)


def _continues(prompt: str, name: Sequence[str], own: set[str]) -> bool:
    """Say whether a name of one word goes on, wherever it stands, with a capital word that is not the adapter's."""
    text = plain_text(prompt)
    spoken = places(text)
    found = [at for at, (word, _, _) in enumerate(spoken) if [word] == list(name)]
    return bool(found) and all(_goes_on(text, spoken, at, own) for at in found)


def _goes_on(text: str, spoken: Sequence[tuple[str, int, int]], at: int, own: set[str]) -> bool:
    if at + 1 == len(spoken):
        return False
    word, start, _ = spoken[at + 1]
    return text[spoken[at][2] : start] == " " and text[start].isupper() and word not in own


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
