"""Estimates: a value, and how much each prompt pulls at it."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy import stats

from velatura.eval.estimates import Estimate, by_prompt, grouped, mean_estimate, sum_pulls


def test_the_mean_is_over_prompts_whatever_the_number_of_their_pictures() -> None:
    estimate = mean_estimate(["b", "a", "a", "a"], [10.0, 1.0, 2.0, 3.0])
    assert (estimate.value, estimate.prompts, estimate.n) == (6.0, ("a", "b"), 4)
    assert by_prompt(estimate) == {"a": 2.0, "b": 10.0}


def test_the_interval_of_a_mean_is_students() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, 12)
    estimate = mean_estimate([str(n) for n in range(12)], values)
    assert estimate.error == pytest.approx(stats.sem(values))
    expected = stats.t.interval(0.95, 11, values.mean(), stats.sem(values))
    assert estimate.interval == pytest.approx(expected)


def test_a_paired_difference_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(2)
    shared = rng.normal(0, 5, 20)
    one, other = shared + rng.normal(0.5, 1, 20), shared + rng.normal(0, 1, 20)
    names = [str(n) for n in range(20)]
    found = mean_estimate(names, one).less(mean_estimate(names, other))
    assert found.p == pytest.approx(stats.ttest_rel(one, other).pvalue)
    unpaired = np.hypot(stats.sem(one), stats.sem(other))
    assert found.error is not None
    assert found.error < 0.5 * unpaired


def test_different_prompts_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="same prompts"):
        mean_estimate(["a"], [1.0]).less(mean_estimate(["b"], [1.0]))


def test_what_has_no_error_has_no_interval() -> None:
    one = mean_estimate(["a"], [1.0])
    unknown = Estimate(value=1.0, prompts=("a", "b"), pulls=None, n=2)
    for estimate in (one, unknown, unknown.less(mean_estimate(["a", "b"], [1.0, 2.0]))):
        assert (estimate.error, estimate.interval, estimate.p) == (None, None, None)


def test_nothing_differs_from_itself() -> None:
    same = mean_estimate(["a", "b"], [1.0, 2.0])
    assert (same.less(same).value, same.less(same).p) == (0.0, 1.0)


def test_pulls_of_pictures_are_summed_by_prompt() -> None:
    names, pulls = sum_pulls(["b", "a", "b"], np.array([1.0, 2.0, 6.0]))
    assert names == ("a", "b")
    assert pulls == pytest.approx([-1 / 3, 1 / 3])
    assert grouped(["b", "a", "b"])[1].tolist() == [1, 0, 1]


def test_prompts_are_told_apart_to_the_last_character() -> None:
    names, places = grouped(["b\0", "b", "a", "b\0"])
    assert names == ("a", "b", "b\0")
    assert places.tolist() == [2, 1, 0, 2]
    assert places.dtype == np.intp


def test_one_long_id_takes_its_own_room_alone() -> None:
    prompts = [*(f"p{n}" for n in range(1000)), "x" * 100_000]
    tracemalloc.start()
    try:
        names, places = grouped(prompts)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [names[place] for place in places] == prompts
    assert most < 10_000_000  # 400 MB, were each given as much
