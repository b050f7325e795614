"""How much the pictures of one prompt differ: dFID and the Diversity Score, and how pairs are drawn."""

from __future__ import annotations

import numpy as np
import pytest
from handmade_cells import make_cell

from velatura.errors import InputError
from velatura.eval.diversity import DiversityScore, TraceDispersion, draw_pairs, mean_over_pairs
from velatura.eval.estimates import by_prompt


def distances(rows: np.ndarray) -> np.ndarray:
    first, second = np.triu_indices(len(rows), 1)
    return np.linalg.norm(rows[first] - rows[second], axis=1)


def test_trace_of_the_covariance_is_half_the_mean_squared_distance() -> None:
    rows = np.random.default_rng(0).normal(size=(9, 64)).astype(np.float32)
    estimate = TraceDispersion().estimate(make_cell({"a": 9}, features={"inception": rows}))
    assert estimate.value == pytest.approx((distances(rows.astype(np.float64)) ** 2).mean() / 2, rel=1e-12)
    assert estimate.value == pytest.approx(np.trace(np.cov(rows.astype(np.float64).T)), rel=1e-12)


def test_number_of_pictures_does_not_move_the_trace_on_average() -> None:
    rng = np.random.default_rng(1)
    means = []
    for each in (2, 8):
        counts = {f"{place:04d}": each for place in range(1000)}
        cell = make_cell(counts, features={"inception": rng.normal(size=(1000 * each, 4))})
        means.append(TraceDispersion().estimate(cell))
    for estimate in means:
        assert estimate.error is not None
        assert abs(estimate.value - 4) < 4 * estimate.error


def test_diversity_score_is_0_of_equal_pictures_and_root_2_of_orthogonal_ones() -> None:
    same = np.tile(np.random.default_rng(2).random(32), (4, 1))
    assert DiversityScore().estimate(make_cell({"a": 4}, features={"resnet50": same})).value == 0
    orthogonal = np.diag([1.0, 2.0, 3.0, 4.0])
    score = DiversityScore().estimate(make_cell({"a": 4}, features={"resnet50": orthogonal})).value
    assert score == pytest.approx(np.sqrt(2), rel=1e-12)


def test_diversity_score_is_the_mean_distance_within_each_prompt() -> None:
    rows = np.random.default_rng(3).normal(size=(7, 16)).astype(np.float32)
    unit = rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    estimate = DiversityScore().estimate(make_cell({"a": 3, "b": 4}, features={"resnet50": rows}))
    assert by_prompt(estimate) == pytest.approx({"a": distances(unit[:3]).mean(), "b": distances(unit[3:]).mean()})


def test_prompts_with_one_picture_are_left_out_and_unequal_numbers_are_told() -> None:
    rows = np.random.default_rng(4).normal(size=(8, 3))
    estimate = TraceDispersion().estimate(make_cell({"a": 1, "b": 2, "c": 5}, features={"inception": rows}))
    assert (estimate.prompts, estimate.n) == (("b", "c"), 7)
    assert estimate.notes == (
        "1 of 3 prompts have one picture and are left out",
        "prompts have 2 to 5 pictures; each prompt counts the same",
    )


@pytest.mark.parametrize("counts", [{}, {"a": 1, "b": 1}])
def test_one_picture_a_prompt_says_nothing_of_diversity(counts: dict[str, int]) -> None:
    rows = np.zeros((sum(counts.values()), 3))
    with pytest.raises(InputError, match=r"no prompt with two|no pictures"):
        TraceDispersion().estimate(make_cell(counts, features={"inception": rows}))


def test_narrow_features_are_another_metric_by_name() -> None:
    narrow = TraceDispersion(name="dfid-64", extractor="inception-64", extractor_signature="inc=x|layer=64")
    assert (narrow.title, narrow.needs) == ("dFID-64", ("inception-64",))
    assert narrow.signature == "dfid-64|divisor=n-1|inc=x|layer=64"


def test_pairs_are_all_of_few_and_a_drawn_part_of_many() -> None:
    assert len(draw_pairs(8, 28, seed=0, prompt="a")) == 28
    drawn = draw_pairs(40, 50, seed=0, prompt="a")
    assert len(set(drawn)) == 50
    assert all(0 <= first < second < 40 for first, second in drawn)
    assert drawn == draw_pairs(40, 50, seed=0, prompt="a")
    assert drawn != draw_pairs(40, 50, seed=1, prompt="a")
    assert drawn != draw_pairs(40, 50, seed=0, prompt="b")


def test_all_pairs_are_drawn_equally_often() -> None:
    counts = np.zeros((5, 5))
    for seed in range(2000):
        for first, second in draw_pairs(5, 3, seed=seed, prompt="a"):
            counts[first, second] += 1
    seen = counts[np.triu_indices(5, 1)]
    assert seen.sum() == 6000
    assert abs(seen - 600).max() < 100


def test_pairs_need_pictures_at_hand() -> None:
    with pytest.raises(InputError, match="not at hand"):
        mean_over_pairs(make_cell({"a": 2}), lambda image: image, lambda one, other: 0.0, most=3, seed=0)
