"""The Inception Score is the field's, and is never ranked by."""

from __future__ import annotations

import numpy as np
import pytest

from velatura.errors import InputError
from velatura.eval.cells import Cell
from velatura.eval.inception_score import InceptionScore, inception_score
from velatura.eval.records import CellName, Sample

pytestmark = [
    pytest.mark.filterwarnings("ignore:Metric .* will save all:UserWarning"),
    pytest.mark.filterwarnings("ignore:std:UserWarning"),
]


def logits(n, classes=20, *, seed=0):
    return (np.random.default_rng(seed).standard_normal((n, classes)) * 2).astype(np.float32)


def names(n, each=1):
    return [f"prompt {number // each:05}" for number in range(n)]


@pytest.mark.parametrize("splits", [1, 10])
def test_it_is_torchmetrics(splits, monkeypatch):
    torch = pytest.importorskip("torch")
    module = pytest.importorskip("torchmetrics.image.inception")
    rows = logits(203)
    # It shuffles without a seed; here it is dealt as ours is.
    order = np.random.default_rng(0).permutation(203) if splits > 1 else np.arange(203)
    monkeypatch.setattr(module.torch, "randperm", lambda n: torch.from_numpy(order))

    class Identity(torch.nn.Module):
        num_features = 20

        def forward(self, given):
            return given if given.ndim == 2 and given.shape[1] == 20 else given.new_zeros(len(given), 20)

    if splits > 1:
        rows, order = rows[:200], np.random.default_rng(0).permutation(200)
    metric = module.InceptionScore(feature=Identity(), splits=splits)
    metric.update(torch.from_numpy(rows.astype(np.float64)))
    value = inception_score(rows, names(len(rows)), splits=splits).value
    assert value == pytest.approx(float(metric.compute()[0]), rel=1e-6)


def test_its_bounds_are_one_and_the_number_of_classes():
    same = np.tile(logits(1), (30, 1))
    assert inception_score(same, names(30)).value == pytest.approx(1)
    sure = np.eye(20).repeat(2, axis=0) * 1e4
    assert inception_score(sure, names(40)).value == pytest.approx(20)


def test_logits_of_any_size_are_safe():
    rows = logits(30)
    assert inception_score(rows + 1e5, names(30)).value == pytest.approx(
        inception_score(rows, names(30)).value, rel=1e-2
    )


def test_intervals_hold_what_they_say():
    for splits in (1, 2):
        estimates = [inception_score(logits(200, seed=draw), names(200, 2), splits=splits) for draw in range(200)]
        centre = np.mean([estimate.value for estimate in estimates])
        held = np.mean([estimate.interval[0] <= centre <= estimate.interval[1] for estimate in estimates])
        assert 0.91 <= held <= 0.99


def test_the_metric_is_not_for_ranking():
    samples = tuple(
        Sample(prompt_id=name, prompt="a fox", method="base", image=f"{place}.png")
        for place, name in enumerate(names(30, 3))
    )
    cell = Cell(name=CellName(method="base"), samples=samples, features={"inception-logits": logits(30)})
    metric = InceptionScore("is", "inc=2015-12-05:1a2b3c4d")
    assert (metric.ranking, metric.better, metric.needs) == (False, "higher", ("inception-logits",))
    assert metric.signature == "IS|inc=2015-12-05:1a2b3c4d|splits=1"
    assert InceptionScore("is", "inc=1", splits=10, seed=4).signature == "IS|inc=1|splits=10|seed=4"
    assert metric.estimate(cell).value == inception_score(logits(30), names(30)).value


def test_what_cannot_be_measured_is_said_in_a_sentence():
    with pytest.raises(InputError, match="5 pictures cannot be dealt into 10"):
        inception_score(logits(5), names(5), splits=10)
    bad = logits(5)
    bad[2, 2] = np.inf
    with pytest.raises(InputError, match="not finite"):
        inception_score(bad, names(5))
    with pytest.raises(ValueError, match="each picture"):
        inception_score(logits(5), names(4))
