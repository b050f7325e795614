"""A model's modules without its weights: from a family's name, a folder's configuration, a file's header."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from stability_layout import ldm_of

from velatura.errors import InputError
from velatura.generation.adapters.family import model_family_of
from velatura.generation.adapters.names import targets
from velatura.generation.checkpoint import load_checkpoint
from velatura.generation.structure import standard, structure
from velatura.playground.sample import make_checkpoint
from velatura.playground.sample_models import KINDS


@pytest.mark.parametrize("family", standard())
def test_a_familys_standard_model_is_of_that_family_and_takes_no_memory(family: str) -> None:
    modules = structure(family)
    assert model_family_of(modules) == family
    assert all(module.weight.is_meta for module in modules.values())


def test_standard_models_have_the_published_sizes() -> None:
    def count(family: str, part: str) -> int:
        modules = [module for name, module in structure(family).items() if name.startswith(part)]
        return sum(parameter.numel() for module in modules for parameter in module.parameters())

    assert count("sd1", "unet.") == 859_520_964
    assert count("sd2", "unet.") == 865_910_724
    assert count("sdxl", "unet.") == 2_567_463_684
    assert count("flux1", "transformer.") == 11_901_408_320


def test_a_folder_tells_its_structure(checkpoint: Path, modules: dict[str, torch.nn.Module]) -> None:
    found = structure(str(checkpoint))
    assert {name: module.weight.shape for name, module in found.items()} == {
        name: module.weight.shape for name, module in modules.items()
    }


def test_a_folders_weights_are_not_needed(checkpoint: Path, tmp_path: Path) -> None:
    for file in checkpoint.rglob("*.json"):
        there = tmp_path / "bare" / file.relative_to(checkpoint)
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, there)
    assert structure(str(tmp_path / "bare")).keys() == structure(str(checkpoint)).keys()


def test_a_single_file_of_flux_is_known_by_its_header(tmp_path: Path) -> None:
    save_file({"model.diffusion_model.double_blocks.0.x": torch.zeros(1)}, tmp_path / "flux.safetensors")
    assert model_family_of(structure(str(tmp_path / "flux.safetensors"))) == "flux1"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_folder_tells_what_is_in_it(tmp_path: Path, kind: str) -> None:
    folder = make_checkpoint(tmp_path / "model", kind=kind)
    pipe = load_checkpoint(str(folder), dtype=torch.float16, kinds=("sd", "sdxl")).pipe
    parts = ("unet", "text_encoder", "text_encoder_2")
    real = targets(**{part: getattr(pipe, part) for part in parts if hasattr(pipe, part)})
    assert {name: module.weight.shape for name, module in structure(str(folder)).items()} == {
        name: module.weight.shape for name, module in real.items()
    }


@pytest.mark.parametrize("kind", ["sd", "sd2", "sdxl"])
def test_a_single_file_has_the_structure_of_its_folder(tmp_path: Path, kind: str) -> None:
    folder = make_checkpoint(tmp_path / "model", kind=kind)
    save_file(ldm_of(folder), tmp_path / "model.safetensors")
    found, expected = structure(str(tmp_path / "model.safetensors")), structure(str(folder))
    assert {name: module.weight.shape for name, module in found.items()} == {
        name: module.weight.shape for name, module in expected.items()
    }
    assert all(module.weight.is_meta for module in found.values())


@pytest.mark.parametrize(("name", "parameters"), [("sdxs-dreamshaper", 315_746_244), ("sdxs-0.9", 326_825_604)])
def test_a_known_checkpoint_needs_no_download(
    name: str, parameters: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    unet = [module for part, module in structure(name).items() if part.startswith("unet.")]
    assert sum(value.numel() for module in unet for value in module.parameters()) == parameters


def test_what_is_no_model_is_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"there is no model 'nothing': give a diffusers folder.*sd1, sd2, sdxl, flux1"
    ):
        structure("nothing")
    with pytest.raises(InputError, match=r"has no model_index\.json"):
        structure(str(tmp_path))
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="x is not a checkpoint that any backend paints with"):
        structure(str(tmp_path / "x.safetensors"))
    (tmp_path / "y.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match=r"y\.safetensors is truncated or damaged, or no safetensors"):
        structure(str(tmp_path / "y.safetensors"))


@pytest.mark.parametrize(
    "config", ["[]", "{", '{"block_out_channels": [1, 2], "down_block_types": ["x"]}', '{"block_out_channels": "a"}']
)
def test_a_strangers_configuration_is_refused_in_one_sentence(tmp_path: Path, config: str) -> None:
    index = {"_class_name": "X", "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["os", "system"]}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text(config)
    with pytest.raises(InputError) as caught:
        structure(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_only_models_of_the_two_libraries_are_built(tmp_path: Path) -> None:
    index = {"unet": ["diffusers", "DDIMScheduler"], "transformer": ["subprocess", "Popen"], "text_encoder": "no"}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    for part in ("unet", "transformer"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "config.json").write_text("{}")
    with pytest.raises(InputError, match="has no UNet or transformer that this version knows"):
        structure(str(tmp_path))
