"""A set of adapters about to be laid on, and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..categories import is_person
from ..fenced import line
from ..records import Choice, RefinedAdapter
from ..words import words
from .triggers import category_for

Severity = Literal["error", "warning", "note"]
"""`error`: the picture is spoilt, or nothing happens. `warning`: it may be. `note`: a person should know."""

Kind = Literal[
    "unknown", "twice", "duplicate", "family", "speed", "people", "styles", "trigger", "untriggered", "weight",
    "budget", "settings",
]  # fmt: skip


Part = Literal["person", "style", "thing"]
"""What part of a picture an adapter decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worn:
    """A choice, and what is known of it."""

    choice: Choice
    adapter: RefinedAdapter | None = None
    """None where the catalogue does not know it."""
    sure: float = 0.0
    """How surely it is meant, 0 to 1; of two that cannot go together the surer stays, of equal ones the first."""

    @property
    def refined(self) -> RefinedAdapter:
        """What is known, be it only the choice's own record."""
        return self.adapter or RefinedAdapter(id=0, record=self.choice.adapter)

    @property
    def pinned(self) -> bool:
        """Whether a person named it by hand, so that it stays whatever happens."""
        return is_pinned(self.choice)


def part_of(adapter: RefinedAdapter) -> Part:
    """Return what part of a picture an adapter decides: of one part, those for the same words are alternatives."""
    return part_for(category_for(adapter))


def part_for(category: str | None) -> Part:
    """Return what part of a picture adapters of a category decide."""
    return "person" if is_person(category) else "style" if category in ("style", "tool") else "thing"


def is_pinned(choice: Choice) -> bool:
    """Say whether a person named or kept it by hand, so that it stays whatever happens."""
    return choice.kept or choice.span.startswith("<lora:")


def are_alternatives(choices: Sequence[Choice]) -> bool:
    """Say whether a composer chose all of them for the same words, to share their strength or take turns."""
    return len({choice.span for choice in choices}) == 1 and all(
        choice.span and choice.sure is not None and not is_pinned(choice) for choice in choices
    )


def padded(text: str) -> str:
    """Return the words of a text, each between spaces, so that `in` compares whole words."""
    return f" {' '.join(words(text))} "


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Something wrong with a set of adapters."""

    kind: Kind
    severity: Severity
    places: tuple[int, ...]
    """Which of the set it is about."""
    explanation: str
    """One sentence."""
    drop: tuple[int, ...] = ()
    """Which to leave out, so that it is settled; empty where that is no remedy, or all are pinned."""
    stay: int | None = None
    """How many of the places may stay; None where dropping is no remedy."""
    weights: tuple[tuple[int, float], ...] = ()
    """(place, weight) to set instead."""
    triggers: tuple[str, ...] = ()
    """Phrases to add to the prompt instead."""


def choose(
    worn: Sequence[Worn],
    kind: Kind,
    severity: Severity,
    places: tuple[int, ...],
    explanation: str,
    *,
    stay: int = 1,
    rather: Sequence[int] = (),
) -> Conflict:
    """Return a conflict that is settled by leaving out the less sure, those named by `rather` before others."""
    free = [place for place in places if not worn[place].pinned]
    going = sorted(free, key=lambda place: (place not in rather, worn[place].sure, -place))[: len(places) - stay]
    return Conflict(kind=kind, severity=severity, places=places, explanation=explanation, drop=tuple(going), stay=stay)


def title_of(worn: Sequence[Worn], place: int) -> str:
    """Return how to speak of an adapter: its title, with its version where another has the same."""
    record = worn[place].refined.record
    title = line(record.title, 60) or line(record.key, 60)
    again = sum(item.refined.record.title == record.title for item in worn) > 1
    version = line(record.version_name or "", 30) if again else ""
    return f"“{title}” ({version})" if version else f"“{title}”"


def listed(worn: Sequence[Worn], places: Sequence[int]) -> str:
    """Return several of them in words: A, B and C."""
    titles = [title_of(worn, place) for place in places]
    return f"{', '.join(titles[:-1])} and {titles[-1]}" if len(titles) > 1 else titles[0]
