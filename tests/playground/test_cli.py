"""`velatura demo` and `velatura playground ...` as people and programs use them."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import command_line
import pytest

from velatura.playground import cli, demo, library, measure, training
from velatura.playground.cli import Left
from velatura.playground.sample import make_adapter, make_checkpoint
from velatura.records import AdapterRecord, Choice, Composition


@pytest.fixture
def velatura(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return partial(command_line.velatura, home=tmp_path)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained adapters, with random weights."""
    folder = tmp_path_factory.mktemp("weights")
    base = make_checkpoint(folder / "base")
    (folder / "loras").mkdir()
    for name in ("cat", "duck"):
        make_adapter(folder / "loras" / f"{name}.safetensors", base)
    return folder


def entry(**given: object) -> dict[str, object]:
    known = {"samples": 64_000, "wall_seconds": 90.0, "processor_seconds": 120.0, "machine": "a test", "loss": 0.1}
    return {**known, "figures": {"psnr": 37.25, "psnr_by_style": {"flat": 33.7, "neon": 35.0}}, "recipe": {}, **given}


# -------------------------------------------------------------------- demo


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Instead of painting: what the demonstration was asked for."""
    asked: list[dict[str, object]] = []
    record = AdapterRecord(source="folder", key="k", title="Duck")
    composition = Composition(
        prompt="a duck", choices=(Choice(adapter=record, weight=0.6, span="duck", reason="it says so"),)
    )

    def show(folder: Path, say: Any, *, weights: Path | None = None) -> demo.Shown:
        asked.append({"folder": folder, "weights": weights})
        say("3. choosing adapters")
        return demo.Shown(compositions=(composition,), sheet=folder / "sheet.png", page=folder / "index.html")

    monkeypatch.setattr(demo, "show", show)
    return asked


def test_demo_tells_its_story(velatura: Any, shown: list[dict[str, object]]) -> None:
    done = velatura("demo", "here", "--weights", "trained")
    assert (done.returncode, done.stdout, done.stderr) == (0, "3. choosing adapters\n", "")
    assert shown == [{"folder": Path("here"), "weights": Path("trained")}]


def test_demo_in_json_holds_compositions_sheet_and_page(velatura: Any, shown: list[dict[str, object]]) -> None:
    done = velatura("demo", "--json")
    answer = json.loads(done.stdout)
    assert done.stderr == "3. choosing adapters\n"
    assert answer["sheet"] == str(Path("velatura-demo", "sheet.png"))
    assert answer["page"] == str(Path("velatura-demo", "index.html"))
    assert [choice["title"] for choice in answer["compositions"][0]["choices"]] == ["Duck"]
    assert shown[0]["weights"] is None


# -------------------------------------------------------------------- measure and sheet


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Instead of painting for minutes: what the measure and the sheet were asked for."""
    asked: list[Any] = []

    def figures(weights: Path, output: Path, *, quick: bool = False, progress: Any = None) -> dict[str, Any]:
        progress("paint", 0, 4)
        progress("paint", 4, 4)
        asked.append(("measure", weights, output, quick))
        return {"gain_of_oracle": 0.97}

    def write_sheet(weights: Path, output: Path, path: Path, *, progress: Any = None) -> Path:
        asked.append(("sheet", weights, output, path))
        return path

    monkeypatch.setattr(measure, "measure", figures, raising=False)
    monkeypatch.setattr(measure, "write_sheet", write_sheet, raising=False)
    monkeypatch.setattr(
        measure, "text_of", lambda figures: f"{figures['gain_of_oracle']:.0%} of the gain", raising=False
    )
    monkeypatch.setattr(library, "weights_folder", lambda: Path("packed"))
    return asked


def test_measure_prints_text_and_tells_how_far_it_is(velatura: Any, measured: list[Any]) -> None:
    done = velatura("playground", "measure")
    assert done.returncode == 0
    assert done.stdout.startswith("97% of the gain\n")
    assert str(Path("velatura-measure", "figures.json")) in done.stdout
    assert done.stderr.splitlines() == ["paint: 0 of 4", "paint: 4 of 4"]
    assert measured == [("measure", Path("packed"), Path("velatura-measure"), False)]


def test_measure_in_json_holds_the_share_of_the_gain_and_nothing_else_is_on_stdout(
    velatura: Any, measured: list[Any]
) -> None:
    done = velatura("playground", "measure", "--json", "--quick", "-o", "out", "--sheet", "new/sheet.png")
    assert json.loads(done.stdout) == {"gain_of_oracle": 0.97}
    assert measured == [
        ("measure", Path("packed"), Path("out"), True),
        ("sheet", Path("packed"), Path("out"), Path("new/sheet.png")),
    ]


def test_sheet_that_cannot_be_written_is_told_before_anything_is_painted(velatura: Any, measured: list[Any]) -> None:
    Path("file").write_text("")
    for path, sentence in (("file/sheet.png", "cannot be made"), (".", "is a folder")):
        for arguments in (("sheet", path), ("measure", "--sheet", path)):
            done = velatura("playground", *arguments)
            assert (done.returncode, done.stdout) == (1, "")
            assert sentence in done.stderr
    assert not measured


def test_sheet_says_where_it_is(velatura: Any, measured: list[Any]) -> None:
    assert velatura("playground", "sheet", "a.png", "--weights", "mine").stdout == "a.png\n"
    assert json.loads(velatura("playground", "sheet", "a.png", "--json").stdout) == {"sheet": "a.png"}
    assert [weights for _, weights, _, _ in measured] == [Path("mine"), Path("packed")]


@pytest.mark.parametrize("arguments", [("measure",), ("sheet", "a.png"), ("library", "lib")])
def test_without_trained_weights_one_sentence_says_what_to_do(
    velatura: Any, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(library, "weights_folder", lambda: None)
    done = velatura("playground", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert "--weights" in done.stderr
    assert "velatura playground train" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_stopping_is_told_and_has_its_code(velatura: Any, measured: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(measure, "measure", stopped)
    done = velatura("playground", "measure")
    assert done.returncode == 130
    assert "goes on from there" in done.stderr


# -------------------------------------------------------------------- library


def test_library_is_made_and_counted(velatura: Any, weights: Path) -> None:
    done = velatura("playground", "library", "lib", "--weights", weights, "--json")
    answer = json.loads(done.stdout)
    assert answer == {
        "loras": str(Path("lib", "loras")),
        "dump": str(Path("lib", "elsewhere.json")),
        "adapters": len(list(Path("lib", "loras").glob("*.safetensors"))),
    }
    clean = json.loads(velatura("playground", "library", "good", "--clean", "--weights", weights, "--json").stdout)
    assert clean["adapters"] == 2 < answer["adapters"]
    assert "velatura index" in velatura("playground", "library", "lib", "--weights", weights).stdout


# -------------------------------------------------------------------- training


def test_train_hands_on_what_was_asked_for(velatura: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def train(folder: Path, stages: list[str], *, plan: Any, machine: str | None, progress: Any) -> None:
        asked.append((folder, stages, plan, machine))
        progress("base: step 1 of 2")
        (folder / "training.json").write_text(json.dumps({"base": entry()}))

    monkeypatch.setattr(training, "train", train, raising=False)
    done = velatura(
        "playground", "train", "new/mine", "--stages", "base, evaluator", "--processes", 4, "--machine", "a box"
    )
    assert (done.returncode, done.stderr) == (0, "base: step 1 of 2\n")
    assert "a test" in done.stdout
    assert asked == [(Path("new/mine"), ["base", "evaluator"], training.processor_plan(4), "a box")]
    velatura("playground", "train", "mine", "--plan", "trial", "--processes", 1)
    assert asked[1] == (Path("mine"), list(training.STAGES), training.trial_plan(), None)


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("mine", "--stages", "bases"), 1, "there is no stage 'bases'"),
        (("mine", "--stages", "base", "--plan", "trial"), 1, "needs autoencoder"),
        (("mine", "--plan", "huge"), 2, "--plan"),
        (("mine", "--processes", 0), 2, "--processes"),
        (("mine", "--plan", "gpu"), 1, "CUDA"),
        (("file/mine",), 1, "cannot be made"),
    ],
)
def test_training_that_cannot_begin_is_one_sentence(
    velatura: Any, arguments: tuple[object, ...], code: int, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    Path("file").write_text("")
    done = velatura("playground", "train", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_stages_say_what_is_finished_and_what_is_not(velatura: Any) -> None:
    Path("training.json").write_text(json.dumps({"autoencoder": entry(), "adapter cat": entry(samples=7)}))
    text = velatura("playground", "stages", ".").stdout
    assert "psnr 37.25" in text
    assert "psnr by style: flat 33.7, neon 35.0" in text
    lines = {line.split("  ")[0]: line for line in text.splitlines()}
    assert lines["autoencoder"].split() == ["autoencoder", "64,000", "1.5", "2.0", "a", "test"]
    assert "not finished" in lines["base"]
    assert "7" in lines["adapter cat"]
    answer = json.loads(velatura("playground", "stages", ".", "--json").stdout)
    assert list(answer["stages"]) == [stage for stage in training.STAGES if stage != "adapters"]
    assert answer["stages"]["base"] is None
    assert answer["adapters"]["cat"]["samples"] == 7


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{" * 5000,
        '{"base": null}',
        '{"base": {"samples": "many"}}',
        json.dumps({"base": entry(samples=10**400)}),
        json.dumps({"base": entry(wall_seconds=float("nan"))}),
    ],
)
def test_damaged_training_file_is_one_sentence(velatura: Any, text: str) -> None:
    Path("training.json").write_text(text)
    done = velatura("playground", "stages", ".")
    assert (done.returncode, done.stdout) == (1, "")
    assert "training.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_figure_that_is_no_number_is_null_in_json(velatura: Any) -> None:
    Path("training.json").write_text(json.dumps({"base": entry(figures={"validation": [1.0, float("nan")]})}))
    answer = json.loads(velatura("playground", "stages", ".", "--json").stdout)
    assert answer["stages"]["base"]["figures"] == {"validation": [1.0, None]}


def test_folder_without_training_is_one_sentence(velatura: Any) -> None:
    done = velatura("playground", "stages", ".")
    assert done.returncode == 1
    assert "no stage was finished there" in done.stderr


def test_package_that_is_missing_is_named_with_the_line_that_installs_it(
    velatura: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "velatura.playground.training.stages", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    done = velatura("playground", "stages", ".")
    assert done.returncode == 1
    assert "torch is not installed; run: pip install 'velatura[generate]'" in done.stderr


# -------------------------------------------------------------------- progress


def test_time_left_goes_by_the_pace_of_the_last_minute(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(cli.time, "monotonic", lambda: now[0])
    left = Left()
    left("paint", 0, 1000)
    now[0] = 1.0
    left("paint", 500, 1000)  # an earlier run's, which go by at once; too soon for a line
    for second in range(2, 202):
        now[0] = float(second)
        left("paint", 500 + second - 1, 1000)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "paint: 0 of 1,000"
    assert len(lines) == 1 + 201 // 5
    assert lines[-1] == "paint: 699 of 1,000, about 5 min left"


def test_each_part_of_a_run_begins_anew(capsys: pytest.CaptureFixture[str]) -> None:
    left = Left()
    for what in ("paint", "score"):
        left(what, 0, 1)
        left(what, 1, 1)
    assert capsys.readouterr().err.splitlines() == ["paint: 0 of 1", "paint: 1 of 1", "score: 0 of 1", "score: 1 of 1"]


# -------------------------------------------------------------------- weight


def test_help_of_every_command_is_light() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from velatura.cli import app\n"
        "for words in ([], ['playground'], ['playground', 'train'], ['playground', 'measure']):\n"
        "    assert CliRunner().invoke(app, [*words, '--help']).exit_code == 0\n"
        "print([name for name in ('torch', 'numpy', 'PIL', 'diffusers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
