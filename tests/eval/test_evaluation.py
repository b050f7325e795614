"""Evaluations: cells over the pairs that all have, figures with all that they depend on, paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from velatura.errors import InputError
from velatura.eval.cache import ScoreCache
from velatura.eval.cells import Cell
from velatura.eval.estimates import Estimate, mean_estimate
from velatura.eval.evaluation import Evaluation, by_method, holm, restricted, surely_worse
from velatura.eval.manifest import Manifest, manifest_of
from velatura.eval.records import CellName, Difference, Sample


@dataclass
class Mean:
    """A metric for these tests: the mean of the one feature there is."""

    name: str = "mean"
    title: str = "Mean"
    unit: str = ""
    better: str = "higher"
    ranking: bool = True
    needs: tuple[str, ...] = ("number",)
    signature: str = "mean|of=number"
    measured: int = 0

    def estimate(self, cell: Cell) -> Estimate:
        self.measured += 1
        numbers = cell.features["number"][:, 0]
        known = np.isfinite(numbers)
        return mean_estimate(np.array(cell.prompts)[known].tolist(), numbers[known])


@dataclass
class Whole(Mean):
    """The same, as if it were no mean over prompts."""

    name: str = "whole"

    def estimate(self, cell: Cell) -> Estimate:
        return replace(super().estimate(cell), is_mean=False)


def sample(method: str, prompt: int, index: int = 0, guidance: float | None = None) -> Sample:
    name = f"{method} {prompt} {index} {guidance}"
    return Sample(
        prompt_id=str(prompt), prompt=f"prompt {prompt}", method=method, image=f"{name}.png", index=index,
        guidance=guidance, sha256=name.encode().hex().ljust(64, "0")[:64],
    )  # fmt: skip


@dataclass
class Picky(Mean):
    """The same, of a prompt's several pictures alone."""

    name: str = "picky"

    def estimate(self, cell: Cell) -> Estimate:
        if len(cell.samples) == len(set(cell.prompts)):
            raise InputError(f"{cell.name} has no prompt with two pictures")
        return super().estimate(cell)


@dataclass
class Growing(Mean):
    """A mean that hangs on how many pictures a prompt has."""

    name: str = "growing"
    grows: bool = True


def features(samples: Sequence[Sample]) -> dict[str, np.ndarray]:
    """A number for each picture: noise that methods share, and for ours one more."""
    rng = np.random.default_rng(5)
    shared = rng.normal(0, 10, (40, 4))
    own = np.random.default_rng(6).normal(0, 0.3, (40, 4))
    return {
        "number": np.array(
            [
                [
                    shared[int(one.prompt_id), one.index]
                    + (1 + own[int(one.prompt_id), one.index]) * (one.method == "ours")
                ]
                for one in samples
            ],
            np.float32,
        )
    }


BASE, OURS = CellName(method="base"), CellName(method="ours")


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return manifest_of(
        [sample(method, prompt, index) for method in ("base", "ours") for prompt in range(40) for index in range(2)],
        tmp_path,
    )


def test_a_figure_says_what_it_is_of_and_depends_on(manifest: Manifest) -> None:
    figure = Evaluation(manifest, features=features).score([Mean()]).figure("mean", BASE)
    assert (figure.n, figure.prompts, figure.cell) == (80, 40, BASE)
    assert figure.signature.startswith("mean|of=number|n=80|prompts=40|velatura=")
    assert figure.low is not None
    assert figure.low < figure.value < figure.high  # type: ignore[operator]


def test_a_difference_far_smaller_than_either_interval_is_seen(manifest: Manifest) -> None:
    scores = Evaluation(manifest, features=features).score([Mean()])
    one, other = scores.figure("mean", OURS), scores.figure("mean", BASE)
    assert one.low < other.high  # type: ignore[operator]
    difference = scores.compare(OURS, BASE, "mean")
    assert (difference.verdict, difference.n, difference.missing) == ("better", 80, 0)
    assert difference.p is not None
    assert difference.p < 1e-6
    assert scores.compare(BASE, OURS, "mean").verdict == "worse"
    assert scores.compare(BASE, BASE, "mean").verdict == "unclear"


def test_cells_are_measured_over_the_pairs_that_all_have(manifest: Manifest) -> None:
    lacking = replace(manifest, samples=manifest.samples[:-3])
    scores = Evaluation(lacking, features=features).score([Mean()])
    assert {scores.figure("mean", name).n for name in (BASE, OURS)} == {77}
    assert scores.compare(BASE, OURS, "mean").missing == 3
    assert any("unequal size" in warning for warning in scores.warnings)
    everything = Evaluation(lacking, features=features, paired=False).score([Mean()])
    assert [everything.figure("mean", name).n for name in (BASE, OURS)] == [80, 77]
    assert everything.compare(BASE, OURS, "mean").n == 77


def test_what_hangs_on_the_number_of_pictures_is_not_compared_at_unequal_numbers(manifest: Manifest) -> None:
    lacking = replace(manifest, samples=manifest.samples[:-1])
    scores = Evaluation(lacking, features=features, paired=False).score([Whole()])
    with pytest.raises(InputError, match="ours has 79 pictures and base 80"):
        scores.compare(OURS, BASE, "whole")


def test_what_cannot_be_compared_is_left_out_and_told_and_the_rest_is_compared(manifest: Manifest) -> None:
    lacking = replace(manifest, samples=manifest.samples[:-1])
    scores = Evaluation(lacking, features=features, paired=False).score([Mean(), Whole()])
    assert [one.metric for one in scores.differences("base")] == ["mean"]
    assert scores.uncompared("base") == ("whole: ours has 79 pictures and base 80: they cannot be compared",)
    paired = Evaluation(lacking, features=features).score([Mean(), Whole()])
    assert (len(paired.differences("base")), paired.uncompared("base")) == (2, ())


def test_what_grows_with_the_pictures_of_a_prompt_is_not_compared_at_unequal_numbers(manifest: Manifest) -> None:
    single = tuple(one for one in manifest.samples if one.method == "base" or one.index == 0)
    scores = Evaluation(replace(manifest, samples=single), features=features, paired=False).score([Mean(), Growing()])
    assert scores.compare(OURS, BASE, "mean").prompts == 40
    with pytest.raises(InputError, match="ours has 1 pictures of a prompt and base 2: it grows with their number"):
        scores.compare(OURS, BASE, "growing")


def test_a_metric_that_cannot_be_measured_costs_itself_alone(manifest: Manifest) -> None:
    single = replace(manifest, samples=tuple(one for one in manifest.samples if one.index == 0))
    scores = Evaluation(single, features=features).score([Picky(), Mean()])
    assert [metric.name for metric in scores.metrics] == ["mean"]
    assert len(scores.figures()) == 2
    assert scores.failed == (("picky", "base has no prompt with two pictures"),)
    assert "picky is left out: base has no prompt with two pictures" in scores.warnings
    with pytest.raises(InputError, match="picky cannot be measured: base has no prompt"):
        scores.metric("picky")
    with pytest.raises(InputError, match=r"^base has no prompt with two pictures$"):
        Evaluation(single, features=features).score([Picky()])


def test_only_what_stays_worse_once_all_are_counted_is_surely_worse() -> None:
    def lost(p: float | None, value: float = -1.0) -> Difference:
        return Difference(
            metric="mean", cell=OURS, baseline=BASE, value=value, error=0.1, low=value - 0.2, high=value + 0.2, p=p,
            n=9, prompts=9, missing=0, unit="", better="higher", signature="mean",
        )  # fmt: skip

    assert surely_worse([lost(0.03)]) == (lost(0.03),)
    assert surely_worse([lost(0.03)] * 5) == ()
    assert surely_worse([lost(None), lost(0.001, 1.0)]) == ()
    assert surely_worse([]) == ()


def test_a_mean_is_compared_over_the_prompts_that_both_know(manifest: Manifest) -> None:
    def refusing(samples: Sequence[Sample]) -> dict[str, np.ndarray]:
        found = features(samples)["number"]
        found[[one.method == "ours" and one.prompt_id in ("3", "4") for one in samples]] = np.nan
        return {"number": found}

    scores = Evaluation(manifest, features=refusing).score([Mean()])
    difference = scores.compare(OURS, BASE, "mean")
    assert (difference.prompts, difference.n, difference.missing, difference.verdict) == (38, 76, 0, "better")
    assert scores.compare(BASE, OURS, "mean").missing == 4
    whole = Evaluation(manifest, features=refusing).score([Whole()])
    with pytest.raises(InputError, match="of different prompts"):
        whole.compare(OURS, BASE, "whole")


def test_methods_without_a_pair_in_common_are_not_compared(tmp_path: Path) -> None:
    apart = manifest_of([sample("base", 1), sample("ours", 2)], tmp_path)
    with pytest.raises(InputError, match="--all"):
        Evaluation(apart, features=features).score([Mean()])


def test_what_was_measured_is_not_measured_again_until_a_picture_changes(manifest: Manifest, tmp_path: Path) -> None:
    metric, cache = Mean(), ScoreCache(tmp_path / "scores")
    first = Evaluation(manifest, features=features, scores=cache).score([metric])
    again = Evaluation(manifest, features=features, scores=ScoreCache(tmp_path / "scores")).score([metric])
    assert metric.measured == 2
    assert again.figures() == first.figures()
    assert again.compare(OURS, BASE, "mean") == first.compare(OURS, BASE, "mean")
    changed = replace(manifest.samples[0], sha256="f" * 64)
    other = replace(manifest, samples=(changed, *manifest.samples[1:]))
    Evaluation(other, features=features, scores=cache).score([metric])
    assert metric.measured == 3


def test_differences_are_taken_at_the_same_guidance_and_adjusted_for_how_many_there_are(tmp_path: Path) -> None:
    samples = [
        sample(method, prompt, guidance=guidance)
        for method in ("base", "ours") for guidance in (2.0, 4.0) for prompt in range(40)
    ]  # fmt: skip
    scores = Evaluation(manifest_of(samples, tmp_path), features=features).score([Mean()])
    differences = scores.differences("base")
    assert [(one.cell.guidance, one.baseline.guidance) for one in differences] == [(2.0, 2.0), (4.0, 4.0)]
    adjusted = holm(differences)
    assert all(p >= one.p for p, one in zip(adjusted, differences, strict=True))  # type: ignore[operator]
    assert by_method(scores.cells)["ours"] == tuple(CellName(method="ours", guidance=g) for g in (2.0, 4.0))
    with pytest.raises(InputError, match="no method 'none'"):
        scores.differences("none")


def test_a_baseline_without_guidance_serves_all(tmp_path: Path) -> None:
    samples = [sample("base", prompt) for prompt in range(9)]
    samples += [sample("ours", prompt, guidance=g) for g in (1.0, 2.0) for prompt in range(9)]
    scores = Evaluation(manifest_of(samples, tmp_path), features=features).score([Mean()])
    assert {one.baseline for one in scores.differences("base")} == {BASE}


def test_a_baseline_of_one_guidance_serves_that_alone(tmp_path: Path) -> None:
    samples = [sample("base", prompt, guidance=2.0) for prompt in range(9)]
    samples += [sample("ours", prompt, guidance=g) for g in (2.0, 4.0, None) for prompt in range(9)]
    scores = Evaluation(manifest_of(samples, tmp_path), features=features).score([Mean()])
    assert [one.cell.guidance for one in scores.differences("base")] == [2.0]


def test_methods_are_compared_by_their_names(tmp_path: Path) -> None:
    samples = [
        sample(method, prompt, guidance=guidance)
        for method in ("base", "ours") for guidance in (2.0, 4.0) for prompt in range(9)
    ]  # fmt: skip
    scores = Evaluation(manifest_of(samples, tmp_path), features=features).score([Mean()])
    assert scores.compare("ours", "base", metric="mean", guidance=4.0) in scores.differences("base")
    with pytest.raises(InputError, match="name a guidance of ours; there are ours @ 2, ours @ 4"):
        scores.compare("ours", "base", metric="mean")
    with pytest.raises(InputError, match="there is no method 'best'"):
        scores.compare("best", "base", metric="mean")


def test_a_metric_that_chose_the_pictures_is_told(manifest: Manifest) -> None:
    chosen = tuple(replace(one, best_of=4, selector="mean") for one in manifest.samples)
    scores = Evaluation(replace(manifest, samples=chosen), features=features).score([Mean()])
    assert any("chosen by mean" in warning for warning in scores.warnings)


def test_what_was_not_measured_is_named(manifest: Manifest) -> None:
    scores = Evaluation(manifest, features=features).score([Mean()])
    with pytest.raises(InputError, match="'fid' was not measured; there are mean"):
        scores.figure("fid", BASE)
    with pytest.raises(InputError, match="mean of other"):
        scores.figure("mean", CellName(method="other"))


def test_a_part_of_a_manifest(manifest: Manifest) -> None:
    part = restricted(manifest, methods=("ours",), limit=5)
    assert {one.method for one in part.samples} == {"ours"}
    assert len({one.prompt_id for one in part.samples}) == 5
    with pytest.raises(InputError, match="no method 'none'"):
        restricted(manifest, methods=("none",))
