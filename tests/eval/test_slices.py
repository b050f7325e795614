"""Estimates cut by what their prompts are."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from velatura.errors import InputError
from velatura.eval.estimates import Estimate, mean_estimate
from velatura.eval.records import Sample
from velatura.eval.slices import UNTOLD, compare, cut, groups_by, groups_by_keyword, standardised


def sample(name: str, text: str, category: str | None = None, challenge: str | None = None) -> Sample:
    return Sample(prompt_id=name, prompt=text, method="m", image=f"{name}.png", category=category, challenge=challenge)


def of(values: dict[str, float]) -> Estimate:
    return mean_estimate(list(values), list(values.values()))


def test_lengths_go_by_fives_in_order_of_size() -> None:
    prompts = {"long": "w " * 11, "four": "a b  c\td", "five": "a b c d e", "nine": "w " * 9, "none": " "}
    groups = groups_by([sample(name, text) for name, text in prompts.items()], "length")
    assert list(groups.items()) == [("0-4", ["four", "none"]), ("5-9", ["five", "nine"]), ("10-14", ["long"])]


def test_categories_are_sorted_and_those_not_told_stand_last() -> None:
    samples = [
        sample("a", "x", "World", "Basic"),
        sample("b", "x"),
        sample("c", "x", "Arts"),
        sample("a", "x", "World"),
    ]
    assert list(groups_by(samples, "category").items()) == [("Arts", ["c"]), ("World", ["a"]), (UNTOLD, ["b"])]
    assert list(groups_by(samples[:1], "challenge")) == ["Basic"]


def test_keywords_are_whole_words_and_may_share_prompts() -> None:
    samples = [sample("a", "A Red fox."), sample("b", "foxes in red"), sample("c", "the red, fox")]
    groups = groups_by_keyword(samples, ["fox", "red", "red fox", "owl"])
    assert groups == {"fox": ["a", "c"], "red": ["a", "b", "c"], "red fox": ["a", "c"]}
    with pytest.raises(InputError, match="no keyword"):
        groups_by_keyword(samples, ["!?"])


def test_each_slice_has_the_mean_and_the_interval_of_its_own_prompts() -> None:
    values = {"a": 1.0, "b": 2.0, "c": 6.0, "d": 9.0}
    slices = cut(of(values), {"abc": ["a", "b", "c", "elsewhere"], "d": ["d"], "nothing": ["elsewhere"]})
    whole, single = slices
    assert (whole.name, whole.prompts, whole.value) == ("abc", 3, pytest.approx(3))
    low, high = stats.t.interval(0.95, 2, loc=3, scale=stats.sem([1, 2, 6]))
    assert (whole.low, whole.high) == (pytest.approx(low), pytest.approx(high))
    assert (single.prompts, single.value, single.low, single.high) == (1, pytest.approx(9), None, None)


def test_differences_are_paired_over_common_prompts_and_corrected_over_slices() -> None:
    rng = np.random.default_rng(0)
    base = {f"p{place:02d}": float(value) for place, value in enumerate(rng.normal(size=40) * 10)}
    gain = {
        name: value + (0.9 if place < 20 else 0.0) + rng.normal() for place, (name, value) in enumerate(base.items())
    }
    del base["p00"]
    groups = {"gain": sorted(gain)[:20], "none": sorted(gain)[20:39], "single": sorted(gain)[39:]}
    first, second, single = compare(of(gain), of(base), groups)
    tests = [
        stats.ttest_rel([gain[name] for name in members], [base[name] for name in members]).pvalue
        for members in (groups["gain"][1:], groups["none"])
    ]
    assert (first.prompts, first.p, second.p) == (19, pytest.approx(tests[0]), pytest.approx(tests[1]))
    assert (first.adjusted, single.adjusted) == (pytest.approx(2 * tests[0]), None)
    assert second.adjusted == pytest.approx(tests[1])
    assert first.low is not None
    assert first.low > 0


def test_what_is_not_known_by_prompt_cannot_be_cut() -> None:
    unknown = Estimate(value=1.0, prompts=("a",), pulls=None, n=1)
    with pytest.raises(InputError, match="cannot be cut"):
        cut(unknown, {"all": ["a"]})
    with pytest.raises(InputError, match="in common"):
        compare(of({"a": 1.0}), of({"b": 1.0}), {})


def test_standardised_values_are_those_of_the_papers_figure() -> None:
    narrow = {"x": {"a": 1.0, "b": 3.0}, "y": {"a": 2.0, "b": 6.0}}
    wide = {method: {name: 100 * value + 7 for name, value in values.items()} for method, values in narrow.items()}
    whole = standardised({method: [of(narrow[method]), of(wide[method])] for method in narrow})
    pooled = np.array([1.0, 3.0, 2.0, 6.0])
    expected = 1 + (2.0 - pooled.mean()) / pooled.std(ddof=1)
    assert whole["x"].value == pytest.approx(expected)
    assert (whole["x"].value + whole["y"].value) / 2 == pytest.approx(1)
    assert [part.value for part in cut(whole["y"], {"b": ["b"]})] == [
        pytest.approx(1 + (6.0 - pooled.mean()) / pooled.std(ddof=1))
    ]


@pytest.mark.parametrize(
    "estimates",
    [
        {},
        {"x": []},
        {"x": [of({"a": 1.0})], "y": []},
        {"x": [of({"a": 1.0, "b": 2.0}), of({"a": 1.0, "c": 2.0})]},
        {"x": [of({"a": 1.0, "b": 1.0})]},
        {"x": [Estimate(value=1.0, prompts=("a",), pulls=None, n=1)]},
    ],
)
def test_what_cannot_be_standardised_is_refused(estimates: dict[str, list[Estimate]]) -> None:
    with pytest.raises(InputError, match="standardised"):
        standardised(estimates)
