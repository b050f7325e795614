"""The trigger words that fit this prompt."""

from __future__ import annotations

import re

from ..records import AdapterRecord

_MOST = 6
"""Phrases added at the most: CLIP reads 77 tokens, and a list longer than this is somebody's whole prompt."""
_WORD = re.compile(r"[^\W_]+")


def fitting(adapter: AdapterRecord, prompt: str) -> tuple[str, ...]:
    """Return the trigger phrases to add, of the alternative group that shares most with the prompt.

    Of equal groups the first, which authors list as the main one. A group that is somebody's whole prompt is cut to
    the phrases that the prompt already asks for and the first one.

    >>> page = AdapterRecord(source="folder", key="a", title="A", triggers=(("anna", "red dress"), ("anna", "armor")))
    >>> fitting(page, "a woman in armor"), fitting(page, "a woman")
    (('anna', 'armor'), ('anna', 'red dress'))
    """
    if not adapter.triggers:
        return ()
    spoken = _words(prompt)
    group = max(adapter.triggers, key=lambda phrases: _shared(phrases, spoken))
    if len(group) <= _MOST:
        return group
    asked = tuple(phrase for phrase in group[1:] if _words(phrase) <= spoken)
    return (group[0], *asked)[:_MOST]


def _shared(phrases: tuple[str, ...], spoken: set[str]) -> float:
    words = set().union(*(_words(phrase) for phrase in phrases))
    return len(words & spoken) / len(words) if words else 0.0


def _words(text: str) -> set[str]:
    return {word.casefold() for word in _WORD.findall(text)}
