"""Who counts, and what was said: submissions joined with the key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from .records import Answer, Rules, Submission, Survey, Task
from .results import Exclusion

_COPIES: Final = 2
"""The highest rating of diversity that a group of one picture may be given."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One answer of one rater, with what it is to."""

    rater: str
    task: Task
    answer: Answer

    @property
    def chosen(self) -> str | None:
        """Of a choice the method, or None for a tie."""
        return self.task.methods[self.answer.value] if isinstance(self.answer.value, int) else None

    @property
    def numbers(self) -> dict[str, int]:
        """Of a ranking or rating the number of each method."""
        value = self.answer.value
        return dict(zip(self.task.methods, value, strict=True)) if isinstance(value, tuple) else {}

    @property
    def passed(self) -> bool:
        """Whether an attention check was passed."""
        value, place = self.answer.value, self.task.answer
        if self.task.role == "identical":
            return value is None
        if not isinstance(value, tuple):
            return value == place
        number = value[place or 0]
        return number <= _COPIES if self.task.role == "copies" else number == 1


def hear(survey: Survey, submissions: Iterable[Submission]) -> list[Heard]:
    """Return every answer with its task; of one rater's several answers to the same item the first."""
    heard: list[Heard] = []
    seen: set[tuple[str, str, str]] = set()
    for submission in submissions:
        for answer in submission.answers:
            task = survey.tasks[answer.task]
            # A repeat belongs to the form that asked before; a second form of the same prompts brings nothing new.
            place = submission.rater, task.item, task.role
            if place not in seen:
                seen.add(place)
                heard.append(Heard(submission.rater, task, answer))
    return heard


def exclusions(survey: Survey, submissions: Sequence[Submission], heard: Sequence[Heard]) -> list[Exclusion]:
    """Return the raters whose answers do not count, by the plan's rules."""
    rules, sizes = survey.plan.rules, dict(survey.plan.forms)
    asked: dict[str, int] = {}
    for submission in submissions:
        asked[submission.rater] = asked.get(submission.rater, 0) + sizes[submission.form]
    given: dict[str, int] = {}
    for submission in submissions:
        given[submission.rater] = given.get(submission.rater, 0) + len(submission.answers)
    by_rater: dict[str, list[Heard]] = {}
    for each in heard:
        by_rater.setdefault(each.rater, []).append(each)
    found = []
    for rater in sorted(by_rater):
        reason = _reason(rules, by_rater[rater], given[rater] / asked[rater])
        if reason:
            found.append(Exclusion(rater=rater, reason=reason))
    return found


def checks(heard: Iterable[Heard]) -> tuple[int, int]:
    """Return how many attention checks were passed, and how many there were."""
    passed = [each.passed for each in heard if each.task.role in ("identical", "caption", "copies")]
    return sum(passed), len(passed)


def seconds(heard: Iterable[Heard]) -> float | None:
    """Return the median time for a task; None where no time is known."""
    known = [each.answer.seconds for each in heard if each.answer.seconds is not None]
    return median(known) if known else None


def repeated(heard: Iterable[Heard]) -> list[tuple[Heard, Heard]]:
    """Return what was answered twice by the same rater: first and second answer."""
    first: Mapping[tuple[str, str], Heard] = {
        (each.rater, each.task.item): each for each in heard if each.task.role == "item"
    }
    again = (each for each in heard if each.task.role == "repeat")
    return [(first[key], each) for each in again if (key := (each.rater, each.task.item)) in first]


def _reason(rules: Rules, heard: Sequence[Heard], share: float) -> str | None:
    passed, whole = checks(heard)
    if whole and (whole - passed) / whole > rules.most_failed:
        return f"failed {whole - passed} of {whole} attention checks"
    pace = seconds(heard)
    if pace is not None and pace < rules.least_seconds:
        return f"took {pace:.1f} s for a task (median)"
    if share < rules.least_answered:
        return f"answered {share:.0%} of the tasks"
    return None
