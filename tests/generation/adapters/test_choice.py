"""On the weights or beside them: the break-even points that were measured, and the cases that leave no choice."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from velatura.generation.adapters import choice
from velatura.generation.adapters.choice import choose
from velatura.generation.adapters.file import AdapterFile
from velatura.generation.adapters.names import targets
from velatura.generation.adapters.plan import AdapterPlan, plan
from velatura.generation.sd import StableDiffusionBackend
from velatura.records import GenerationRequest

Modules = dict[str, nn.Module]

OUTSIDE = re.compile(r"unet\.(conv_in|conv_out|time_embedding|add_embedding)")
"""What kohya's trainer leaves alone."""
SDXL: dict[str, Any] = {
    "sample_size": 128,
    "cross_attention_dim": 2048,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
SDXS: dict[str, Any] = {
    "cross_attention_dim": 768,
    "block_out_channels": (320, 640, 1280),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "mid_block_type": None,
}
CONFIGURATIONS: dict[str, dict[str, Any]] = {"SD 1.5": {"cross_attention_dim": 768}, "SDXL": SDXL, "SDXS": SDXS}


@pytest.fixture(scope="module")
def models() -> dict[str, Modules]:
    """The modules of the models in their true sizes, without memory."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        return {name: targets(unet=UNet2DConditionModel(**config)) for name, config in CONFIGURATIONS.items()}


def file_of(path: Path, modules: Modules, rank: int, wanted: Callable[[str], object]) -> AdapterPlan:
    tensors = {}
    for name, module in modules.items():
        if module.weight.ndim > 1 and wanted(name):
            outputs, inputs, *kernel = module.weight.shape
            tensors[f"{name}.lora_A.weight"] = torch.zeros(rank, inputs, *kernel)
            tensors[f"{name}.lora_B.weight"] = torch.zeros(outputs, rank, *[1] * len(kernel))
    save_file(tensors, path)
    return plan(AdapterFile(path), modules)


@pytest.fixture(scope="module")
def plans(models: dict[str, Modules], tmp_path_factory: pytest.TempPathFactory) -> dict[str, AdapterPlan]:
    """For each model, an adapter of rank 1 on everything that kohya's trainer reaches."""
    folder = tmp_path_factory.mktemp("rank 1")
    return {
        name: file_of(folder / f"{name}.safetensors", modules, 1, lambda name: not OUTSIDE.match(name))
        for name, modules in models.items()
    }


def break_even(found: AdapterPlan, modules: Modules, latent: int, images: int = 1) -> float:
    """After how many samples the weights win."""
    low, high = 0.0, 1e4
    while high - low > 1e-3:
        middle = (low + high) / 2
        way = choose([{found: 1.0}] * images, modules, samples=middle, height=latent, width=latent)
        low, high = (middle, high) if way == "beside" else (low, middle)
    return low


@pytest.mark.parametrize(
    ("model", "latent", "modules_of_file", "samples"),
    [("SD 1.5", 64, 278, 1.2), ("SDXS", 64, 111, 0.9), ("SDXL", 128, 788, 0.6), ("SDXL", 64, 788, 2.3)],
)
def test_counting_multiplications_alone_gives_what_was_counted_on_the_live_models(
    model: str,
    latent: int,
    modules_of_file: int,
    samples: float,
    models: dict[str, Modules],
    plans: dict[str, AdapterPlan],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(choice, "_PASS", 0)
    assert len(plans[model].parts) == modules_of_file
    assert break_even(plans[model], models[model], latent) == pytest.approx(samples, rel=0.25)


def test_the_pass_over_the_memory_weighs_as_much_as_16_ranks(
    models: dict[str, Modules], plans: dict[str, AdapterPlan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = models["SD 1.5"]
    wide = file_of(tmp_path / "wide.safetensors", modules, 16, lambda name: "attn1" in name)
    with_pass = break_even(wide, modules, 64)
    monkeypatch.setattr(choice, "_PASS", 0)
    assert with_pass == pytest.approx(2 * break_even(wide, modules, 64), rel=0.01)


def test_pictures_of_many_steps_are_painted_on_the_weights(
    models: dict[str, Modules], plans: dict[str, AdapterPlan]
) -> None:
    for model, latent in (("SD 1.5", 64), ("SDXL", 128)):
        assert choose([{plans[model]: 1.0}], models[model], samples=40, height=latent, width=latent) == "weights"
    assert choose([{plans["SDXL"]: 1.0}], models["SDXL"], samples=1, height=64, width=64) == "beside"


def test_more_images_of_one_set_bring_the_weights_nearer(
    models: dict[str, Modules], plans: dict[str, AdapterPlan]
) -> None:
    modules, found = models["SD 1.5"], plans["SD 1.5"]
    assert break_even(found, modules, 64, images=4) == pytest.approx(break_even(found, modules, 64) / 4, rel=0.01)


def test_sets_that_share_an_adapter_pass_through_its_ranks_once(
    models: dict[str, Modules], plans: dict[str, AdapterPlan]
) -> None:
    """Eight sets are eight layings, and eight images that each pass once: what is cheaper for one is so for all."""
    found, modules = plans["SDXL"], models["SDXL"]
    alone = break_even(found, modules, 64)
    sets = [{found: weight / 8} for weight in range(1, 9)]
    for share, way in ((0.9, "beside"), (1.1, "weights")):
        assert choose(sets, modules, samples=share * alone, height=64, width=64) == way


def test_the_embedding_of_sizes_is_seen_once(models: dict[str, Modules], tmp_path: Path) -> None:
    """It is evaluated once a sample, not at every position."""
    found = file_of(tmp_path / "a.safetensors", models["SDXL"], 4, lambda name: "_embedding.linear" in name)
    assert len(found.parts) == 4
    assert choose([{found: 1.0}], models["SDXL"], samples=40, height=128, width=128) == "beside"


def test_an_empty_set_is_laid_on_the_weights(models: dict[str, Modules], plans: dict[str, AdapterPlan]) -> None:
    modules = models["SD 1.5"]
    for sets in ([], [{}], [{plans["SD 1.5"]: 0.0}]):
        assert choose(sets, modules, samples=1, height=64, width=64) == "weights"


STEM = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
WIDTH = 1280
DENSE = {
    "LoHa": {f".hada_w{n}_{side}": shape for n in (1, 2) for side, shape in (("a", (WIDTH, 4)), ("b", (4, WIDTH)))},
    "LoKr": {".lokr_w1": (4, 4), ".lokr_w2": (WIDTH // 4, WIDTH // 4)},
    "full": {".diff": (WIDTH, WIDTH)},
    "OFT": {".oft_blocks": (WIDTH // 8, 8, 8)},
    "DoRA": {".lora_down.weight": (4, WIDTH), ".lora_up.weight": (WIDTH, 4), ".dora_scale": (WIDTH, 1)},
}


@pytest.mark.parametrize("kind", DENSE)
def test_what_has_no_thin_factors_goes_on_the_weights(kind: str, models: dict[str, Modules], tmp_path: Path) -> None:
    """Beside the weight its whole difference would be made just the same, and then multiplied with."""
    tensors = {STEM + suffix: torch.ones(shape) for suffix, shape in DENSE[kind].items()}
    save_file(tensors, tmp_path / "a.safetensors")
    found = plan(AdapterFile(tmp_path / "a.safetensors"), models["SD 1.5"])
    for samples in (1, 40):
        assert choose([{found: 1.0}], models["SD 1.5"], samples=samples, height=64, width=64) == "weights"


def test_an_adapter_that_follows_time_leaves_no_choice(models: dict[str, Modules], tmp_path: Path) -> None:
    shapes = {"q_layer.weight": (4, WIDTH), "p_layer.weight": (WIDTH, 4), "lambda_layer": (1, 4)}
    save_file({f"{STEM}.{part}": torch.ones(shape) for part, shape in shapes.items()}, tmp_path / "t.safetensors")
    found = plan(AdapterFile(tmp_path / "t.safetensors"), models["SD 1.5"])
    assert found.timed
    assert choose([{found: 1.0}], models["SD 1.5"], samples=1000, height=64, width=64) == "beside"
    # With a weight of nothing it does nothing.
    assert choose([{found: 0.0}], models["SD 1.5"], samples=1000, height=64, width=64) == "weights"


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.float8_e4m3fn], ids=str)
def test_a_quantised_weight_leaves_no_choice(dtype: torch.dtype, tmp_path: Path) -> None:
    linear = nn.Linear(8, 8)
    modules = targets(unet=nn.ModuleDict({"linear": linear}))
    pair = {"lora_unet_linear.lora_down.weight": torch.ones(1, 8), "lora_unet_linear.lora_up.weight": torch.ones(8, 1)}
    save_file(pair, tmp_path / "a.safetensors")
    found = plan(AdapterFile(tmp_path / "a.safetensors"), modules)
    assert choose([{found: 1.0}], modules, samples=1000, height=64, width=64) == "weights"
    linear.weight = nn.Parameter(torch.zeros(8, 8).to(dtype), requires_grad=False)
    assert choose([{found: 1.0}], modules, samples=1000, height=64, width=64) == "beside"


@pytest.mark.parametrize("way", ["weights", "beside"])
def test_a_setting_overrides_the_arithmetic(
    way: Any, checkpoint: Path, adapters: list[Path], asked: Callable[..., GenerationRequest]
) -> None:
    backend = StableDiffusionBackend(str(checkpoint), device="cpu", laying=way)
    next(backend.generate(asked("a red fox", (adapters[0], 0.5), steps=1)))
    assert backend.laid == ({str(adapters[0]): 0.5} if way == "weights" else {})
