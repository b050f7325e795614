from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from velatura.errors import VelaturaError
from velatura.playground.training.flat import Layout
from velatura.playground.training.muon import muon_updates, orthogonalise
from velatura.playground.training.recipe import Recipe

HERE = Path(__file__).parent


@pytest.fixture
def sums(monkeypatch):
    """The module of the task, where other processes find it too."""
    monkeypatch.syspath_prepend(str(HERE))
    import training_sums

    return training_sums


def same(one, other):
    return all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)


def test_orthogonal_matrices_have_singular_values_near_one():
    matrices = torch.randn(3, 12, 40, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(matrices))
    assert values.min() > 0.5
    assert values.max() < 1.3
    assert torch.allclose(orthogonalise(matrices.mT), orthogonalise(matrices).mT, atol=1e-5)


def test_muon_takes_steps_of_one_size_whatever_the_gradient():
    gradient = torch.randn(1, 6, 10, generator=torch.Generator().manual_seed(0))
    small, large = (muon_updates(gradient * scale, torch.zeros(1, 6, 10), beta=0.95) for scale in (1e-3, 1e3))
    assert torch.allclose(small, large, rtol=1e-2, atol=1e-2)
    assert 0.1 < small.square().mean().sqrt() < 0.4


def test_processes_share_the_work_without_a_gap():
    model = nn.Sequential(*(nn.Linear(size, 2 * size) for size in (4, 4, 4, 8, 8)))
    layout = Layout(model, lambda name, weight: weight.ndim == 2)
    shares = [layout.matrices_of(number, 3) for number in range(3)]
    names = [place.name for share in shares for places in share.values() for place in places]
    assert sorted(names) == sorted(f"{number}.weight" for number in range(5))
    plain = [number for part in range(3) for number in range(layout.size)[layout.plain_of(part, 3)]]
    assert plain == list(range(layout.plain))
    assert layout.size == sum(weight.numel() for weight in model.parameters())


def test_the_rate_rises_then_holds_then_falls():
    recipe = Recipe(steps=100, batch=1, rate=2.0, warmup=10, held=0.5)
    rates = [recipe.rate_at(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.2)
    assert set(rates[9:51]) == {2.0}
    assert rates[-1] == pytest.approx(2 * (1 - 0.98 * 0.98))
    assert rates[51:] == sorted(rates[51:], reverse=True)


def test_training_learns(sums, tmp_path):
    recipe = replace(sums.RECIPE, steps=400)
    first = sums.train(tmp_path / "short", recipe=replace(recipe, steps=1))
    assert sums.train(tmp_path / "long", recipe=recipe).loss < first.loss / 5


def test_the_same_run_gives_the_same_bits(sums, tmp_path):
    assert same(sums.train(tmp_path / "one"), sums.train(tmp_path / "two"))
    assert not same(sums.train(tmp_path / "one"), sums.train(tmp_path / "three", recipe=replace(sums.RECIPE, seed=1)))


@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_run_goes_on_to_the_same_bits(sums, tmp_path, processes):
    state = tmp_path / "state.safetensors"
    command = [sys.executable, str(HERE / "training_sums.py"), str(state), str(processes)]
    with subprocess.Popen(command, start_new_session=True) as running:
        while not state.is_file() and running.poll() is None:
            time.sleep(0.02)
        os.killpg(running.pid, signal.SIGKILL)
    steps = []
    recipe = replace(sums.RECIPE, processes=processes)
    resumed = sums.train(state, recipe=recipe, watch=lambda step, model: steps.append(step), watched=recipe.steps)
    assert 1 < steps[0] <= recipe.steps
    assert same(resumed, sums.train(tmp_path / "whole", recipe=recipe))
    assert resumed.samples == recipe.steps * recipe.batch * processes


def test_a_finished_run_is_only_read(sums, tmp_path):
    first = sums.train(tmp_path / "state")
    again = sums.train(tmp_path / "state", sums.Sums(seconds=60))
    assert same(first, again)
    assert (again.samples, again.seconds) == (first.samples, first.seconds)


def test_the_state_of_another_recipe_is_refused(sums, tmp_path):
    sums.train(tmp_path / "state")
    with pytest.raises(VelaturaError, match="made with other settings"):
        sums.train(tmp_path / "state", recipe=replace(sums.RECIPE, steps=13))


def test_a_process_that_dies_ends_the_run_with_a_sentence(sums, tmp_path, capfd):
    with pytest.raises(VelaturaError, match="a training process died"):
        sums.train(tmp_path / "state", sums.Sums(dies=True), replace(sums.RECIPE, processes=2))
    assert "as asked" in capfd.readouterr().err


def test_reports_tell_how_far_it_is(sums, tmp_path):
    reports = []
    sums.train(tmp_path / "state", progress=reports.append)
    assert (reports[-1].step, reports[-1].left) == (12, 0)
    assert str(reports[-1]).startswith("sums: step 12 of 12, loss ")


def test_the_watched_model_has_the_averaged_weights(sums, tmp_path):
    seen = {}
    trained = sums.train(
        tmp_path / "state", watch=lambda step, model: seen.update({step: model.state_dict()}), watched=3
    )
    assert list(seen) == [4, 8, 12]
    assert all(torch.equal(seen[12][name], weight) for name, weight in trained.weights.items())
