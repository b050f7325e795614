"""Chooses without any language model: calibrated evidence, and a few rules that users asked for by name.

What a candidate's evidence must be depends on how the prompt speaks of it:

- *Named*: a trigger phrase of its own stands in the prompt, or most of its title, or a whole tag. Then it needs the
  least probability alone.
- *Shown*: nothing names it, and people laid it on for prompts nearly like this one. Probabilities compare adapters with
  each other, and some adapter is always the nearest; so an example must be near in itself, too.

A certain person, real or invented, is laid on only when named, or when an example is so near that the prompt draws
that person by its looks. A tool is laid on only when a phrase calls it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..categories import category_of, is_person
from ..families import TITLES, support
from ..records import AdapterRecord, Candidate, Choice, Refusal
from ..words import words
from .picks import Pick, Picked
from .spans import (
    calling_phrase,
    names_somebody,
    naming_words,
    nearness,
    other_thing,
    span_of,
)
from .tasks import tasks

LEAST = 0.07
"""The least probability at which a named adapter is laid on (see `benchmarks/composition.py`)."""
_SHOWN: Final = 0.5
"""Share of that at which one is laid on that examples alone speak for: it needs a near one as well."""
_NEAR: Final = 0.6
"""Cosine of an example prompt from which on it is a near one. What is nearest to captions of photographs, which ask for
none of these adapters, reaches it hardly ever."""
_SAME: Final = 0.75
"""Cosine from which on an example prompt asks for the same picture."""
_MATE: Final = 0.3
"""Share of the likeliest adapter's probability from which on another one for the same words is an alternative to it."""
_TOLD: Final = 0.03
"""Below this a candidate is not worth a refusal's line."""


class BuiltinComposer:
    """The composer that needs no model, no key and no network (implements `picks.Picker`).

    Args:
        most: the most adapters it lays on, those that are fixed among them.
        least: the least probability at which it lays on what the prompt names.
        per_task: how many adapters may serve the same words: alternatives, of which a mask takes one, or several
            that share their strength.
    """

    name = "builtin 2"

    def __init__(self, *, most: int = 3, least: float = LEAST, per_task: int = 2) -> None:
        self._most = most
        self._least = least
        self._per_task = per_task

    def pick(self, prompt: str, candidates: Sequence[Candidate], fixed: Sequence[Choice] = ()) -> Picked:
        """Choose among the candidates, best first; each adapter once, and the same words for one adapter of a kind.

        Args:
            prompt: As its writer wrote it.
            candidates: What the retriever found.
            fixed: Choices that stay as they are, and that all others must go with.
        """
        picks: list[Pick] = []
        refused: list[Refusal] = []
        laid = [_Laid(choice.adapter, choice.span, _kind(_told(choice.adapter)), 1.0) for choice in fixed]
        asked = tasks(prompt)
        for candidate in sorted(candidates, key=lambda item: -item.score):
            if candidate.score < _TOLD:
                break
            span = span_of(prompt, candidate)
            mates = _mates(candidate, span, laid)
            reason = self._unfit(candidate, span, prompt, asked) or self._in_the_way(candidate, span, mates, laid)
            if reason is None and len(laid) >= self._most:
                reason = f"{self._most} adapters are the most for one prompt"
            if reason is not None:
                refused.append(Refusal(adapter=candidate.adapter.record, reason=reason))
                continue
            # An alternative serves the task that the surest one serves, whatever of its words they share.
            span = mates[0].span if mates else span
            picks.append(Pick(span=span, candidate=candidate, reason=_evidence(candidate), score=candidate.score))
            laid.append(_Laid(candidate.adapter.record, span, _kind(_category(candidate)), candidate.score))
        return Picked(picks=tuple(picks), refused=tuple(refused), tasks=asked)

    def _unfit(self, candidate: Candidate, span: str, prompt: str, asked: Sequence[str]) -> str | None:
        """Return why the prompt does not ask for the candidate, or None when it does."""
        category = _category(candidate)
        is_named = bool(calling_phrase(candidate) or naming_words(candidate))
        near = nearness(candidate, prompt)
        if not span:
            return "no words of the prompt ask for it"
        if candidate.score < self._least * (1.0 if is_named else _SHOWN):
            return f"too unlikely to be meant ({candidate.score:.0%})"
        if category == "tool" and calling_phrase(candidate) is None and len(naming_words(candidate)) < 2:
            return "a tool for the whole picture, laid on only when it is named"
        if is_person(category) and not names_somebody(candidate, prompt) and near < _SAME:
            return f"a certain {category}, whom the prompt does not name"
        if not is_named and near < _NEAR:
            return "nothing of what it is stands in the prompt, and none of its examples is nearly this prompt"
        if near < _NEAR and (task := other_thing(candidate, asked)):
            return f"“{task}” is another thing than {candidate.adapter.record.title}"
        return None

    def _in_the_way(self, candidate: Candidate, span: str, mates: Sequence[_Laid], laid: Sequence[_Laid]) -> str | None:
        """Return which adapter that is laid on already speaks against the candidate, or None."""
        record = candidate.adapter.record
        for other in laid:
            if support(record.family, other.record.family) == "none":
                return f"made for {TITLES[record.family]}, and {other.record.title} for {TITLES[other.record.family]}"
        if mates and (len(mates) >= self._per_task or candidate.score < _MATE * mates[0].sure):
            return f"“{span}” is served by {' and '.join(mate.record.title for mate in mates)}"
        styles = [other for other in laid if other.kind == "style" and other not in mates]
        is_named = bool(calling_phrase(candidate) or naming_words(candidate))
        if styles and _kind(_category(candidate)) == "style" and not is_named:
            return f"another style beside {styles[0].record.title}, which the prompt does not name"
        return None


@dataclass(frozen=True, slots=True)
class _Laid:
    """An adapter that is laid on."""

    record: AdapterRecord
    span: str
    kind: str
    sure: float


def _mates(candidate: Candidate, span: str, laid: Sequence[_Laid]) -> list[_Laid]:
    """Return what serves the same words already: of the same kind, or so that nothing else names the candidate."""
    kind = _kind(_category(candidate))
    served = [other for other in laid if _overlap(span, other.span)]
    return [other for other in served if other.kind == kind or _is_told_by(candidate, other.span)]


def _is_told_by(candidate: Candidate, span: str) -> bool:
    """Say whether all that names a candidate stands in a span."""
    named = naming_words(candidate) | set(words(calling_phrase(candidate) or ""))
    return bool(named) and named <= set(words(span))


def _category(candidate: Candidate) -> str | None:
    return candidate.adapter.refinement.category or _told(candidate.adapter.record)


def _told(record: AdapterRecord) -> str | None:
    found = category_of(record)
    return found.name if found is not None else None


def _kind(category: str | None) -> str:
    """Return what part of a picture an adapter decides: two of one kind compete for the same words."""
    return "person" if is_person(category) else "style" if category in ("style", "tool") else "thing"


def _overlap(span: str, other: str) -> bool:
    mine, theirs = set(words(span)), set(words(other))
    return bool(mine) and len(mine & theirs) * 2 > min(len(mine), len(theirs))


def _evidence(candidate: Candidate) -> str:
    return "; ".join([*candidate.because[:3], f"{candidate.score:.0%} likely"])
