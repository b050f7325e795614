"""The Fréchet distance is exact, and its standard error is true."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest

from velatura.errors import InputError
from velatura.eval import frechet, gaussian
from velatura.eval.cells import Cell
from velatura.eval.frechet import FidInfinity, FrechetDistance, Reference, fid_infinity, frechet_estimate
from velatura.eval.inception_score import inception_score
from velatura.eval.mmd import Cubic, KernelReference
from velatura.eval.moments import Moments, moments_of
from velatura.eval.records import CellName, Sample

pytestmark = [
    pytest.mark.filterwarnings("ignore:Metric .* will save all:UserWarning"),
    pytest.mark.filterwarnings("ignore:std:UserWarning"),
]


def features(n, width=24, *, seed=0, skew=0.0, turn=0):
    """Draw correlated features that are not Gaussian."""
    generator = np.random.default_rng(seed)
    mixing = np.linalg.qr(np.random.default_rng(99 + turn).standard_normal((width, width)))[0]
    raw = np.maximum(generator.standard_normal((n, width)), -1 - skew)
    return (raw * (1 + np.arange(width)) ** -0.5) @ mixing + 0.4


def names(n, each=1):
    return [f"prompt {number // each:05}" for number in range(n)]


def by_sqrtm(target, reference):
    """Return the distance as clean-fid and pytorch-fid compute it."""
    from scipy.linalg import sqrtm

    means = target.mean(axis=0) - reference.mean(axis=0)
    first, second = np.cov(target, rowvar=False), np.cov(reference, rowvar=False)
    return means @ means + np.trace(first) + np.trace(second) - 2 * np.trace(sqrtm(first @ second)).real


def by_torchmetrics(target, reference):
    torch = pytest.importorskip("torch")
    metric = pytest.importorskip("torchmetrics.image.fid").FrechetInceptionDistance(
        feature=identity(target.shape[1]), input_img_size=(1, 1, target.shape[1])
    )
    metric.set_dtype(torch.float64)
    metric.update(torch.from_numpy(np.asarray(reference, np.float64)), real=True)
    metric.update(torch.from_numpy(np.asarray(target, np.float64)), real=False)
    return float(metric.compute())


def identity(width):
    import torch

    class Identity(torch.nn.Module):
        num_features = width

        def forward(self, rows):
            return rows.reshape(len(rows), -1) if rows.shape[-1] == width else rows.new_zeros(len(rows), width)

    return Identity()


@pytest.mark.parametrize("width", [1, 2, 24, 150])
def test_it_is_what_scipy_and_torchmetrics_find(width):
    target, reference = features(700, width, skew=0.4, turn=1), features(600, width, seed=1)
    value = Reference(moments_of(reference)).distance(target)
    assert frechet_estimate(Reference(moments_of(reference)), target, names(700)).value == value
    if width > 1:
        assert value == pytest.approx(by_sqrtm(target, reference), rel=1e-8)
    assert value == pytest.approx(by_torchmetrics(target, reference), rel=1e-6)


def test_few_pictures_have_the_same_value_by_the_nuclear_norm():
    target, reference = features(20, skew=0.4), features(600, seed=1)
    held = Reference(moments_of(reference))
    assert held.distance(target) == pytest.approx(held.distance(moments_of(target)), rel=1e-9)
    assert held.distance(target) == pytest.approx(by_torchmetrics(target, reference), rel=1e-6)
    estimate = frechet_estimate(held, target, names(20))
    assert estimate.value == held.distance(target)
    assert (estimate.pulls, estimate.error, estimate.comparable) == (None, None, False)
    assert "20 pictures are too few" in estimate.notes[0]


def test_single_precision_is_taken_only_where_it_costs_nothing(monkeypatch):
    taken = []

    def spy(features, *, single=False):
        taken.append(single)
        return moments_of(features, single=single)

    monkeypatch.setattr(gaussian, "moments_of", spy)
    monkeypatch.setattr(gaussian, "_LARGE", 0)
    first, second = features(6000, skew=0.8, turn=1).astype(np.float32), features(5000, seed=1)
    held = Reference(moments_of(second))
    exact = held.distance(moments_of(first))
    assert held.distance(first) == pytest.approx(exact, rel=1e-7)
    assert taken == [True]
    assert held.distance(first.astype(np.float64)) == exact
    assert taken == [True, False]
    # Directions in which the features hardly vary are drowned by single precision, and those count against the other's.
    flat = (first * np.where(np.arange(24) < 12, 1, 1e-4)).astype(np.float32)
    del taken[:]
    assert held.distance(flat) == held.distance(moments_of(flat))
    assert taken == [True, False]
    # So do the last digits of a distance that is nearly nothing.
    assert Reference(moments_of(first)).distance(first) == pytest.approx(0, abs=1e-12)


def test_a_set_is_no_distance_from_itself():
    for n in (15, 24, 25, 300):
        rows = features(n)
        assert Reference(moments_of(rows)).distance(rows) == pytest.approx(0, abs=1e-12)


def test_it_is_symmetric_and_does_not_turn_with_the_features():
    first, second = features(400, skew=0.5), features(300, seed=1)
    value = Reference(moments_of(second)).distance(first)
    assert Reference(moments_of(first)).distance(second) == pytest.approx(value, rel=1e-10)
    turn = np.linalg.qr(np.random.default_rng(5).standard_normal((24, 24)))[0]
    assert Reference(moments_of(second @ turn)).distance(first @ turn) == pytest.approx(value, rel=1e-10)


def test_features_that_never_speak_and_small_references_are_exact_too():
    first, second = features(400, skew=0.5), features(300, seed=1)
    value = Reference(moments_of(second)).distance(first)
    silent = np.zeros((400, 60)), np.zeros((300, 60))
    wide = np.hstack([first, silent[0]]), np.hstack([second, silent[1]])
    assert Reference(moments_of(wide[1])).distance(wide[0]) == pytest.approx(value, rel=1e-10)
    estimate = frechet_estimate(Reference(moments_of(wide[1])), wide[0], names(400))
    plain = frechet_estimate(Reference(moments_of(second)), first, names(400))
    assert estimate.error == pytest.approx(plain.error, rel=1e-4)
    # Silent on one side alone: nothing of the reference's noise there is matched.
    noisy = np.hstack([second, features(300, 60, seed=2) * 0.01])
    with_noise = Reference(moments_of(noisy)).distance(wide[0])
    extra = moments_of(noisy[:, 24:])
    assert with_noise == pytest.approx(value + extra.trace + extra.mean @ extra.mean, rel=1e-6)
    same = np.tile(second[:1], (30, 1))
    apart = first.mean(axis=0) - same[0]
    alone = frechet_estimate(Reference(moments_of(same)), first, names(400))
    assert alone.value == pytest.approx(apart @ apart + moments_of(first).trace, rel=1e-10)
    assert alone.error > 0
    few = features(15, seed=3)
    assert Reference(moments_of(few)).distance(first) == pytest.approx(
        Reference(moments_of(first)).distance(few), rel=1e-9
    )


def test_the_pulls_are_the_derivative_at_each_picture():
    rows, reference = features(200, 6, skew=0.5), Reference(moments_of(features(300, 6, seed=1)))
    estimate = frechet_estimate(reference, rows, names(200))

    def weighted(place, step):
        weights = np.full(200, (1 - step) / 200)
        weights[place] += step
        mean = weights @ rows
        covariance = (rows - mean).T @ ((rows - mean) * weights[:, None]) * 200 / 199
        return reference.distance(Moments(n=None, mean=mean, scatter=covariance))

    for place in (0, 17, 199):
        slope = (weighted(place, 1e-5) - weighted(place, -1e-5)) / 2e-5
        assert estimate.pulls[place] * 200 == pytest.approx(slope, rel=2e-2, abs=2e-2)
    assert estimate.pulls.sum() == pytest.approx(0, abs=1e-9)
    paired = frechet_estimate(reference, rows, names(200, 2))
    np.testing.assert_allclose(paired.pulls, estimate.pulls.reshape(100, 2).sum(axis=1), atol=1e-12)


def test_intervals_hold_what_they_say():
    width, n, repeats = 12, 120, 250
    reference = Reference(moments_of(features(20_000, width, seed=1)))
    generator = np.random.default_rng(4)
    mixing = np.linalg.qr(generator.standard_normal((width, width)))[0]
    first, second = [], []
    for _ in range(repeats):
        # Two pictures of a prompt share half of their noise, and two methods nearly all.
        shared = np.repeat(generator.standard_normal((n // 2, width)), 2, axis=0)
        noise = (shared + generator.standard_normal((n, width))) / math.sqrt(2)
        other = (noise + 0.3 * generator.standard_normal((n, width))) / math.sqrt(1.09)
        for raw, skew, into in ((noise, 0.2, first), (other, 0.6, second)):
            rows = (np.maximum(raw, -1 - skew) * (1 + np.arange(width)) ** -0.5) @ mixing + 0.4
            into.append(frechet_estimate(reference, rows, names(n, 2)))
    pairs = [one.less(other) for one, other in zip(first, second, strict=True)]
    for estimates in (first, pairs):
        centre = np.mean([estimate.value for estimate in estimates])
        held = np.mean([estimate.interval[0] <= centre <= estimate.interval[1] for estimate in estimates])
        assert 0.92 <= held <= 0.99
    alone = np.mean([math.hypot(one.error, other.error) for one, other in zip(first, second, strict=True)])
    assert np.mean([pair.error for pair in pairs]) < alone / 1.5


def test_no_bootstrap_is_offered_since_it_does_not_hold_the_distance():
    offered = inspect.signature(frechet_estimate).parameters, inspect.signature(FrechetDistance).parameters
    words = [*dir(frechet), *dir(Reference), *offered[0], *offered[1]]
    assert not [word for word in words if "boot" in word.lower() or "percentile" in word.lower()]
    rows, reference = features(120), Reference(moments_of(features(5000, seed=1)))
    generator = np.random.default_rng(3)
    resampled = [reference.distance(moments_of(rows[generator.integers(120, size=120)])) for _ in range(100)]
    assert reference.distance(rows) < np.percentile(resampled, 2.5)


def test_fid_infinity_is_near_what_many_pictures_have():
    reference = Reference(moments_of(features(40_000, seed=1)))
    truth = reference.distance(features(40_000, seed=2, skew=0.5))
    plain, infinite = [], []
    for seed in range(30):
        rows = features(200, seed=10 + seed, skew=0.5)
        plain.append(reference.distance(rows))
        infinite.append(fid_infinity(reference, rows, names(200), seed=seed))
    bias, spread = np.mean(plain) - truth, np.std(plain)
    values = [estimate.value for estimate in infinite]
    assert abs(np.mean(values) - truth) < bias / 5
    assert np.std(values) < 1.5 * spread
    assert np.mean([estimate.error for estimate in infinite]) == pytest.approx(np.std(values), rel=0.5)


def test_fid_infinity_keeps_the_pictures_of_a_prompt_together():
    reference, rows = Reference(moments_of(features(600, 4, seed=1))), features(80, 4)
    # Four of each prompt that are the same: halves within a prompt would look like whole ones.
    copied = np.repeat(rows[:20], 4, axis=0)
    value = fid_infinity(reference, copied, names(80, 4), errors=False)
    assert value.pulls is None
    assert value.value == pytest.approx(fid_infinity(reference, copied, names(80, 4)).value, rel=1e-12)
    assert value.value != pytest.approx(fid_infinity(reference, copied, names(80)).value, rel=1e-3)
    assert value.value != fid_infinity(reference, copied, names(80, 4), seed=1).value


@pytest.mark.parametrize(("n", "each", "told"), [(40, 1, "more than 48 pictures"), (70, 10, "eight prompts")])
def test_fid_infinity_says_what_it_lacks(n, each, told):
    with pytest.raises(InputError, match=told):
        fid_infinity(Reference(moments_of(features(600, seed=1))), features(n), names(n, each))


def test_what_cannot_be_compared_is_said_in_a_sentence():
    reference = Reference(moments_of(features(600)))
    with pytest.raises(InputError, match="12 numbers and the reference's 24"):
        reference.distance(features(50, 12))
    with pytest.raises(InputError, match="12 numbers and the reference's 24"):
        reference.distance(features(5, 12))
    with pytest.raises(InputError, match="two pictures at least"):
        reference.distance(features(1))
    with pytest.raises(InputError, match="two pictures at least"):
        Reference(moments_of(features(1)))
    with pytest.raises(ValueError, match="each picture"):
        frechet_estimate(reference, features(50), names(49))


def test_the_metrics_measure_a_cell():
    rows, moments = features(60, 5).astype(np.float32), moments_of(features(300, 5, seed=1))
    samples = tuple(
        Sample(prompt_id=name, prompt="a fox", method="stylus", image=f"{place}.png")
        for place, name in enumerate(names(60, 2))
    )
    cell = Cell(name=CellName(method="stylus"), samples=samples, features={"inception": rows})
    given = "inception", moments, "coco14v:6f3a1b2c", "inc=2015-12-05:1a2b3c4d|resize=clean"
    fid, limit = FrechetDistance("fid", *given), FidInfinity("fid-infinity", *given)
    assert fid.signature == "FID|inc=2015-12-05:1a2b3c4d|resize=clean|ref=coco14v:6f3a1b2c"
    assert limit.signature.startswith("FID∞|inc=2015-12-05:1a2b3c4d|resize=clean|ref=coco14v:6f3a1b2c|")
    assert (fid.name, fid.title, fid.better, fid.ranking, fid.needs) == ("fid", "FID", "lower", True, ("inception",))
    assert fid.estimate(cell).value == Reference(moments).distance(rows)
    assert fid.estimate(cell).error > 0
    assert limit.estimate(cell).value == fid_infinity(Reference(moments), rows, cell.prompts).value
    assert FrechetDistance("fid", *given, errors=False).estimate(cell).error is None


def coloured(path):
    """Return 18 simple features of a photo: means and spreads of its colours, and of those of two halves."""
    from PIL import Image

    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB").resize((64, 64)), np.float64) / 255
    parts = pixels, pixels[:32], pixels[:, :32]
    return np.concatenate([value for part in parts for value in (part.mean(axis=(0, 1)), part.std(axis=(0, 1)))])


@pytest.mark.real_data
def test_on_photos_all_three_are_torchmetrics(real_data):
    torch = pytest.importorskip("torch")
    from torchmetrics.image.inception import InceptionScore
    from torchmetrics.image.kid import KernelInceptionDistance

    def all_of(name):
        return np.stack([coloured(path) for path in sorted((real_data / "images" / name).rglob("*.jpg"))])

    flowers, photos = all_of("flowers"), all_of("coco")
    assert (len(flowers), len(photos)) == (80, 36)
    for target, reference in ((flowers, photos), (photos, flowers), (photos[:15], flowers)):
        value = Reference(moments_of(reference)).distance(target)
        assert value == pytest.approx(by_torchmetrics(target, reference), rel=1e-6)
    kid = KernelInceptionDistance(feature=identity(18), subsets=2, subset_size=36)
    kid.update(torch.from_numpy(flowers[:36]), real=True)
    kid.update(torch.from_numpy(photos), real=False)
    ours = KernelReference(Cubic(), flowers[:36]).estimate(photos, names(36)).value
    assert ours == pytest.approx(float(kid.compute()[0]), rel=1e-6)
    score = InceptionScore(feature=identity(18), splits=1)
    score.update(torch.from_numpy(flowers * 5))
    assert inception_score(flowers * 5, names(80)).value == pytest.approx(float(score.compute()[0]), rel=1e-6)
