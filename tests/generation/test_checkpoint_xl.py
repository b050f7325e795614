"""SDXL opens by folder and by single file, with the tensors and the answers that diffusers' own loading gives."""

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
from velatura.generation.adapters.names import targets
from velatura.generation.checkpoint import Checkpoint, load_checkpoint, quiet
from velatura.generation.kinds import read_header
from velatura.generation.schedulers import without_numpy_warning
from velatura.generation.single_file_xl import first_clip_of, second_clip_of, xl_unet_of
from velatura.generation.structure import structure
from velatura.playground.sample import make_checkpoint

Tiny = Callable[[str], Path]
PARTS = ("unet", "vae", "text_encoder", "text_encoder_2")


def loaded(model: Path | str, **options: Any) -> Checkpoint:
    options = {"kinds": ("sdxl",), "dtype": torch.float32, **options}
    return load_checkpoint(str(model), local_files_only=True, **options)


def refused(model: Path | str, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        loaded(model, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return cache(lambda kind: make_checkpoint(tmp_path_factory.mktemp("tiny") / kind, kind=kind))


@pytest.fixture(scope="module")
def single(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny SDXL as a single file, beside the tokenizer."""
    folder = tmp_path_factory.mktemp("single")
    save_file(ldm_of(tiny("sdxl")), folder / "tiny.safetensors")
    shutil.copytree(tiny("sdxl") / "tokenizer", folder / "tokenizer")
    return folder / "tiny.safetensors"


@pytest.fixture
def copy(tiny: Tiny, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny("sdxl"), tmp_path / "copy"))


def answers(pipe: Any) -> list[torch.Tensor]:
    """What the text encoders, the UNet and the autoencoder say to the same questions."""
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(1, 4, 16, 16, generator=generator)
    with torch.no_grad():
        prompt, _, pooled, _ = pipe.encode_prompt("a red fox in snow", do_classifier_free_guidance=False)
        sizes = {"text_embeds": pooled, "time_ids": torch.tensor([[128.0, 128, 0, 0, 128, 128]])}
        noise = pipe.unet(latents, 500, prompt, added_cond_kwargs=sizes).sample
        return [prompt, pooled, noise, pipe.vae.decode(latents).sample]


@pytest.fixture(scope="module")
def theirs(tiny: Tiny) -> Any:
    """The folder as diffusers itself loads it."""
    from diffusers import StableDiffusionXLPipeline

    with quiet():
        return StableDiffusionXLPipeline.from_pretrained(tiny("sdxl")).to(torch.float32)


def same(one: Any, other: Any) -> None:
    for part in PARTS:
        states = [getattr(pipe, part).state_dict() for pipe in (one, other)]
        assert states[0].keys() == states[1].keys()
        for name, value in states[0].items():
            assert torch.equal(value, states[1][name]), f"{part}.{name}"
    for mine, their in zip(answers(one), answers(other), strict=True):
        assert torch.equal(mine, their)


def test_a_folder_has_the_tensors_and_the_answers_that_diffusers_gives(tiny: Tiny, theirs: Any) -> None:
    found = loaded(tiny("sdxl"))
    assert (found.kind, found.name, found.hash, found.folder) == ("sdxl", "sdxl", None, tiny("sdxl"))
    same(found.pipe, theirs)
    assert dict(found.pipe.scheduler.config) == dict(theirs.scheduler.config)
    assert found.pipe.config.force_zeros_for_empty_prompt is True


def test_a_single_file_has_the_tensors_and_the_answers_of_its_folder(single: Path, theirs: Any) -> None:
    found = loaded(single)
    assert (found.kind, found.name, len(found.hash or ""), found.folder) == ("sdxl", "tiny", 10, None)
    same(found.pipe, theirs)
    for name in ("prediction_type", "timestep_spacing", "beta_schedule", "beta_start", "beta_end", "steps_offset"):
        assert found.pipe.scheduler.config[name] == theirs.scheduler.config[name]
    assert found.pipe.vae.config.scaling_factor == 0.13025
    assert (found.pipe.tokenizer.pad_token, found.pipe.tokenizer_2.pad_token) == ("<|endoftext|>", "!")


def test_a_single_file_has_what_diffusers_reads_from_it(single: Path, tiny: Tiny) -> None:
    from diffusers import StableDiffusionXLPipeline

    with quiet():
        theirs = StableDiffusionXLPipeline.from_single_file(
            str(single), config=str(tiny("sdxl")), local_files_only=True
        )
    same(loaded(single).pipe, theirs.to(torch.float32))


def test_the_autoencoder_is_known_to_overflow_in_half_precision(tiny: Tiny, single: Path, copy: Path) -> None:
    assert loaded(tiny("sdxl"), dtype=torch.float16).upcast
    assert loaded(single, dtype=torch.float16).upcast
    config = json.loads((copy / "vae" / "config.json").read_text())
    (copy / "vae" / "config.json").write_text(json.dumps({**config, "force_upcast": False}))
    assert not loaded(copy).upcast
    assert not loaded(tiny("sd"), kinds=("sd",)).upcast


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_precision_is_the_one_that_is_asked_for(tiny: Tiny, single: Path, dtype: torch.dtype) -> None:
    for model in (tiny("sdxl"), single):
        pipe = loaded(model, dtype=dtype).pipe
        assert {value.dtype for part in PARTS for value in getattr(pipe, part).parameters()} == {dtype}


def test_averages_that_a_trainer_left_in_the_file_are_not_read(single: Path, theirs: Any, tmp_path: Path) -> None:
    tensors = load_file(single)
    for name in [name for name in tensors if name.startswith("model.diffusion_model.")]:
        tensors["model_ema." + name.removeprefix("model.").replace(".", "")] = torch.zeros_like(tensors[name])
    save_file({**tensors, "model_ema.decay": torch.zeros(1)}, tmp_path / "ema.safetensors")
    shutil.copytree(single.parent / "tokenizer", tmp_path / "tokenizer")
    same(loaded(tmp_path / "ema.safetensors").pipe, theirs)


@pytest.mark.parametrize(
    ("marks", "fields", "expected"),
    [
        ((), {}, ("epsilon", False, "leading")),
        (("v_pred",), {}, ("v_prediction", False, "leading")),
        (("v_pred", "ztsnr"), {}, ("v_prediction", True, "trailing")),
        ((), {"modelspec.prediction_type": "v"}, ("v_prediction", False, "leading")),
    ],
)
def test_what_a_file_predicts_is_read_from_it(
    single: Path, tmp_path: Path, marks: tuple[str, ...], fields: dict[str, str], expected: tuple[Any, ...]
) -> None:
    path = tmp_path / "v.safetensors"
    save_file({**load_file(single), **{mark: torch.zeros(0) for mark in marks}}, path, metadata=fields)
    config = loaded(path, tokenizer=str(single.parent / "tokenizer")).pipe.scheduler.config
    found = (config.prediction_type, config.rescale_betas_zero_snr, config.timestep_spacing)
    assert found == expected
    told = loaded(path, tokenizer=str(single.parent / "tokenizer"), prediction="v_prediction").pipe.scheduler.config
    assert told.prediction_type == "v_prediction"


def test_sdxl_turbo_in_a_single_file_gets_its_scheduler(single: Path, tmp_path: Path) -> None:
    shutil.copy(single, tmp_path / "sd_xl_turbo_1.0_fp16.safetensors")
    pipe = loaded(tmp_path / "sd_xl_turbo_1.0_fp16.safetensors", tokenizer=str(single.parent / "tokenizer")).pipe
    with without_numpy_warning():
        pipe.scheduler.set_timesteps(1)
    assert type(pipe.scheduler).__name__ == "EulerAncestralDiscreteScheduler"
    assert pipe.scheduler.timesteps.tolist() == [999]
    assert pipe.unet.config.sample_size == 64


def test_the_real_models_configuration_is_told_from_its_shapes(tmp_path: Path) -> None:
    """Shapes are all that is looked at, so the real SDXL is tried without one of its weights."""
    from diffusers import UNet2DConditionModel
    from stability_layout import ldm_unet

    modules = structure("sdxl")
    shapes = {
        f"model.diffusion_model.{ldm_unet(name.removeprefix('unet.') + f'.{kind}', {'0', '1'})}": tuple(value.shape)
        for name, module in modules.items()
        if name.startswith("unet.")
        for kind, value in module.named_parameters()
    }
    second = "conditioner.embedders.1.model."
    shapes[f"{second}token_embedding.weight"] = (49408, 1280)
    shapes[f"{second}positional_embedding"] = (77, 1280)
    shapes[f"{second}text_projection"] = (1280, 1280)
    shapes |= {f"{second}transformer.resblocks.{n}.mlp.c_fc.weight": (5120, 1280) for n in range(32)}
    config = xl_unet_of(shapes)
    with torch.device("meta"):
        unet = UNet2DConditionModel(**config)
    assert sum(value.numel() for value in unet.parameters()) == 2_567_463_684
    assert config["attention_head_dim"] == (5, 10, 20)
    assert config["transformer_layers_per_block"] == (1, 2, 10)
    assert config["addition_time_embed_dim"] == 256
    assert config["cross_attention_dim"] == 2048
    found = second_clip_of(shapes)
    assert (found["num_hidden_layers"], found["num_attention_heads"], found["hidden_act"]) == (32, 20, "gelu")


def test_the_structure_of_a_file_and_of_its_folder_is_that_of_the_model(single: Path, tiny: Tiny) -> None:
    pipe = loaded(single).pipe
    real = targets(unet=pipe.unet, text_encoder=pipe.text_encoder, text_encoder_2=pipe.text_encoder_2)
    for model in (single, tiny("sdxl")):
        found = structure(str(model))
        assert {name: module.weight.shape for name, module in found.items()} == {
            name: module.weight.shape for name, module in real.items()
        }
    assert first_clip_of(read_header(single).shapes)["hidden_act"] == "quick_gelu"


def test_a_backend_of_sd_names_the_one_that_paints(tiny: Tiny, single: Path) -> None:
    assert refused(tiny("sdxl"), kinds=("sd",)) == "sdxl is an SDXL checkpoint; take --backend sdxl"
    assert refused(single, kinds=("sd",)) == "tiny is an SDXL checkpoint; take --backend sdxl"
    assert refused(tiny("sd")) == "sd is an SD 1.x or 2.x checkpoint; take --backend sd"
    assert refused(tiny("sdxs")) == "sdxs is an SDXS checkpoint; take --backend sdxs"
    assert refused(tiny("sd"), kinds=("sdxs",)) == "sd is an SD 1.x or 2.x checkpoint; take --backend sd"
    assert loaded(tiny("sdxl-turbo")).kind == "sdxl"
    assert loaded(tiny("sdxs"), kinds=("sd",)).kind == loaded(tiny("sdxs-0.9"), kinds=("sdxs",)).kind == "sd"


def test_an_inpainting_model_opens_where_it_is_asked_for(copy: Path) -> None:
    unet = copy / "unet" / "diffusion_pytorch_model.safetensors"
    config = json.loads((copy / "unet" / "config.json").read_text())
    (copy / "unet" / "config.json").write_text(json.dumps({**config, "in_channels": 9}))
    save_file({**load_file(unet), "conv_in.weight": torch.zeros(32, 9, 3, 3)}, unet)
    assert refused(copy) == (
        "copy is an SDXL inpainting checkpoint, which only paints over a picture: take --backend sdxl, and give it a "
        "picture and a mask (--image, --inpaint)"
    )
    assert loaded(copy, kinds=("sdxl", "sdxl-inpaint")).pipe.unet.config.in_channels == 9


def test_a_refiner_is_refused(copy: Path) -> None:
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps({**index, "text_encoder": [None, None]}))
    assert refused(copy) == "copy is an SDXL refiner, which no backend paints with; take the base model"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"conditioner.embedders.0.": None}, "is not a whole checkpoint: it has no first text encoder of the SDXL"),
        ({"first_stage_model.": None}, "is not a whole checkpoint: it has no autoencoder of the SDXL layout"),
        ({"model.diffusion_model.label_emb.0.2.weight": None}, "is not a whole SDXL checkpoint: "),
        ({"model.diffusion_model.label_emb.0.0.weight": (1,)}, "is not a whole SDXL checkpoint: "),
        ({"conditioner.embedders.1.model.text_projection": None}, "is not a whole SDXL checkpoint: "),
        ({"conditioner.embedders.1.model.text_projection": (9,)}, "is not a whole SDXL checkpoint: "),
        ({"conditioner.embedders.1.model.ln_final.bias": None}, "the text encoder lacks"),
        ({"model.diffusion_model.middle_block.1.": None}, "is not a whole SDXL checkpoint: "),
    ],
)
def test_a_file_that_lacks_something_says_what(
    single: Path, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    tensors = load_file(single)
    for prefix, shape in change.items():
        tensors = {key: value for key, value in tensors.items() if not key.startswith(prefix)}
        if shape:
            tensors[prefix] = torch.zeros(shape)
    save_file(tensors, tmp_path / "a.safetensors")
    assert reason in refused(tmp_path / "a.safetensors", tokenizer=str(single.parent / "tokenizer"))


@pytest.mark.parametrize("part", ["text_encoder_2", "tokenizer_2", "unet", "scheduler"])
def test_a_folder_that_lacks_a_part_says_which(copy: Path, part: str) -> None:
    shutil.rmtree(copy / part)
    assert part in refused(copy)


def test_a_file_of_the_hub_opens_from_the_cache(single: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "hub" / "models--AstraliteHeart--pony-diffusion-v6"
    (root / "snapshots" / "abc").mkdir(parents=True)
    shutil.copy(single, root / "snapshots" / "abc" / "v6.safetensors")
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for model in ("pony", "AstraliteHeart/pony-diffusion-v6/v6.safetensors"):
        assert loaded(model, tokenizer=str(single.parent / "tokenizer")).name == "v6"
    missing = "AstraliteHeart/pony-diffusion-v6/v7.safetensors"
    assert refused(missing).startswith(f"{missing} is not on this machine and the hub does not give it")
