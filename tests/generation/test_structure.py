"""A model's modules without its weights: from a family's name, a folder's configuration, a file's header."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from velatura.errors import InputError
from velatura.generation.adapters.family import model_family_of
from velatura.generation.structure import standard, structure


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


def test_a_single_file_of_sdxl_or_flux_is_known_by_its_header(tmp_path: Path) -> None:
    for key, family in (
        ("conditioner.embedders.1.model.x", "sdxl"),
        ("model.diffusion_model.double_blocks.0.x", "flux1"),
    ):
        save_file({key: torch.zeros(1)}, tmp_path / f"{family}.safetensors")
        assert model_family_of(structure(str(tmp_path / f"{family}.safetensors"))) == family


def test_what_is_no_model_is_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"there is no model 'nothing': give a diffusers folder.*sd1, sd2, sdxl, flux1"
    ):
        structure("nothing")
    with pytest.raises(InputError, match=r"has no model_index\.json"):
        structure(str(tmp_path))
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=r"x\.safetensors is not a whole checkpoint"):
        structure(str(tmp_path / "x.safetensors"))
    (tmp_path / "y.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match=r"y\.safetensors is no checkpoint in safetensors"):
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
