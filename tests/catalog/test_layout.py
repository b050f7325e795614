"""Names and shapes tell what a file is, how it is spelt, and which base it was made for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from io import FileIO
from pathlib import Path

import pytest

from velatura.catalog.architecture import related
from velatura.catalog.header import Tensors, TensorType, read_header
from velatura.catalog.layout import LAYOUTS, Layout, read_layout

SD1 = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"


def layout_of(shapes: Mapping[str, Sequence[int]]) -> Layout:
    types = {name: TensorType("F16", tuple(shape), 2, "") for name, shape in shapes.items()}
    return read_layout(Tensors(types, dict.fromkeys(types, 0), 0))


def pair(module: str, inner: int = 320, outer: int = 320, *, rank: int = 4) -> dict[str, list[int]]:
    return {f"{module}.lora_down.weight": [rank, inner], f"{module}.lora_up.weight": [outer, rank]}


def peft(module: str, inner: int = 320, outer: int = 320, *, rank: int = 4) -> dict[str, list[int]]:
    return {f"{module}.lora_A.weight": [rank, inner], f"{module}.lora_B.weight": [outer, rank]}


@pytest.mark.parametrize(
    ("tensors", "kind", "rank"),
    [
        (pair(SD1, 768), "lora", 4),
        ({f"{SD1}.alpha": [], **pair(SD1, 768, rank=16)}, "lora", 16),
        ({SD1 + ".lora_down.weight": [4, 320, 1, 1], SD1 + ".lora_up.weight": [320, 4, 1, 1]}, "lora", 4),
        ({SD1 + ".lora_down.weight": [4, 320, 3, 3], SD1 + ".lora_up.weight": [320, 4, 1, 1]}, "locon", 4),
        ({SD1 + ".lora_mid.weight": [4, 4, 3, 3], **pair(SD1, 768)}, "locon", 4),
        ({SD1 + ".dora_scale": [1, 768], **pair(SD1, 768)}, "dora", 4),
        ({SD1 + ".lora_magnitude_vector.weight": [320], **peft(SD1, 768)}, "dora", 4),
        ({SD1 + f".hada_w{n}_{side}": [320, 8] if side == "a" else [8, 768] for n in "12" for side in "ab"}, "loha", 8),
        ({SD1 + ".lokr_w1": [16, 16], SD1 + ".lokr_w2_a": [20, 6], SD1 + ".lokr_w2_b": [6, 48]}, "lokr", 6),
        ({SD1 + ".lokr_w1": [16, 16], SD1 + ".lokr_w2": [20, 48]}, "lokr", None),
        ({SD1 + ".diff": [320, 768], SD1 + ".diff_b": [320]}, "full", None),
        ({SD1 + ".diff_b": [320], **pair(SD1, 768)}, "lora", 4),
        ({SD1 + ".w_norm": [320], SD1 + ".b_norm": [320]}, "norm", None),
        ({SD1 + "x.w_norm": [320], **pair(SD1, 768)}, "lora", 4),
        ({SD1 + ".oft_blocks": [4, 80, 80]}, "oft", None),
        ({SD1 + ".oft_blocks": [3, 4, 80, 80]}, "boft", None),
        ({SD1 + ".weight": [320, 1], SD1 + ".on_input": []}, "ia3", None),
        ({SD1 + f".{part}.weight": [4, 320] for part in ("a1", "a2", "b1", "b2")}, "glora", 4),
        ({**pair(SD1, 768), **{SD1 + "2.lokr_w1": [4, 4], SD1 + "2.lokr_w2": [8, 8]}}, "mixed", 4),
        ({"emb_params": [4, 768]}, "embedding", None),
        ({"clip_l": [2, 768], "clip_g": [2, 1280]}, "embedding", None),
        ({"<fox>": [768]}, "embedding", None),
    ],
)  # fmt: skip
def test_the_kind_of_network_and_its_rank(tensors, kind, rank):
    layout = layout_of(tensors)
    assert (layout.kind, layout.rank, layout.other) == (kind, rank, None)


def test_the_commonest_rank_counts():
    tensors = {**pair("lora_unet_a", rank=8), **pair("lora_unet_b", rank=4), **pair("lora_unet_c", rank=4)}
    assert layout_of(tensors).rank == 4


PLACE = "down_blocks.0.attentions.0.transformer_blocks.0.attn2"


@pytest.mark.parametrize(
    ("tensors", "spelling"),
    [
        (pair(SD1, 768), "kohya"),
        (pair("lora_te_text_model_encoder_layers_0_mlp_fc1", 768), "kohya"),
        (pair("lycoris_unet_down_blocks_0", 768), "lycoris"),
        (pair("lora_transformer_transformer_blocks_0_attn_to_q", 3072), "onetrainer"),
        ({f"unet.{PLACE}.to_k.lora.down.weight": [4, 768], f"unet.{PLACE}.to_k.lora.up.weight": [320, 4]}, "diffusers"),
        ({f"{PLACE}.to_k.lora.down.weight": [4, 768]}, "diffusers"),
        ({"text_encoder.text_model.encoder.layers.0.mlp.fc1.lora_linear_layer.down.weight": [4, 768]}, "diffusers"),
        ({f"{PLACE}.processor.to_k_lora.down.weight": [4, 768]}, "diffusers-old"),
        ({f"unet.{PLACE}.processor.to_k_lora.down.weight": [4, 768]}, "diffusers-old"),
        (peft(f"unet.{PLACE}.to_k", 768), "peft"),
        ({f"unet.{PLACE}.to_k.lora_A.default.weight": [4, 768]}, "peft"),
        (peft("transformer.transformer_blocks.0.attn.to_q", 3072), "peft"),
        (peft(f"base_model.model.{PLACE}.to_k", 768), "peft-raw"),
        (peft(f"{PLACE}.to_k", 768), "peft-unprefixed"),
        ({"unet:0:down": [4, 320], "unet:0:up": [320, 4], "<s1>": [768]}, "safeloras"),
        (peft("diffusion_model.double_blocks.0.img_attn.qkv", 3072, 9216), "comfy"),
        (peft("double_blocks.0.img_attn.qkv", 3072, 9216), "bfl"),
        ({"double_blocks.0.processor.qkv_lora1.down.weight": [16, 3072]}, "xlabs"),
        ({"emb_params": [4, 768]}, "a1111"),
        ({"clip_l": [2, 768], "clip_g": [2, 1280]}, "clip"),
        # Met in the wild: a converter that lost the dots and doubled the prefix.
        ({"lora_unet_unet_" + SD1[10:] + "_lora_down.weight": [4, 768]}, None),
    ],
)  # fmt: skip
def test_the_spelling_of_the_keys(tensors, spelling):
    layout = layout_of(tensors)
    assert layout.kind is not None
    assert layout.layout == spelling
    assert spelling is None or spelling in LAYOUTS


LDM = "lora_unet_input_blocks_4_1_transformer_blocks_0"
SMALL = "lora_unet_down_blocks_0_attentions_0"


@pytest.mark.parametrize(
    ("tensors", "family"),
    [
        (pair(SD1, 768), "sd1"),
        (pair(SD1, 1024), "sd2"),
        (pair(f"{LDM}_attn2_to_k", 2048), "sdxl"),
        (pair(f"{LDM}_attn2_to_k", 1280), "unknown"),
        (peft(f"base_model.model.{PLACE}.to_v", 2048), "sdxl"),
        ({SD1 + ".hada_w1_b": [8, 2048]}, "sdxl"),
        ({SD1 + ".lokr_w1": [16, 16], SD1 + ".lokr_w2_a": [20, 6], SD1 + ".lokr_w2_b": [6, 48]}, "sd1"),
        ({SD1 + ".lokr_w1": [16, 32], SD1 + ".lokr_w2": [20, 64]}, "sdxl"),
        ({SD1 + ".diff": [320, 1024]}, "sd2"),
        # No cross-attention: other parts tell.
        ({**pair(f"{LDM}_attn1_to_k"), **pair("lora_te2_text_model_encoder_layers_0_mlp_fc1", 1280)}, "sdxl"),
        (pair("lora_unet_middle_block_1_transformer_blocks_9_attn1_to_k"), "sdxl"),
        ({f"{SMALL}_proj_in.lora_down.weight": [4, 320, 1, 1]}, "sd1"),
        ({f"{SMALL}_proj_in.lora_down.weight": [4, 320]}, "sd2"),
        ({**pair(f"{SMALL}_transformer_blocks_0_attn1_to_k"), **pair("lora_te_text_model_x", 1024)}, "sd2"),
        (pair(f"{LDM}_attn1_to_k"), "unknown"),
        (pair("lora_te_text_model_encoder_layers_0_mlp_fc1", 768), "sd1"),
        (pair("lora_te_text_model_encoder_layers_0_mlp_fc1", 1024), "sd2"),
        (pair("lora_te1_text_model_encoder_layers_0_mlp_fc1", 768), "unknown"),
        ({"unet:0:down": [4, 320], "unet:1:down": [4, 1024], "text_encoder:0:down": [4, 768]}, "sd2"),
        # Transformers.
        (pair("lora_unet_double_blocks_0_img_attn_qkv", 3072, 9216), "flux1"),
        (peft("transformer.single_transformer_blocks.0.attn.to_k", 3072), "flux1"),
        (peft("transformer.transformer_blocks.18.attn.add_k_proj", 3072), "flux1"),
        (peft("diffusion_model.double_blocks.0.img_attn.qkv", 6144), "flux2"),
        (peft("diffusion_model.single_blocks.0.linear1", 3072, 27648), "flux2"),
        (peft("transformer.single_transformer_blocks.0.attn.to_qkv_mlp_proj", 3072), "flux2"),
        (pair("lora_unet_distilled_guidance_layer_0", 3072), "chroma"),
        (pair("lora_unet_joint_blocks_0_context_block_attn_qkv", 1536), "sd3"),
        (pair("lora_unet_joint_blocks_0_context_block_attn_qkv", 2432), "sd35"),
        (peft("transformer.transformer_blocks.0.attn.add_k_proj", 1536), "sd3"),
        (peft("transformer.transformer_blocks.0.attn.add_k_proj", 2432), "sd35"),
        (peft("transformer.transformer_blocks.59.attn.add_k_proj", 3072), "qwen"),
        (peft("transformer.transformer_blocks.0.img_mlp.net.2", 3072), "qwen"),
        (peft("transformer.joint_transformer_blocks.0.attn.to_k", 3072), "auraflow"),
        (peft("transformer.transformer_blocks.0.attn1.to_k", 1152), "pixart"),
        (peft("transformer.transformer_blocks.0.attn1.to_k", 2048), "ltx"),
        (peft("diffusion_model.blocks.0.cross_attn.k", 5120), "wan"),
        (peft("diffusion_model.layers.0.attention.qkv", 2304), "lumina"),
        (peft("diffusion_model.layers.0.attention.to_q", 3840), "zimage"),
        (peft("diffusion_model.double_blocks.0.img_mod.linear", 3072), "hunyuan"),
        (peft("transformer.double_stream_blocks.0.block.attn1.to_k", 2560), "hidream"),
        (peft("base_model.model.model.layers.0.self_attn.q_proj", 4096), "other"),
        ({"emb_params": [4, 1024]}, "sd2"),
        ({"clip_l": [2, 768], "clip_g": [2, 1280]}, "sdxl"),
    ],
)  # fmt: skip
def test_the_base_family(tensors, family):
    assert layout_of(tensors).family == family


def test_the_evidence_is_said():
    assert layout_of(pair(SD1, 768)).evidence == "cross-attention width 768"


def test_the_parts_that_are_changed():
    tensors = {**pair(SD1, 768), **pair("lora_te1_text_model_x", 768), **pair("lora_te2_text_model_x", 1280)}
    assert layout_of(tensors).parts == ("model", "te1", "te2")


def test_one_alpha_is_named():
    assert layout_of({**pair(SD1, 768), SD1 + ".alpha": []}).alpha == SD1 + ".alpha"


def test_bundled_embeddings_are_named_and_do_not_hide_the_network():
    layout = layout_of({"bundle_emb.foxy.string_to_param.*": [2, 768], **pair(SD1, 768)})
    assert (layout.kind, layout.family, layout.bundled) == ("lora", "sd1", ("foxy",))


@pytest.mark.parametrize(
    ("tensors", "what"),
    [
        (["model.diffusion_model.input_blocks.0.0.weight", "first_stage_model.x"], "a whole checkpoint"),
        (["encoder.conv_in.weight", "decoder.conv_in.weight"], "a VAE"),
        (["first_stage_model.decoder.conv_in.weight"], "a VAE"),
        (["control_model.input_blocks.0.0.weight"], "a ControlNet"),
        (["controlnet_cond_embedding.conv_in.weight", "down_blocks.0.resnets.0.conv1.weight"], "a ControlNet"),
        (["lora_controlnet", "input_blocks.1.0.in_layers.2.down"], "a Control-LoRA"),
        (["adapter.body.0.block1.weight"], "a T2I-Adapter"),
        (["image_proj.proj.weight", "ip_adapter.1.to_k_ip.weight"], "an IP-Adapter"),
        (["image_proj.proj.weight", "ip_adapter.0.to_q_lora.down.weight"], "an IP-Adapter"),
        (["down_blocks.0.attentions.0.proj_in.weight"], "a whole UNet"),
        (["down_blocks.0.motion_modules.0.temporal_transformer.norm.weight"], "a motion module"),
        (["text_model.encoder.layers.0.mlp.fc1.weight"], "a text encoder"),
        (["vision_model.encoder.layers.0.mlp.fc1.weight"], "an image encoder"),
        (["transformer_blocks.0.attn.to_k.weight"], "a whole model"),
        (["double_blocks.0.img_attn.qkv.weight"], "a whole model"),
        (["model.layers.0.self_attn.q_proj.weight", "lm_head.weight"], "a language model"),
        (["anything"], "no adapter that is known"),
        ([], "no adapter that is known"),
    ],
)  # fmt: skip
def test_what_is_no_adapter_is_named(tensors, what):
    layout = layout_of({name: [320, 320, 3, 3] for name in tensors})
    assert (layout.kind, layout.other) == (None, what)


def test_only_families_of_one_architecture_are_related():
    assert related("noobai", "sdxl")
    assert not related("flux1", "sdxl")
    assert related("sd1", "sd1")


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "layout", "rank", "family"),
    [
        ("catundchat_weapons_sd15", "diffusers-old", 4, "sd1"),
        ("cloneofsimo_analog_svd_rank4", "safeloras", 4, "sd1"),
        ("ivanby12_sd2x_processor", "diffusers-old", 4, "sd2"),
        ("jettooss_satellite_sd15", "diffusers", 4, "sd1"),
        # Its name says SD 1.5; its cross-attention is 1024 wide, so it was trained on SD 2.
        ("vfph55_naruto_sd15_bf16", "diffusers", 4, "sd2"),
    ],
)
def test_real_files(real_data, name, layout, rank, family):
    path: Path = real_data / "lora_files" / f"{name}.safetensors"
    with FileIO(path) as file:
        found = read_layout(read_header(file, path.name).tensors)
    assert (found.kind, found.layout, found.rank, found.family) == ("lora", layout, rank, family)


@pytest.mark.real_data
def test_the_tensors_of_a_truncated_sdxl_file_would_have_been_sdxl(real_data):
    raw = (real_data / "lora_files" / "srikanth_sdxl_TRUNCATED.safetensors").read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    found = layout_of({name: entry["shape"] for name, entry in header.items() if name != "__metadata__"})
    assert (found.kind, found.layout, found.rank, found.family) == ("lora", "diffusers-old", 4, "sdxl")


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "kind", "layout", "rank"),
    [
        ("control_lora", "lora", "bfl", 128),
        ("dora_onetrainer", "dora", "onetrainer", 4),
        ("lokr_bfl", "lokr", "comfy", None),
        ("lora_aitoolkit", "lora", "comfy", 16),
        ("lora_diffusers_base_model", "lora", "peft-raw", 4),
        ("lora_diffusers", "lora", "peft", 32),
        ("lora_diffusers_no_proj_mlp", "lora", "peft", 16),
        ("lora_kohya", "lora", "kohya", 16),
        ("lora_kohya_with_te1", "lora", "kohya", 4),
        ("lora_xlabs", "lora", "xlabs", 16),
    ],
)
def test_real_key_lists_of_flux(real_data, name, kind, layout, rank):
    keys = json.loads((real_data / "lora_keys" / f"flux_{name}_format.json").read_text())["state_dict_keys"]
    found = layout_of(keys)
    assert (found.kind, found.layout, found.rank, found.family) == (kind, layout, rank, "flux1")
