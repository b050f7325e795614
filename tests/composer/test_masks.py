"""Masks: which choices are on in one picture."""

from __future__ import annotations

import ast
import csv
import math
import random
import time
from collections import Counter
from itertools import product
from pathlib import Path

import pytest

from velatura.composer.masks import masks, possible
from velatura.errors import InputError
from velatura.records import AdapterRecord, Choice


def choices(*spans: str) -> list[Choice]:
    """One choice a span, in this order."""
    return [
        Choice(adapter=AdapterRecord(source="folder", key=f"{place}", title=f"{place}"), weight=0.8, span=span)
        for place, span in enumerate(spans)
    ]


def reference(*spans: str) -> list[tuple[bool, ...]]:
    """All masks of the paper's scheme, made the plain way."""
    tasks = {span: [place for place, other in enumerate(spans) if other == span] for span in dict.fromkeys(spans)}
    options = [
        {(), tuple(places), *((place,) for place in places)}  # of one choice, all is one
        for places in tasks.values()
    ]
    return [tuple(any(place in task for task in chosen) for place in range(len(spans))) for chosen in product(*options)]


SMALL = [
    ("fox",),
    ("fox", "fox"),
    ("fox", "ink", "fox", "snow"),
    ("a", "b", "c", "d"),
    ("a", "a", "a", "b", "b", "a"),
]


@pytest.mark.parametrize("spans", SMALL)
def test_masks_are_the_cross_product_of_none_one_and_all(spans: tuple[str, ...]) -> None:
    worn, all_masks = choices(*spans), reference(*spans)
    assert possible(worn) == len(all_masks)
    for chances in (None, [0.3 + 0.1 * place for place in range(len(spans))]):
        drawn = masks(worn, len(all_masks), 7, chances=chances)
        assert sorted(drawn) == sorted(all_masks)


def test_masks_repeat_evenly_when_there_are_not_so_many() -> None:
    counts = Counter(masks(choices("fox", "fox", "ink"), 20, 3))  # 8 masks
    assert len(counts) == 8
    assert set(counts.values()) == {2, 3}


def test_seed_decides() -> None:
    worn = choices("fox", "fox", "ink", "snow")
    assert masks(worn, 8, 1) == masks(worn, 8, 1) == masks(worn, 8, random.Random(1))
    assert masks(worn, 8, 1) != masks(worn, 8, 2)
    rng = random.Random(1)
    assert masks(worn, 3, rng) != masks(worn, 3, rng)  # a generator goes on


def test_masks_of_a_seed_are_the_same_on_every_machine() -> None:
    drawn = masks(choices("fox", "fox", "ink", "snow"), 6, 42, chances=[0.9, 0.2, 0.5, 0.7])
    assert ["".join(".x"[on] for on in mask) for mask in drawn] == ["x...", "xxx.", "x..x", "x.x.", "..xx", "xx.x"]


def chi_square(counts: Counter[tuple[bool, ...]], expected: dict[tuple[bool, ...], float]) -> float:
    assert set(counts) <= set(expected)
    return sum((counts[mask] - count) ** 2 / count for mask, count in expected.items())


def test_all_masks_are_equally_likely_first_and_last() -> None:
    worn, all_masks = choices("fox", "fox", "ink"), reference("fox", "fox", "ink")
    for place in (0, 3):
        rng = random.Random(5)
        counts = Counter(masks(worn, 4, rng)[place] for _ in range(4000))
        # 24.3 is what seven degrees of freedom pass once in a thousand times.
        assert chi_square(counts, dict.fromkeys(all_masks, 500.0)) < 24.3


def test_chances_weigh_each_choice_by_itself() -> None:
    chances = [0.9, 0.2, 0.6]
    weight = {
        mask: math.prod(chance if on else 1 - chance for chance, on in zip(chances, mask, strict=True))
        for mask in reference("fox", "fox", "ink")
    }
    expected = {mask: 4000 * each / sum(weight.values()) for mask, each in weight.items()}
    rng = random.Random(5)
    worn = choices("fox", "fox", "ink")
    counts = Counter(masks(worn, 1, rng, chances=chances)[0] for _ in range(4000))
    assert chi_square(counts, expected) < 24.3


def test_second_mask_is_drawn_among_what_the_first_has_left() -> None:
    chances = [0.8, 0.3]
    weight = {(a, b): (0.8 if a else 0.2) * (0.3 if b else 0.7) for a in (False, True) for b in (False, True)}
    expected = Counter[tuple[bool, ...]]()
    for first, one in weight.items():
        for second, other in weight.items():
            if first != second:
                expected[second] += 8000 * one * other / (1 - one)
    rng = random.Random(11)
    worn = choices("fox", "ink")
    counts = Counter(masks(worn, 2, rng, chances=chances)[1] for _ in range(8000))
    assert chi_square(counts, expected) < 16.3  # three degrees of freedom


@pytest.mark.parametrize("chances", [None, [0.5] * 600, [0.0] * 600])
def test_sixty_tasks_of_ten_cost_nothing(chances: list[float] | None) -> None:
    worn = choices(*(f"task {place // 10}" for place in range(600)))
    assert possible(worn) == 12**60
    started = time.process_time()
    drawn = masks(worn, 50, 0, chances=chances)
    assert time.process_time() - started < 5
    assert len(set(drawn)) == 50
    for mask in drawn:
        assert all(sum(mask[task * 10 : task * 10 + 10]) in (0, 1, 10) for task in range(60))


def test_pinned_choices_are_always_on_and_are_no_task() -> None:
    worn = choices("<lora:a>", "fox", "<lora:a>", "ink")
    assert possible(worn) == 4
    assert all(mask[0] and mask[2] for mask in masks(worn, 4, 0))


@pytest.mark.parametrize("chances", [None, [0.1, 0.1, 0.1]])
def test_first_mask_has_all_on_where_that_is_asked(chances: list[float] | None) -> None:
    worn = choices("fox", "fox", "ink")
    drawn = masks(worn, 8, 0, chances=chances, all_first=True)
    assert drawn[0] == (True, True, True)
    assert sorted(drawn) == sorted(reference("fox", "fox", "ink"))
    assert masks(worn, 3, 0, scheme="power-set", all_first=True)[0] == (True, True, True)


def test_power_set_has_every_subset_and_comes_twice() -> None:
    worn = choices("fox", "fox", "fox")
    assert possible(worn, "power-set") == 8
    drawn = masks(worn, 400, 0, scheme="power-set")
    assert set(drawn) == set(product((False, True), repeat=3))
    assert len(set(masks(worn, 8, 0, scheme="power-set"))) < 8
    counts = Counter(masks(worn, 4000, 5, scheme="power-set"))
    assert chi_square(counts, dict.fromkeys(product((False, True), repeat=3), 500.0)) < 24.3


def test_power_set_of_51_choices_is_not_made() -> None:
    worn = choices(*["fox"] * 51)
    assert possible(worn, "power-set") == 2**51
    assert len(masks(worn, 10, 0, scheme="power-set")) == 10


def test_all_is_one_mask() -> None:
    worn = choices("fox", "fox", "ink")
    assert possible(worn, "all") == 1
    assert masks(worn, 3, 0, scheme="all") == [(True, True, True)] * 3


def test_nothing_chosen_has_one_empty_mask() -> None:
    assert possible([]) == 1
    assert masks([], 2, 0) == [(), ()]
    assert masks(choices("fox"), 0, 0) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"count": -1}, "0 or more"),
        ({"scheme": "half"}, "no mask scheme 'half'"),
        ({"chances": [0.5]}, "2 choices and 1 chances"),
        ({"chances": [0.5, math.nan]}, "from 0 to 1, not nan"),
        ({"chances": [0.5, -3]}, "from 0 to 1, not -3"),
    ],
)
def test_bad_input_is_told(arguments: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        masks(choices("fox", "ink"), **{"count": 1, "seed": 0, **arguments})


@pytest.mark.real_data
def test_choices_of_the_papers_own_composer_have_the_papers_numbers_of_masks(real_data: Path) -> None:
    numbers, power = [], []
    with (real_data / "stylus" / "coco_rank.csv").open(encoding="utf-8", newline="") as rows:
        for row in csv.DictReader(rows):
            try:
                tasks = ast.literal_eval(row["ranked_adapters"])
            except (SyntaxError, ValueError):
                continue
            worn = choices(*(span for span, adapters in tasks.items() for _ in adapters))
            numbers.append(possible(worn))
            power.append(possible(worn, "power-set"))
    assert len(numbers) > 9_900
    assert max(numbers) == 1536
    assert max(power) == 2**51
    assert sum(numbers) / len(numbers) == pytest.approx(6.57, abs=0.01)
