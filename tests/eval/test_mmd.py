"""KID and CMMD are unbiased and exact over all pairs, and their standard errors are true."""

from __future__ import annotations

import numpy as np
import pytest

from velatura.errors import InputError
from velatura.eval import mmd
from velatura.eval.cells import Cell
from velatura.eval.mmd import Cmmd, Cubic, Gaussian, KernelDistance, KernelReference, chosen
from velatura.eval.records import CellName, Sample

pytestmark = pytest.mark.filterwarnings("ignore:Metric .* will save all:UserWarning")

KERNELS = {"kid": Cubic(), "cmmd": Gaussian()}


def features(n, width=8, *, seed=0, shift=0.0):
    generator = np.random.default_rng(seed)
    return (np.abs(generator.standard_normal((n, width))) * (1 + np.arange(width)) ** -0.5 + shift).astype(np.float32)


def names(n, each=1):
    return [f"prompt {number // each:05}" for number in range(n)]


def plainly(kernel, first, second, *, biased=False, prompts=None):
    """Return the discrepancy, each kernel written out."""
    first, second = first.astype(np.float64), second.astype(np.float64)
    if kernel == "kid":
        scale = 1

        def between(left, right):
            return (left @ right.T / left.shape[1] + 1) ** 3

    else:
        scale = 1000
        first, second = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (first, second))

        def between(left, right):
            return np.exp(-((left[:, None] - right[None]) ** 2).sum(axis=-1) / 200)

    def mean_pair(rows, prompts):
        pairs = between(rows, rows)
        if biased:
            return pairs.mean()
        return pairs[np.array(prompts)[:, None] != np.array(prompts)].mean()

    own = mean_pair(first, prompts or range(len(first)))
    return scale * (own + mean_pair(second, range(len(second))) - 2 * between(first, second).mean())


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("kernel", KERNELS)
def test_it_is_the_statistic_over_all_pairs(kernel, biased, monkeypatch):
    first, second = features(70, shift=0.3), features(55, seed=1)
    expected = plainly(kernel, first, second, biased=biased)
    whole = KernelReference(KERNELS[kernel], second).estimate(first, names(70), biased=biased)
    assert whole.value == pytest.approx(expected, rel=1e-6)
    monkeypatch.setattr(mmd, "_ROWS", 9)
    monkeypatch.setattr(mmd, "_COLUMNS", 16)
    tiled = KernelReference(KERNELS[kernel], second).estimate(first, names(70), biased=biased)
    assert tiled.value == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(tiled.pulls, whole.pulls, rtol=1e-6, atol=1e-9)


def test_kid_is_torchmetrics_with_full_subsets():
    torch = pytest.importorskip("torch")
    kid = pytest.importorskip("torchmetrics.image.kid").KernelInceptionDistance

    class Identity(torch.nn.Module):
        num_features = 40

        def forward(self, rows):
            return rows if rows.shape[-1] == 40 and rows.ndim == 2 else rows.new_zeros(len(rows), 40)

    first, second = features(150, 40, shift=0.05), features(150, 40, seed=1)
    metric = kid(feature=Identity(), subsets=2, subset_size=150)
    metric.update(torch.from_numpy(second.astype(np.float64)), real=True)
    metric.update(torch.from_numpy(first.astype(np.float64)), real=False)
    value = KernelReference(Cubic(), second).estimate(first, names(150)).value
    assert value == pytest.approx(float(metric.compute()[0]), rel=1e-6)


@pytest.mark.parametrize("kernel", KERNELS)
def test_equal_distributions_are_no_distance_apart_in_the_mean(kernel):
    estimates = [
        KernelReference(KERNELS[kernel], features(40, seed=2 * draw)).estimate(
            features(30, seed=2 * draw + 1), names(30)
        )
        for draw in range(200)
    ]
    values = np.array([estimate.value for estimate in estimates])
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(200)
    assert (values < 0).any()


@pytest.mark.parametrize("kernel", KERNELS)
def test_intervals_hold_what_they_say(kernel):
    reference = KernelReference(KERNELS[kernel], features(1500, seed=1))
    estimates = []
    for draw in range(200):
        generator = np.random.default_rng(100 + draw)
        shared = np.repeat(features(120, seed=1000 + draw), 2, axis=0)
        estimates.append(reference.estimate(shared + generator.random(shared.shape) * 0.2 + 0.1, names(240, 2)))
    centre = np.mean([estimate.value for estimate in estimates])
    held = np.mean([estimate.interval[0] <= centre <= estimate.interval[1] for estimate in estimates])
    assert 0.91 <= held <= 0.99


def test_features_of_no_length_and_of_any_length_can_be_measured():
    rows = features(20)
    rows[3] = 0
    reference = KernelReference(Gaussian(), features(30, seed=1))
    value = reference.estimate(rows, names(20)).value
    assert np.isfinite(value)
    assert reference.estimate(rows * 7, names(20)).value == pytest.approx(value, rel=1e-5)


def test_what_cannot_be_measured_is_said_in_a_sentence():
    reference = KernelReference(Cubic(), features(30))
    with pytest.raises(InputError, match="5 numbers and the reference's 8"):
        reference.estimate(features(20, 5), names(20))
    with pytest.raises(InputError, match="two pictures at least"):
        reference.estimate(features(1), names(1))
    bad = features(20)
    bad[7, 1] = np.nan
    with pytest.raises(InputError, match="not finite"):
        reference.estimate(bad, names(20))
    with pytest.raises(InputError, match="1 are to be taken"):
        KernelDistance("kid", "inception", features(30), "coco:1", "inc=1", most=1)


def cell(n, each, width=8):
    samples = tuple(
        Sample(prompt_id=name, prompt="a fox", method="base", image=f"{place}.png")
        for place, name in enumerate(names(n, each))
    )
    return Cell(name=CellName(method="base"), samples=samples, features={"some": features(n, width, shift=0.2)})


def test_the_metrics_measure_a_cell():
    reference = features(50, seed=1)
    kid = KernelDistance("kid", "some", reference, "coco:6f3a1b2c", "inc=1")
    cmmd = Cmmd("cmmd", "some", reference, "coco:6f3a1b2c", "clip=L14")
    theirs = Cmmd("cmmd", "some", reference, "coco:6f3a1b2c", "clip=L14", biased=True)
    assert kid.signature == "KID|inc=1|kernel=poly3|pairs=prompts|ref=coco:6f3a1b2c"
    assert cmmd.signature == "CMMD|clip=L14|kernel=rbf10|scale=1000|pairs=prompts|ref=coco:6f3a1b2c"
    assert theirs.signature == "CMMD|clip=L14|kernel=rbf10|scale=1000|biased|ref=coco:6f3a1b2c"
    assert (kid.better, kid.ranking, kid.needs, cmmd.title) == ("lower", True, ("some",), "CMMD")
    measured = cell(40, 2)
    rows = measured.features["some"]
    assert kid.estimate(measured).value == pytest.approx(plainly("kid", rows, reference, prompts=measured.prompts))
    assert cmmd.estimate(measured).value == pytest.approx(plainly("cmmd", rows, reference, prompts=measured.prompts))
    assert theirs.estimate(measured).value == pytest.approx(plainly("cmmd", rows, reference, biased=True), rel=1e-6)
    assert len(kid.estimate(measured).prompts) == 20


def test_fewer_pictures_are_whole_prompts_and_are_told():
    metric = KernelDistance("kid", "some", features(50, seed=1), "coco:1", "inc=1", most=21, seed=3)
    assert metric.signature.endswith("|most=21|seed=3")
    estimate = metric.estimate(cell(60, 4))
    assert estimate.n == 20
    assert estimate.prompts == tuple(sorted({names(60, 4)[place] for place in chosen(names(60, 4), 21, 3)}))
    assert estimate.prompts != metric.estimate(cell(60, 4)).prompts[:4]
    assert metric.estimate(cell(60, 4)).value == estimate.value
    assert metric.estimate(cell(16, 4)).n == 16


def test_the_same_prompts_are_taken_whatever_else_there_is():
    first = {names(60, 3)[place] for place in chosen(names(60, 3), 30, 0)}
    longer = {names(63, 3)[place] for place in chosen(names(63, 3), 30, 0)}
    assert len(first) == len(longer) == 10
    assert len(first & longer) >= 9
    assert first != {names(60, 3)[place] for place in chosen(names(60, 3), 30, 1)}
    with pytest.raises(InputError, match="one prompt alone"):
        chosen(names(60, 30), 20, 0)


@pytest.mark.parametrize("kernel", [Cubic(), Gaussian()])
def test_pictures_of_one_prompt_that_are_alike_are_no_farther_from_the_reference(kernel: Cubic | Gaussian) -> None:
    """Four alike pictures of each prompt, of the reference's own distribution: 0 in the mean."""
    rng = np.random.default_rng(8)
    found = []
    for _ in range(60):
        reference = KernelReference(kernel, rng.normal(size=(120, 6)))
        meant = np.repeat(rng.normal(size=(30, 6)), 4, axis=0)
        rows = np.sqrt(0.8) * meant + np.sqrt(0.2) * rng.normal(size=(120, 6))
        found.append(reference.estimate(rows, [str(place // 4) for place in range(120)]))
    values = np.array([one.value for one in found])
    assert abs(values.mean()) < 3 * values.std(ddof=1) / np.sqrt(len(values))
    errors = np.array([one.error for one in found])
    assert 0.7 < errors.mean() / values.std(ddof=1) < 1.6


def test_of_one_prompt_alone_all_pairs_count() -> None:
    rng = np.random.default_rng(9)
    reference, rows = KernelReference(Cubic(), rng.normal(size=(20, 4))), rng.normal(size=(12, 4))
    alone = reference.estimate(rows, ["a"] * 12).value
    assert alone == pytest.approx(reference.estimate(rows, [str(place) for place in range(12)]).value)
