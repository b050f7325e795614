"""`probe`, from files to what `show` tells and the composer does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from command_line import Done, velatura
from safetensors.torch import load_file, save_file

from velatura.commands.screen import print_adapter
from velatura.errors import Cancelled, InputError
from velatura.painting import Painting
from velatura.pipeline import Velatura
from velatura.playground.library import find_weights
from velatura.playground.sample import make_adapter, make_checkpoint
from velatura.probes import Grid
from velatura.protocols import Watch
from velatura.records import AdapterRecord, Composition, GenerationRequest, RefinedAdapter
from velatura.settings import default_settings

EVALUATOR = str(find_weights() / "evaluator")
QUICK = ("--model", "checkpoint", "--clip", EVALUATOR, "--steps", 2, "--device", "cpu", "--batch", 8)
GRID = ("--prompts", "prompts.txt", "--weights", "1,0.5")


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person's folder with a checkpoint, an adapter, one that changes nothing, and one for another base."""
    folder = tmp_path_factory.mktemp("person")
    make_checkpoint(folder / "checkpoint")
    loras = folder / "loras"
    loras.mkdir()
    bases = {"otter": (5, "sd_v1"), "moss": (0, "sd_v1"), "moon": (2, "sdxl_base_v1-0")}
    for seed, (name, (factor, base)) in enumerate(bases.items()):
        path = make_adapter(loras / f"{name}.safetensors", folder / "checkpoint", seed=seed)
        tensors = {key: factor * tensor if "lora_up" in key else tensor for key, tensor in load_file(path).items()}
        save_file(tensors, path, {"ss_base_model_version": base})
    for name in ("otter", "moss"):
        told = {"activation text": f"{name}ish"}
        (loras / f"{name}.json").write_text(json.dumps(told))
    (folder / "prompts.txt").write_text("a red house\nsnow at night\n\n", "utf-8")
    assert velatura("index", "loras", "--no-embed", home=folder).returncode == 0
    return folder


@pytest.fixture(scope="module")
def probed(home: Path) -> Done:
    return velatura("probe", "--all", *GRID, *QUICK, "--json", home=home)


def test_all_that_the_checkpoint_wears_are_probed(home: Path, probed: Done) -> None:
    told = {one["told"].split(",")[0]: one for one in probed.json["probed"]}
    assert set(told) == {"otterish", "mossish"}
    assert (probed.json["kept"], probed.json["failed"]) == ([], [])
    assert told["mossish"]["flags"] == ["no effect"]
    assert told["mossish"]["best"] is None
    otter = told["otterish"]
    assert [one["weight"] for one in otter["weights"]] == [0.5, 1.0]
    assert all(one["change"] > 0.3 for one in otter["weights"])
    assert (otter["prompts"], otter["seeds"], otter["family"]) == (2, 2, "sd1")
    assert "no effect" not in otter["flags"]
    folders = list((home / "catalogue.db.probes").iterdir())
    assert {len(list(folder.glob("*-*-*.png"))) for folder in folders} == {12}
    assert all((folder / "contact.png").is_file() for folder in folders)


def test_what_was_probed_is_not_probed_again_but_another_way(home: Path, probed: Done) -> None:
    pictures = {path: path.stat().st_mtime_ns for path in (home / "catalogue.db.probes").glob("*/*-*-*.png")}
    done = velatura("probe", "otter", *GRID, *QUICK, home=home)
    assert "0 probed, 1 were probed before, 0 failed" in done.stdout
    again = velatura("probe", "otter", *GRID, *QUICK, "--again", "--json", home=home).json
    assert again["probed"] == [one for one in probed.json["probed"] if one["told"].startswith("otterish")]
    other = velatura("probe", "otter", *GRID, *QUICK, "--seeds", 3, home=home)
    assert "1 probed, 0 failed" in other.stdout
    assert {path: path.stat().st_mtime_ns for path in pictures} == pictures
    assert len(list((home / "catalogue.db.probes").glob("*/*-*-*.png"))) == len(pictures) + 6
    assert velatura("probe", "otter", *GRID, *QUICK, "--json", home=home).json["probed"] == again["probed"]


def test_show_tells_the_probe(home: Path, probed: Done) -> None:
    assert "NO EFFECT, no best weight" in velatura("show", "moss", home=home).stdout
    told = velatura("show", "moss", "--json", home=home).json["probes"]["sd1"]
    assert told["flags"] == ["no effect"]
    assert "direction" not in told
    assert velatura("show", "moon", "--json", home=home).json["probes"] == {}


def test_composer_leaves_out_what_has_no_effect(home: Path, probed: Done) -> None:
    told = velatura("compose", "an otterish creature, mossish", "--family", "sd1", "--json", home=home).json
    assert [choice["title"] for choice in told["choices"]] == ["otter"]
    [refusal] = told["refused"]
    assert refusal["title"] == "moss"
    assert refusal["reason"].startswith("no effect: its probe")
    free = velatura("compose", "an otterish creature, mossish", "--json", home=home).json
    assert [choice["title"] for choice in free["choices"]] == ["otter"]
    pinned = velatura("compose", "a creature <lora:moss:1>", "--json", home=home).json
    assert [choice["title"] for choice in pinned["choices"]] == ["moss"]


def test_adapter_that_does_not_fit_is_told_and_costs_no_other(home: Path, probed: Done) -> None:
    done = velatura("probe", "moon", "moss", *GRID, *QUICK, home=home)
    assert done.returncode == 1
    assert "0 probed, 1 were probed before, 1 failed" in done.stdout
    assert "moon.safetensors: made for SDXL, and the checkpoint is SD 1.x" in done.stdout


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({"VELATURA_NSFW": "1"}, "its rating is not allowed"),
        ({"VELATURA_COMMERCIAL": "image"}, "its licence does not allow that use"),
        ({"VELATURA_REAL_PEOPLE": "false"}, "it depicts a real person"),
        ({"VELATURA_BLOCKED": '["star"]'}, "it is blocked"),
    ],
)
def test_what_the_settings_keep_out_is_refused_by_name_and_left_out_of_all(
    starred: Path, environment: dict[str, str], why: str
) -> None:
    done = velatura("probe", "star", *GRID, *QUICK, home=starred, **environment)
    assert done.returncode == 1
    assert f"“star” is kept out: {why}" in done.stderr
    told = velatura("probe", "--all", *GRID, *QUICK, home=starred, **environment)
    assert told.returncode == 0, told.stderr
    assert "0 probed, 0 failed" in told.stdout
    assert "1 more are kept out by the settings" in told.stdout
    assert velatura("probe", "--all", *GRID, *QUICK, "--json", home=starred, **environment).json["left_out"] == 1
    assert not (starred / "catalogue.db.probes").exists()


@pytest.fixture
def starred(home: Path, tmp_path: Path) -> Path:
    """A person's folder with one adapter, of a real person, rated and licensed as narrowly as there is."""
    (tmp_path / "loras").mkdir()
    star = tmp_path / "loras" / "star.safetensors"
    star.write_bytes((home / "loras" / "otter.safetensors").read_bytes())
    page = {"model": {"name": "star", "poi": True}, "nsfwLevel": 31, "baseModel": "SD 1.5"}
    star.with_suffix(".civitai.info").write_text(json.dumps(page))
    for name in ("checkpoint", "prompts.txt"):
        (tmp_path / name).symlink_to(home / name)
    assert velatura("index", "loras", "--no-embed", home=tmp_path).returncode == 0
    return tmp_path


def test_adapter_that_cannot_be_requested_costs_no_other(
    home: Path, probed: Done, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = Painting.request

    def request(self: Painting, composition: Composition, **fields: object) -> GenerationRequest:
        if "otterish" in composition.painted_prompt:
            raise InputError("nobody can ask for this")
        return ask(self, composition, **fields)

    monkeypatch.setattr(Painting, "request", request)
    done = velatura("probe", "otter", "moss", *GRID, *QUICK, "--json", home=home)
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert [one["reason"] for one in told["failed"]] == ["nobody can ask for this"]
    assert len(told["kept"]) == 1


def test_stamp_is_of_the_checkpoint_s_content(home: Path, probed: Done) -> None:
    (home / "other").symlink_to(home / "checkpoint")
    moved = velatura("probe", "otter", *GRID, *QUICK, "--model", "other", home=home)
    assert "0 probed, 1 were probed before" in moved.stdout
    shutil.copytree(home / "checkpoint", home / "tuned")
    [weights] = (home / "tuned" / "unet").glob("*.safetensors")
    save_file({name: tensor * 1.01 for name, tensor in load_file(weights).items()}, weights)
    tuned = velatura("probe", "moss", *GRID, *QUICK, "--model", "tuned", home=home)
    assert "1 probed, 0 failed" in tuned.stdout
    assert velatura("probe", "moss", *GRID, *QUICK, home=home).returncode == 0


def test_family_without_a_title_is_shown_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    adapter = RefinedAdapter(id=1, record=AdapterRecord(source="folder", key="a", title="A"))
    print_adapter(adapter, others=(), probes={"mars1": {"summary": "best at 1"}}, as_json=False)
    assert "on mars1: best at 1" in capsys.readouterr().out


def test_stopped_probe_goes_on(home: Path, tmp_path: Path) -> None:
    settings = default_settings(
        db=str(tmp_path / "c.db"), model=str(home / "checkpoint"), picture_model=EVALUATOR, device="cpu", steps=1
    )
    grid = Grid(prompts=("a red house", "snow at night"), weights=(1.0,))
    asked: list[bool] = []

    def stopped() -> bool:
        asked.append(True)
        return len(asked) > 3

    with Velatura(settings) as opened:
        opened.index(home / "loras")
        number = opened.find("otter")[0]
        with pytest.raises(Cancelled):
            opened.probe([number], grid, watch=Watch(stopped=stopped))
        kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("c.db.probes/*/*-*-*.png")}
        assert 0 < len(kept) < 8
        assert opened.store.probes([number]) == {}
        report = opened.probe([number], grid)
        [found] = opened.store.probes([number])[number]
    assert [done for done, _ in report.done] == [number]
    assert len(found.direction) > 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert len(list(tmp_path.glob("c.db.probes/*/*-*-*.png"))) == 8


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        ((), 2, "name some adapters, or give --all"),
        (("otter", "--all"), 2, "name some adapters, or give --all"),
        (("otter", "--weights", "half"), 2, "'half' is no list of numbers"),
        (("otter", "--weights", "nan,1"), 1, "must be above 0 and at most 10"),
        (("otter", "--weights", "-1"), 1, "must be above 0 and at most 10"),
        (("otter", "--prompts", "one.txt"), 1, "at least two prompts"),
        (("otter", "--prompts", "none.txt"), 1, "none.txt cannot be read"),
        (("nobody", *QUICK), 1, "nothing in the catalogue answers to 'nobody'"),
        (("otter", "--model", "checkpoint", "--steps", 1), 1, "no picture model is named"),
        (("otter", "--clip", EVALUATOR), 1, "no checkpoint is named"),
    ],
)
def test_wrong_use_is_one_sentence(home: Path, options: tuple[object, ...], code: int, sentence: str) -> None:
    (home / "one.txt").write_text("a red house\n", "utf-8")
    done = velatura("probe", *options, home=home)
    assert done.returncode == code
    assert sentence in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
