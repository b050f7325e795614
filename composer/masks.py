"""Masks: which choices are on in one picture, so that one prompt gives many (Stylus, section 3.3).

The choices that serve the same words of a prompt, and decide the same part of the picture, are a task. In a mask, a
task has none, exactly one or all of its adapters on, and the masks are the cross product over the tasks: 60 tasks of
ten have 12^60. That product is never made. Each mask has its stretch of one long number line, as long as the mask is
likely; a point on the line tells its mask by mixed radix, and what was drawn once is left out of the line. All of it is
whole numbers, so that a seed gives the same masks on every machine.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import Final, Literal, get_args

from ..errors import InputError
from ..records import Choice, RefinedAdapter
from .worn import Part, is_pinned, part_of

Mask = tuple[bool, ...]
"""Which choices are on, in their order."""

Scheme = Literal["paper", "power-set", "all"]
"""`paper`: per task none, one or all. `power-set`: any choices of a task, drawn with replacement, so that masks come
twice, as Stylus's released code has it (`one_hot_loras`). `all`: everything on, always."""

_SCALE: Final = 1000
"""Chances are counted in thousandths, and are never quite 0 nor 1, so that every mask can come."""


@dataclass(frozen=True, slots=True)
class _Option:
    """One thing that a task can have on."""

    on: frozenset[int]
    """Places of choices."""
    chance: int
    """Against the other options of the task."""


def masks(
    choices: Sequence[Choice],
    count: int,
    seed: int | Random,
    *,
    chances: Sequence[float] | None = None,
    parts: Sequence[Part] | None = None,
    scheme: Scheme = "paper",
    all_first: bool = False,
) -> list[Mask]:
    """Draw the masks of so many pictures.

    They are different as long as there are so many; then all come again in another order, and so on, so that none
    comes more than once oftener than another. `power-set` alone repeats sooner.

    Args:
        choices: What can be on. Those pinned in the prompt (`<lora:...>`) are on in every mask.
        count: How many masks.
        seed: A seed, or a generator that goes on.
        chances: How likely each choice is to be on, 0 to 1, were it alone; None gives all masks equal chances.
        parts: What part of the picture each decides; None tells it from the records that the choices carry.
        scheme: Which masks there are.
        all_first: Begin with the mask that has all on.

    Raises:
        InputError: The count is negative, the scheme unknown, or a chance is missing or no number from 0 to 1.
    """
    if count < 0:
        raise InputError(f"the number of masks must be 0 or more, not {count}")
    tasks = _tasks(choices, chances, scheme, parts)
    rng = seed if isinstance(seed, Random) else Random(seed)  # noqa: S311 - no secret hangs on it
    line = _Line(tasks)
    first = line.whole() if all_first else None
    drawn = line.repeating(rng, first) if scheme == "power-set" else line.distinct(rng, first)
    always = {place for place, choice in enumerate(choices) if is_pinned(choice)}
    return [tuple(place in always or place in on for place in range(len(choices))) for on in islice(drawn, count)]


def possible(choices: Sequence[Choice], scheme: Scheme = "paper") -> int:
    """Return how many different masks there are.

    Raises:
        InputError: The scheme is unknown.
    """
    return math.prod(len(options) for options in _tasks(choices, None, scheme))


def _tasks(
    choices: Sequence[Choice],
    chances: Sequence[float] | None,
    scheme: Scheme,
    parts: Sequence[Part] | None = None,
) -> list[list[_Option]]:
    """Return what each task can have on."""
    if scheme not in get_args(Scheme):
        raise InputError(f"there is no mask scheme {scheme!r}; there are {', '.join(get_args(Scheme))}")
    counted = _counted(chances, len(choices))
    if parts is None:
        parts = [part_of(RefinedAdapter(id=0, record=choice.adapter)) for choice in choices]
    places: dict[object, list[int]] = {}
    for place, (choice, part) in enumerate(zip(choices, parts, strict=True)):
        if not is_pinned(choice):
            # Of a power set the choices of a task are as free of each other as those of two tasks; and nobody knows
            # which words a choice of another tool serves.
            is_free = scheme == "power-set" or not choice.span
            places.setdefault(place if is_free else (choice.span, part), []).append(place)
    if scheme == "all":
        return [[_Option(frozenset(task), 1)] for task in places.values()]
    return [_options(task, counted) for task in places.values()]


def _options(task: Sequence[int], counted: Sequence[int] | None) -> list[_Option]:
    """Return none, each one and all of a task's choices.

    With chances, each is as likely as if every choice were drawn by its own chance, and the draw was one of these.
    """
    sets = [frozenset[int](), *(frozenset({place}) for place in task)]
    if len(task) > 1:
        sets.append(frozenset(task))
    if counted is None:
        return [_Option(on, 1) for on in sets]
    return [
        _Option(on, math.prod(counted[place] if place in on else _SCALE - counted[place] for place in task))
        for on in sets
    ]


def _counted(chances: Sequence[float] | None, needed: int) -> list[int] | None:
    if chances is None:
        return None
    if len(chances) != needed:
        raise InputError(f"there are {needed} choices and {len(chances)} chances; give one for each")
    for chance in chances:
        if not 0 <= chance <= 1:  # not a number either
            raise InputError(f"a chance must be from 0 to 1, not {chance:g}")
    return [min(max(round(chance * _SCALE), 1), _SCALE - 1) for chance in chances]


@dataclass(frozen=True, slots=True, order=True)
class _Stretch:
    """The part of the line that belongs to one mask."""

    start: int
    length: int
    on: frozenset[int]


class _Line:
    """All masks of some tasks, one after the other, each as long as it is likely."""

    def __init__(self, tasks: Sequence[Sequence[_Option]]) -> None:
        self._tasks = tasks
        self._sums = [sum(option.chance for option in options) for options in tasks]
        self._length = math.prod(self._sums)

    def repeating(self, rng: Random, first: _Stretch | None) -> Iterator[frozenset[int]]:
        """Yield masks without end, each drawn anew."""
        if first is not None:
            yield first.on
        while True:
            yield self._at(rng.randrange(self._length)).on

    def distinct(self, rng: Random, first: _Stretch | None) -> Iterator[frozenset[int]]:
        """Yield masks without end, and none again before all have come."""
        while True:
            gone: list[_Stretch] = []
            left = self._length
            while left:
                stretch = first or self._at(_past(gone, rng.randrange(left)))
                first = None
                insort(gone, stretch)
                left -= stretch.length
                yield stretch.on

    def whole(self) -> _Stretch:
        """Return the stretch of the mask with all on, which is the last option of each task, and so the line's end."""
        length = math.prod(options[-1].chance for options in self._tasks)
        on = frozenset[int]().union(*(options[-1].on for options in self._tasks))
        return _Stretch(self._length - length, length, on)

    def _at(self, point: int) -> _Stretch:
        """Return the stretch that a point lies in: each task cuts what is left of the line by its options' chances."""
        start, length = 0, self._length
        on: frozenset[int] = frozenset()
        for options, whole in zip(self._tasks, self._sums, strict=True):
            unit = length // whole  # exact: the length is a product with this sum in it
            for option in options:
                length = unit * option.chance
                if point < start + length:
                    on |= option.on
                    break
                start += length
        return _Stretch(start, length, on)


def _past(gone: Sequence[_Stretch], point: int) -> int:
    """Return where a point of the line less what is gone lies on the whole line."""
    for stretch in gone:
        if point < stretch.start:
            break
        point += stretch.length
    return point
