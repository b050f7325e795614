"""Chooses without any language model: calibrated evidence, and a few rules that users asked for by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from ..families import TITLES, support
from ..records import Candidate, Choice, Composition, Refusal
from ..words import words
from .spans import calling_phrase, naming_words, shared_words, span_of
from .triggers import fitting
from .weights import advise

THRESHOLD = 0.2
"""The least probability at which an adapter is laid on (see `benchmarks/composition.py`)."""
_NEAR = 0.03
"""Below this a candidate is not worth a refusal's line."""
_BUDGET = 1.6
"""The sum of weights beyond which pictures come out over-baked; the picks are then scaled down together."""

_TOOL = re.compile(
    r"\b(?:lcm|lightning|hyper|turbo|slider|detail(?:ed|er|s)?|tweaker|enhancer|add[ _-]?more|offset|contrast|lowra)\b",
    re.IGNORECASE,
)
_PERSON = frozenset({"celebrity", "character", "actor", "actress", "person", "real person", "singer", "model"})


class BuiltinComposer:
    """The composer that needs no model, no key and no network (implements `protocols.Composer`).

    Args:
        most: the most adapters it lays on.
        threshold: the least probability at which it lays one on.
    """

    name = "builtin 1"

    def __init__(self, *, most: int = 3, threshold: float = THRESHOLD) -> None:
        self._most = most
        self._threshold = threshold

    def compose(self, prompt: str, candidates: Sequence[Candidate], fixed: Sequence[Choice] = ()) -> Composition:
        """Choose among the candidates, best first; each adapter and each span once.

        Args:
            prompt: As its writer wrote it.
            candidates: What the retriever found.
            fixed: Choices that stay as they are, and that all others must go with.
        """
        choices: list[Choice] = list(fixed)
        refused: list[Refusal] = []
        for candidate in sorted(candidates, key=lambda item: -item.score):
            if candidate.score < _NEAR:
                break
            span = span_of(prompt, candidate)
            record = candidate.adapter.record
            reason = self._objection(candidate, span, choices)
            if reason is not None:
                refused.append(Refusal(adapter=record, reason=reason))
                continue
            advice = advise(record)
            choices.append(
                Choice(
                    adapter=record,
                    weight=advice.weight,
                    span=span,
                    triggers=fitting(record, prompt),
                    reason=f"{_evidence(candidate)}; weight {advice.weight:g}: {advice.reason}",
                )
            )
        chosen = (*fixed, *_within_budget(choices[len(fixed) :], sum(abs(choice.weight) for choice in fixed)))
        return Composition(prompt=prompt, choices=chosen, refused=tuple(refused), composer=self.name)

    def _objection(self, candidate: Candidate, span: str, choices: Sequence[Choice]) -> str | None:
        """Return why the candidate is not laid on, or None when nothing speaks against it."""
        record = candidate.adapter.record
        if not span:
            return "no words of the prompt ask for it"
        if candidate.score < self._threshold:
            return f"too unlikely to be meant ({candidate.score:.0%})"
        if calling_phrase(candidate) is None and not naming_words(candidate):
            return "only its examples and its prose share words with the prompt"
        if not _named(candidate):
            if _TOOL.search(record.title):
                return "a tool for the whole picture, taken only when it is named"
            if record.real_person or _PERSON & {tag.casefold() for tag in record.tags}:
                return "a certain person or character that the prompt does not name"
        for choice in choices:
            if support(record.family, choice.adapter.family) == "none":
                return (
                    f"made for {TITLES[record.family]}, and {choice.adapter.title} for {TITLES[choice.adapter.family]}"
                )
            if _overlap(span, choice.span):
                return f"“{span}” is served by {choice.adapter.title}"
        if len(choices) >= self._most:
            return f"{self._most} adapters are the most for one prompt"
        return None


def _named(candidate: Candidate) -> bool:
    """Say whether the prompt names the adapter: by a trigger phrase of its own, or by two words of its title."""
    return calling_phrase(candidate) is not None or len(shared_words(candidate, ("title", "names"))) >= 2


def _overlap(span: str, other: str) -> bool:
    mine, theirs = set(words(span)), set(words(other))
    return bool(mine) and len(mine & theirs) * 2 > min(len(mine), len(theirs))


def _evidence(candidate: Candidate) -> str:
    return "; ".join([*candidate.because[:3], f"{candidate.score:.0%} likely"])


def _within_budget(choices: Sequence[Choice], spent: float) -> tuple[Choice, ...]:
    """Scale the choices down together to what the fixed ones have left, but never below a quarter."""
    total = sum(abs(choice.weight) for choice in choices)
    if not choices or (len(choices) == 1 and not spent) or total + spent <= _BUDGET:
        return tuple(choices)
    factor = max(_BUDGET - spent, 0.25 * total) / total
    return tuple(
        replace(
            choice,
            weight=round(choice.weight * factor, 2),
            reason=f"{choice.reason}, scaled down so that the weights sum to {_BUDGET:g}",
        )
        for choice in choices
    )
