"""What an adapter really does, from features whose differences are made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t

from velatura.errors import InputError
from velatura.eval.probe import ENOUGH, Seen, _Grid, best_weight, probe
from velatura.probe_rules import COLLAPSED
from velatura.records import Probe

WIDTH, SEEDS = 64, 3
WEIGHTS = (0.5, 1.0, 1.5)


def rows(*shape: int) -> np.ndarray:
    """Return directions of length 1 that nothing has in common."""
    drawn = np.random.default_rng(sum(shape)).standard_normal((*shape, WIDTH))
    return drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)


def unit(features: np.ndarray) -> np.ndarray:
    return features / np.linalg.norm(features, axis=-1, keepdims=True)


AIM = unit(np.random.default_rng(99).standard_normal(WIDTH))


def base(prompts: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Return the texts of prompts, and pictures of each whose seeds lie about 0.3 apart."""
    texts = rows(prompts)
    return texts, unit(texts[:, None] + 0.2 * rows(prompts, SEEDS))


def moved(*sizes: float, prompts: int = 6, aim: np.ndarray = AIM) -> Seen:
    """Return a grid in which pictures at each weight move so far towards an aim, which is what the adapter is for."""
    texts, plain = base(prompts)
    worn = np.stack([unit(plain + size * aim) for size in sizes])
    return Seen(plain=plain, worn=worn, weights=WEIGHTS[: len(sizes)], bare=texts, told=unit(texts + AIM))


def told(seen: Seen) -> Probe:
    return probe(seen, family="sd1", model="m", clip="c", told="a fox")


# ---------------------------------------------------------------- direction, strength, consistency


def test_direction_of_a_change_is_found_and_fits_what_the_adapter_is_said_to_do() -> None:
    found = told(moved(0.1, 0.5, 0.7))
    assert np.linalg.norm(found.direction) == pytest.approx(1, abs=1e-5)
    assert np.array(found.direction) @ AIM > 0.85
    assert found.alignment > 0.8
    other = told(moved(0.1, 0.5, 0.7, aim=rows(1)[0]))
    assert abs(other.alignment) < 0.3
    assert (found.family, found.model, found.clip, found.told) == ("sd1", "m", "c", "a fox")
    assert (found.prompts, found.seeds, found.flags) == (6, SEEDS, ())


def test_change_is_told_in_distances_between_two_seeds() -> None:
    seen = moved(0.1, 0.5, 0.7)
    found = told(seen)
    pairs = [
        np.linalg.norm(own[one] - own[other]) ** 2 for own in seen.plain for one in range(SEEDS) for other in range(one)
    ]
    steps = np.linalg.norm(seen.worn - seen.plain, axis=-1).mean((1, 2))
    assert [one.change for one in found.weights] == pytest.approx(steps / np.sqrt(np.mean(pairs)), abs=1e-4)


def test_lengths_of_features_do_not_count() -> None:
    seen = moved(0.1, 0.5, 0.7)
    longer = replace(
        seen, plain=7 * seen.plain, worn=seen.worn * 3, bare=2 * seen.bare, told=seen.told * np.arange(1, 7)[:, None]
    )
    assert told(longer) == told(seen)


def test_consistency_is_each_difference_beside_those_of_the_other_prompts() -> None:
    seen = moved(0.1, 0.5, 0.7)
    found = told(seen)
    place = WEIGHTS.index(found.at)
    moves = seen.worn[place] - seen.plain
    own = []
    for prompt in range(6):
        others = np.delete(moves, prompt, 0).mean((0, 1))
        own.append(np.mean([move @ others / np.linalg.norm(move) / np.linalg.norm(others) for move in moves[prompt]]))
    half = t.ppf(0.975, 5) * np.std(own, ddof=1) / np.sqrt(6)
    mean = np.mean(own)
    assert found.consistency == pytest.approx((mean, mean - half, mean + half), abs=1e-4)
    assert found.weights[place].consistency == found.consistency[0] > 0.8


def test_change_without_direction_is_not_consistent_and_has_no_best_weight() -> None:
    """The pictures of other seeds: as much change as there can be, and nothing in common."""
    texts, plain = base(20)
    worn = np.stack([unit(texts[:, None] + 0.2 * rows(20, SEEDS, k)[:, :, 0]) for k in (1, 2, 3)])
    found = told(Seen(plain=plain, worn=worn, weights=WEIGHTS, bare=texts, told=unit(texts + AIM)))
    assert all(0.8 < one.change < 1.2 for one in found.weights)
    low, high = found.consistency[1:]
    assert low < 0.05
    assert high < 0.3
    assert found.best is None
    assert found.flags == ()


# ---------------------------------------------------------------- flags


def test_no_difference_is_no_effect() -> None:
    found = told(moved(0.0, 0.0, 0.0))
    assert (found.flags, found.best, found.direction) == (("no effect",), None, ())
    assert {(one.change, one.gain, one.collapse) for one in found.weights} == {(0.0, 0.0, 0.0)}


def test_rounding_is_no_change() -> None:
    seen = moved(0.0, 0.0, 0.0, prompts=2)
    seen = replace(seen, plain=np.concatenate([seen.plain[:1], unit(seen.plain[1:] + 2)]))
    worn = np.stack([seen.plain] * 3) + 1e-7 * rows(3, 2, SEEDS)
    found = told(replace(seen, worn=worn))
    assert (found.flags, found.direction) == (("no effect",), ())


@pytest.mark.parametrize(("size", "flags"), [(0.01, ("no effect",)), (0.03, ("no effect",)), (0.2, ()), (0.5, ())])
def test_effect_below_what_seeds_do_is_none(size: float, flags: tuple[str, ...]) -> None:
    found = told(moved(size / 2, size, 1.5 * size))
    assert found.flags == flags
    assert (found.best is None) == bool(flags)


def test_effect_on_some_prompts_alone_is_one() -> None:
    seen = moved(0.0, 0.0, 0.0)
    worn = seen.worn.copy()
    worn[:, 0] = unit(seen.plain[0] + 0.8 * AIM)
    assert told(replace(seen, worn=worn)).flags == ()


def test_sweep_that_does_not_reach_1_flags_nothing() -> None:
    seen = moved(0.0, 0.0, 0.0)
    assert told(replace(seen, weights=(0.25, 0.5, 0.75))).flags == ()
    assert told(replace(seen, weights=(0.5, 0.75, 1.25))).flags == ("no effect",)


def test_adapter_that_paints_one_picture_whatever_is_asked_is_too_strong_and_best_below() -> None:
    texts, plain = base()
    worn = np.stack([unit((1 - share) * plain + share * AIM) for share in (0.3, 0.8, 0.95)])
    found = told(Seen(plain=plain, worn=worn, weights=WEIGHTS, bare=texts, told=unit(texts + AIM)))
    assert found.flags == ("too strong",)
    assert found.best is not None
    assert found.best <= 0.5
    lost = [one.collapse for one in found.weights]
    assert lost == sorted(lost)
    assert lost[0] < COLLAPSED < lost[1]


def test_collapse_that_one_prompt_alone_suffers_is_not_sure() -> None:
    texts, _ = base(4)
    apart = 0.3 * rows(4, SEEDS)
    wide = unit(np.array([0.4, 0.4, 0.4, 3.0])[:, None, None] * rows(4)[:, None] + apart + 2 * AIM)
    worn = np.stack([wide, unit(2 * AIM + 0.95 * (wide - 2 * AIM))])
    worn[1, 3] = unit(worn[1, :3].mean((0, 1)) + 0.05 * apart[3])
    found = told(Seen(plain=wide, worn=worn, weights=(0.5, 1.0), bare=texts, told=unit(texts + AIM)))
    assert found.weights[1].collapse > COLLAPSED
    assert found.flags == ()


def test_error_of_the_collapse_is_the_jackknife_s() -> None:
    seen = moved(0.1, 0.5, 0.7, prompts=4)
    found = _Grid(seen).collapse_at_one()

    def lost(prompts: list[int]) -> float:
        def apart(pictures: np.ndarray) -> float:
            return float(np.sqrt(((pictures - pictures.mean((0, 1))) ** 2).sum(-1).mean()))

        return 1 - apart(unit(seen.worn[1][prompts])) / apart(unit(seen.plain[prompts]))

    without = np.array([lost([one for one in range(4) if one != out]) for out in range(4)])
    assert found is not None
    assert found.value == pytest.approx(lost([0, 1, 2, 3]))
    assert found.error == pytest.approx(np.sqrt(3 / 4 * ((without - without.mean()) ** 2).sum()))


# ---------------------------------------------------------------- the best weight


@pytest.mark.parametrize(
    ("gains", "collapses", "best"),
    [
        ((0.1, 0.2, 0.4), (0, 0, 0), 1.25),
        ((0.1, 0.4, 0.1), (0, 0, 0), 0.83),
        ((0.4, 0.4, 0.4), (0, 0, 0), 0.38),
        ((-0.1, 0.0, 0.2), (0, 0, 0), 1.38),
        ((0.1, 0.2, 0.4), (0, 0.1, 0.5), 0.75),
        ((0.1, 0.2, 0.4), (0, 0.5, 0.1), 0.38),
        ((0.1, 0.2, 0.4), (0.5, 0.5, 0.5), None),
        ((-0.1, 0.0, -0.4), (0, 0, 0), None),
    ],
)
def test_best_is_the_least_weight_that_does_enough(
    gains: tuple[float, ...], collapses: tuple[float, ...], best: float | None
) -> None:
    assert best_weight(WEIGHTS, gains, collapses) == best


def test_best_weight_of_a_change_that_overshoots_lies_before_its_peak() -> None:
    found = told(moved(0.1, 0.6, 6.0))
    gains = {one.weight: one.gain for one in found.weights}
    assert found.best is not None
    assert 0.5 < found.best < 1.0
    assert gains[0.5] < ENOUGH * gains[1.0]


def test_change_away_from_what_is_told_has_no_best_weight() -> None:
    found = told(moved(0.1, 0.5, 0.7, aim=-AIM))
    assert found.best is None
    assert found.alignment < -0.8
    assert found.at == 1.0


# ---------------------------------------------------------------- input


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda seen: replace(seen, plain=seen.plain[:1], worn=seen.worn[:, :1]), "at least two prompts"),
        (lambda seen: replace(seen, plain=seen.plain[:, :1], worn=seen.worn[:, :, :1]), "two seeds"),
        (lambda seen: replace(seen, weights=(1.0, 0.5, 1.5)), "ascending"),
        (lambda seen: replace(seen, weights=(0.0, 0.5, 1.5)), "above 0"),
        (lambda seen: replace(seen, weights=(0.5, 1.0)), "one grid"),
        (lambda seen: replace(seen, told=seen.told[:2]), "one grid"),
        (lambda seen: replace(seen, worn=seen.worn * np.nan), "no numbers"),
        (lambda seen: replace(seen, plain=np.ones_like(seen.plain)), "all seeds are the same"),
    ],
)
def test_grid_that_cannot_be_judged_is_refused(change, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        told(change(moved(0.1, 0.5, 0.7)))
