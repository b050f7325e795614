"""An evaluation is opened by what people write, and looks at no more than its metrics need."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_networks import clip_folder, noise, resnet_folder

from velatura.errors import InputError
from velatura.eval.evaluation import Evaluation
from velatura.eval.manifest import Manifest, read_manifest
from velatura.eval.opening import Opened, open_evaluation


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("models")
    return {"clip": str(clip_folder(folder / "clip")), "resnet50": str(resnet_folder(folder / "resnet"))}


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Two methods, two prompts, two pictures each."""
    folder, lines = tmp_path / "pictures", []
    folder.mkdir()
    for number, method in enumerate(("base", "ours")):
        for place, prompt in enumerate(("a fox", "a house")):
            for index in range(2):
                name = f"{method}-{place}-{index}.png"
                noise(32, 32, seed=10 * number + 3 * place + index).save(folder / name)
                lines.append(json.dumps({"image": name, "prompt": prompt, "method": method, "index": index}))
    (folder / "manifest.jsonl").write_text("\n".join(lines))
    return read_manifest(folder)


@pytest.fixture
def opened(manifest: Manifest, models: dict[str, str], tmp_path: Path) -> Any:
    def opening(*metrics: str, **more: Any) -> Opened:
        given = {"models": models, "cache": tmp_path / "cache"} | more
        return open_evaluation(manifest, metrics=metrics, **given)

    return opening


def rejected(opened: Opened) -> dict[str, str]:
    return dict(opened.rejected)


def test_it_is_ready_to_be_scored(opened: Any) -> None:
    found = opened("clip", "diversity", "ms-ssim", ms_ssim=(2, 7))
    scores = found.evaluation.score(found.metrics)
    assert [metric.name for metric in scores.metrics] == ["clip", "diversity", "ms-ssim"]
    assert {figure.n for figure in scores.figures()} == {4}
    assert rejected(found) == {}


def test_a_metric_that_is_asked_for_twice_is_made_once(opened: Any) -> None:
    assert [metric.name for metric in opened("clip", "clip", "clip-s").metrics] == ["clip", "clip-s"]


def test_without_names_the_usual_metrics_of_the_models_are_taken(opened: Any, manifest: Manifest) -> None:
    assert [metric.name for metric in opened().metrics] == ["clip", "diversity"]
    assert [metric.name for metric in opened(reference=manifest.folder).metrics] == ["clip", "cmmd", "diversity"]
    with pytest.raises(InputError, match="nothing can be measured without a model; name one with --clip"):
        opened(models={})


def test_models_that_no_metric_asks_for_are_not_opened(opened: Any, models: dict[str, str], tmp_path: Path) -> None:
    broken = {"clip": models["clip"], "resnet50": str(tmp_path / "nowhere")}
    assert opened("clip", models=broken).metrics
    with pytest.raises(InputError, match="there is no folder"):
        opened("diversity", models=broken)


@pytest.mark.parametrize("metric", ["clip", "ms-ssim"])
def test_pictures_that_cannot_be_read_cost_themselves_alone(opened: Any, manifest: Manifest, metric: str) -> None:
    gone, torn, junk = (manifest.folder / name for name in ("base-0-1.png", "ours-1-0.png", "ours-1-1.png"))
    gone.unlink()
    torn.write_bytes(torn.read_bytes()[:900])
    junk.write_bytes(b"no picture")
    for _ in range(2):  # whatever was kept the first time
        found = opened(metric, ms_ssim=(2, 7))
        assert list(rejected(found)) == [gone.name, torn.name, junk.name]
        assert "there is no picture" in rejected(found)[gone.name]
        assert len(found.evaluation.manifest.samples) == 5


def test_a_picture_other_than_the_manifest_tells_of_is_left_out(
    manifest: Manifest, models: dict[str, str], tmp_path: Path
) -> None:
    file = manifest.folder / "manifest.jsonl"
    first, *others = file.read_text().splitlines()
    file.write_text("\n".join([json.dumps({**json.loads(first), "sha256": "0" * 64}), *others]))
    for metric in ("clip", "ms-ssim"):
        found = open_evaluation(
            read_manifest(file), models=models, metrics=[metric], cache=tmp_path / "cache", ms_ssim=(2, 7)
        )
        assert "not the picture that the manifest tells of" in rejected(found)["base-0-0.png"]


def test_where_no_picture_can_be_read_the_first_reason_is_told(opened: Any, manifest: Manifest) -> None:
    for sample in manifest.samples:
        manifest.path(sample).write_bytes(b"no picture")
    for metric in ("clip", "ms-ssim"):
        with pytest.raises(InputError, match=r"no picture can be read: .* is no PNG"):
            opened(metric)


@pytest.mark.parametrize("device", ["nonsense", "meta", "xpu:7"])
def test_a_device_that_is_not_there_is_one_sentence(opened: Any, device: str) -> None:
    with pytest.raises(InputError, match="there is no device"):
        opened("clip", device=device)


def test_a_part_of_the_methods_and_prompts_can_be_measured(opened: Any) -> None:
    found = opened("clip", methods=("ours",), limit=1)
    assert {sample.method for sample in found.evaluation.manifest.samples} == {"ours"}
    assert len(found.evaluation.manifest.samples) == 2
    with pytest.raises(InputError, match="there is no method 'best' in it; there are base, ours"):
        opened("clip", methods=("best",))


def test_it_tells_what_it_is_at(opened: Any) -> None:
    told: list[tuple[str, int, int]] = []
    opened("clip", "ms-ssim", ms_ssim=(2, 7), told=lambda *what: told.append(what))
    assert {what for what, _, _ in told} == {"look", "extract"}
    assert all(0 <= done <= of == 8 for _, done, of in told)


def test_a_second_time_nothing_is_looked_at(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from velatura.eval.extract.clip import Clip

    first = opened("clip", "ms-ssim", ms_ssim=(2, 7))
    scores = first.evaluation.score(first.metrics)
    monkeypatch.setattr(Clip, "extract", lambda *_: pytest.fail("looked at again"))
    again = opened("clip", "ms-ssim", ms_ssim=(2, 7))
    assert again.evaluation.score(again.metrics).figures() == scores.figures()


def test_usual_metrics_that_cannot_be_had_are_told_and_those_that_are_asked_for_are_errors(
    opened: Any, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(*_: object) -> Any:
        raise InputError("these statistics hold no features")

    moments_alone = SimpleNamespace(signature="statistics:0", features=lacking)
    monkeypatch.setattr("velatura.eval.references.open_references", lambda *_, **__: moments_alone)
    found = opened(reference=manifest.folder)
    assert found.unmade == (("cmmd", "these statistics hold no features"),)
    assert not found.asked
    scores = found.score()
    assert [metric.name for metric in scores.metrics] == ["clip", "diversity"]
    assert scores.failed == found.unmade
    assert "cmmd is left out: these statistics hold no features" in scores.warnings
    with pytest.raises(InputError, match="hold no features"):
        opened("clip", "cmmd", reference=manifest.folder)
    assert opened("clip").asked


def test_an_evaluation_is_had_from_a_manifest_and_reported(
    manifest: Manifest, models: dict[str, str], tmp_path: Path
) -> None:
    evaluation = Evaluation.from_manifest(manifest.folder, models=models, metrics=["clip"], cache=tmp_path / "cache")
    scores = evaluation.score()
    assert [figure.metric for figure in scores.figures()] == ["clip", "clip"]
    assert scores.compare("ours", "base", metric="clip").prompts == 2
    paths = scores.report(tmp_path / "report", baseline="base", name="Foxes")
    assert "Foxes" in next(path for path in paths if path.name == "report.html").read_text()
