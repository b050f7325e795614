"""Known checkpoints are found by name, path or hub id, with settings that their backends understand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from velatura.families import TITLES, family_of
from velatura.generation import BACKENDS
from velatura.generation.adapters.family import model_family_of
from velatura.generation.hub import HUB_FILE, HUB_ID
from velatura.generation.known import KNOWN, known, resolve
from velatura.generation.schedulers import SAMPLERS
from velatura.generation.structure import structure
from velatura.looks import debias
from velatura.playground.sample import make_checkpoint


@pytest.mark.parametrize("name", KNOWN)
def test_what_is_known_is_understood_elsewhere(name: str) -> None:
    one = KNOWN[name]
    assert one.backend in BACKENDS
    assert one.family in TITLES
    assert one.scheduler is None or one.scheduler in SAMPLERS
    assert one.size % 64 == 0
    assert 1 <= one.steps <= 50
    assert 0 <= one.guidance <= 10
    assert HUB_ID.fullmatch(one.hub)
    assert one.file is None or HUB_FILE.fullmatch(one.model)
    assert one.title
    assert one.licence
    assert family_of(one.title) in (one.family, "other")


@pytest.mark.parametrize("name", KNOWN)
def test_the_words_that_hold_a_look_are_the_same_whichever_name_is_used(name: str) -> None:
    assert debias(KNOWN[name].hub) == KNOWN[name].debias


def test_words_that_hold_a_look_are_known_where_the_paper_tried_them() -> None:
    assert {KNOWN[name].debias for name in ("realistic-vision", "counterfeit", "sd-1.5")} == {
        "realistic, high quality", "anime style, high quality", "",
    }  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_the_structure_of_a_known_checkpoint_is_that_of_its_family(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    family = KNOWN[name].family
    built = "sdxl" if family in ("pony", "illustrious", "noobai") else family
    assert model_family_of(structure(name)) == built


def test_a_path_is_taken_before_a_name_and_a_name_before_a_hub_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve("sdxl") == ("stabilityai/stable-diffusion-xl-base-1.0", KNOWN["sdxl"])
    assert resolve(" SDXL ")[1] is KNOWN["sdxl"]
    assert resolve("stabilityai/SDXL-turbo")[1] is KNOWN["sdxl-turbo"]
    assert resolve("AstraliteHeart/pony-diffusion-v6") == (
        "AstraliteHeart/pony-diffusion-v6/v6.safetensors", KNOWN["pony"]
    )  # fmt: skip
    (tmp_path / "sdxl").mkdir()
    assert resolve("sdxl") == ("sdxl", None)
    assert resolve(str(tmp_path)) == (str(tmp_path), None)
    assert resolve("nobody/nothing") == ("nobody/nothing", None)
    for nothing in ("", "\0", "x" * 9999):
        assert resolve(nothing) == (nothing, None)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def snapshot(hub: Path, repository: str) -> Path:
    root = hub / f"models--{repository.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text("abc")
    (root / "snapshots" / "abc").mkdir(parents=True)
    return root / "snapshots" / "abc"


def cached() -> set[str]:
    return {one.known.name for one in known() if one.cached}


def test_nothing_is_on_an_empty_machine(hub: Path) -> None:
    assert cached() == set()
    assert [one.known.name for one in known()] == list(KNOWN)


def test_a_folder_is_on_this_machine_when_all_of_its_weights_are(hub: Path, tmp_path: Path) -> None:
    tiny = make_checkpoint(tmp_path / "tiny", kind="sdxl")
    there = snapshot(hub, KNOWN["sdxl"].hub)
    shutil.copy(tiny / "model_index.json", there)
    assert cached() == set()
    for part in ("unet", "vae", "text_encoder"):
        shutil.copytree(tiny / part, there / part)
    assert cached() == set()
    shutil.copytree(tiny / "text_encoder_2", there / "text_encoder_2")
    assert cached() == {"sdxl"}
    weights = there / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_name("diffusion_pytorch_model-00001-of-00002.safetensors"))
    assert cached() == set()
    shutil.copy(
        weights.with_name("diffusion_pytorch_model-00001-of-00002.safetensors"),
        weights.with_name("diffusion_pytorch_model-00002-of-00002.safetensors"),
    )
    assert cached() == {"sdxl"}


@pytest.mark.parametrize("index", ["{", "[]", "null", json.dumps({"unet": []}), json.dumps({"unet": 3})])
def test_a_broken_index_is_not_a_checkpoint(hub: Path, index: str) -> None:
    (snapshot(hub, KNOWN["sdxl"].hub) / "model_index.json").write_text(index)
    assert cached() == set()


def test_a_single_file_is_on_this_machine_when_it_is(hub: Path) -> None:
    (snapshot(hub, KNOWN["pony"].hub) / "v6.safetensors").write_bytes(b"x")
    assert cached() == {"pony"}
