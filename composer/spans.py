"""How a prompt speaks of a candidate: what names it, and the user's own words that it serves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..records import AdapterRecord, Candidate, Match, RefinedAdapter
from ..syntax import phrases, plain_text
from ..words import FUNCTION_WORDS, places, with_pairs, words
from .asked import CLOTHES, COLOURS, LOOKS, sexes
from .tasks import BOILERPLATE, negated, tasks
from .triggers import is_generic, naming

NAMING = ("phrase", "triggers", "title", "names", "tags")
"""Fields that say what an adapter is; words that only its prose or its example prompts share say less."""
EVERYWHERE = (*NAMING, "prompts", "description")

_GENERIC = 0.1
"""A trigger phrase that a hundred pages speak of, such as `1girl`, names none of them (1 / sqrt(100))."""
_SAYS_NOTHING = FUNCTION_WORDS | set(words("style styles artstyle art concept model lora locon lycoris"))
"""Words of titles and triggers that say what kind of file it is."""
_LOOKS = LOOKS | COLOURS | {"long", "short"}
"""Words that tell looks, which are anybody's."""
_RARE = 0.5
"""Rarity of a trigger phrase of which no more than four pages speak."""
_HEAD = re.compile(r"\s*[(（\[【|/／:：,]|\s+[-–—]\s")
"""What parts the name in a title from whatever it is of."""
_COINED = re.compile(r"[a-z][A-Z]|[A-Z]{2}|\d|_")
"""How words are spelt that nobody says."""
_WORDED = 0.8
"""Share of the prompt's words in one adapter's examples that stands for a near one where nothing is embedded,"""
_ENOUGH = 4
"""in a prompt of so many words."""


@dataclass(frozen=True, slots=True, eq=False)
class Spoken:
    """A prompt, read once for all its candidates."""

    text: str
    """Without brackets and tags."""
    padded: str
    """Its words, each between spaces."""
    places: Sequence[tuple[str, int, int]]
    """(word, start, end) of each of them in the text."""
    words: frozenset[str]
    telling: frozenset[str]
    """Those that tell this prompt from others: no boilerplate, nobody in general, no looks that anybody has."""
    negated: frozenset[str]
    """Those that stand only behind a `no`, `not` or `without`."""
    after: Mapping[str, frozenset[str]]
    """Of each word: the capital words that follow it with no more than a space between; empty for any other."""
    phrases: Sequence[str]
    within: Mapping[str, Mapping[int, tuple[int, int]]]
    """Of each word: in which phrases it stands, and there the start of the first and the end of the last."""
    tasks: tuple[str, ...]
    task_words: Sequence[frozenset[str]]
    """Of each task."""


@dataclass(frozen=True, slots=True)
class Mention:
    """How a prompt speaks of one candidate."""

    candidate: Candidate
    phrase: str | None
    """The trigger phrase in the prompt that calls this candidate and few others."""
    naming: frozenset[str]
    """The words of the prompt that say what it is, and not only where it was shown or trained."""
    span: str
    """The user's own words that it serves; empty when nothing can be named."""
    near: float
    """How near the nearest example prompt, or the card, is, 0 to 1."""
    rarity: float = 0.0
    """Of the phrase; 0 without one."""
    is_titled: bool = False
    """Whether its whole title stands in the prompt as it is, and is of two words or more."""

    @property
    def is_named(self) -> bool:
        """Whether a phrase calls it or words name it."""
        return self.phrase is not None or bool(self.naming)


def read(prompt: str) -> Spoken:
    """Read a prompt, in time linear in its length."""
    text = plain_text(prompt)
    spoken = places(text)
    after: dict[str, set[str]] = {}
    for (word, _, end), (following, start, _) in pairwise([*spoken, ("", 0, 0)]):
        goes_on = text[end:start] == " " and text[start].isupper()
        after.setdefault(word, set()).add(following if goes_on else "")
    cut = phrases(prompt)
    within: dict[str, dict[int, tuple[int, int]]] = {}
    for number, phrase in enumerate(cut):
        for word, start, end in places(phrase):
            stands = within.setdefault(word, {})
            stands[number] = (stands.get(number, (start, end))[0], end)
    asked = tasks(prompt)
    denied, wanted = negated(prompt)
    return Spoken(
        text=text,
        padded=_padded([word for word, _, _ in spoken]),
        places=spoken,
        words=frozenset(after),
        telling=frozenset(
            word for word in after if word not in BOILERPLATE and word not in _LOOKS and not is_generic(word)
        ),
        negated=denied - wanted,
        after={word: frozenset(following) for word, following in after.items()},
        phrases=cut,
        within=within,
        tasks=asked,
        task_words=tuple(frozenset(words(task)) - FUNCTION_WORDS for task in asked),
    )


def mention(candidate: Candidate, spoken: Spoken) -> Mention:
    """Return how a prompt speaks of a candidate.

    Its span is the trigger phrase that calls it. Otherwise it is the phrase of the prompt that holds most of the words
    that name the candidate, or, for a long sentence, the words from the first to the last of them.
    """
    called = (match for match in candidate.matched if match.by == "phrase" and not _calls_anybody(match))
    match = next((match for match in called if not spoken.negated.issuperset(words(match.text))), None)
    phrase = match.text if match is not None else None
    naming = _naming_words(candidate, spoken)
    span = _as_written(phrase.split(), spoken) if phrase else ""
    if not span:
        span = _densest(naming or _meant_words(candidate) - spoken.negated, spoken)
    title = [word for word in words(candidate.adapter.record.title) if word not in _SAYS_NOTHING]
    return Mention(
        candidate,
        phrase,
        frozenset(naming),
        span,
        _nearness(candidate, spoken),
        rarity=match.score if match is not None else 0.0,
        is_titled=len(title) > 1 and _padded(title) in spoken.padded,
    )


def names_tool(mentioned: Mention, spoken: Spoken) -> bool:
    """Say whether the prompt names a tool: by a trigger phrase, by two words of its title together, or by its name.

    A name of one word must be one that is made up, as `LowRA` and `QuickHand` are: `lightning` is the weather.
    """
    if mentioned.phrase is not None or mentioned.is_titled:
        return True
    head = _HEAD.split(mentioned.candidate.adapter.record.title, maxsplit=1)[0].strip()
    said = [word for word in words(head) if word not in _SAYS_NOTHING]
    if said and _padded(said) in spoken.padded and (len(said) > 1 or _COINED.search(head)):
        return True
    return len(mentioned.naming & set(words(mentioned.span))) > 1


def names_somebody(mentioned: Mention, spoken: Spoken) -> bool:
    """Say whether the prompt names whom an adapter draws: by a trigger phrase that is a name, or by the title.

    A word that hardly anybody else uses was made up for the adapter, as `hanakodef`. A phrase of several may tell what
    somebody wears, as `sailor hat`, and names nobody unless it is in the title. Nor does one word of a title of several
    parts: `crossing` asks for no Animal Crossing; nor do words that tell anybody's looks, as `woman in red`. And a
    first name that stands before another surname is somebody else's: `Emma Watson` is not the Emma of a game.
    """
    record = mentioned.candidate.adapter.record
    own = set(words(" ".join(filter(None, (record.title, record.version_name, record.file_name, *record.tags)))))
    name = _name_in(mentioned, spoken, own)
    if name is not None:
        return not _continues(words(name), spoken, own)
    head = words(_HEAD.split(record.title, maxsplit=1)[0])
    said = set(head) - FUNCTION_WORDS
    shared = _shared_words(mentioned.candidate, ("title",))
    if said and said <= shared and not is_generic(" ".join(said)):
        return not _continues(head, spoken, own)
    return len(shared) >= 2 and not _tells_looks(shared - CLOTHES)


def somebody_else(mentioned: Mention, spoken: Spoken) -> bool:
    """Say whether a title draws a man or a woman where the prompt asks for nobody: `Waifu on Motorcycle`."""
    return bool(sexes(words(mentioned.candidate.adapter.record.title))) and not sexes(spoken.words)


def served_by(record: AdapterRecord, spoken: Spoken) -> str:
    """Return the words of the prompt that an adapter serves which somebody pinned; empty when nothing names it.

    They are the first of its names, of its title's head and of the phrases that begin its groups of triggers that
    stands in the prompt.
    """
    firsts = (group[0] for group in record.triggers if group)
    for name in (*naming(RefinedAdapter(id=0, record=record)), _HEAD.split(record.title, maxsplit=1)[0], *firsts):
        if not is_generic(name) and (written := _as_written(words(name), spoken)):
            return written
    return ""


def other_thing(mentioned: Mention, spoken: Spoken) -> str | None:
    """Return the task of which a title shares a word and means another thing, or None.

    `jet` of the task `jet ski` stands in the title `Fighter Jet`; each is more than that word, and no text of the
    adapter knows what is left of the task.
    """
    if mentioned.phrase is not None:
        return None
    record, named = mentioned.candidate.adapter.record, mentioned.naming
    title = set(words(record.title)) - FUNCTION_WORDS
    if not named or named - title or title <= named:
        return None
    known = _shared_words(mentioned.candidate, EVERYWHERE) - named
    for task, asked in zip(spoken.tasks, spoken.task_words, strict=True):
        if named <= asked and len(asked) < _ENOUGH and asked.isdisjoint(known) and asked - named:
            return task
    return None


def _naming_words(candidate: Candidate, spoken: Spoken) -> set[str]:
    """Return the words of the prompt that say what the adapter is.

    These are words of a trigger phrase of which the prompt holds more than half, of a title of which it holds half, and
    of a title's head of which it holds all (`Barbie` of `BARBIE | Toy Story 3`), not counting those that say what kind
    of file it is, nor those that are only there to be left out. A word of a tag, a caption, a file's name or a long
    trigger names nothing by itself: half of the pages tagged `night` paint something else.
    """
    record = candidate.adapter.record
    shared = _shared_words(candidate, NAMING)
    naming: set[str] = set()
    head = _HEAD.split(record.title, maxsplit=1)[0]
    phrases = ((phrase, 0.51) for group in record.triggers for phrase in group)
    for text, least in (*phrases, (record.title, 0.5), (head, 1.0)):
        cut = words(text)
        own = set(cut) - _SAYS_NOTHING
        said = own & shared - _scattered(cut, spoken)
        if own and len(said) >= least * len(own):
            naming |= said
    return naming - spoken.negated


def _scattered(cut: Sequence[str], spoken: Spoken) -> set[str]:
    """Return the characters of a script without spaces that stand beside none of their neighbours in the prompt.

    Each alone is hardly a word: `山` and `海` of a prompt about a hill and the sea do not name `山海经`.
    """
    pairs = set(with_pairs(cut)) - set(cut)
    beside = {letter for pair in pairs if _padded(pair) in spoken.padded for letter in pair}
    return {letter for pair in pairs for letter in pair} - beside


def _shared_words(candidate: Candidate, fields: tuple[str, ...]) -> set[str]:
    """Return the words that the prompt shares with these fields, less function words and generic triggers."""
    generic = {
        word
        for match in candidate.matched
        if match.by == "phrase" and _calls_anybody(match)
        for word in words(match.text)
    }
    shared = {word for match in candidate.matched if match.by in fields for word in words(match.text)}
    return shared - generic - FUNCTION_WORDS


def _meant_words(candidate: Candidate) -> set[str]:
    """Return the words of the prompt that a candidate may serve which nothing names, the most telling there are."""
    named, shown = _shared_words(candidate, NAMING), _shared_words(candidate, ("prompts", "description"))
    return named - _SAYS_NOTHING - BOILERPLATE or shown - _SAYS_NOTHING - BOILERPLATE or named or shown


def _calls_anybody(match: Match) -> bool:
    """Say whether a trigger phrase calls many adapters, or would in a larger catalogue, as `1girl` does."""
    return match.score < _GENERIC or is_generic(match.text)


def _nearness(candidate: Candidate, spoken: Spoken) -> float:
    """Return how near the nearest example prompt, or the card, is: its cosine, or 0 where it is not worth telling.

    Without vectors it is 0.7 where nearly all words of the prompt stand in the examples.
    """
    cosines = [match.score for match in candidate.matched if match.by == "meaning"]
    if cosines:
        return max(cosines)
    asked = spoken.words - BOILERPLATE
    said = _shared_words(candidate, ("prompts",)) & asked
    return 0.7 if len(asked) >= _ENOUGH and len(said) >= _WORDED * len(asked) else 0.0


def _name_in(mentioned: Mention, spoken: Spoken, own: set[str]) -> str | None:
    """Return the trigger phrase in the prompt that is a name, or None."""
    phrase, candidate = mentioned.phrase, mentioned.candidate
    if phrase is not None and (set(words(phrase)) & own - FUNCTION_WORDS or _is_coined(phrase, candidate)):
        return phrase
    # Authors put the name first; it may stand in the prompt beside the rarer phrase that called.
    for group in filter(None, candidate.adapter.record.triggers):
        first = words(group[0])
        is_name = (len(group) > 1 and len(first) <= 2) or bool(set(first) & own)
        tells = not is_generic(group[0]) and not _tells_looks((*first, *words(phrase or "")))
        if is_name and tells and _padded(first) in spoken.padded:
            return group[0]
    return None


def _is_coined(phrase: str, candidate: Candidate) -> bool:
    """Say whether a trigger phrase is one word of which hardly anybody else speaks; `suzu_me` is one."""
    rarity = max(match.score for match in candidate.matched if match.by == "phrase" and match.text == phrase)
    written = (told for group in candidate.adapter.record.triggers for told in group)
    return rarity >= _RARE and any(" " not in told and " ".join(words(told)) == phrase for told in written)


def _tells_looks(said: Iterable[str]) -> bool:
    """Say whether words tell anybody's looks and no name."""
    return all(word in _LOOKS or is_generic(word) for word in said)


def _continues(name: Sequence[str], spoken: Spoken, own: set[str]) -> bool:
    """Say whether a name of one word goes on, wherever it stands, with a capital word that is not the adapter's."""
    following = spoken.after.get(name[0], frozenset()) if len(name) == 1 else frozenset()
    return bool(following) and "" not in following and own.isdisjoint(following)


def _as_written(phrase: Sequence[str], spoken: Spoken) -> str:
    """Return the first place of a phrase in the prompt, as it is spelt there; empty where it is not there."""
    found = spoken.padded.find(_padded(phrase))
    if found < 0 or not phrase:
        return ""
    first = spoken.padded.count(" ", 0, found)
    return spoken.text[spoken.places[first][1] : spoken.places[first + len(phrase) - 1][2]]


def _densest(wanted: set[str], spoken: Spoken) -> str:
    """Return, of the phrase with most of these words, the part from the first to the last of them."""
    hits: dict[int, list[tuple[int, int]]] = {}
    for word in wanted:
        for number, stands in spoken.within.get(word, {}).items():
            hits.setdefault(number, []).append(stands)
    if not hits:
        return ""
    best = max(hits, key=lambda number: (len(hits[number]), -number))
    return spoken.phrases[best][min(start for start, _ in hits[best]) : max(end for _, end in hits[best])]


def _padded(cut: Sequence[str]) -> str:
    return f" {' '.join(cut)} "
