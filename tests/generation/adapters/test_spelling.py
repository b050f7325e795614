"""Names told backward from stems agree with those made forward from models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from velatura.generation.adapters.keys import role_of
from velatura.generation.adapters.names import spellings
from velatura.generation.adapters.spelling import block_of, modules_of, numbered_modules, spell
from velatura.generation.structure import structure


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl", "flux1"])
def test_every_spelling_of_every_module_is_told_as_one(family: str):
    modules = structure(family)
    one = {name: spell(name) for name in modules}
    assert len(set(one.values())) == len(modules)
    numbered = numbered_modules({})
    for spelt, place in spellings(modules, {}, {}):
        if not place.swapped:
            assert [name for name, _ in modules_of(spelt, numbered)] == [one[name] for name in place.modules], spelt


def test_shares_are_the_whole_in_order():
    for stem, outputs in (("lora_unet_single_blocks_4_linear1", 21), ("double_blocks.0.txt_attn.qkv", 10)):
        rows = [share.rows(outputs) for _, share in modules_of(stem, {})]
        assert [row for part in rows for row in range(outputs)[part]] == list(range(outputs))


def test_the_walk_of_numbered_layers_follows_the_header():
    short = numbered_modules({"unet": '["CrossAttention", "Attention"]'})
    assert short["unet:4"].endswith("attn2.to_q")
    assert numbered_modules({})["unet:4"].endswith("ff.net.0.proj")


@pytest.mark.parametrize(
    ("stem", "block"),
    [
        ("lora_unet_input_blocks_8_1_proj_in", "down.2"),
        ("lora_unet_output_blocks_0_1_proj_in", "up.0"),
        ("lora_te2_text_model_encoder_layers_0_mlp_fc1", "text 2"),
        ("lora_te3_encoder_block_0_layer_0_SelfAttention_q", "t5"),
        ("transformer.single_transformer_blocks.37.proj_out", "single"),
        ("diffusion_model.blocks.3.self_attn.q", "double"),
        ("lora_unet_down_blocks_99999_evil", "rest"),
        ("lora_unet_conv_out", "rest"),
        ("\x1b[31m", "rest"),
        ("", "rest"),
    ],
)
def test_a_block_is_one_of_a_few(stem: str, block: str):
    assert block_of(spell(stem)) == block


@pytest.mark.real_data
def test_real_files_of_flux_reach_the_same_modules_in_every_layout(real_data: Path):
    def reached(layout: str) -> set[str]:
        [path] = (real_data / "lora_keys").glob(f"flux_{layout}_format.json")
        content = json.loads(path.read_text())
        keys = {
            key for part in (content if isinstance(content, list) else [content]) for key in part["state_dict_keys"]
        }
        stems = {role.stem for role in map(role_of, keys) if role}
        return {name for stem in stems for name, _ in modules_of(stem, {}) if name.startswith("model.")}

    whole = reached("lora_kohya")
    assert len(whole) == 494
    assert reached("lora_diffusers") == reached("lora_kohya_with_te1") == whole
    for layout in ("lora_aitoolkit", "lora_diffusers_no_proj_mlp", "lora_xlabs", "lokr_bfl", "dora_onetrainer"):
        assert reached(layout) < whole
    assert len(reached("control_lora") & whole) == 494
