"""Certain persons, real or invented, of whom a place in a picture has room for one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import combinations

from ..categories import is_person
from ..fenced import line
from ..records import RefinedAdapter
from ..syntax import plain_text
from ..words import FUNCTION_WORDS, words
from .triggers import category_for, is_generic, naming
from .worn import Conflict, Worn, choose, listed, padded, title_of

_PARTS = re.compile(r"[|/()\[\]（）【】]|\s[-–—]\s")
"""What stands between the names of a title."""


def people(worn: Sequence[Worn], prompt: str | None) -> Iterator[Conflict]:
    """Yield two persons for one place in the picture, and persons who may blend though the prompt names each."""
    places = [place for place, item in enumerate(worn) if is_person(category_for(item.refined))]
    text = None if prompt is None else padded(plain_text(prompt))
    apart: set[int] = set()
    for one, other in combinations(places, 2):
        pair = (one, other)
        mine, theirs = (_called(worn[place], text) for place in pair)
        titles = f"{title_of(worn, one)} and {title_of(worn, other)}"
        if text is None:
            apart.update(pair)
        elif not (mine and theirs):
            unnamed = [place for place, called in zip(pair, (mine, theirs), strict=True) if not called]
            reason = f"{titles} are two persons, and the prompt does not name both"
            yield choose(worn, "people", "error", pair, reason, rather=unnamed)
        elif _overlap(mine, theirs):
            reason = f"{titles} are two persons for the same words, “{line(mine, 60)}”"
            yield choose(worn, "people", "error", pair, reason)
        elif _is_one(worn[one].refined, worn[other].refined, (mine, theirs)):
            reason = f"{titles} are the same person, who would be in the picture twice"
            yield choose(worn, "people", "error", pair, reason)
        else:
            apart.update(pair)
    if apart:
        reason = f"{listed(worn, sorted(apart))} are different persons, whose features models blend in one picture"
        yield choose(worn, "people", "warning", tuple(sorted(apart)), reason)


def _called(item: Worn, text: str | None) -> str:
    """Return the words of the prompt that name a person, or none: `girl` names nobody."""
    if not item.pinned:
        return "" if is_generic(item.choice.span) else item.choice.span
    if text is None:
        return ""
    names = (*naming(item.refined), *_PARTS.split(item.refined.record.title))
    return next((name for name in names if not is_generic(name) and padded(name) in text), "")


def _overlap(span: str, other: str) -> bool:
    mine, theirs = (set(words(text)) - FUNCTION_WORDS for text in (span, other))
    return len(mine & theirs) * 2 > min(len(mine), len(theirs))


def _is_one(mine: RefinedAdapter, theirs: RefinedAdapter, called: tuple[str, str]) -> bool:
    """Say whether two adapters draw the same person: the name of one is a name of the other.

    What stands first in both titles is a series, and no name, where the prompt calls each by other words.
    """
    (name, calls), (other, others) = _names(mine), _names(theirs)
    shared = (name & others) | (other & calls)
    spans = [set(words(text)) for text in called]
    return any(any(name & span for span in spans) for name in shared)


def _names(adapter: RefinedAdapter) -> tuple[set[frozenset[str]], set[frozenset[str]]]:
    """Return what names a person, and all that calls one, each as its words.

    What a title begins with is a name, and so is each trigger phrase that has all words of it.
    """
    parts = (words(part) for part in _PARTS.split(adapter.record.title[:200]))
    head = frozenset(next(filter(None, parts), ()))
    calls = {head, *(frozenset(words(phrase)) for phrase in naming(adapter))} - {frozenset()}
    return {call for call in calls if head and head <= call}, calls
