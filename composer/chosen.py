"""What a language model chose, checked against what it was shown and against the prompt's own words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from ..fenced import line
from ..records import Candidate, Choice, Refusal
from ..words import words
from .picks import Pick, Picked
from .quoting import as_written

_TASKS: Final = 40
_NAMED: Final = 400
"""Adapters that are read of all tasks together, and of the refusals: no answer runs on without end."""
_REASON: Final = 200
_WORDS: Final = 60
_SHOWN: Final = 5
"""Wrong numbers that are named."""
_NUMBER: Final = re.compile(r"\D{0,16}(\d{1,6})\D{0,16}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A number of those shown, given to a task or refused."""

    place: int
    """From 0, in the order shown."""
    reason: str
    sure: float | None = None
    """0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What of an answer can be used."""

    tasks: tuple[tuple[str, tuple[Given, ...]], ...] = ()
    """(the model's words for a task, what it gives to it)."""
    refused: tuple[Given, ...] = ()
    strange: tuple[str, ...] = ()
    """What was named and never shown."""


def read_tasks(tasks: Iterable[tuple[Any, Any]], refused: Any, shown: range) -> Told:
    """Return what can be used of (words, list of adapters) pairs and of a list of refusals.

    Args:
        tasks: As they stand in the answer, of whatever types.
        refused: The same.
        shown: The numbers of the cards.

    Raises:
        ValueError: Adapters are named, and none of them was shown.
    """
    found: list[tuple[str, tuple[Given, ...]]] = []
    strange: list[str] = []
    for spoken, given in islice(tasks, _TASKS):
        if isinstance(spoken, str):
            found.append((spoken, tuple(_given(given, shown, strange))))
    if strange and not any(given for _, given in found):
        raise ValueError(f"no card has the numbers that it names; they go from {shown[0]} to {shown[-1]}")
    return Told(tasks=tuple(found), refused=tuple(_given(refused, shown, [])), strange=tuple(strange))


def arranged(
    told: Told, prompt: str, shown: Sequence[Candidate], fixed: Sequence[Choice], *, most: int, who: str
) -> Picked:
    """Return the picks that the answer comes to, the surest first, and in the notes what was left out of it.

    Tasks are the prompt's own words or none; an adapter is taken once, and not when it is fixed already. Beyond `most`,
    with what is fixed, the least sure are refused.
    """
    notes: list[str] = []
    tasks: dict[str, None] = {}
    picks: dict[int, Pick] = {}
    laid = {(choice.adapter.source, choice.adapter.key) for choice in fixed}
    again = 0
    for spoken, given in told.tasks:
        span = _span(prompt, spoken, len(given), notes)
        if span is None:
            continue
        tasks.setdefault(span)
        for one in given:
            record = shown[one.place].adapter.record
            if one.place in picks or (record.source, record.key) in laid:
                again += 1
                continue
            sure = shown[one.place].score if one.sure is None else one.sure
            reason = one.reason or f"chosen by {who}"
            picks[one.place] = Pick(span=span, candidate=shown[one.place], reason=reason, score=sure)
    notes += _left_out(told.strange, again, who)
    ranked = sorted(picks.values(), key=lambda pick: -pick.score)
    room = max(0, most - len(fixed))
    refused = [
        Refusal(adapter=pick.candidate.adapter.record, reason=f"{most} adapters are the most for one prompt")
        for pick in ranked[room:]
    ]
    refused += [
        Refusal(adapter=shown[place].adapter.record, reason=reason or f"refused by {who}")
        for place, reason in {one.place: one.reason for one in reversed(told.refused)}.items()
        if place not in picks
    ]
    return Picked(picks=tuple(ranked[:room]), refused=tuple(refused), tasks=tuple(tasks), notes=tuple(notes))


def number_of(value: Any) -> int | None:
    """Return the whole number that a model means, which some write as text.

    >>> [number_of(value) for value in (7, "7", "card 7", 7.0, 7.5, True, None, "1 or 2")]
    [7, 7, 7, 7, None, None, None, None]
    """
    if isinstance(value, str):
        match = _NUMBER.fullmatch(value.strip()) if value.isascii() else None
        return int(match[1]) if match and "-" not in value and "." not in value else None
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and value % 1 == 0 else None


def _given(items: Any, shown: range, strange: list[str]) -> list[Given]:
    """Read a list of adapters; what was never shown goes to `strange`."""
    found: list[Given] = []
    for item in islice(items, _NAMED) if isinstance(items, list) else ():
        fields = item if isinstance(item, dict) else {"number": item}
        value = fields.get("number")
        number = number_of(value)
        if number is None or number not in shown:
            strange.append(line(str(value)[:_WORDS], _WORDS) if isinstance(value, int | float | str) else "nothing")
            continue
        reason = fields.get("reason")
        spoken = line(reason, _REASON) if isinstance(reason, str) else ""
        found.append(Given(place=number - shown[0], reason=spoken, sure=_share(fields.get("sure"))))
    return found


def _share(sure: Any) -> float | None:
    """Return what is told of 0 to 100 as a share, or None when nothing is."""
    if isinstance(sure, bool) or not isinstance(sure, int | float) or sure != sure:  # whole numbers have no bound
        return None
    return min(100.0, max(0.0, sure)) / 100


def _span(prompt: str, told: str, count: int, notes: list[str]) -> str | None:
    """Return the prompt's words for a task; a note says where the model's were others."""
    span = as_written(prompt, told)
    named = line(told, _WORDS)
    if span is None:
        dropped = "" if not count else ", with 1 adapter" if count == 1 else f", with {count} adapters"
        notes.append(f"the task “{named}” does not stand in the prompt and is left out{dropped}")
    elif words(span) != words(told):
        notes.append(f"the task “{named}” does not stand in the prompt and is taken for “{span}”")
    return span


def _left_out(strange: Sequence[str], again: int, who: str) -> list[str]:
    notes: list[str] = []
    if strange:
        numbers = ", ".join(list(dict.fromkeys(strange))[:_SHOWN])
        notes.append(f"{who} named adapters that it was not shown ({numbers}); they are left out")
    if again:
        notes.append(f"{who} named {again} adapter{'s' * (again > 1)} again that {'were' if again > 1 else 'was'} "
                     "taken already; each is taken once")  # fmt: skip
    return notes
