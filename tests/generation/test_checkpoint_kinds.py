"""Which backend paints with a checkpoint is told from its configurations, or from its header alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from stability_layout import ldm_of

from velatura.errors import InputError
from velatura.generation.kinds import kind_of
from velatura.generation.known import KNOWN
from velatura.playground.sample import make_adapter, make_checkpoint
from velatura.playground.sample_models import KINDS

Tiny = Callable[[str], Path]
BACKENDS = {"sd2": "sd", "sdxs-0.9": "sdxs"}


def told(model: Path | str) -> str:
    return kind_of(str(model), local_files_only=True)


def refused(model: Path | str) -> str:
    with pytest.raises(InputError) as caught:
        told(model)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return cache(lambda kind: make_checkpoint(tmp_path_factory.mktemp("tiny") / "model", kind=kind))


def bare(folder: Path, there: Path) -> Path:
    """Copy a folder without its weights."""
    for file in folder.rglob("*.json"):
        (there / file.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, there / file.relative_to(folder))
    return there


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_is_told_by_its_configurations_alone(tiny: Tiny, tmp_path: Path, kind: str) -> None:
    assert told(bare(tiny(kind), tmp_path / "model")) == BACKENDS.get(kind, kind)


@pytest.mark.parametrize("kind", ["sd", "sd2", "sdxl"])
def test_a_single_file_is_told_by_its_header_alone(tiny: Tiny, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "model.safetensors"
    save_file(ldm_of(tiny(kind)), path)
    content = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    content[start:] = b"\xff" * (len(content) - start)
    path.write_bytes(content)
    assert told(path) == BACKENDS.get(kind, kind)


@pytest.mark.parametrize(
    ("name", "fields", "backend"),
    [
        ("sd_xl_turbo_1.0_fp16", {}, "sdxl-turbo"),
        ("sdxl-turbo", {}, "sdxl-turbo"),
        ("model", {"modelspec.title": "Stable Diffusion XL 1.0 Turbo"}, "sdxl-turbo"),
        ("dreamshaperXL_v21TurboDPMSDE", {}, "sdxl"),
        ("turbo", {"modelspec.title": "x" * 10_000}, "sdxl"),
    ],
)
def test_a_turbo_model_in_a_single_file_is_told_by_what_it_is_called(
    tmp_path: Path, name: str, fields: dict[str, str], backend: str
) -> None:
    tensors = {
        "model.diffusion_model.input_blocks.0.0.weight": torch.zeros(1, 4, 1, 1),
        "conditioner.embedders.1.model.ln_final.bias": torch.zeros(1),
    }
    save_file(tensors, tmp_path / f"{name}.safetensors", metadata=fields)
    assert told(tmp_path / f"{name}.safetensors") == backend


def test_only_a_model_that_starts_from_the_last_step_is_turbo(tiny: Tiny, tmp_path: Path) -> None:
    folder = bare(tiny("sdxl-turbo"), tmp_path / "sdxl-turbo")
    scheduler = folder / "scheduler" / "scheduler_config.json"
    edit(scheduler, prediction_type="v_prediction")
    assert told(folder) == "sdxl"
    edit(scheduler, prediction_type="epsilon", _class_name="EulerDiscreteScheduler")
    assert told(folder) == "sdxl-turbo"
    folder = folder.rename(tmp_path / "lightning")
    assert told(folder) == "sdxl"
    scheduler = folder / "scheduler" / "scheduler_config.json"
    edit(scheduler, timestep_spacing="leading", _class_name="EulerAncestralDiscreteScheduler")
    assert told(folder) == "sdxl"


def test_inpainting_models_belong_to_the_backend_of_their_family(tiny: Tiny, tmp_path: Path) -> None:
    for kind in ("sd", "sdxl"):
        folder = bare(tiny(kind), tmp_path / kind)
        edit(folder / "unet" / "config.json", in_channels=9)
        assert told(folder) == kind


FLUX = {"_class_name": "FluxPipeline", "transformer": ["diffusers", "FluxTransformer2DModel"]}
DENOISER = "model.diffusion_model."


def test_a_flux_folder_is_known(tmp_path: Path) -> None:
    (tmp_path / "transformer").mkdir()
    (tmp_path / "model_index.json").write_text(json.dumps(FLUX))
    (tmp_path / "transformer" / "config.json").write_text('{"_class_name": "FluxTransformer2DModel"}')
    assert told(tmp_path) == "flux"
    (tmp_path / "transformer" / "config.json").write_text('{"_class_name": "Flux2Transformer2DModel"}')
    edit(tmp_path / "model_index.json", _class_name="Flux2Pipeline")
    assert refused(tmp_path).endswith("is a Flux2Pipeline, which no backend paints with")


@pytest.mark.parametrize("prefix", ["", DENOISER])
def test_a_flux_file_is_known(tmp_path: Path, prefix: str) -> None:
    save_file({f"{prefix}double_blocks.0.img_attn.qkv.weight": torch.zeros(1)}, tmp_path / "a.safetensors")
    assert told(tmp_path / "a.safetensors") == "flux"


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        (("joint_blocks.0.x",), "an SD 3 checkpoint, which no backend paints with"),
        ((f"{DENOISER}joint_blocks.0.x",), "an SD 3 checkpoint"),
        (("double_blocks.0.x", "double_stream_modulation_img.lin.weight"), "a FLUX.2 checkpoint"),
        (("double_blocks.0.x", "distilled_guidance_layer.x"), "a Chroma checkpoint"),
        ((f"{DENOISER}input_blocks.0.0.weight", "edm_mean"), "a Playground v2.5 checkpoint"),
        ((f"{DENOISER}input_blocks.0.0.weight", "edm_vpred.sigma_max"), "a CosXL checkpoint"),
        ((f"{DENOISER}input_blocks.0.0.weight", "conditioner.embedders.0.model.x"), "an SDXL refiner's checkpoint"),
        (("lora_unet_down_blocks_0.lora_down.weight",), "is an adapter, not a checkpoint"),
        (("down_blocks.0.resnets.0.conv1.weight",), "is one part of a diffusers folder: name the folder"),
        (("first_stage_model.decoder.conv_in.weight",), "is not a whole checkpoint: it has no UNet"),
        (("x",), "a is not a checkpoint that any backend paints with"),
        ((), "a is not a checkpoint that any backend paints with"),
    ],
)
def test_what_no_backend_paints_with_is_named(tmp_path: Path, keys: tuple[str, ...], reason: str) -> None:
    save_file({key: torch.zeros(1) for key in keys}, tmp_path / "a.safetensors")
    assert reason in refused(tmp_path / "a.safetensors")


def test_an_adapter_is_told_from_a_checkpoint(tiny: Tiny, tmp_path: Path) -> None:
    path = make_adapter(tmp_path / "ink.safetensors", tiny("sdxl"))
    assert refused(path) == "ink is an adapter, not a checkpoint: name the checkpoint that shall wear it"


def test_an_image_editing_model_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    folder = bare(tiny("sd"), tmp_path / "model")
    edit(folder / "unet" / "config.json", in_channels=8)
    assert refused(folder) == ("model is an image-editing (InstructPix2Pix) checkpoint, which no backend paints with")
    tensors = {f"{DENOISER}input_blocks.0.0.weight": torch.zeros(1, 8, 1, 1)}
    save_file(tensors, tmp_path / "model.safetensors")
    assert "InstructPix2Pix" in refused(tmp_path / "model.safetensors")


def test_damaged_and_pickled_files_are_refused(tmp_path: Path) -> None:
    for name, content, reason in (
        ("a.safetensors", b"no", "is truncated or damaged, or no safetensors"),
        ("b.safetensors", b"\xff" * 20, "is truncated or damaged"),
        ("c.ckpt", b"PK\x03\x04", "is a pickle, which can run code when opened"),
        ("d.gguf", b"GGUF" * 10, "no safetensors"),
    ):
        (tmp_path / name).write_bytes(content)
        assert reason in refused(tmp_path / name)


@pytest.mark.parametrize("part", ["unet", "vae", "scheduler"])
def test_a_strangers_configuration_is_refused_in_one_sentence(tiny: Tiny, tmp_path: Path, part: str) -> None:
    folder = bare(tiny("sdxl"), tmp_path / "model")
    name = "scheduler_config.json" if part == "scheduler" else "config.json"
    edit(folder / "unet" / "config.json", in_channels=9 if part == "vae" else 4)
    (folder / part / name).write_text("[" * 99_999)
    assert refused(folder) == f"model: {name} is not a JSON object"


@pytest.mark.parametrize("wrong", [None, [], {}, "x", 1e999, {"a": [None]}])
def test_configurations_of_wrong_types_are_no_trouble(tiny: Tiny, tmp_path: Path, wrong: Any) -> None:
    folder = bare(tiny("sdxl"), tmp_path / "model")
    edit(folder / "unet" / "config.json", in_channels=wrong, layers_per_block=wrong)
    edit(folder / "scheduler" / "scheduler_config.json", timestep_spacing=wrong, _class_name=wrong)
    edit(folder / "model_index.json", _class_name=wrong, _name_or_path=wrong)
    assert told(folder) == "sdxl"
    edit(folder / "model_index.json", unet=wrong)
    assert "which no backend paints with" in refused(folder)


def test_a_known_name_and_its_hub_id_need_no_look(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for known in KNOWN.values():
        assert told(known.name) == told(known.hub) == told(known.model) == known.backend


def test_a_folder_is_taken_before_a_name(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare(tiny("sdxs"), tmp_path / "sdxl")
    monkeypatch.chdir(tmp_path)
    assert told("sdxl") == "sdxs"


def test_a_hub_id_is_told_from_the_cache(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "hub" / "models--someone--tiny"
    bare(tiny("sdxs"), root / "snapshots" / "abc")
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert told("someone/tiny") == "sdxs"
    assert refused("someone/else").startswith("someone/else is not on this machine and the hub does not give it")
    (root / "snapshots" / "abc" / "model_index.json").unlink()
    assert refused("someone/tiny") == (
        "someone/tiny is not a diffusers folder on the hub; name one of its files: someone/tiny/its-name.safetensors"
    )


@pytest.mark.parametrize("name", ["sdxll", "", "a/b/c", "\0", "x" * 5000, "~nobody-at-all/x/y"])
def test_what_is_nothing_says_what_is_wanted(name: str) -> None:
    sentence = refused(name)
    assert sentence.endswith("give a diffusers folder, a .safetensors file, or a hub id")
    assert ("did you mean sdxl?" in sentence) == (name == "sdxll")


def test_the_weights_of_an_sdxs_file_are_not_taken_for_sd(tiny: Tiny, tmp_path: Path) -> None:
    unet = load_file(tiny("sdxs") / "unet" / "diffusion_pytorch_model.safetensors")
    tensors = {f"{DENOISER}input_blocks.0.0.weight": unet["conv_in.weight"], "cond_stage_model.x": torch.zeros(1)}
    save_file(tensors, tmp_path / "sdxs.safetensors")
    assert told(tmp_path / "sdxs.safetensors") == "sdxs"
