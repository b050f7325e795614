"""The answers that raters send back: read with suspicion, and kept one line for each form filled in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from ...errors import InputError
from ...syntax import encodable
from .files import ANSWERS, parse, read_bytes, write
from .key import open_survey
from .questions import FAILURES
from .records import RATINGS, TIE, Answer, Question, Submission, Survey, Task, Value

_MOST: Final = 8_000_000
"""Bytes of one rater's file."""
_MOST_ALL: Final = 1 << 30
_LONGEST: Final = 86_400.0
"""Seconds that anybody looks at one task."""
_RATER: Final = re.compile(r"[\w.@+-][\w .@+-]{0,63}")
_COMMENT: Final = 2_000
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_REASONS: Final = 20
"""Problems of one file that are told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What came of reading answers."""

    submissions: tuple[Submission, ...]
    """All that the survey has now."""
    added: int
    replaced: int
    """Forms that the same rater had filled in before, now with more answers."""
    repeated: int
    """Forms that brought nothing new."""
    rejected: tuple[tuple[str, str], ...]
    """(file, reason) of each that could not be used."""
    dropped: tuple[tuple[str, str], ...]
    """(file, reason) of single answers that could not be used; the others of the file were."""


def collect_answers(folder: str | Path, files: Iterable[str | Path]) -> Collected:
    """Read raters' files into the survey's `answers.jsonl`, beside what it has; of a folder all `.json` in it.

    Of two files of one rater for one form the one with more answers counts, and of equals the first.

    Raises:
        InputError: the survey or the answers that it has cannot be read, or nothing can be written.
    """
    survey = open_survey(folder)
    kept = {(held.rater, held.form): held for held in read_answers(folder, survey)}
    rejected: list[tuple[str, str]] = []
    dropped: list[tuple[str, str]] = []
    added = replaced = repeated = 0
    for path in _each(files):
        try:
            found, problems = _submission(parse(read_bytes(path, _MOST), path.name), survey)
        except InputError as error:
            rejected.append((str(path), str(error)))
            continue
        dropped += [(str(path), problem) for problem in problems[:_REASONS]]
        name = (found.rater, found.form)
        if name not in kept:
            added += 1
        elif len(found.answers) > len(kept[name].answers):
            replaced += 1
        else:
            repeated += 1
            continue
        kept[name] = found
    submissions = tuple(kept[name] for name in sorted(kept))
    lines = "".join(json.dumps(_plain(held), ensure_ascii=False, allow_nan=False) + "\n" for held in submissions)
    write(Path(folder) / ANSWERS, lines.encode())
    return Collected(
        submissions=submissions,
        added=added,
        replaced=replaced,
        repeated=repeated,
        rejected=tuple(rejected),
        dropped=tuple(dropped),
    )


def read_answers(folder: str | Path, survey: Survey) -> list[Submission]:
    """Return what was collected so far; nothing where nothing was.

    Raises:
        InputError: the file is damaged; it names the line.
    """
    path = Path(folder) / ANSWERS
    if not path.exists():
        return []
    found = []
    for number, line in enumerate(read_bytes(path, _MOST_ALL).split(b"\n"), 1):
        if line.strip():
            try:
                submission, problems = _submission(parse(line, f"line {number}"), survey)
            except InputError as error:
                raise InputError(f"{path}, line {number}: {error}") from None
            if problems:
                raise InputError(f"{path}, line {number}: {problems[0]}")
            found.append(submission)
    return found


def _each(files: Iterable[str | Path]) -> Iterable[Path]:
    for path in map(Path, files):
        yield from sorted(path.glob("*.json")) if path.is_dir() else [path]


def _plain(submission: Submission) -> dict[str, Any]:
    """Return a submission as raters' files have it."""
    answers = [
        asdict(answer) | {"value": TIE if answer.value is None else answer.value} for answer in submission.answers
    ]
    return asdict(submission) | {"velatura_survey": 1, "answers": answers}


def _submission(plain: Any, survey: Survey) -> tuple[Submission, list[str]]:
    """Return what a rater answered, and why some of it cannot be used.

    Raises:
        InputError: none of it can be.
    """
    if not isinstance(plain, dict) or plain.get("velatura_survey") != 1:
        raise InputError("it is no file of answers; raters get one at the end of the survey")
    if plain.get("survey") != survey.digest:
        raise InputError("it belongs to another survey")
    rater, form = plain.get("rater"), plain.get("form")
    if not isinstance(rater, str) or not _RATER.fullmatch(rater):
        raise InputError("it does not say who answered, in 64 letters, digits, points and the like")
    if not isinstance(form, str) or form not in {name for name, _ in survey.plan.forms}:
        raise InputError("its form is none of this survey")
    listed = plain.get("answers")
    tasks = {name: task for name, task in survey.tasks.items() if task.form == form}
    if not isinstance(listed, list) or len(listed) > 2 * len(tasks):
        raise InputError("its answers are no list, or more than there are tasks")
    questions = {question.name: question for question in survey.plan.questionnaire.questions}
    answers: dict[str, Answer] = {}
    problems = []
    for entry in listed:
        try:
            answer = _answer(entry, tasks, questions)
            if answer.task in answers:
                raise InputError(f"task {answer.task} is answered twice; the first answer counts")
        except InputError as error:
            problems.append(str(error))
            continue
        answers[answer.task] = answer
    if not answers:
        raise InputError("it has no answer that can be used" + (f": {problems[0]}" if problems else ""))
    said = plain.get("comment")
    comment = _CONTROLS.sub("", encodable(said))[:_COMMENT] if isinstance(said, str) else ""
    found = Submission(survey=survey.digest, rater=rater, form=form, answers=tuple(answers.values()))
    return replace(found, comment=comment), problems


def _answer(entry: Any, tasks: Mapping[str, Task], questions: Mapping[str, Question]) -> Answer:
    name = entry.get("task") if isinstance(entry, dict) else None
    if not isinstance(name, str) or name not in tasks:
        raise InputError("an answer is to no task of its form")
    task = tasks[name]
    value = _value(entry.get("value"), questions[task.question], len(task.groups), name)
    return Answer(task=name, value=value, seconds=_seconds(entry.get("seconds")), tags=_tags(entry, task, questions))


def _value(told: Any, question: Question, places: int, task: str) -> Value:
    """Return an answer's value.

    Raises:
        InputError: it is none that the question allows.
    """
    if question.kind == "choice":
        if told == TIE and question.ties:
            return None
        if _is_whole(told) and 0 <= told < places:
            return int(told)
        raise InputError(f"the answer to {task} is no place that can be chosen")
    if isinstance(told, list | tuple) and len(told) == places and all(map(_is_whole, told)):
        numbers = tuple(int(number) for number in told)
        if question.kind == "rating" and all(number in RATINGS for number in numbers):
            return numbers
        if question.kind == "ranking" and sorted(numbers) == list(range(1, places + 1)):
            return numbers
    wanted = "a rating of 1 to 5" if question.kind == "rating" else "a rank, each once,"
    raise InputError(f"the answer to {task} is not {wanted} for each of {places}")


def _is_whole(told: Any) -> bool:
    return isinstance(told, int) and not isinstance(told, bool)


def _seconds(told: Any) -> float | None:
    is_number = isinstance(told, int | float) and not isinstance(told, bool)
    return float(told) if is_number and 0 <= told <= _LONGEST else None


def _tags(entry: Mapping[str, Any], task: Task, questions: Mapping[str, Question]) -> tuple[tuple[str, ...], ...]:
    """Return the failures ticked, by place; what is not offered is left out."""
    told = entry.get("tags")
    if not isinstance(told, list | tuple) or len(told) != len(task.groups):
        return ()
    offered = [name for name in FAILURES if name in questions[task.question].tags]
    ticked = [[name for name in offered if isinstance(of, list | tuple) and name in of] for of in told]
    return tuple(map(tuple, ticked)) if any(ticked) else ()
