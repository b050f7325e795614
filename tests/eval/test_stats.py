from __future__ import annotations

import math

import choix
import krippendorff
import numpy as np
import pytest
from scipy import stats as reference

from velatura.errors import InputError
from velatura.eval.estimates import mean_estimate
from velatura.eval.stats import (
    Comparison,
    WinTieLose,
    bootstrap_mean,
    bradley_terry,
    cohen_kappa,
    detectable_difference,
    detectable_rate,
    holm,
    kendall_w,
    krippendorff_alpha,
    mcnemar,
    mean_ranks,
    pairs_needed,
    plackett_luce,
    sign_test,
    sign_test_power,
    two_way_mean,
    wilcoxon,
    wilson,
)


@pytest.mark.parametrize(
    ("wins", "n", "rate", "low", "high", "p"),
    [
        (99, 146, 67.81, 59.9, 74.8, 2.0e-5),
        (97, 142, 68.31, 60.3, 75.4, 1.5e-5),
        (93, 150, 62.00, 54.0, 69.4, 4.1e-3),
        (82, 140, 58.57, 50.3, 66.4, 0.052),
        (371, 578, 64.19, 60.2, 68.0, 8.8e-12),
        (655, 1106, 59.2, 56.3, 62.1, None),
    ],
)
def test_published_win_rates_have_their_intervals(wins, n, rate, low, high, p) -> None:
    share = wilson(wins, n)
    assert (100 * share.value, 100 * share.low, 100 * share.high) == pytest.approx((rate, low, high), abs=0.05)
    if p is not None:
        assert sign_test(wins, n - wins) == pytest.approx(p, rel=0.03)


def test_wilson_of_all_of_none_and_of_nothing() -> None:
    assert wilson(0, 10).low == 0
    assert wilson(10, 10).high == 1
    assert (wilson(0, 0).value, wilson(0, 0).low, wilson(0, 0).high) == (None, 0, 1)
    with pytest.raises(ValueError, match="11 successes in 10"):
        wilson(11, 10)


def test_ties_are_told_beside_the_rate() -> None:
    quality = WinTieLose(wins=24, ties=44, losses=16)
    assert quality.rate.value == 0.6
    assert quality.p == pytest.approx(0.27, abs=0.005)
    assert quality.score == pytest.approx(46 / 84)
    assert quality.net == pytest.approx(8 / 84)
    low, high = quality.net_interval
    assert low < 0 < high


def test_net_interval_refuses_what_the_score_test_refuses() -> None:
    low, high = WinTieLose(wins=30, ties=10, losses=12).net_interval
    assert low > 0  # (30 - 12) / sqrt(42) = 2.8
    assert (-high, -low) == pytest.approx(WinTieLose(wins=12, ties=10, losses=30).net_interval, abs=1e-8)
    assert WinTieLose(wins=10, ties=20, losses=10).net_interval == pytest.approx((-0.2196, 0.2196), abs=0.002)


def test_net_interval_at_the_ends() -> None:
    assert WinTieLose(wins=0, ties=0, losses=0).net_interval is None
    low, high = WinTieLose(wins=9, ties=0, losses=0).net_interval
    assert (low > 0.3, high) == (True, 1)
    low, high = WinTieLose(wins=0, ties=9, losses=0).net_interval
    assert low == pytest.approx(-high)
    assert 0.2 < high < 0.4


def test_net_interval_covers() -> None:
    rng = np.random.default_rng(3)
    drawn = rng.multinomial(60, (0.4, 0.35, 0.25), 400)
    inside = [
        low <= 0.15 <= high
        for wins, ties, losses in drawn.tolist()
        for low, high in [WinTieLose(wins=wins, ties=ties, losses=losses).net_interval]
    ]
    assert 0.92 < np.mean(inside) < 0.98


def test_mcnemar_looks_at_the_trials_that_differ() -> None:
    first = [True] * 30 + [True] * 9 + [False] * 2 + [False] * 50
    second = [True] * 30 + [False] * 9 + [True] * 2 + [False] * 50
    found = mcnemar(first, second)
    assert (found.both, found.only_first, found.only_second, found.neither) == (30, 9, 2, 50)
    assert found.p == pytest.approx(reference.binomtest(9, 11).pvalue)
    with pytest.raises(ValueError, match="cannot be paired"):
        mcnemar([True], [])


def test_pairs_needed_is_the_published_table() -> None:
    rates = (0.55, 0.58, 0.60, 0.65, 0.68)
    assert [pairs_needed(rate) for rate in rates] == [786, 312, 199, 90, 63]
    assert pairs_needed(0.45) == 786


def test_power_is_how_often_the_test_sees_it() -> None:
    wins = np.random.default_rng(0).binomial(90, 0.65, 4000)
    refused = {won for won in set(wins.tolist()) if sign_test(won, 90 - won) <= 0.05}
    seen = np.isin(wins, list(refused)).mean()
    assert sign_test_power(90, 0.65) == pytest.approx(seen, abs=0.02)
    assert sign_test_power(89, 0.65) < 0.8 <= sign_test_power(90, 0.65)


def test_few_decided_pairs_see_only_large_rates() -> None:
    assert detectable_rate(42) > 0.70  # 100 prompts, of which 58 are ties
    assert detectable_rate(312) == pytest.approx(0.58, abs=0.001)
    assert detectable_rate(0) is None
    assert detectable_difference(0.02, 10_000) == pytest.approx(2.8 * 0.02, rel=0.002)


@pytest.mark.parametrize("rate", [0.5, 1.2, math.nan])
def test_no_pairs_are_enough_for_no_difference(rate) -> None:
    with pytest.raises(ValueError, match="win rate"):
        pairs_needed(rate)


def test_holm_adjusts_for_all_and_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.9, None, 0.9]) == (1.0, None, 1.0)
    assert holm([]) == ()
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([0.5, math.nan])


def test_bootstrap_is_the_one_of_scipy_where_prompts_have_one_value() -> None:
    values = np.random.default_rng(1).gamma(1.0, 2.0, 60)
    ours = bootstrap_mean([str(place) for place in range(60)], values, resamples=20_000)
    theirs = reference.bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", rng=2).confidence_interval
    assert ours.value == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.03)
    assert ours == bootstrap_mean([str(place) for place in range(60)], values, resamples=20_000)


def test_bootstrap_draws_prompts_not_pictures() -> None:
    rng = np.random.default_rng(0)
    prompts = np.repeat([f"p{place}" for place in range(30)], 20)
    values = np.repeat(rng.normal(0, 1, 30), 20) + rng.normal(0, 0.1, 600)
    clustered = bootstrap_mean(prompts, values, resamples=2000)
    low, high = mean_estimate(prompts, values).interval
    assert (clustered.low, clustered.high) == pytest.approx((low, high), abs=0.06)
    alone = bootstrap_mean([str(place) for place in range(600)], values, resamples=2000)
    assert clustered.high - clustered.low > 3 * (alone.high - alone.low)


def test_bootstrap_of_too_little() -> None:
    assert bootstrap_mean(["a", "a"], [1.0, 2.0]) is None
    assert bootstrap_mean(["a", "b"], [1.0, math.nan]) is None
    same = bootstrap_mean(["a", "b"], [2.0, 2.0])
    assert (same.low, same.high) == (2.0, 2.0)


def test_answers_of_one_rater_are_not_independent() -> None:
    rng = np.random.default_rng(0)
    covered = plain = 0
    for _ in range(200):
        raters, prompts = rng.normal(0, 0.5, 12), rng.normal(0, 0.5, 20)
        answers = raters[:, None] + prompts[None] + rng.normal(0, 1, (12, 20))
        names = [str(prompt) for _ in range(12) for prompt in range(20)]
        people = [str(rater) for rater in range(12) for _ in range(20)]
        interval = two_way_mean(answers.ravel().tolist(), names, people)
        covered += interval.low <= 0 <= interval.high
        plain += abs(answers.mean()) <= 1.96 * answers.std() / math.sqrt(240)
    assert covered / 200 > 0.9 > plain / 200 + 0.1
    with pytest.raises(ValueError, match="two raters"):
        two_way_mean([1.0, 2.0], ["a", "b"], ["x", "x"])


def test_wilcoxon_leaves_out_what_did_not_move() -> None:
    differences = np.random.default_rng(0).normal(0.4, 1, 40)
    found = wilcoxon([*differences, 0.0, 0.0])
    assert (found.n, found.p) == (40, pytest.approx(reference.wilcoxon(differences).pvalue))
    assert wilcoxon([0.0, 0.0]).p == 1


def _comparisons(counts) -> list[Comparison]:
    return [
        Comparison(first=a, second=b, winner=winner)
        for (a, b, winner), count in counts.items()
        for _ in range(count)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def played() -> list[tuple[int, int]]:
    rng = np.random.default_rng(5)
    worth = np.array([0.6, 0.2, -0.1, -0.7])
    pairs = [rng.choice(4, 2, replace=False) for _ in range(300)]
    return [
        (int(i), int(j)) if rng.random() < 1 / (1 + np.exp(worth[j] - worth[i])) else (int(j), int(i)) for i, j in pairs
    ]


def test_bradley_terry_is_that_of_choix(played) -> None:
    found = bradley_terry([Comparison(first=str(i), second=str(j), winner=str(i)) for i, j in played])
    assert found.names == ("0", "1", "2", "3")
    assert found.values == pytest.approx(choix.ilsr_pairwise(4, played), abs=1e-6)
    assert (found.regularised, found.ties, found.n) == (False, None, 300)


def test_bradley_terry_recovers_known_strengths(played) -> None:
    found = bradley_terry([Comparison(first=str(j), second=str(i), winner=str(i)) for i, j in played])
    assert found.ranking == ("0", "1", "2", "3")
    for name, worth in zip(found.names, (0.6, 0.2, -0.1, -0.7), strict=True):
        assert found.interval(name).low < worth < found.interval(name).high
    beats = found.probability("0", "3")
    assert beats.low < 1 / (1 + math.exp(-1.3)) < beats.high
    assert found.probability("3", "0").value == pytest.approx(1 - beats.value)


def test_bradley_terry_of_two_is_the_win_rate() -> None:
    found = bradley_terry(_comparisons({("a", "b", "a"): 30, ("a", "b", "b"): 10}))
    share = found.probability("a", "b")
    assert share.value == pytest.approx(0.75)
    error = math.sqrt(1 / 30 + 1 / 10)
    assert share.low == pytest.approx(1 / (1 + math.exp(-(math.log(3) - 1.96 * error))), abs=1e-4)


def test_ties_are_modelled_or_halved() -> None:
    counts = {("a", "b", "a"): 30, ("a", "b", None): 50, ("a", "b", "b"): 20}
    modelled = bradley_terry(_comparisons(counts))
    # Of two the fit is exact: worths as wins, and ties so that their share comes out.
    assert modelled.probability("a", "b").value == pytest.approx(0.6)
    assert modelled.ties == pytest.approx(50 / math.sqrt(30 * 20))
    halved = bradley_terry(_comparisons(counts), ties="half")
    assert halved.probability("a", "b").value == pytest.approx(0.55)
    assert halved.ties is None
    assert bradley_terry(_comparisons({("a", "b", None): 5})).probability("a", "b").value == pytest.approx(0.5)


def test_order_and_side_say_nothing() -> None:
    counts = {("a", "b", "a"): 7, ("b", "c", None): 4, ("c", "b", "b"): 5, ("c", "a", "c"): 3, ("b", "a", "b"): 4}
    turned = {(second, first, winner): count for (first, second, winner), count in reversed(counts.items())}
    assert bradley_terry(_comparisons(counts)).values == pytest.approx(bradley_terry(_comparisons(turned)).values)


def test_who_wins_everything_is_strong_and_not_infinite() -> None:
    found = bradley_terry(_comparisons({("a", "b", "a"): 20, ("b", "c", "b"): 5, ("b", "c", "c"): 5}))
    assert found.regularised
    assert found.ranking[0] == "a"
    assert all(map(math.isfinite, (*found.values, *found.errors)))
    assert found.probability("a", "b").value == pytest.approx(20.5 / 21, abs=1e-6)


def test_likeness_within_raters_widens_intervals() -> None:
    comparisons, raters = [], []
    for rater in range(12):
        winner = "a" if rater < 8 else "b"
        comparisons += [Comparison(first="a", second="b", winner=winner)] * 25
        raters += [str(rater)] * 25
    alone, clustered = bradley_terry(comparisons), bradley_terry(comparisons, clusters=raters)
    assert clustered.values == alone.values
    assert clustered.errors[0] / alone.errors[0] == pytest.approx(5 * math.sqrt(12 / 11), rel=1e-6)
    assert bradley_terry(comparisons, clusters=["one"] * 300).errors == alone.errors
    with pytest.raises(ValueError, match="clusters"):
        bradley_terry(comparisons, clusters=["one"])


def test_strengths_need_comparisons_that_join() -> None:
    with pytest.raises(InputError, match="a and c were never compared"):
        bradley_terry(_comparisons({("a", "b", "a"): 2, ("c", "d", "c"): 2}))
    with pytest.raises(InputError, match="no comparisons"):
        bradley_terry([])
    with pytest.raises(InputError, match="no rankings"):
        plackett_luce([["a"]])
    with pytest.raises(ValueError, match="two different names"):
        bradley_terry([Comparison(first="a", second="a", winner="a")])
    with pytest.raises(ValueError, match="twice"):
        plackett_luce([["a", "b", "a"]])


def test_plackett_luce_is_that_of_choix() -> None:
    rng = np.random.default_rng(2)
    worth = np.array([0.8, 0.1, -0.3, -0.6])
    rankings = [np.argsort(-(worth + rng.gumbel(size=4))).tolist() for _ in range(200)]
    rankings += [[name for name in ranking if name != place % 4] for place, ranking in enumerate(rankings[:40])]
    found = plackett_luce([[str(name) for name in ranking] for ranking in rankings])
    assert found.values == pytest.approx(choix.ilsr_rankings(4, rankings), abs=1e-5)
    swept = plackett_luce([["a", "b", "c"]] * 4)
    assert (swept.regularised, swept.ranking) == (True, ("a", "b", "c"))


def test_plackett_luce_intervals_cover_the_truth() -> None:
    worth = np.array([0.8, 0.1, -0.3, -0.6])
    inside = []
    for seed in range(60):
        noise = np.random.default_rng(seed).gumbel(size=(80, 4))
        found = plackett_luce([[str(name) for name in np.argsort(-(worth + row))] for row in noise])
        inside += [found.interval(str(i)).low < worth[i] < found.interval(str(i)).high for i in range(4)]
    assert 0.9 < np.mean(inside) < 0.99


def test_mean_ranks_are_friedmans() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 6, (15, 4)) + np.array([0, 0, 1, 2])
    found = mean_ranks(["a", "b", "c", "d"], scores)
    friedman = reference.friedmanchisquare(*scores.T)
    assert (found.statistic, found.p) == pytest.approx((friedman.statistic, friedman.pvalue))
    assert found.means == pytest.approx(tuple(reference.rankdata(scores, axis=1).mean(0)))
    assert found.w == pytest.approx(found.statistic / (15 * 3))
    assert found.ranking[-1] == "d"
    # Demsar (2006), table 5: q = 2.569 of four methods.
    assert found.critical_difference == pytest.approx(2.569 * math.sqrt(4 * 5 / (6 * 15)), rel=1e-3)
    apart = abs(found.means[0] - found.means[3]) > found.critical_difference
    assert (found.pairs[0][3] < 0.05) == apart


def test_kendall_w_is_one_in_full_agreement_and_the_known_value_with_ties() -> None:
    assert kendall_w([[1, 2, 3]] * 4) == pytest.approx(1)
    assert kendall_w([[1, 2], [2, 1]]) == pytest.approx(0)
    assert kendall_w([[1, 1, 1]] * 3) is None
    # Siegel and Castellan (1988), section 9.8.3: three judges with ties.
    ranks = [
        [1, 4.5, 2, 4.5, 3, 7.5, 6, 9, 7.5, 10],
        [2.5, 1, 2.5, 4.5, 4.5, 8, 9, 6.5, 10, 6.5],
        [2, 1, 4.5, 4.5, 4.5, 4.5, 8, 8, 8, 10],
    ]
    assert kendall_w(ranks) == pytest.approx(0.828, abs=0.001)


@pytest.mark.parametrize("bad", [[], [[1, 2], [1]], [[1, math.nan]]])
def test_ranks_that_are_no_table(bad) -> None:
    with pytest.raises(ValueError, match="rank"):
        kendall_w(bad)


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_alpha_is_that_of_krippendorff(level) -> None:
    rng = np.random.default_rng(4)
    truth = rng.integers(1, 6, 40)
    ratings = np.clip(truth + rng.integers(-1, 2, (5, 40)), 1, 5).astype(float)
    ratings[rng.random((5, 40)) < 0.3] = np.nan
    found = krippendorff_alpha(ratings, level, resamples=200)
    assert found.value == pytest.approx(krippendorff.alpha(ratings, level_of_measurement=level), abs=1e-12)
    assert found.low < found.value < found.high
    assert found == krippendorff_alpha(ratings, level, resamples=200)


def test_alpha_of_nothing_to_disagree_on() -> None:
    assert krippendorff_alpha([[1, None], [None, 2]]) is None
    assert krippendorff_alpha([[None, None]]) is None
    assert krippendorff_alpha([[3, 3], [3, 3]]) is None
    assert krippendorff_alpha([[1, 2], [1, 2]]).value == 1
    with pytest.raises(ValueError, match="place for each unit"):
        krippendorff_alpha([[1, 2], [1]])


def test_kappa_and_its_error() -> None:
    first = ["a"] * 50 + ["b"] * 50
    second = ["a"] * 45 + ["b"] * 5 + ["a"] * 15 + ["b"] * 35
    found = cohen_kappa([str(place) for place in range(100)], first, second)
    assert found.value == pytest.approx(0.6)
    rng = np.random.default_rng(0)
    drawn = [rng.integers(0, 100, 100) for _ in range(600)]
    pairs = [([first[i] for i in places], [second[i] for i in places]) for places in drawn]
    again = [cohen_kappa([str(place) for place in range(100)], *pair).value for pair in pairs]
    assert found.error == pytest.approx(np.std(again), rel=0.1)
    assert cohen_kappa(["x"], ["a"], ["a"]) is None
    with pytest.raises(ValueError, match="same answers"):
        cohen_kappa(["x"], ["a"], [])
