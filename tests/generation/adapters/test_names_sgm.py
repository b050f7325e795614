"""Names in Stability's code, against the way diffusers reads Stability's checkpoints."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel

from velatura.generation.adapters.names import Place, places, targets
from velatura.generation.adapters.sgm import sgm_names

SMALL = {"cross_attention_dim": 8, "attention_head_dim": 2, "norm_num_groups": 2}
SDXL = {
    "block_out_channels": (4, 8, 16),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 4,
    "projection_class_embeddings_input_dim": 32,
}
LAYOUTS: dict[str, dict[str, Any]] = {
    "sd1": {"block_out_channels": (4, 8, 16, 16)},
    "sd2": {"block_out_channels": (4, 8, 16, 16), "use_linear_projection": True},
    "sdxl": SDXL,
    "one layer a level": {"block_out_channels": (4, 8, 16, 16), "layers_per_block": 1},
    "three layers a level": {"block_out_channels": (4, 8, 16, 16), "layers_per_block": 3},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_diffusers_reads_the_names_back(layout: str) -> None:
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    with torch.device("meta"):
        unet = UNet2DConditionModel(**SMALL, **LAYOUTS[layout])
    modules = [name.rpartition(".")[0] for name in unet.state_dict()]
    spelt = sgm_names(dict.fromkeys(modules))
    assert set(spelt) == set(modules)
    assert len(set(spelt.values())) == len(spelt)
    checkpoint = {}
    for name in unet.state_dict():
        module, _, parameter = name.rpartition(".")
        checkpoint[f"model.diffusion_model.{spelt[module]}.{parameter}"] = name
    assert convert_ldm_unet_checkpoint(checkpoint, unet.config) == {name: name for name in unet.state_dict()}


def test_levels_of_unlike_depth_have_no_numbers() -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel(**SMALL, block_out_channels=(4, 8, 16, 16), layers_per_block=(1, 2, 2, 2))
    found = places(targets(unet=unet), {})
    assert not any("put_blocks" in stem and "input_blocks_0_0" not in stem.replace(".", "_") for stem in found)
    assert found["lora_unet_out_2"] == Place(("unet.conv_out",))
    assert found["lora_unet_down_blocks_1_resnets_1_conv1"] == Place(("unet.down_blocks.1.resnets.1.conv1",))


def test_the_kept_part_of_a_unet_keeps_its_numbers() -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel(**SMALL, block_out_channels=(4, 8, 16, 16))
    whole = sgm_names([name.removeprefix("unet.") for name in targets(unet=unet)])
    part = {
        name: spelt
        for name, spelt in whole.items()
        if not name.startswith(("mid_block", "down_blocks.3", "up_blocks.0", "down_blocks.0.attentions"))
        and ".1." not in f".{'.'.join(name.split('.')[2:4])}."
    }
    assert 0 < len(part) < len(whole)
    assert sgm_names(list(part)) == part
