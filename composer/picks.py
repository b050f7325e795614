"""What a composer chooses, before anything is weighed: candidates for words of the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ..records import Candidate, Choice, Refusal, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """A candidate chosen for some words of the prompt."""

    span: str
    """The user's own words that it serves, as they stand in the prompt."""
    candidate: Candidate
    reason: str
    score: float
    """How sure the composer is, 0 to 1; of picks that cannot go together the surer stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """The picks for a prompt, the surest first, and what else is worth telling."""

    picks: tuple[Pick, ...] = ()
    refused: tuple[Refusal, ...] = ()
    tasks: tuple[str, ...] = ()
    """The prompt's own words, cut into what can be asked of adapters; some have no pick."""
    notes: tuple[str, ...] = ()
    """What happened on the way that a person should know."""
    usage: Usage = Usage()  # noqa: RUF009 - frozen
    """What a language model read and wrote for it."""
    failed: str | None = None
    """Why the composer itself could not choose, so that these picks, if any, are another's; None where it did."""


class Picker(Protocol):
    """Chooses candidates for words of a prompt; weights, triggers and the budget come after it."""

    @property
    def name(self) -> str:
        """Kept with what it chose."""

    def pick(self, prompt: str, candidates: Sequence[Candidate], fixed: Sequence[Choice] = ()) -> Picked:
        """Choose, beside what is fixed; no pick at all is a valid answer."""
