"""The Stylus experiment in the playground, as small as it can be, from the library to the page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest
import torch
from command_line import velatura

from velatura.eval.manifest import read_manifest
from velatura.playground import experiment, experiment_parts, experiment_report
from velatura.playground.experiment import METHODS, REFINED, make_prompts, paint_experiment
from velatura.playground.experiment_report import METRICS
from velatura.playground.library import find_weights
from velatura.playground.measure.conditions import _another

GUIDANCES = (2.0, 6.0)
MEASURED = ("clip", "fid:clip", "dfid:clip", "ms-ssim")
"""Those that claims are about, and one of pixels; the others have tests of their own."""


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two prompts, and of the trained adapters those that these prompts need, and the wrong ones."""
    monkeypatch.setattr(experiment, "_QUICK", {"subject": 1, "none": 1})
    monkeypatch.setattr(experiment_report, "METRICS", MEASURED)
    # In this process: those that it would begin spend their time on importing torch.
    monkeypatch.setattr(experiment_parts, "_progress", SimpleQueue())
    monkeypatch.setattr(experiment_parts, "_worked", lambda parts, *_: list(map(experiment_parts._paint, parts)))
    monkeypatch.setenv("VELATURA_HOME", str(tmp_path))
    trained, weights = find_weights(), tmp_path / "weights"
    (weights / "loras").mkdir(parents=True)
    for name in ("base", "evaluator", "training.json"):
        (weights / name).symlink_to(trained / name)
    needs = [part for ask in make_prompts(quick=True) for part in ask.needs]
    for _, name in (*needs, *map(_another, needs)):
        (weights / "loras" / f"{name}.safetensors").symlink_to(trained / "loras" / f"{name}.safetensors")
    return weights


def pictures(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / "pictures").rglob("*.png")}


@pytest.mark.slow
def test_one_command_paints_scores_and_reports_everything_and_goes_on(tiny: Path, tmp_path: Path) -> None:
    how = ("playground", "experiment", "--quick", "--weights", tiny, "-o", "out", "--samples", 2, "--json")
    told = velatura(*how, "--guidances", "2,6,2.0", home=tmp_path).json
    folder = tmp_path / "out"
    assert {Path(name).name for name in told["files"]} >= {"report.html", "results.json", "tables.tex", "tables.md"}

    samples = read_manifest(folder).samples
    assert len(samples) == len(METHODS) * len(GUIDANCES) * 2 * 2
    assert told["painted"] == len({sample.image for sample in samples}) < len(samples)

    results = json.loads((folder / "report" / "results.json").read_text())
    every = {(method, guidance) for method in METHODS for guidance in GUIDANCES}
    refined = {(f"{method}, refiner {name}", 2.0) for method in REFINED for name in ("none", "card", "pictures")}
    figures = results["figures"]
    assert {(one["cell"]["method"], one["cell"]["guidance"]) for one in figures} == every | refined
    assert {one["metric"] for one in figures} == set(MEASURED) < set(METRICS)
    assert {one["y"] for one in results["fronts"]} == {"fid:clip", "dfid:clip"}
    for front in results["fronts"]:
        assert {(one["cell"]["method"], one["cell"]["guidance"]) for one in front["points"]} == every
        assert {one["method"] for one in front["volumes"]} == set(METHODS)
    assert [len(one["rows"]) for one in results["ablations"]] == [4, 4]
    assert {one["stage"] for one in results["timings"]} >= {"retrieve", "compose", "paint", "generate"}

    claims = [one["claim"] for one in results["claims"]]
    assert claims == [one["claim"] for one in told["claims"]]
    for said in (
        "the front of stylus in CLIP score and FID (clip) dominates",
        "the front of velatura in CLIP score and FID (clip) dominates",
        "stylus+debias better than base in CLIP score, guidance 6", "random worse than base in FID",
        "which stylus+debias has the larger dFID, guidance 6", "base+debias worse than base",
        "refiner card better than stylus-nomask, refiner none", "refiner pictures better",
    ):  # fmt: skip
        assert any(said in claim for claim in claims), said
    page = (folder / "report" / "report.html").read_text()
    for said in (*METHODS, "refiner pictures", "The Stylus experiment, in the playground"):
        assert said in page

    before = pictures(folder)
    again = paint_experiment(tiny, folder, quick=True, samples=2, guidances=GUIDANCES)
    assert (again.report.painted, again.report.kept) == (0, told["painted"])
    assert pictures(folder) == before
    assert again.manifest.samples == samples
    assert {sample.method for sample in again.ablation.samples} == {"base", *(method for method, _ in refined)}


def test_prompts_are_the_same_each_time_and_a_quick_run_has_some_of_each_kind() -> None:
    whole, quick = make_prompts(), make_prompts(quick=True)
    assert whole == make_prompts()
    assert len(whole) == 66
    assert len(quick) == 7
    assert {ask.number for ask in quick} <= {ask.number for ask in whole}
    assert {ask.kind for ask in quick} == {ask.kind for ask in whole} == {"subject", "style", "pair", "none"}
    assert make_prompts(limit=3) == whole[:3]


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (("--guidances", "x"), 2, "numbers from 0 to 100"),
        (("--guidances", "nan"), 2, "numbers from 0 to 100"),
        (("--guidances", ","), 2, "numbers from 0 to 100"),
        (("--samples", "1"), 2, "--samples"),
        (("--weights", "nowhere"), 1, "error: "),
        (("-o", "file"), 1, "error: "),
        (("-o", "file/in"), 1, "error: "),
        (("-o", "/proc/out"), 1, "error: "),
    ],
)
def test_what_cannot_be_run_is_one_sentence(tmp_path: Path, options: tuple[str, ...], code: int, told: str) -> None:
    (tmp_path / "file").write_text("no folder")
    done = velatura("playground", "experiment", "--quick", "--json", *options, home=tmp_path)
    assert done.returncode == code
    assert done.stdout == ""
    assert told in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
