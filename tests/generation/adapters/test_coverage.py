"""The report on an adapter and a model: what fits, what does not, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from velatura.generation.adapters.check import check
from velatura.generation.adapters.coverage import Coverage, Share, coverage
from velatura.generation.adapters.file import AdapterFile
from velatura.generation.adapters.names import targets
from velatura.generation.adapters.plan import REMAPPED, match, plan
from velatura.generation.structure import standard, structure


def report(path: Path, modules: dict[str, Any]) -> Coverage:
    return coverage(match(AdapterFile(path), modules), modules)


def kohya(names: list[str], modules: dict[str, Any], rank: int = 4, alpha: float = 2.0) -> dict[str, torch.Tensor]:
    tensors = {}
    for name in names:
        outputs, inputs, *kernel = modules[name].weight.shape
        part, _, rest = name.partition(".")
        stem = ("lora_unet_" if part == "unet" else "lora_te_text_model_") + rest.replace(".", "_")
        tensors[f"{stem}.lora_down.weight"] = torch.ones(rank, inputs, *kernel)
        tensors[f"{stem}.lora_up.weight"] = torch.ones(outputs, rank, *[1] * len(kernel))
        tensors[f"{stem}.alpha"] = torch.tensor(alpha)
    return tensors


def test_a_whole_fit_says_so(adapters: list[Path], modules: dict[str, Any]) -> None:
    found = report(adapters[0], modules)
    assert (found.lays, found.refusal, found.coverage, found.parameters) == (True, None, 1.0, 1.0)
    assert (found.networks, found.mapped, found.missing, found.mismatched) == (204, 204, (), ())
    assert found.text_encoder == "used"
    assert all(share.fitted == share.of for share in found.blocks.values())
    assert sum(share.of for share in found.blocks.values()) == 204
    assert {"down.0", "mid", "up.3", "text"} <= found.blocks.keys()


def test_what_does_not_fit_is_named_and_weighed(adapters: list[Path], modules: dict[str, Any], tmp_path: Path) -> None:
    stem = "lora_unet_down_blocks_0_attentions_0_proj_in"
    tensors = load_file(adapters[0]) | {
        "lora_unet_nowhere.lora_down.weight": torch.ones(2, 100),
        "lora_unet_nowhere.lora_up.weight": torch.ones(100, 2),
        "unknown.tensor": torch.ones(1),
        f"{stem}.lora_down.weight": torch.ones(2, 999),
    }
    save_file(tensors, tmp_path / "a.safetensors")
    found = report(tmp_path / "a.safetensors", modules)
    assert found.missing == ("lora_unet_nowhere",)
    assert found.mismatched == (stem,)
    assert found.dropped == ("unknown.tensor",)
    assert found.blocks["down.0"].fitted == found.blocks["down.0"].of - 1
    assert found.blocks["rest"] == Share(fitted=0, of=1)
    # 100 x 100 values are lost to the first, 32 x 999 to the second, as their own shapes tell.
    parts = match(AdapterFile(tmp_path / "a.safetensors"), modules).parts
    laid = sum(module.weight.numel() for name, module in modules.items() if f"{name}.weight" in parts)
    assert found.parameters == pytest.approx(laid / (laid + 10_000 + 32 * 999))


def test_alpha_zero_is_told_and_refused_where_it_is_all_there_is(tmp_path: Path, modules: dict[str, Any]) -> None:
    names = ["unet.conv_in", "unet.mid_block.attentions.0.proj_in"]
    save_file(kohya(names, modules, alpha=0), tmp_path / "a.safetensors")
    found = report(tmp_path / "a.safetensors", modules)
    assert found.warnings == ("2 of its networks have alpha 0 and do nothing",)
    assert found.refusal == "a has alpha 0 everywhere, so it would change nothing"


def test_a_rank_above_the_width_is_told_and_laid(tmp_path: Path, modules: dict[str, Any]) -> None:
    save_file(kohya(["unet.mid_block.attentions.0.proj_in"], modules, rank=100), tmp_path / "a.safetensors")
    found = report(tmp_path / "a.safetensors", modules)
    assert found.lays
    assert found.warnings == ("1 of its networks have a rank above the width of their module, the highest 100",)


@pytest.fixture(scope="module")
def sdxs() -> dict[str, Any]:
    """The UNet of SDXS-DreamShaper in its true sizes, without memory."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(
            block_out_channels=(320, 640, 1280),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            mid_block_type=None,
            layers_per_block=1,
            cross_attention_dim=768,
        )
    return targets(unet=unet)


@pytest.mark.parametrize(("convolutions", "patched", "of"), [(False, 72, 192), (True, 111, 278)])
def test_an_sd1_adapter_is_remapped_to_sdxs_and_labelled(
    convolutions: bool, patched: int, of: int, sdxs: dict[str, Any], tmp_path: Path
) -> None:
    modules = structure("sd1")
    marks = ("attentions.", "resnets.", "samplers.") if convolutions else ("attentions.",)
    names = [
        name
        for name, module in modules.items()
        if name.startswith("unet.")
        and any(mark in name for mark in marks)
        and isinstance(module, torch.nn.Linear | torch.nn.Conv2d)
    ]
    names = names if convolutions else [name for name in names if not name.endswith(".time_emb_proj")]
    with torch.device("cpu"):
        save_file(kohya(names, modules, rank=1), tmp_path / "sd15.safetensors")
    assert len(names) == of
    found = coverage(plan(AdapterFile(tmp_path / "sd15.safetensors"), sdxs), sdxs)
    assert (found.remapped, found.mapped, found.mismatched) == (True, patched, ())
    assert (found.missing, len(found.left_out)) == ((), of - patched)
    assert found.coverage == 1 > REMAPPED
    assert found.warnings[0].endswith("remapped to a smaller one: its effect is approximate")


def test_files_are_checked_against_the_model_of_their_own_family(tmp_path: Path, adapters: list[Path]) -> None:
    modules = structure("sdxl")
    name = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
    save_file(kohya([name], modules), tmp_path / "xl.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    answers = {a.path.name: a for a in check([tmp_path], structure, None, standard())}
    assert answers["xl.safetensors"].problem is None
    assert answers["xl.safetensors"].coverage is not None
    assert answers["xl.safetensors"].coverage.model_family == "sdxl"
    assert "truncated or damaged" in str(answers["broken.safetensors"].problem)


def test_a_family_that_nothing_tells_is_the_one_that_fits_best(tmp_path: Path) -> None:
    modules = structure("sdxl")
    save_file(kohya(["unet.add_embedding.linear_1"], modules), tmp_path / "a.safetensors")
    (answer,) = check([tmp_path], structure, None, standard())
    assert answer.coverage is not None
    assert (answer.coverage.family, answer.coverage.model_family, answer.problem) == ("unknown", "sdxl", None)


def test_damage_inside_a_file_that_fits_is_found(tmp_path: Path, checkpoint: Path, adapters: list[Path]) -> None:
    tensors = load_file(adapters[0])
    key = next(key for key in tensors if "lora_up" in key)
    tensors[key] = torch.full_like(tensors[key], float("inf"))
    save_file(tensors, tmp_path / "a.safetensors")
    answers = list(check([tmp_path, adapters[1]], structure, str(checkpoint), standard()))
    assert "NaN or infinity" in str(answers[0].problem)
    assert answers[1].problem is None


def test_what_no_sd1_has_counts_against_a_remapped_adapter(sdxs: dict[str, Any], tmp_path: Path) -> None:
    tensors = kohya(["unet.down_blocks.0.resnets.0.conv1"], structure("sd1"), rank=1)
    for number in range(9):
        tensors[f"lora_unet_garbage_{number}.lora_down.weight"] = torch.ones(1, 8)
        tensors[f"lora_unet_garbage_{number}.lora_up.weight"] = torch.ones(8, 1)
    save_file(tensors, tmp_path / "a.safetensors")
    found = report(tmp_path / "a.safetensors", sdxs)
    assert (found.remapped, found.coverage, found.lays) == (True, 0.1, False)
    assert "10%, at least 60% is asked" in str(found.refusal)


def test_layers_that_fit_sdxs_by_accident_are_not_laid_by_name(sdxs: dict[str, Any], tmp_path: Path) -> None:
    """Of SD 1.5's first block up, whose names and shapes SDXS has for another level."""
    names = [f"unet.up_blocks.0.resnets.0.{leaf}" for leaf in ("conv1", "conv2", "time_emb_proj")]
    save_file(kohya(names, structure("sd1"), rank=1), tmp_path / "a.safetensors")
    found = report(tmp_path / "a.safetensors", sdxs)
    assert found.refusal == "a fits no module of this model: the model leaves out what it is for"


def test_rotations_that_found_no_place_weigh_as_much_as_their_like(modules: dict[str, Any], tmp_path: Path) -> None:
    names = [f"unet.mid_block.resnets.{n}.conv1" for n in (0, 1)]
    blocks = torch.zeros(8, 8, 8)
    stems = [f"lora_unet_{name.removeprefix('unet.').replace('.', '_')}" for name in names]
    tensors = {f"{stem}.oft_blocks": blocks.clone() for stem in [stems[0], "lora_unet_nowhere"]}
    save_file(tensors, tmp_path / "a.safetensors")
    found = report(tmp_path / "a.safetensors", modules)
    assert (found.mapped, found.parameters) == (1, 0.5)
