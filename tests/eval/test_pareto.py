from __future__ import annotations

import math

import numpy as np
import pytest

from velatura.eval.anchors import published_front
from velatura.eval.estimates import Estimate, mean_estimate
from velatura.eval.pareto import Plane, Point, compare_fronts, dominance, front, gaps, hypervolume
from velatura.eval.records import CellName, Figure

PROMPTS = [f"p{place}" for place in range(200)]


def point(method, x, y, error=None, guidance=None) -> Point:
    return Point(cell=CellName(method=method, guidance=guidance), x=x, y=y, x_error=error, y_error=error)


def plane(*points, **axes) -> Plane:
    return Plane(points=points, **axes)


def measured(method, guidance, x, y, noise, shared, rng) -> Point:
    own = rng.normal(0, noise, (2, len(PROMPTS)))
    return Point.of_estimates(
        CellName(method=method, guidance=guidance),
        mean_estimate(PROMPTS, x + shared[0] + own[0]),
        mean_estimate(PROMPTS, y + shared[1] + own[1]),
    )


def test_published_hypervolumes_and_fronts() -> None:
    published = published_front()
    base, stylus = published.of("SD v1.5"), published.of("Stylus")
    assert hypervolume(base, (25.5, 25)).value == pytest.approx(10.4176, abs=5e-4)
    assert hypervolume(stylus, (25.5, 25)).value == pytest.approx(11.7299, abs=5e-4)
    for part in (base, stylus):
        assert [p.cell.guidance for p in front(part)] == [1.5, 2, 3, 4]
    assert {p.cell.method for p in front(published)} == {"Stylus"}


def test_published_front_lies_before_the_other_and_how_surely_is_not_known() -> None:
    verdict = compare_fronts(published_front(), "Stylus", "SD v1.5", (25.5, 25))
    assert (verdict.verdict, verdict.probability, verdict.gain.low) == ("seems to dominate", None, None)
    assert verdict.gain.value == pytest.approx(11.7299 - 10.4176, abs=5e-4)
    assert verdict.gaps.mean.value < 0
    assert verdict.gaps.mean.interval is None
    assert str(verdict) == "Stylus lies before, not surely, SD v1.5"
    assert compare_fronts(published_front(), "SD v1.5", "Stylus", (25.5, 25)).verdict == "seems dominated"


@pytest.mark.parametrize(
    ("x_better", "y_better", "best"),
    [
        ("higher", "lower", ["b", "d"]),
        ("higher", "higher", ["c", "d"]),
        ("lower", "lower", ["a", "b"]),
        ("lower", "higher", ["a", "c"]),
    ],
)
def test_front_of_every_direction(x_better, y_better, best) -> None:
    points = (point("a", 0, 2), point("b", 1, 0), point("c", 1, 5), point("d", 3, 3), point("e", 1.5, 3.5))
    points = points[:4] if y_better == "higher" else points
    found = front(plane(*points, x_better=x_better, y_better=y_better))
    assert [p.cell.method for p in found] == best


def test_equal_points_are_both_on_the_front() -> None:
    assert len(front(plane(point("a", 1, 1), point("b", 1, 1), point("c", 1, 2)))) == 2


def test_hypervolume_is_the_area_counted_by_hand() -> None:
    both = plane(point("a", 2, 1), point("a", 3, 2), point("a", 2.5, 3), point("a", 9, 9))
    assert hypervolume(both, (0, 4)).value == pytest.approx(2 * 3 + 1 * 2)
    assert hypervolume(plane(point("a", 1, 5)), (0, 4)).value == 0
    turned = plane(point("a", 1, 2), point("a", 2, 3), x_better="lower", y_better="higher")
    assert hypervolume(turned, (4, 0)).value == pytest.approx(2 * 3 + 1 * 2)
    assert hypervolume(plane(), (0, 4)).value == 0


def test_hypervolume_interval_covers_and_repeats() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(120):
        cell = measured("a", 1, 2, 1, 1.0, np.zeros((2, 200)), rng)
        found = hypervolume(plane(cell), (0, 4), draws=400, seed=seed)
        hits += found.low <= 6 <= found.high
    assert 0.88 < hits / 120 <= 1
    assert found == hypervolume(plane(cell), (0, 4), draws=400, seed=119)


def test_dominance_of_independent_points_is_the_product_of_two_normals() -> None:
    both = plane(point("a", 1, 1, 0.5), point("b", 0.5, 1.3, 0.5))

    def phi(z):
        return 0.5 * (1 + math.erf(z / math.sqrt(2)))

    expected = phi(0.5 / math.sqrt(0.5)) * phi(0.3 / math.sqrt(0.5))
    found = dominance(both, CellName(method="a"), CellName(method="b"), draws=20_000)
    assert found == pytest.approx(expected, abs=0.015)
    assert dominance(plane(point("a", 1, 1), point("b", 0, 0)), CellName(method="a"), CellName(method="b")) is None
    with pytest.raises(ValueError, match="c is not in the plane"):
        dominance(both, CellName(method="a"), CellName(method="c"))


def test_paired_prompts_make_differences_sure() -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 5, (2, 200))
    first, second = (measured(name, 1, x, y, 0.2, shared, rng) for name, x, y in (("a", 1.2, 0.8), ("b", 1, 1)))
    names = first.cell, second.cell
    assert dominance(plane(first, second), *names) > 0.999
    alone = [Point(cell=p.cell, x=p.x, y=p.y, x_error=p.x_error, y_error=p.y_error) for p in (first, second)]
    assert dominance(plane(*alone), *names) < 0.8


def test_front_surely_before_another() -> None:
    rng = np.random.default_rng(1)
    shared = rng.normal(0, 3, (2, 200))
    points = [measured("base", g, g, g * g, 0.3, shared, rng) for g in (1, 2, 3)]
    points += [measured("better", g, g + 0.3, g * g - 0.5, 0.3, shared, rng) for g in (1, 2, 3)]
    points.append(measured("other", 1, 2.2, 2.5, 0.3, shared, rng))
    verdict = compare_fronts(plane(*points), "better", "base", (0, 12))
    assert (verdict.verdict, str(verdict)) == ("dominates", "better dominates base")
    assert verdict.probability > 0.99 > 0.01 > verdict.reverse
    assert 0 < verdict.gain.low < verdict.gain.value < verdict.gain.high
    assert compare_fronts(plane(*points), "base", "better", (0, 12)).verdict == "dominated"
    assert compare_fronts(plane(*points), "other", "base", (0, 12)).verdict == "crosses"
    with pytest.raises(ValueError, match="nobody has no point"):
        compare_fronts(plane(*points), "base", "nobody", (0, 12))


def test_front_that_lies_before_another_by_chance() -> None:
    points = [point("base", 1, 1, 0.5), point("better", 1.1, 0.9, 0.5)]
    verdict = compare_fronts(plane(*points), "better", "base", (0, 3))
    assert verdict.verdict == "seems to dominate"
    assert 0.2 < verdict.probability < 0.5
    assert verdict.gain.low < 0 < verdict.gain.high


def test_gap_at_equal_x_is_interpolated_where_both_reach() -> None:
    points = [point("a", 0, 0), point("a", 2, 4), point("b", 1, 5), point("b", 3, 9)]
    found = gaps(plane(*points), "a", "b")
    assert (found.low, found.high) == (1, 2)
    assert [(gap.at, gap.value) for gap in found.each] == [(1, -3), (2, -3)]
    assert found.mean.value == -3
    assert gaps(plane(*points), "b", "a").mean.value == 3


def test_mean_gap_weighs_x_evenly() -> None:
    points = [point("a", 0, 0), point("a", 1, 1), point("a", 4, 7), point("b", 0, 2), point("b", 4, 10)]
    found = gaps(plane(*points), "a", "b")
    assert [gap.at for gap in found.each] == [0, 1, 4]
    assert found.mean.value == pytest.approx(((-2 - 3) / 2 * 1 + (-3 - 3) / 2 * 3) / 4)


def test_no_x_in_common_is_said() -> None:
    apart = plane(point("a", 0, 0), point("a", 1, 1), point("b", 2, 2), point("b", 3, 3))
    assert gaps(apart, "a", "b") is None
    assert compare_fronts(apart, "a", "b", (0, 5)).gaps is None
    one = gaps(plane(point("a", 1, 1), point("b", 1, 3)), "a", "b")
    assert (one.low, one.high, one.mean.value) == (1, 1, -2)


def test_error_of_a_gap_is_that_of_repeated_measurement() -> None:
    rng = np.random.default_rng(2)
    values, errors = [], []
    for _ in range(150):
        shared = rng.normal(0, 2, (2, 200))
        points = [measured("a", g, g, 4 * g, 0.5, shared, rng) for g in (1, 3)]
        points += [measured("b", g, g, 4 * g + 1, 0.5, shared, rng) for g in (0, 4)]
        found = gaps(plane(*points), "a", "b")
        middle = next(gap for gap in found.each if gap.at == found.low)
        values.append((found.mean.value, middle.value))
        errors.append((found.mean.error, middle.error))
    assert np.mean(errors, axis=0) == pytest.approx(np.std(values, axis=0), rel=0.2)
    assert np.mean(values, axis=0) == pytest.approx((-1, -1), abs=0.05)


def test_points_of_figures_and_estimates() -> None:
    cell = CellName(method="a", guidance=2)
    figures = [
        Figure(
            metric=name, cell=cell, value=value, error=0.1, low=None, high=None, n=8, prompts=4, unit="",
            better=better, signature=name,
        )
        for name, value, better in (("clip", 27.0, "higher"), ("fid", 20.0, "lower"))
    ]  # fmt: skip
    found = Point.of_figures(*figures)
    assert (found.cell, found.x, found.y, found.x_error) == (cell, 27.0, 20.0, 0.1)
    unsure = Estimate(value=1.0, prompts=("p",), pulls=None, n=1)
    bare = Point.of_estimates(cell, unsure, unsure)
    assert (bare.x_error, bare.pulls) == (None, None)
    with pytest.raises(ValueError, match="no plane"):
        plane(point("a", math.nan, 1))


def test_prompts_measured_in_part_pair_in_part() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, 200)
    whole, half = mean_estimate(PROMPTS, values), mean_estimate(PROMPTS[:100], values[:100])
    first = Point.of_estimates(CellName(method="a"), whole, whole)
    second = Point.of_estimates(CellName(method="b"), half, half)
    low, high = gaps(plane(first, second, point("c", 0, 0)), "a", "a").mean.interval
    assert low == high == 0
    rising = plane(first, second, y_better="higher")
    assert 0.1 < dominance(rising, first.cell, second.cell) < 0.4
