"""The trigger words that an adapter needs beside a prompt, and that fit it.

A page lists groups of triggers, and they are alternatives (a character and her outfits, a boy and a girl) or parts of
one description. One group is taken: the one that shares most with the prompt and contradicts it least. Of it goes
what describes quality and not the adapter, what contradicts the prompt, and what stands there already; the phrase that
names the adapter stands first, because it goes in even where the prompt has no room for more.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence

from ..categories import category_of, is_person
from ..records import AdapterRecord, RefinedAdapter
from ..syntax import plain_text, without_tags
from ..words import FUNCTION_WORDS, words
from .asked import CLOTHES, COLOURS, LOOKS, Asked, read, sexes
from .once import once
from .tasks import BOILERPLATE

ROOM = 75
"""Tokens that CLIP reads at a time: 77, less the first and the last."""
_MOST = 6
"""Phrases of one adapter;"""
_FEW = 3
"""of one that draws nobody: more of them would be things in the picture that nobody asked for."""
_READ = 60
"""Groups, and phrases of one, that are read: collections have that many."""
_LETTERS = 80
"""Letters of a phrase; longer ones are no words."""
_PROSE = 8
"""Words from which on a phrase is a sentence of somebody's prompt."""
_SPOKEN = re.compile(r"\b(?:prompts?|my|your?|please|see|trigger|lora)\b", re.IGNORECASE)
"""Words of an author who speaks to the reader, in a phrase of more than two."""
_PATTERN = "character series"
"""Stands for any name on pages of collections."""

_LOOSE = """
style styles lora locon lycoris model character characters concept art artstyle anime outfit
"""
_NAMES_NOTHING = FUNCTION_WORDS | BOILERPLATE | LOOKS | CLOTHES | COLOURS | frozenset(_LOOSE.split())
"""Words of titles that other titles have."""
_UNASKED = "nsfw nude naked nudity topless bottomless completely uncensored explicit nipples penis pussy sex"
_GENERIC = BOILERPLATE | frozenset(_UNASKED.split())
_ANYBODY = re.compile(r"\d*(?:girls?|boys?|others?|woman|man|women|men|female|male|person|people|focus|solo|duo)")
_COINED = re.compile(r"[a-z][A-Z]|[A-Z]{2}[a-z]|[A-Za-z]{2}\d|\d[A-Za-z]{2,}\d|\w[ _]?\\?\(")
"""A word that a trainer made up, or a name and its series."""
_NO_VOWEL = re.compile(r"\b[b-df-hj-np-tv-xz]{3,}\b|[b-df-hj-np-tv-xz]{5,}", re.IGNORECASE)
_NO_TRIGGER = re.compile(
    r"(?:\bno|\bwithout(?: (?:a|any))?|(?:\bnot|n['’]?t)(?: \w+)? (?:need|require)(?: (?:a|any))?)(?: \w+)? ?trigger\b"
    r"|\btrigger ?(?:words?|phrases?|tokens?)?(?: \w+)? (?:(?:is|are)(?: not|n['’]t)|not) "
    r"(?:\w+ )?(?:needed|required|necessary)",
    re.IGNORECASE,
)

_PIECE = re.compile(r"[^\W\d_]+|\d|[^\w\s]+|_+")


def estimate_tokens(text: str) -> int:
    """Estimate, from above, how many tokens CLIP's tokenizer makes of a text, without its start and end.

    A word counts a token for every four Latin letters, a character of another script two and a half, a digit or a run
    of punctuation one. Of 2,312 prompts that people wrote it is at least CLIP's own count for 98 in 100, and 1.2 times
    it on the whole.

    >>> estimate_tokens("a photo of a cat"), estimate_tokens("masterpiece, 8k")
    (6, 6)
    """
    return math.ceil(sum(_tokens(piece) for piece in _PIECE.findall(text)))


def _tokens(piece: str) -> float:
    if not piece[0].isalpha():
        return 1.0
    latin = sum(letter < "\u0370" for letter in piece)
    return max(1.0, latin / 4 + 2.5 * (len(piece) - latin))


def category_for(adapter: RefinedAdapter) -> str | None:
    """Return what an adapter is for: as its describer says, else as rules tell it from its record."""
    if adapter.refinement.category is not None:
        return adapter.refinement.category
    return _category_of(adapter.record)


@once
def _category_of(record: AdapterRecord) -> str | None:
    told = category_of(record)
    return told.name if told else None


def needs_trigger(adapter: RefinedAdapter) -> bool:
    """Say whether an adapter does its work only when its trigger stands in the prompt.

    A tool changes every picture. A style or a background does without where its page says so; whatever draws something
    in particular has to be called.
    """
    category = category_for(adapter)
    if category == "tool":
        return False
    if category not in ("style", "background", None):
        return True
    about = " ".join(filter(None, (adapter.record.description, adapter.record.notes)))
    return not _NO_TRIGGER.search(about[:8000])


def fitting(adapter: RefinedAdapter, prompt: str) -> tuple[str, ...]:
    """Return the trigger phrases that a prompt lacks for an adapter, the most needed first; at most six.

    >>> groups = (("anna", "1girl", "red dress"), ("anna", "armor", "cape"))
    >>> page = AdapterRecord(source="folder", key="a", title="Anna (some game)", triggers=groups)
    >>> anna = RefinedAdapter(id=1, record=page)
    >>> fitting(anna, "a woman in armor"), fitting(anna, "snow")
    (('anna', 'cape'), ('anna', 'red dress'))
    """
    if not needs_trigger(adapter):
        return ()
    groups = _groups(adapter)
    if not groups:
        return ()
    asked = read(plain_text(prompt))
    title = _title_words(adapter.record)
    category = category_for(adapter)
    worn = category != "clothing"  # which was chosen for what it is, whatever else is worn
    best = max(groups, key=lambda group: _fit(group, asked, title, worn=worn))
    beside = _words_of(best)
    phrases = [phrase for phrase in best if not (is_generic(phrase) or asked.contradicts(phrase, beside, worn=worn))]
    names = [phrase for phrase in phrases if _names(phrase, title)] or _name_elsewhere(groups, asked, title)
    rest = [phrase for phrase in phrases if phrase not in names and _serves(phrase, category)]
    if len(phrases) > _MOST:
        # Somebody's whole prompt: what happens in it is that picture's, what is worn in it may be the adapter's.
        rest = [phrase for phrase in rest if _kinds(phrase)] or (rest[:1] if not names else [])
    if not names and not rest and is_person(category):
        rest = [phrase for phrase in best if sexes(words(phrase)) and not asked.contradicts(phrase, beside)][:1]
    return tuple(_missing((*names, *rest)[: _MOST if is_person(category) else _FEW], asked.text))


def naming(adapter: RefinedAdapter) -> tuple[str, ...]:
    """Return the trigger phrases that name an adapter, of all its groups: made up, or with a word of its title.

    >>> page = AdapterRecord(source="folder", key="a", title="Anna", triggers=(("anna", "1girl"), ("red dress",)))
    >>> naming(RefinedAdapter(id=1, record=page))
    ('anna',)
    """
    title = _title_words(adapter.record)
    phrases = (phrase for group in _groups(adapter) for phrase in group)
    return tuple(dict.fromkeys(phrase for phrase in phrases if _names(phrase, title)))


def is_generic(phrase: str) -> bool:
    """Say whether a phrase asks for quality, or for anybody, or for what nobody asked for, and names nothing."""
    cut = words(phrase)
    return all(word in _GENERIC or _ANYBODY.fullmatch(word) for word in cut)


def share_room(
    prompt: str,
    adapters: Sequence[RefinedAdapter],
    *,
    suffix: str = "",
    room: int = ROOM,
    count: Callable[[str], int] = estimate_tokens,
) -> tuple[tuple[str, ...], ...]:
    """Return the triggers of each adapter, so many as CLIP reads together with the prompt.

    The prompt comes first, and the words that close it; then the first phrase of each adapter, which goes in even
    where there is no room; then the second of each that still fits, and so on. A phrase that two adapters need is
    given to both and takes room once.

    Args:
        prompt: As its writer wrote it.
        adapters: The chosen ones, the likeliest first.
        suffix: Words that close the prompt.
        room: Tokens for all together.
        count: How many tokens a text has.
    """
    wanted = [fitting(adapter, prompt) for adapter in adapters]
    given: list[list[str]] = [[] for _ in adapters]
    told: set[str] = set()
    left = room - count(without_tags(prompt)) - (count(suffix) + 1 if suffix else 0)
    for turn in range(_MOST):
        for phrases, taken in zip(wanted, given, strict=True):
            if turn >= len(phrases):
                continue
            phrase = phrases[turn]
            cost = 0 if phrase.casefold() in told else count(phrase) + 1  # and its comma
            if turn == 0 or cost <= left:
                taken.append(phrase)
                told.add(phrase.casefold())
                left -= cost
    return tuple(map(tuple, given))


def _groups(adapter: RefinedAdapter) -> list[tuple[str, ...]]:
    """Return the groups, cleaned: nothing unprintable, no tags of adapters, no sentences, no phrase twice."""
    return _cleaned(adapter.refinement.triggers or adapter.record.triggers)


@once
def _cleaned(groups: tuple[tuple[str, ...], ...]) -> list[tuple[str, ...]]:
    cleaned = []
    for group in groups[:_READ]:
        phrases: dict[str, str] = {}
        for phrase in group[:_READ]:
            text = "".join(letter if letter.isprintable() else " " for letter in without_tags(phrase)[:200])
            text = " ".join(text.replace("<", " ").replace(">", " ").split()).strip(" ,")
            cut = words(text)
            key = " ".join(cut)
            lettered = len(key) <= _LETTERS and any(letter.isalpha() for letter in key)
            if lettered and len(cut) < _PROSE and key != _PATTERN and not (len(cut) > 2 and _SPOKEN.search(text)):
                phrases.setdefault(key, text)
        if phrases:
            cleaned.append(tuple(phrases.values()))
    return cleaned


def _fit(group: Sequence[str], asked: Asked, title: frozenset[str], *, worn: bool) -> tuple[bool, float, bool]:
    """Say how well a group fits; of equal ones the first, which authors list as the main one, is taken."""
    telling = [phrase for phrase in group if not is_generic(phrase)]
    cut = _words_of(telling) - FUNCTION_WORDS - COLOURS
    beside = _words_of(group)
    against = [asked.contradicts(phrase, beside, worn=worn) for phrase in group]
    shared = sum(_asked_for(word, asked) for word in cut) / len(cut) if cut else 0.0
    wrong_sex = any(bad and sexes(words(phrase)) for bad, phrase in zip(against, group, strict=True))
    score = shared - sum(against) / len(group)
    return not wrong_sex, round(score, 6), any(_names(phrase, title) or not _kinds(phrase) for phrase in telling)


def _words_of(group: Iterable[str]) -> set[str]:
    return {word for phrase in group for word in words(phrase)}


def _asked_for(word: str, asked: Asked) -> bool:
    """Say whether the prompt has a word, or a trainer's word is made of one of it: `annaswimsuit`."""
    return word in asked.words or (len(word) > 6 and any(len(part) > 4 and part in word for part in asked.words))


def _name_elsewhere(groups: Sequence[Sequence[str]], asked: Asked, title: frozenset[str]) -> list[str]:
    """Return the name that another group has, where the one that fits only describes an outfit or a look."""
    for group in groups:
        for phrase in group:
            if _names(phrase, title) and not asked.contradicts(phrase):
                return [phrase]
    return []


def _names(phrase: str, title: frozenset[str]) -> bool:
    """Say whether a phrase names its adapter: it is made up, or shares a word with the title."""
    if is_generic(phrase):
        return False
    if _COINED.search(phrase) or _NO_VOWEL.search(phrase):
        return True
    cut = set(words(phrase)) - _NAMES_NOTHING
    if cut & title:
        return True
    return any(len(part) > 3 and part in word and part != word for word in cut for part in title)


def _title_words(record: AdapterRecord) -> frozenset[str]:
    names = " ".join(filter(None, (record.title, record.version_name, record.file_name)))
    return frozenset(words(names[:400])) - _NAMES_NOTHING


def _kinds(phrase: str) -> frozenset[str]:
    """Say whether a phrase describes looks or clothes; an author's default outfit is as good as a name."""
    cut = words(phrase)
    if "default" in cut or "original" in cut:
        return frozenset()
    kinds = {"looks"} if LOOKS.intersection(cut) else set()
    return frozenset(kinds | ({"clothes"} if CLOTHES.intersection(cut) else set()))


def _serves(phrase: str, category: str | None) -> bool:
    """Say whether a phrase that names nothing belongs to what adapters of a category are for."""
    if category is None or is_person(category):
        return True
    return not _kinds(phrase) - ({"clothes"} if category == "clothing" else set())


def _missing(phrases: Iterable[str], present: str) -> list[str]:
    missing = []
    for phrase in phrases:
        padded = f" {' '.join(words(phrase))} "
        if padded not in present:
            missing.append(phrase)
            present += padded
    return missing
