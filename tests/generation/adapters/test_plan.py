"""What fits is laid, what does not is refused in one sentence, and nothing is ever laid silently in part."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from velatura.errors import IncompatibleAdapter, UnreadableFile, VelaturaError
from velatura.generation.adapters.family import adapter_family, model_family_of
from velatura.generation.adapters.file import AdapterFile
from velatura.generation.adapters.names import targets
from velatura.generation.adapters.patch import Layers
from velatura.generation.adapters.plan import Plans, plan


def file_of(path: Path, tensors: dict[str, torch.Tensor], header: dict[str, str] | None = None) -> AdapterFile:
    save_file(tensors, path, metadata=header)
    return AdapterFile(path)


def pair(stem: str, inputs: int, outputs: int, rank: int = 2) -> dict[str, torch.Tensor]:
    down, up = torch.ones(rank, inputs), torch.ones(outputs, rank)
    return {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up}


ATTN2 = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
ATTN2_DOTTED = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"


def test_the_sample_is_of_sd1s_blocks(modules: dict[str, Any]) -> None:
    assert model_family_of(modules) == "sd1"


@pytest.mark.parametrize(("width", "family"), [(768, "sd1"), (1024, "sd2"), (2048, "sdxl")])
def test_shapes_tell_the_family_whatever_the_header_says(tmp_path: Path, width: int, family: str) -> None:
    file = file_of(tmp_path / "a.safetensors", pair(ATTN2, width, 320), {"ss_base_model_version": "flux1"})
    assert adapter_family(file, {}).family == family


def test_the_header_tells_the_family_where_the_shapes_do_not(tmp_path: Path) -> None:
    header = {"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}
    assert adapter_family(file_of(tmp_path / "a.safetensors", pair("x_ff", 8, 8), header), {}).family == "sdxl"
    assert adapter_family(file_of(tmp_path / "b.safetensors", pair("x_ff", 8, 8)), {}).family == "unknown"


def test_another_family_is_refused_by_name(tmp_path: Path, modules: dict[str, Any]) -> None:
    file = file_of(tmp_path / "xl.safetensors", pair(ATTN2, 2048, 320))
    with pytest.raises(IncompatibleAdapter, match=r"xl is made for SDXL and this model is SD 1\.x"):
        plan(file, modules)


def test_a_name_without_its_shape_does_not_count(tmp_path: Path, modules: dict[str, Any]) -> None:
    file = file_of(tmp_path / "wide.safetensors", pair(ATTN2, 768, 320))
    with pytest.raises(IncompatibleAdapter, match=r"fits no module .*: the names are there with other shapes"):
        plan(file, modules, force=True)


def test_no_name_at_all_is_an_error_and_never_silence(tmp_path: Path, modules: dict[str, Any]) -> None:
    """The same keys with a doubled prefix, as a faulty converter in the wild writes them."""
    file = file_of(tmp_path / "bad.safetensors", pair(ATTN2.replace("unet", "unet_unet"), 64, 32))
    with pytest.raises(IncompatibleAdapter, match="fits no module of this model: none of the names is known"):
        plan(file, modules, force=True)


def test_too_little_coverage_is_refused_unless_forced(
    tmp_path: Path, adapters: list[Path], modules: dict[str, Any]
) -> None:
    tensors = load_file(adapters[0])
    for number in range(30):
        tensors |= pair(f"lora_unet_extra_{number}", 8, 8)
    tensors |= pair("lora_unet_conv_in", 5, 32)
    file = file_of(tmp_path / "more.safetensors", tensors)
    with pytest.raises(IncompatibleAdapter, match=r"204 of its 235 networks .*87%.* 30 are missing and 1 of another"):
        plan(file, modules)
    forced = plan(file, modules, force=True)
    assert len(forced.parts) == 204
    assert len(forced.missing) == 30
    assert [network.stem for network in forced.mismatched] == ["lora_unet_conv_in"]
    assert forced.coverage == pytest.approx(204 / 235)


def test_two_claims_on_one_module_are_refused(tmp_path: Path, modules: dict[str, Any]) -> None:
    plain = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    tensors = pair(ATTN2, 64, 32)
    tensors |= {f"unet.{plain}.lora_A.weight": torch.ones(2, 64), f"unet.{plain}.lora_B.weight": torch.ones(32, 2)}
    with pytest.raises(UnreadableFile, match="twice"):
        plan(file_of(tmp_path / "a.safetensors", tensors), modules)


def refused(path: Path) -> str:
    with pytest.raises(UnreadableFile) as caught:
        AdapterFile(path)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert path.name in sentence
    return sentence


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".ckpt", ".PTH"])
def test_a_pickle_is_refused_by_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"\x80\x04N.")
    assert "pickle" in refused(path)


@pytest.mark.parametrize("content", [b"\x80\x02}q\x00.", b"PK\x03\x04archive"])
def test_a_pickle_is_refused_under_any_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    assert "pickle" in refused(tmp_path / "a.safetensors")


def header_of(tensors: dict[str, Any], data: bytes = b"") -> bytes:
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x05",
        struct.pack("<Q", 2**62) + b"{}",
        struct.pack("<Q", 100) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 4) + b"\xff\xfe{}",
        header_of({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}),
        header_of({"a": {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 8]}}, b"12345678"),
        header_of({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}}, b"12345678"),
        header_of({"a": {"dtype": "F99", "shape": [2], "data_offsets": [0, 8]}}, b"12345678"),
        header_of({"a": None}),
    ],
)
def test_damaged_files_are_refused_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    assert "truncated or damaged" in refused(tmp_path / "a.safetensors")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_mutated_file_is_laid_or_refused_in_one_sentence(
    data: st.DataObject, tmp_path: Path, modules: dict[str, Any]
) -> None:
    save_file(
        pair(ATTN2, 64, 32) | {f"{ATTN2}.alpha": torch.tensor(1.0)}, tmp_path / "a.safetensors", metadata={"a": "b"}
    )
    content = bytearray((tmp_path / "a.safetensors").read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255) | st.sampled_from(b'{}[]",:0919.-_lorabdunetw'))
    (tmp_path / "b.safetensors").write_bytes(content)
    before = modules["unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"].weight.detach().clone()
    layers = Layers(modules)
    try:
        layers.lay({plan(AdapterFile(tmp_path / "b.safetensors"), modules): 1.0})
    except VelaturaError as error:
        refusal = str(error)
    else:
        refusal = ""
    assert "\n" not in refusal
    layers.restore()
    assert torch.equal(
        modules["unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"].weight.detach(), before
    )


def test_a_truncated_adapter_is_refused(tmp_path: Path, adapters: list[Path]) -> None:
    (tmp_path / "a.safetensors").write_bytes(adapters[0].read_bytes()[:-100])
    assert "truncated or damaged" in refused(tmp_path / "a.safetensors")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    assert "not a file" in refused(tmp_path / "none.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    assert "not a file" in refused(tmp_path / "folder.safetensors")


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({"emb_params": torch.ones(2, 768)}, "textual inversion"),
        ({"model.diffusion_model.x.weight": torch.ones(1)}, "whole checkpoint"),
        ({"weight": torch.ones(1)}, "none of its 1 tensors is a part of an adapter"),
        ({"x.alpha": torch.tensor(1.0)}, "none of its 1 tensors is a part of an adapter"),
        ({"x.lora_down.weight": torch.ones(2, 2)}, "'x' lacks its up factor"),
        ({"x\n" * 400 + ".lora_down.weight": torch.ones(2, 2)}, "lacks its up factor"),
        ({"x.lora_down.weight": torch.ones(2), "x.lora_up.weight": torch.ones(2)}, "is no LoRA"),
        ({"x.lora_down.weight": torch.ones(0, 2), "x.lora_up.weight": torch.ones(2, 0)}, "has an empty factor"),
        (pair("x", 2, 2) | {"x.alpha": torch.tensor([1.0, 2.0])}, "not one number"),
        (pair("x", 2, 2) | {"x.alpha": torch.tensor(float("nan"))}, "NaN or infinity"),
        (pair("x", 2, 2) | {"x.lora_up.weight": torch.ones(2, 2, dtype=torch.int8)}, "I8 values"),
    ],
)
def test_what_is_no_adapter_says_what_it_is(tmp_path: Path, tensors: dict[str, torch.Tensor], reason: str) -> None:
    save_file(tensors, tmp_path / "a.safetensors")
    assert reason in refused(tmp_path / "a.safetensors")


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "null", "[]", '{"unet.r": true}', '{"unet.alpha_pattern": 5}'])
def test_settings_that_tell_nothing_leave_alpha_at_the_rank(tmp_path: Path, text: str) -> None:
    file = file_of(tmp_path / "a.safetensors", pair("unet.x", 2, 2), {"lora_adapter_metadata": text})
    assert file.networks[0].strength.over(2) == 1


@pytest.mark.parametrize("alpha", ['"x"', "1e999", "true", "[1]"])
def test_settings_that_lie_are_refused(tmp_path: Path, alpha: str) -> None:
    header = {"lora_adapter_metadata": f'{{"unet.lora_alpha": {alpha}}}'}
    with pytest.raises(UnreadableFile, match=r"the alpha of 'unet\.x' is not a number"):
        file_of(tmp_path / "a.safetensors", pair("unet.x", 2, 2), header)


@pytest.fixture(scope="module")
def full_size() -> dict[str, torch.nn.Module]:
    """The modules of SD 1.5 in their true sizes, without memory."""
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768)
        clip = CLIPTextModel(CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_attention_heads=12))
    return targets(unet=unet, text_encoder=clip)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "modules_of_file"),
    [("catundchat_weapons_sd15", 128), ("cloneofsimo_analog_svd_rank4", 192), ("jettooss_satellite_sd15", 128)],
)
def test_real_sd1_files_fit_sd1_wholly(
    real_data: Path, full_size: dict[str, torch.nn.Module], name: str, modules_of_file: int
) -> None:
    found = plan(AdapterFile(real_data / "lora_files" / f"{name}.safetensors"), full_size)
    assert (len(found.parts), found.missing, found.mismatched) == (modules_of_file, (), ())
    assert (found.family.family, found.model_family) == ("sd1", "sd1")


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["ivanby12_sd2x_processor", "vfph55_naruto_sd15_bf16"])
def test_real_sd2_files_are_kept_off_sd1(real_data: Path, full_size: dict[str, torch.nn.Module], name: str) -> None:
    """The second is called sd15 and is as wide as SD 2: the shapes tell."""
    with pytest.raises(IncompatibleAdapter, match=r"made for SD 2\.x and this model is SD 1\.x"):
        plan(AdapterFile(real_data / "lora_files" / f"{name}.safetensors"), full_size)


@pytest.mark.real_data
def test_the_real_truncated_and_pickled_files_are_refused(real_data: Path) -> None:
    assert "truncated" in refused(real_data / "lora_files" / "srikanth_sdxl_TRUNCATED.safetensors")
    assert "pickle" in refused(real_data / "lora_files" / "catundchat_weapons_sd15.PICKLE.bin")


@pytest.mark.parametrize("stem", ["transformer.x", "x"])
def test_the_settings_of_a_transformer_are_read(tmp_path: Path, stem: str) -> None:
    header = {"lora_adapter_metadata": '{"transformer.lora_alpha": 16, "transformer.r": 4}'}
    file = file_of(tmp_path / "a.safetensors", pair(stem, 8, 8, rank=4), header)
    assert file.networks[0].strength.over(4) == 4


def test_new_settings_beside_a_file_make_a_new_plan(tmp_path: Path, modules: dict[str, Any]) -> None:
    path, settings_file = tmp_path / "adapter_model.safetensors", tmp_path / "adapter_config.json"
    save_file(pair(f"base_model.model.{ATTN2_DOTTED}", 64, 32), path)
    settings_file.write_text('{"r": 2, "lora_alpha": 2}')
    plans = Plans(modules)
    first = plans.of(path)
    assert plans.of(path) is first
    settings_file.write_text('{"r": 2, "lora_alpha": 20}')
    os.utime(settings_file, ns=(1, 1))
    assert [next(iter(found.parts.values())).network.strength.over(2) for found in (first, plans.of(path))] == [1, 10]


def test_a_text_encoders_part_is_not_asked_of_a_bare_unet(adapters: list[Path], modules: dict[str, Any]) -> None:
    unet = {name: module for name, module in modules.items() if name.startswith("unet.")}
    found = plan(AdapterFile(adapters[0]), unet)
    assert found.coverage == 1
    assert found.missing == ()
    assert found.left_out
    assert all("lora_te" in network.stem for network in found.left_out)
