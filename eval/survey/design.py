"""Who sees what, where and when: balanced places, repeats, attention checks, and forms that one rater can finish.

Over the tasks of a form, and over the forms of an item, each method stands at each place equally often, and follows
each other method equally often (E. J. Williams, 1949).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, count, cycle, pairwise
from typing import Final

import numpy as np

from ...words import words
from .records import Question, Questionnaire, Role, Task

_FEWEST_SETS: Final = 4
"""Of a form that repeats some: of fewer, a rater remembers the answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A prompt, and of each method the pictures' ids."""

    prompt_id: str
    prompt: str
    groups: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How much is asked of whom."""

    raters: int = 3
    """Of each item, at least."""
    tasks: int = 40
    """Of a form at most, before repeats and checks, unless the questions on one prompt are more."""
    checks: int = 2
    """Attention checks on each form."""
    repeats: int = 2
    """Prompts of each form that are asked again."""


def williams(methods: int) -> list[tuple[int, ...]]:
    """Return a Latin square balanced for what follows what: `methods` rows, twice as many where they are odd.

    >>> williams(2), williams(4)
    ([(0, 1), (1, 0)], [(0, 1, 3, 2), (1, 2, 0, 3), (2, 3, 1, 0), (3, 0, 2, 1)])
    >>> len(williams(3))
    6
    """
    first = [0]
    for step in range(1, methods):
        first.append((step + 1) // 2 if step % 2 else methods - step // 2)
    rows = [tuple((place + row) % methods for place in first) for row in range(methods)]
    return rows if methods % 2 == 0 else [*rows, *(row[::-1] for row in rows)]


def draw_tasks(
    sheets: Sequence[Sheet],
    methods: Sequence[str],
    questionnaire: Questionnaire,
    load: Load,
    draw: np.random.Generator,
) -> list[Task]:
    """Return the tasks of all forms, in the order in which they are shown.

    Args:
        sheets: What there is to show.
        methods: All; `pairs` shows every two of them.
        questionnaire: What is asked of it.
        load: How much of whom.
        draw: Draws orders, places, checks and ids.
    """
    names = tuple(draw.permutation(np.asarray(methods, dtype=object)))
    shown = list(combinations(names, 2)) if questionnaire.arrangement == "pairs" else [names]
    sets = [(sheet, together) for sheet in sheets for together in shown]
    sets = [sets[place] for place in draw.permutation(len(sets))]
    orders = williams(len(shown[0]))
    blocks = max(1, -(-len(sets) * len(questionnaire.questions) // load.tasks))
    numbers = count(1)
    tasks: list[Task] = []
    for block in np.array_split(np.arange(len(sets)), min(blocks, len(sets))):
        held = [sets[place] for place in block]
        # Of fewer prompts than there are orders, only more forms have every order.
        short = len(held) < len(orders) * len(shown)
        versions = -(-load.raters // len(orders)) * len(orders) if short else load.raters
        for version in range(versions):
            form = _Form(str(next(numbers)), questionnaire, sheets, draw)
            tasks += form.filled(held, orders, version, load)
    return _named(tasks, draw)


class _Form:
    """One rater's tasks, as they are drawn."""

    def __init__(
        self, name: str, questionnaire: Questionnaire, sheets: Sequence[Sheet], draw: np.random.Generator
    ) -> None:
        self._name = name
        self._questionnaire = questionnaire
        self._sheets = sheets
        self._draw = draw

    def filled(
        self,
        held: Sequence[tuple[Sheet, tuple[str, ...]]],
        orders: Sequence[tuple[int, ...]],
        version: int,
        load: Load,
    ) -> list[Task]:
        """Return its tasks: every set once, some a second time the other way round, and checks in between."""
        seen: Counter[tuple[str, ...]] = Counter()
        sets = []
        for sheet, methods in held:
            order = orders[(seen[methods] + version) % len(orders)]
            seen[methods] += 1
            placed = tuple(methods[place] for place in order)
            if asked := list(self._asked(sheet, placed)):
                sets.append(asked)
        sets = [sets[place] for place in self._draw.permutation(len(sets))]
        if len(sets) >= _FEWEST_SETS:
            early = self._draw.permutation(max(1, len(sets) // 2))[: load.repeats]
            late = [[_reversed(task) for task in sets[place]] for place in sorted(early)]
            sets += late
        checks = min(load.checks, len(sets))
        checked: set[str] = set()
        for number, (low, high) in enumerate(pairwise(np.linspace(0, len(sets), checks + 1).round().astype(int))):
            # Anywhere in its part of the form, behind the checks before it; never first.
            place = max(1, number + int(self._draw.integers(low, high, endpoint=True)))
            # Of prompts that were shown already: a check must not tell one before its time.
            before = {asked[0].prompt_id for asked in sets[:place]}
            check = self._check(number, [sheet for sheet in self._sheets if sheet.prompt_id in before - checked])
            if check is not None:
                sets.insert(place, [check])
                checked.add(check.prompt_id)
        return [replace(task, set=number) for number, asked in enumerate(sets, 1) for task in asked]

    def _asked(self, sheet: Sheet, methods: tuple[str, ...]) -> Iterator[Task]:
        for question in self._questionnaire.questions:
            groups = tuple(sheet.groups[method][: question.pictures] for method in methods)
            if question.pictures == 1 or len(groups[0]) > 1:
                yield self._task(question, sheet, methods, groups)

    def _task(
        self, question: Question, sheet: Sheet, methods: tuple[str, ...], groups: tuple[tuple[str, ...], ...]
    ) -> Task:
        return Task(
            id="",
            form=self._name,
            set=0,
            question=question.name,
            item="\n".join((question.name, sheet.prompt_id, *sorted(methods))),
            prompt_id=sheet.prompt_id,
            prompt=sheet.prompt,
            methods=methods,
            groups=groups,
        )

    def _check(self, number: int, sheets: Sequence[Sheet]) -> Task | None:
        """Return an attention check on one of some sheets, of the kinds that the questions allow in turn, if any."""
        kinds = [kind for question in self._questionnaire.questions for kind in self._kinds(question)]
        # A swapped caption cannot be passed by always answering the same: a form has one wherever it can.
        kinds.sort(key=lambda kind: kind[0] != "caption")
        if not kinds:
            return None
        role, question = kinds[number % len(kinds)]
        enough = [sheet for sheet in sheets if question.pictures == 1 or len(next(iter(sheet.groups.values()))) > 1]
        return self._checking(role, question, enough[int(self._draw.integers(len(enough)))]) if enough else None

    def _kinds(self, question: Question) -> Iterator[tuple[Role, Question]]:
        if question.kind == "rating":
            if question.pictures > 1:
                yield "copies", question
            return
        if question.ties:
            yield "identical", question
        # Which of two groups differs more within itself has nothing to do with the caption.
        if question.shows_prompt and (question.pictures == 1 or not question.ties) and len(self._sheets) > 1:
            yield "caption", question

    def _checking(self, role: Role, question: Question, sheet: Sheet) -> Task:
        names = tuple(self._draw.permutation(np.asarray(list(sheet.groups), dtype=object)))
        methods = names[:2] if self._questionnaire.arrangement == "pairs" else names
        groups = [sheet.groups[method][: question.pictures] for method in methods]
        place = int(self._draw.integers(len(methods)))
        if role == "identical":
            groups = [groups[0]] * len(groups)
        elif role == "copies":
            groups[place] = groups[place][:1] * len(groups[place])
        else:
            foils = cycle(_strangers(sheet, self._sheets))
            groups = [
                group if each == place else next(foils).groups[method][: question.pictures]
                for each, (method, group) in enumerate(zip(methods, groups, strict=True))
            ]
        task = self._task(question, sheet, methods, tuple(groups))
        return replace(task, role=role, item=f"{role}\n{task.item}", answer=None if role == "identical" else place)


def _strangers(sheet: Sheet, sheets: Sequence[Sheet]) -> list[Sheet]:
    """Return the sheets of other prompts, those that share the fewest words first."""
    own = set(words(sheet.prompt))
    others = [other for other in sheets if other.prompt_id != sheet.prompt_id]
    return sorted(others, key=lambda other: len(own & set(words(other.prompt))) / (len(own) or 1))


def _reversed(task: Task) -> Task:
    return replace(task, role="repeat", methods=task.methods[::-1], groups=task.groups[::-1])


def _named(tasks: Sequence[Task], draw: np.random.Generator) -> list[Task]:
    """Give tasks ids, and items names, that say nothing."""
    items = {item: f"i{number}" for number, item in enumerate(dict.fromkeys(task.item for task in tasks), 1)}
    lots = (draw.permutation(len(tasks)) + 1).tolist()
    return [replace(task, id=f"t{lot}", item=items[task.item]) for task, lot in zip(tasks, lots, strict=True)]
