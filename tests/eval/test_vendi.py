"""The Vendi score against its definition."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from handmade_cells import make_cell

from velatura.errors import InputError
from velatura.eval.evaluation import Evaluation
from velatura.eval.manifest import manifest_of
from velatura.eval.records import Sample
from velatura.eval.vendi import VendiScore, WholeVendiScore, score


def defined(rows: np.ndarray) -> float:
    """exp(-sum of l log l) over the eigenvalues of K / n (Friedman and Dieng, 2023, definition 3.1)."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    eigenvalues = np.linalg.eigvalsh(unit @ unit.T / len(rows)).clip(0)
    return float(np.exp(-sum(value * np.log(value) for value in eigenvalues if value > 0)))


@pytest.mark.parametrize("shape", [(5, 32), (40, 6), (8, 8)])
def test_is_the_definition(shape: tuple[int, int]) -> None:
    rows = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    cell = make_cell({"a": shape[0]}, features={"inception": rows})
    expected = pytest.approx(defined(rows.astype(np.float64)), rel=1e-9)
    assert VendiScore().estimate(cell).value == expected
    assert WholeVendiScore().estimate(cell).value == expected


def test_is_1_of_equal_pictures_and_n_of_orthogonal_ones() -> None:
    same = np.tile(np.random.default_rng(1).random(16), (5, 1))
    for metric in (VendiScore(), WholeVendiScore()):
        assert metric.estimate(make_cell({"a": 5}, features={"inception": same})).value == pytest.approx(1, abs=1e-6)
        orthogonal = np.diag([1.0, 2.0, 3.0, 4.0, 5.0])
        assert metric.estimate(make_cell({"a": 5}, features={"inception": orthogonal})).value == pytest.approx(5)


def test_half_and_half_is_2() -> None:
    assert score(np.repeat(np.eye(2), 3, axis=0)) == pytest.approx(2)


def test_different_numbers_of_pictures_are_refused_until_as_many_are_taken() -> None:
    rows = np.random.default_rng(2).normal(size=(10, 4))
    cell = make_cell({"a": 1, "b": 3, "c": 6}, features={"inception": rows})
    with pytest.raises(InputError, match=r"3 to 6 pictures.*first 3 of each"):
        VendiScore().estimate(cell)
    estimate = VendiScore(first=3).estimate(cell)
    assert (estimate.prompts, estimate.n) == (("b", "c"), 6)
    assert estimate.value == pytest.approx((defined(rows[1:4]) + defined(rows[4:7])) / 2, rel=1e-5)
    assert estimate.notes[0] == "1 prompts have fewer than 3 pictures and are left out"
    assert "of=first-3" in VendiScore(first=3).signature
    with pytest.raises(InputError, match="no prompt with 7"):
        VendiScore(first=7).estimate(cell)
    with pytest.raises(InputError, match="two pictures"):
        VendiScore(first=1)


def test_pulls_are_what_leaving_a_prompt_out_moves() -> None:
    rng = np.random.default_rng(3)
    rows = (rng.normal(size=(60, 1, 6)) + 0.5 * rng.normal(size=(60, 2, 6))).reshape(-1, 6)
    counts = {f"{place:02d}": 2 for place in range(60)}
    narrow = WholeVendiScore().estimate(make_cell(counts, features={"inception": rows}))
    without = np.array([defined(np.delete(rows, [2 * place, 2 * place + 1], axis=0)) for place in range(60)])
    assert narrow.pulls is not None
    assert np.corrcoef(narrow.pulls, without.mean() - without)[0, 1] > 0.95
    wide = np.concatenate([rows, np.zeros((120, 300))], axis=1)
    padded = WholeVendiScore().estimate(make_cell(counts, features={"inception": wide}))
    assert padded.value == pytest.approx(narrow.value)
    assert padded.pulls == pytest.approx(narrow.pulls)


def test_standard_error_is_that_of_repeated_draws() -> None:
    rng = np.random.default_rng(4)
    mix = rng.normal(size=(12, 12))
    counts = {f"{place:03d}": 4 for place in range(150)}
    estimates = []
    for _ in range(50):
        rows = (rng.normal(size=(150, 1, 12)) + 0.5 * rng.normal(size=(150, 4, 12))).reshape(-1, 12) @ mix
        estimates.append(WholeVendiScore().estimate(make_cell(counts, features={"inception": rows})))
    seen = np.std([estimate.value for estimate in estimates])
    assert 0.75 < np.mean([estimate.error for estimate in estimates]) / seen < 1.35


def test_cells_with_different_numbers_of_pictures_are_not_compared(tmp_path: Path) -> None:
    counts = {"base": 3, "ours": 2}
    samples = [
        Sample(prompt_id=str(prompt), prompt=f"prompt {prompt}", method=method, image=f"{method}{prompt}{index}.png",
               index=index)
        for method, each in counts.items() for prompt in range(4) for index in range(each)
    ]  # fmt: skip

    def features(samples: Sequence[Sample]) -> dict[str, np.ndarray]:
        return {"inception": np.random.default_rng(5).normal(size=(len(samples), 4)).astype(np.float32)}

    manifest = manifest_of(samples, tmp_path)
    everything = Evaluation(manifest, features=features, paired=False).score([VendiScore()])
    assert everything.differences("base") == ()
    assert "vendi: ours has 2 pictures of a prompt and base 3" in everything.uncompared("base")[0]
    assert len(Evaluation(manifest, features=features).score([VendiScore()]).differences("base")) == 1
