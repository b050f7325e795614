"""The total strength of several adapters, kept to what a model bears."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from velatura.composer.budget import (
    BOUNDS,
    FLOOR,
    OTHERS,
    Load,
    bound_of,
    load_of,
    table,
    total_of,
    within_budget,
)
from velatura.records import AdapterRecord, BlockNorm, Choice, WeightMeasure

ROUNDING = 0.03
"""What rounding a few weights to two places may add to a total."""


def laid(
    weight: float, title: str = "A", family: str = "sd1", reason: str = "", advised: float | None = None
) -> Choice:
    record = AdapterRecord(source="folder", key=title, title=title, family=family)
    return Choice(adapter=record, weight=weight, span="", reason=reason)


def sketch(*values: float, strength: float | None = None, method: str = "1") -> Load:
    return Load(strength=strength, sketch=values, method=method)


def weights(choices) -> list[float]:
    return [choice.weight for choice in choices]


def test_adapter_alone_keeps_the_weight_that_was_advised_for_it() -> None:
    one = [laid(1.9)]
    assert within_budget(one, [Load(strength=2.0)]) == tuple(one)
    assert within_budget([], []) == ()


@pytest.mark.parametrize("pair", [(1.0, 1.0), (0.8, 0.6), (0.9, -0.7)])
def test_two_adapters_at_people_s_weights_are_left_alone(pair: tuple[float, float]) -> None:
    choices = [laid(weight) for weight in pair]
    assert within_budget(choices, [Load()] * 2) == tuple(choices)


def test_four_adapters_are_lowered_together_to_what_the_family_bears() -> None:
    choices = [laid(weight) for weight in (0.8, 0.8, 0.4, 0.8)]
    lowered = within_budget(choices, [Load()] * 4)
    assert total_of(lowered, [Load()] * 4) == pytest.approx(BOUNDS["sd1"], abs=ROUNDING)
    factors = [after.weight / before.weight for before, after in zip(choices, lowered, strict=True)]
    assert max(factors) - min(factors) < 0.02
    assert [choice.advised for choice in lowered] == [0.8, 0.8, 0.4, 0.8]


def test_lowering_is_told_behind_the_reason() -> None:
    first, *_ = within_budget([laid(0.8, reason="used once")] * 4, [Load()] * 4)
    assert first.reason == (
        "used once; lowered from 0.8 since together they come to 2.53, more than the 1.75 that SD 1.x bears"
    )
    assert within_budget([laid(0.8)] * 4, [Load()] * 4)[0].reason.startswith("lowered from 0.8 since")


def test_lowered_choices_are_not_lowered_again() -> None:
    once = within_budget([laid(1.0)] * 3, [Load()] * 3)
    again = within_budget(once, [Load()] * 3)
    assert weights(again) == pytest.approx(weights(once), abs=0.011)
    assert [choice.advised for choice in again] == [1.0] * 3


def test_fixed_choices_count_and_are_never_changed() -> None:
    choices = [laid(1.0, "mine"), laid(1.0, "own"), laid(0.8, "free")]
    lowered = within_budget(choices, [Load()] * 3, fixed=2)
    assert lowered[:2] == tuple(choices[:2])
    assert lowered[2].weight < 0.2 + ROUNDING
    assert within_budget(choices, [Load()] * 3, fixed=3) == tuple(choices)


def test_choice_beside_too_much_that_is_fixed_keeps_a_quarter() -> None:
    lowered = within_budget([laid(1.0)] * 4 + [laid(0.8)], [Load()] * 5, fixed=4)
    assert weights(lowered) == [1.0, 1.0, 1.0, 1.0, FLOOR * 0.8]


def test_slider_keeps_its_sign_and_its_large_weight_does_not_crowd_out_the_others() -> None:
    assert weights(within_budget([laid(-6.0), laid(0.8)], [Load()] * 2)) == [-6.0, 0.8]
    lowered = within_budget([laid(-6.0), *[laid(0.8)] * 3], [Load()] * 4)
    assert lowered[0].weight == pytest.approx(7.5 * -lowered[1].weight, abs=0.05)
    assert total_of(lowered, [Load()] * 4) == pytest.approx(BOUNDS["sd1"], abs=ROUNDING)


def test_adapters_that_push_the_same_way_are_lowered_more_and_it_is_told() -> None:
    choices = [laid(1.0, "left"), laid(1.0, "right")]
    same = within_budget(choices, [sketch(1, 0), sketch(2, 0)])
    assert weights(same) == pytest.approx([BOUNDS["sd1"] / 2] * 2, abs=0.01)
    assert same[0].reason.endswith(", and right pushes the same way")
    assert weights(within_budget(choices, [sketch(1, 0), sketch(0, 1)])) == [1.0, 1.0]


def test_adapter_against_another_lowers_less() -> None:
    opposite = total_of([laid(1.0), laid(1.0)], [sketch(1, 0), sketch(-1, 0)])
    strangers = total_of([laid(1.0), laid(1.0)], [sketch(1, 0), sketch(0, 1)])
    turned = total_of([laid(1.0), laid(-1.0)], [sketch(1, 0), sketch(1, 0)])
    assert opposite == turned < strangers


@pytest.mark.parametrize(
    "other",
    [Load(), sketch(1, 0, method="2"), sketch(1, 0, 0), sketch(0, 0), sketch(math.nan, 0), sketch(math.inf, 1)],
)
def test_sketches_that_cannot_be_compared_count_as_strangers(other: Load) -> None:
    choices = [laid(0.8), laid(0.8)]
    assert total_of(choices, [sketch(1, 0), other]) == pytest.approx(total_of(choices, [Load(), Load()]))


def test_strong_file_counts_more_and_a_weak_one_less_within_a_factor_of_two() -> None:
    def total(strength: float | None) -> float:
        return total_of([laid(0.8)], [Load(strength=strength)])

    assert [total(strength) for strength in (0.01, 0.5, None, 1.0, 1.5, 2.0, 50.0)] == pytest.approx(
        [0.4, 0.4, 0.8, 0.8, 1.2, 1.6, 1.6]
    )


def test_families_bear_differently_and_the_least_one_decides() -> None:
    assert bound_of([laid(1.0)]) == BOUNDS["sd1"]
    assert bound_of([laid(1.0, family="wan")]) == OTHERS
    assert bound_of([laid(1.0, family="pony"), laid(1.0, family="unknown")]) == BOUNDS["pony"] < OTHERS
    lowered = within_budget([laid(1.0, family="sdxl")] * 2, [Load()] * 2)
    assert lowered[0].weight < 1.0
    assert "that SDXL bears" in lowered[0].reason
    assert "that a model bears" in within_budget([laid(1.0, family="wan")] * 4, [Load()] * 4)[0].reason


def test_measure_becomes_a_load_relative_to_the_usual_file() -> None:
    found = WeightMeasure(method="1", blocks=(BlockNorm(block="mid", norm=30.0, values=9),), sketch=(1.0, 0.0))
    assert load_of(found, 20.0).strength == 1.5
    assert (load_of(found, 20.0).sketch, load_of(found, 20.0).method) == ((1.0, 0.0), "1")
    assert load_of(found, None).strength is None
    assert load_of(None, 20.0).sketch is None


def test_what_was_not_measured_whole_is_not_taken_for_weak() -> None:
    part = WeightMeasure(
        method="1", blocks=(BlockNorm(block="mid", norm=0.1, values=9),), unmeasured=(("dora", 200),), sketch=(1.0,)
    )
    assert load_of(part, 20.0).strength is None
    assert load_of(WeightMeasure(method="1", failure="it is damaged"), 20.0).strength is None
    assert load_of(WeightMeasure(method="1"), 20.0).strength is None


def test_table_tells_before_after_and_shares() -> None:
    loads = [Load(strength=1.5), Load(), Load()]
    lowered = within_budget([laid(1.0, "strong"), laid(1.0, "plain"), laid(0.5, "half")], loads)
    rows = table(lowered, loads)
    assert [(row.title, row.advised, row.strength, row.is_measured) for row in rows] == [
        ("strong", 1.0, 1.5, True),
        ("plain", 1.0, 1.0, False),
        ("half", 0.5, 1.0, False),
    ]
    assert [row.laid for row in rows] == weights(lowered)
    assert sum(row.share for row in rows) == pytest.approx(1.0)
    assert rows[0].share > rows[1].share > rows[2].share > 0
    assert table([], []) == ()


def test_weights_of_zero_break_nothing() -> None:
    choices = [laid(0.0), laid(0.0)]
    assert within_budget(choices, [Load()] * 2) == tuple(choices)
    assert [row.share for row in table(choices, [Load()] * 2)] == [0.0, 0.0]


def test_small_change_of_a_measure_changes_weights_a_little() -> None:
    angles = np.linspace(0, math.pi, 60)
    laid_on = [
        within_budget([laid(1.0)] * 3, [sketch(1, 0), sketch(math.cos(angle), math.sin(angle)), Load()])[0].weight
        for angle in angles
    ]
    assert max(abs(one - other) for one, other in pairwise(laid_on)) < 0.03
    assert laid_on[0] < laid_on[-1]


@given(
    given_weights=st.lists(st.floats(-3, 3, allow_nan=False), min_size=1, max_size=6),
    strengths=st.lists(st.none() | st.floats(0, 30), min_size=6, max_size=6),
    angles=st.lists(st.none() | st.floats(0, 2 * math.pi), min_size=6, max_size=6),
    fixed=st.integers(0, 6),
)
def test_whatever_is_laid_together_stays_in_bounds(given_weights, strengths, angles, fixed) -> None:
    choices = [laid(weight) for weight in given_weights]
    loads = [
        Load(strength=strength, sketch=None if angle is None else (math.cos(angle), math.sin(angle)), method="1")
        for strength, angle in zip(strengths, angles, strict=True)
    ][: len(choices)]
    lowered = within_budget(choices, loads, fixed)
    assert lowered[:fixed] == tuple(choices[:fixed])
    for before, after in zip(choices, lowered, strict=True):
        assert FLOOR * abs(before.weight) - 0.0101 <= abs(after.weight) <= abs(before.weight)
        assert math.copysign(1, after.weight) == math.copysign(1, before.weight) or not before.weight
    floored = all(
        abs(after.weight) <= FLOOR * abs(before.weight) + 0.0051
        for before, after in zip(choices[fixed:], lowered[fixed:], strict=True)
    )
    alone = len(choices) == 1 or fixed >= len(choices)
    assert alone or floored or total_of(lowered, loads) <= bound_of(choices) + 6 * 2 * 0.0051
