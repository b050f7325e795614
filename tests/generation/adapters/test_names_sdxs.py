"""SDXS wears adapters of SD 1.5 by structure: every shape agrees, and every spelling leads to the stood-in module."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import nn

from velatura.generation.adapters.names import places, targets
from velatura.generation.adapters.sdxs import stand_ins

THREE = (320, 640, 1280)
ATTENDED_INSIDE = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
}
ATTENDED = {"down_block_types": ("CrossAttnDownBlock2D",) * 3, "up_block_types": ("CrossAttnUpBlock2D",) * 3}
SMALL: dict[str, Any] = {"block_out_channels": THREE, "layers_per_block": 1, "mid_block_type": None}
CONFIGS: dict[str, dict[str, Any]] = {
    "sdxs-dreamshaper": {**SMALL, **ATTENDED_INSIDE, "cross_attention_dim": 768},
    "sdxs-0.9": {**SMALL, **ATTENDED, "cross_attention_dim": 1024},
}


def unet_of(config: dict[str, Any]) -> nn.Module:
    with torch.device("meta"):
        return UNet2DConditionModel(**config)


@pytest.fixture(scope="module")
def sd1() -> dict[str, nn.Module]:
    return targets(unet=unet_of({"cross_attention_dim": 768}))


def shape(modules: dict[str, nn.Module], name: str) -> tuple[int, ...]:
    return tuple(modules[name].weight.shape)


@pytest.mark.parametrize(
    ("name", "parameters", "mismatched"), [("sdxs-dreamshaper", 315_746_244, 0), ("sdxs-0.9", 326_825_604, 18)]
)
def test_every_module_has_the_shape_of_what_it_stands_in_for(
    name: str, parameters: int, mismatched: int, sd1: dict[str, nn.Module]
) -> None:
    unet = unet_of(CONFIGS[name])
    assert sum(parameter.numel() for parameter in unet.parameters()) == parameters
    modules = targets(unet=unet)
    others = stand_ins(modules)
    assert set(others) == set(modules)
    assert len(set(others.values())) == len(others)
    unlike = [module for module, other in others.items() if shape(modules, module) != shape(sd1, other)]
    assert len(unlike) == mismatched
    assert all(module.endswith((".attn2.to_k", ".attn2.to_v")) for module in unlike)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_spelling_leads_where_it_leads_in_sd1(name: str, sd1: dict[str, nn.Module]) -> None:
    modules = targets(unet=unet_of(CONFIGS[name]))
    others = stand_ins(modules)
    meant = {stem: place.modules[0] for stem, place in places(sd1, {}).items()}
    found = {stem: others[place.modules[0]] for stem, place in places(modules, {}, others).items()}
    kept = set(others.values())
    assert found == {stem: module for stem, module in meant.items() if module in kept}
    assert len([stem for stem in found if stem.startswith("unet:")]) == 9 * (6 if name == "sdxs-dreamshaper" else 9)


ATTENTION = ("proj_in", "proj_out", "to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2")
CONVOLUTION = ("conv1", "conv2", "conv_shortcut", "time_emb_proj", "samplers.0.conv")


@pytest.mark.parametrize(
    ("name", "leaves", "by_name", "by_structure"),
    [
        ("sdxs-dreamshaper", ATTENTION, (192, 48, 24), (72, 72)),
        ("sdxs-dreamshaper", ATTENTION + CONVOLUTION, (278, 87, 44), (111, 111)),
        ("sdxs-0.9", ATTENTION, (192, 84, 30), (108, 90)),
        ("sdxs-0.9", ATTENTION + CONVOLUTION, (278, 123, 50), (147, 129)),
    ],
)
def test_an_adapter_of_sd1_reaches_by_structure_what_it_misses_by_name(
    name: str,
    leaves: tuple[str, ...],
    by_name: tuple[int, int, int],
    by_structure: tuple[int, int],
    sd1: dict[str, nn.Module],
) -> None:
    """By name: the adapter's modules, those found, those that fit; by structure: those found, those that fit."""
    modules = targets(unet=unet_of(CONFIGS[name]))
    adapter = {module: f"lora_{module.replace('.', '_')}" for module in sd1 if module.endswith(leaves)}

    def laid(others: dict[str, str]) -> tuple[int, int]:
        found = places(modules, {}, others)
        pairs = [(module, found[stem].modules[0]) for module, stem in adapter.items() if stem in found]
        return len(pairs), sum(shape(sd1, theirs) == shape(modules, ours) for theirs, ours in pairs)

    assert (len(adapter), *laid({})) == by_name
    assert laid(stand_ins(modules)) == by_structure


@pytest.mark.parametrize(
    "config",
    [
        {"cross_attention_dim": 768},
        {**CONFIGS["sdxs-dreamshaper"], "mid_block_type": "UNetMidBlock2DCrossAttn"},
        {**CONFIGS["sdxs-dreamshaper"], "layers_per_block": 2},
        {"block_out_channels": (32, 64, 64, 64), "layers_per_block": 1, "mid_block_type": None},
        {  # a student of SDXL has the same blocks, and the embedding of the picture's size
            **CONFIGS["sdxs-dreamshaper"],
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
        },
    ],
)
def test_other_structures_stand_in_for_nothing(config: dict[str, Any]) -> None:
    assert stand_ins(targets(unet=unet_of(config))) == {}


def test_a_small_model_of_that_structure_counts_too() -> None:
    config = {**CONFIGS["sdxs-dreamshaper"], "block_out_channels": (32, 32, 64), "cross_attention_dim": 16}
    found = stand_ins(targets(unet=unet_of(config), text_encoder=nn.Linear(1, 1)))
    assert found["unet.up_blocks.0.resnets.1.conv1"] == "unet.up_blocks.1.resnets.2.conv1"
    assert found["unet.up_blocks.1.upsamplers.0.conv"] == "unet.up_blocks.2.upsamplers.0.conv"
    assert found["unet.conv_norm_out"] == "unet.conv_norm_out"
    assert all(name.startswith("unet.") for name in found)
