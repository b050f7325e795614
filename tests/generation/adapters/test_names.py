"""Every spelling of trainers in the wild means the module it meant to them, and never two."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from velatura.generation.adapters.keys import role_of
from velatura.generation.adapters.names import Place, places, spellings, targets
from velatura.generation.adapters.sdxs import stand_ins

Modules = dict[str, nn.Module]


@pytest.fixture(scope="module")
def models() -> dict[str, Modules]:
    """The modules of each family in their true sizes, without memory."""
    from diffusers import FluxTransformer2DModel, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel

    three = {"block_out_channels": (320, 640, 1280), "down_block_types": ("DownBlock2D", *["CrossAttnDownBlock2D"] * 2)}
    three["up_block_types"] = (*["CrossAttnUpBlock2D"] * 2, "UpBlock2D")
    sizes = {"addition_embed_type": "text_time", "addition_time_embed_dim": 256}
    sizes["projection_class_embeddings_input_dim"] = 2816
    deep = {"transformer_layers_per_block": (1, 2, 10), "use_linear_projection": True}
    l_sizes = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
    g_sizes = {"hidden_size": 1280, "intermediate_size": 5120, "num_attention_heads": 20, "num_hidden_layers": 32}
    t5_sizes = {"d_model": 4096, "d_ff": 10240, "num_heads": 64, "num_layers": 24, "feed_forward_proj": "gated-gelu"}
    with torch.device("meta"):
        sd = UNet2DConditionModel(cross_attention_dim=768)
        sdxl = UNet2DConditionModel(cross_attention_dim=2048, **three, **sizes, **deep)
        sdxs = UNet2DConditionModel(cross_attention_dim=768, layers_per_block=1, mid_block_type=None, **three)
        flux = FluxTransformer2DModel(guidance_embeds=True)
        clip_l = CLIPTextModel(CLIPTextConfig(**l_sizes))
        clip_g = CLIPTextModelWithProjection(CLIPTextConfig(projection_dim=1280, **g_sizes))
        t5 = T5EncoderModel(T5Config(**t5_sizes))
    return {
        "sd1": targets(unet=sd, text_encoder=clip_l),
        "sdxl": targets(unet=sdxl, text_encoder=clip_l, text_encoder_2=clip_g),
        "sdxs": targets(unet=sdxs, text_encoder=clip_l),
        "flux": targets(transformer=flux, text_encoder=clip_l, text_encoder_2=t5),
        "sd3": targets(text_encoder=clip_l, text_encoder_2=clip_g, text_encoder_3=t5, transformer=nn.Linear(1, 1)),
    }


class Quantised(nn.Linear):
    """Stands for the linear layers of the quantisation libraries, which are subclasses."""


class Everything(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        from diffusers.models.normalization import FP32LayerNorm, RMSNorm
        from transformers.models.t5.modeling_t5 import T5LayerNorm

        self.linear, self.quantised, self.conv = nn.Linear(2, 2), Quantised(2, 2), nn.Conv2d(2, 2, 3)
        self.layer_norm, self.group_norm, self.rms_norm = nn.LayerNorm(2), nn.GroupNorm(1, 2), nn.RMSNorm(2)
        self.diffusers_norm, self.fp32_norm, self.t5_norm = RMSNorm(2, 1e-6), FP32LayerNorm(2), T5LayerNorm(2)
        self.bare_norm, self.table = nn.LayerNorm(2, elementwise_affine=False), nn.Embedding(2, 2)
        self.inner = nn.Sequential(nn.SiLU(), nn.Linear(2, 2))


def test_targets_are_linear_layers_convolutions_and_norms_that_have_weights() -> None:
    norms = {"layer_norm", "group_norm", "rms_norm", "diffusers_norm", "fp32_norm", "t5_norm"}
    expected = {"linear", "quantised", "conv", "inner.1"} | norms
    assert set(targets(unet=Everything())) == {f"unet.{name}" for name in expected}


def test_a_compiled_model_keeps_its_names() -> None:
    plain = nn.Sequential(nn.Sequential(nn.Linear(2, 2)), nn.LayerNorm(2))
    compiled = nn.Sequential(torch.compile(plain[0], backend="eager"), plain[1])
    assert targets(unet=compiled) == targets(unet=plain) == targets(unet=torch.compile(plain, backend="eager"))


def test_clip_has_the_same_names_in_every_release(models: dict[str, Modules]) -> None:
    names = {name for name in models["sdxl"] if name.startswith("text_encoder")}
    assert "text_encoder.encoder.layers.0.self_attn.q_proj" in names
    assert "text_encoder_2.encoder.layers.31.mlp.fc2" in names
    assert "text_encoder_2.text_projection" in names
    assert not any("text_model" in name for name in names)


SD1_ATTENTION = "unet.up_blocks.1.attentions.2.transformer_blocks.0.attn1.to_q"
SD1_OUT = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0"
CLIP = "text_encoder.encoder.layers.3.self_attn.v_proj"
MLP = "text_encoder.encoder.layers.3.mlp.fc1"
CLIP_G = "text_encoder_2.encoder.layers.31.self_attn.out_proj"
SDXL_DEEP = "unet.up_blocks.0.attentions.1.transformer_blocks.9.ff.net.0.proj"
T5_KEY, T5_WIDE = (
    "text_encoder_2.encoder.block.5.layer.0.SelfAttention.k",
    "encoder.block.5.layer.1.DenseReluDense.wi_0",
)

SPELT: dict[str, list[tuple[str, str]]] = {
    "sd1": [
        ("lora_unet_up_blocks_1_attentions_2_transformer_blocks_0_attn1_to_q", SD1_ATTENTION),
        ("lycoris_unet_up_blocks_1_attentions_2_transformer_blocks_0_attn1_to_q", SD1_ATTENTION),
        ("lycoris_up_blocks_1_attentions_2_transformer_blocks_0_attn1_to_q", SD1_ATTENTION),
        ("lora_unet_output_blocks_5_1_transformer_blocks_0_attn1_to_q", SD1_ATTENTION),
        ("lycoris_unet_output_blocks_5_1_transformer_blocks_0_attn1_to_q", SD1_ATTENTION),
        ("diffusion_model.output_blocks.5.1.transformer_blocks.0.attn1.to_q", SD1_ATTENTION),
        ("model.diffusion_model.output_blocks.5.1.transformer_blocks.0.attn1.to_q", SD1_ATTENTION),
        ("unet.output_blocks.5.1.transformer_blocks.0.attn1.to_q", SD1_ATTENTION),
        (SD1_ATTENTION, SD1_ATTENTION),
        (SD1_ATTENTION.removeprefix("unet."), SD1_ATTENTION),
        (f"base_model.model.{SD1_ATTENTION.removeprefix('unet.')}", SD1_ATTENTION),
        (f"unet.base_model.model.{SD1_ATTENTION.removeprefix('unet.')}", SD1_ATTENTION),
        ("unet.mid_block.attentions.0.transformer_blocks.0.attn2.processor.to_out", SD1_OUT),
        ("mid_block.attentions.0.transformer_blocks.0.attn2.processor.to_out", SD1_OUT),
        ("lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_out_0", SD1_OUT),
        ("lora_unet_middle_block_1_transformer_blocks_0_attn2_to_out_0", SD1_OUT),
        ("lora_unet_conv_in", "unet.conv_in"),
        ("lora_unet_input_blocks_0_0", "unet.conv_in"),
        ("lora_unet_time_embed_2", "unet.time_embedding.linear_2"),
        ("lora_unet_time_embedding_linear_2", "unet.time_embedding.linear_2"),
        ("lora_unet_output_blocks_2_1_conv", "unet.up_blocks.0.upsamplers.0.conv"),
        ("lora_unet_output_blocks_8_2_conv", "unet.up_blocks.2.upsamplers.0.conv"),
        ("lora_unet_input_blocks_9_0_op", "unet.down_blocks.2.downsamplers.0.conv"),
        ("lora_unet_middle_block_2_out_layers_3", "unet.mid_block.resnets.1.conv2"),
        ("diffusion_model.out.2", "unet.conv_out"),
        ("lora_unet_down_blocks_0_resnets_0_norm1", "unet.down_blocks.0.resnets.0.norm1"),
        ("diffusion_model.input_blocks.1.0.in_layers.0", "unet.down_blocks.0.resnets.0.norm1"),
        (
            "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_norm1",
            "unet.down_blocks.0.attentions.0.transformer_blocks.0.norm1",
        ),
        ("lora_te_text_model_encoder_layers_3_self_attn_v_proj", CLIP),
        ("lycoris_te_text_model_encoder_layers_3_self_attn_v_proj", CLIP),
        ("lora_te_encoder_layers_3_self_attn_v_proj", CLIP),
        ("text_encoder.text_model.encoder.layers.3.self_attn.v_proj", CLIP),
        ("text_encoder.encoder.layers.3.self_attn.v_proj", CLIP),
        ("text_encoder.text_model.encoder.layers.3.self_attn.to_v", CLIP),
        ("text_encoder.base_model.model.text_model.encoder.layers.3.self_attn.v_proj", CLIP),
        ("base_model.model.text_model.encoder.layers.3.self_attn.v_proj", CLIP),
        ("base_model.model.encoder.layers.3.self_attn.v_proj", CLIP),
        ("text_model.encoder.layers.3.self_attn.v_proj", CLIP),
        ("text_encoders.clip_l.transformer.text_model.encoder.layers.3.mlp.fc1", MLP),
        ("clip_l.text_model.encoder.layers.3.mlp.fc1", MLP),
        ("lora_te_text_model_final_layer_norm", "text_encoder.final_layer_norm"),
    ],
    "sdxl": [
        ("lora_unet_output_blocks_1_1_transformer_blocks_9_ff_net_0_proj", SDXL_DEEP),
        ("lora_unet_up_blocks_0_attentions_1_transformer_blocks_9_ff_net_0_proj", SDXL_DEEP),
        ("lora_unet_input_blocks_4_1_proj_in", "unet.down_blocks.1.attentions.0.proj_in"),
        ("lora_unet_label_emb_0_2", "unet.add_embedding.linear_2"),
        ("lora_unet_out_2", "unet.conv_out"),
        ("lora_unet_input_blocks_3_0_op", "unet.down_blocks.0.downsamplers.0.conv"),
        ("lora_unet_output_blocks_2_2_conv", "unet.up_blocks.0.upsamplers.0.conv"),
        ("lora_unet_output_blocks_8_0_skip_connection", "unet.up_blocks.2.resnets.2.conv_shortcut"),
        ("lora_unet_input_blocks_4_0_emb_layers_1", "unet.down_blocks.1.resnets.0.time_emb_proj"),
        ("lora_te1_text_model_encoder_layers_3_self_attn_v_proj", CLIP),
        ("lora_te2_text_model_encoder_layers_31_self_attn_out_proj", CLIP_G),
        ("lycoris_te2_text_model_encoder_layers_31_self_attn_out_proj", CLIP_G),
        ("text_encoder_2.text_model.encoder.layers.31.self_attn.out_proj", CLIP_G),
        ("text_encoder_2.text_model.encoder.layers.31.self_attn.to_out", CLIP_G),
        ("text_encoders.clip_g.transformer.text_model.encoder.layers.31.self_attn.out_proj", CLIP_G),
        ("clip_g.text_model.encoder.layers.31.self_attn.out_proj", CLIP_G),
        ("lora_te2_text_projection", "text_encoder_2.text_projection"),
        ("text_encoders.clip_g.transformer.text_projection", "text_encoder_2.text_projection"),
        ("base_model.model.text_model.encoder.layers.3.self_attn.v_proj", CLIP),
    ],
    "flux": [
        ("lora_te1_text_model_encoder_layers_3_self_attn_v_proj", CLIP),
        ("text_encoder.text_model.encoder.layers.3.self_attn.v_proj", CLIP),
        ("lora_te2_encoder_block_5_layer_0_SelfAttention_k", T5_KEY),
        ("lora_te3_encoder_block_5_layer_0_SelfAttention_k", T5_KEY),
        ("text_encoder_2.encoder.block.5.layer.0.SelfAttention.k", T5_KEY),
        ("text_encoders.t5xxl.transformer.encoder.block.5.layer.0.SelfAttention.k", T5_KEY),
        ("t5.encoder.block.5.layer.0.SelfAttention.k", T5_KEY),
        (f"base_model.model.{T5_WIDE}", f"text_encoder_2.{T5_WIDE}"),
    ],
    "sd3": [
        ("lora_te1_text_model_encoder_layers_3_self_attn_v_proj", CLIP),
        ("lora_te2_text_model_encoder_layers_31_self_attn_out_proj", CLIP_G),
        ("lora_te3_encoder_block_5_layer_0_SelfAttention_k", T5_KEY.replace("_2", "_3")),
    ],
}


@pytest.mark.parametrize(
    ("family", "stem", "module"), [(family, *pair) for family, pairs in SPELT.items() for pair in pairs]
)
def test_a_spelling_means_its_module(family: str, stem: str, module: str, models: dict[str, Modules]) -> None:
    assert module in models[family]
    assert places(models[family], {})[stem] == Place((module,))


@pytest.mark.parametrize(
    ("family", "stem"),
    [
        ("sd1", "lora_te1_text_model_encoder_layers_0_mlp_fc1"),  # SDXL counts its encoders, SD 1 has one
        ("sd1", "lora_unet_double_blocks_0_img_attn_qkv"),
        ("sd1", "lora_unet_unet_conv_in"),  # a faulty converter's doubled prefix
        ("sdxl", "lora_te_text_model_encoder_layers_0_mlp_fc1"),
        ("sdxl", "lora_unet_output_blocks_9_0_in_layers_2"),
        ("flux", "lora_unet_input_blocks_4_1_proj_in"),
        ("flux", "lora_te2_text_model_encoder_layers_0_mlp_fc1"),
        ("flux", "encoder.layers.0.mlp"),
    ],
)
def test_what_no_trainer_writes_for_a_model_means_nothing(family: str, stem: str, models: dict[str, Modules]) -> None:
    assert stem not in places(models[family], {})


def test_the_encoder_of_flux_is_counted_even_when_it_is_loaded_alone(models: dict[str, Modules]) -> None:
    alone = {name: module for name, module in models["flux"].items() if not name.startswith("text_encoder_2.")}
    found = places(alone, {})
    assert found["lora_te1_text_model_encoder_layers_3_self_attn_v_proj"] == Place((CLIP,))
    assert "lora_te_text_model_encoder_layers_3_self_attn_v_proj" not in found


@pytest.mark.parametrize("family", ["sd1", "sdxl", "sdxs", "flux", "sd3"])
def test_no_two_modules_claim_one_spelling(family: str, models: dict[str, Modules]) -> None:
    modules = models[family]
    for others in [{}, *([stand_ins(modules)] if family == "sdxs" else [])]:
        claims: dict[str, set[Place]] = defaultdict(set)
        for spelling, place in spellings(modules, {}, others):
            claims[spelling].add(place)
        assert [(spelling, claim) for spelling, claim in claims.items() if len(claim) > 1] == []
        reached = {module for claim in claims.values() for place in claim for module in place.modules}
        assert reached == set(modules)


def test_the_first_of_two_claims_stays() -> None:
    modules = {"unet.a.b": nn.Linear(1, 1), "unet.a_b": nn.Linear(1, 1)}
    found = places(modules, {})
    assert found["lora_unet_a_b"] == Place(("unet.a.b",))
    assert found["unet.a_b"] == Place(("unet.a_b",))


def test_a_stand_in_is_known_by_the_other_name_alone() -> None:
    modules = {"unet.a.0": nn.Linear(1, 1), "unet.a.1": nn.Linear(1, 1)}
    found = places(modules, {}, {"unet.a.0": "unet.a.1", "unet.a.1": "unet.a.2"})
    assert found["lora_unet_a_1"] == Place(("unet.a.0",))
    assert found["unet.a.2"] == Place(("unet.a.1",))
    assert "lora_unet_a_0" not in found


@pytest.mark.parametrize(
    ("header", "stem", "module"),
    [
        ({}, "unet:4", "unet.down_blocks.0.attentions.0.transformer_blocks.0.ff.net.0.proj"),
        ({"unet": "["}, "unet:4", "unet.down_blocks.0.attentions.0.transformer_blocks.0.ff.net.0.proj"),
        ({"unet": "[" * 100_000}, "unet:0", "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"),
        ({"unet": '[1, "GEGLU"]'}, "unet:143", "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0"),
        ({"unet": '["CrossAttention"]'}, "unet:4", "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_q"),
        ({"unet": '["CrossAttention"]'}, "unet:8", "unet.down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_q"),
        ({"unet": '["CrossAttention"]'}, "unet:127", "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0"),
        ({}, "text_encoder:0", "text_encoder.encoder.layers.0.self_attn.k_proj"),
        ({}, "text_encoder:47", "text_encoder.encoder.layers.11.self_attn.out_proj"),
    ],
)
def test_safeloras_count_the_classes_that_the_header_names(
    header: dict[str, str], stem: str, module: str, models: dict[str, Modules]
) -> None:
    assert places(models["sd1"], header)[stem] == Place((module,))


@pytest.mark.real_data
def test_every_key_of_a_real_sdxl_file_finds_a_module_of_its_shape(real_data: Path, models: dict[str, Modules]) -> None:
    """The file is cut off behind its header, which lists 1,120 tensors."""
    with (real_data / "lora_files" / "srikanth_sdxl_TRUNCATED.safetensors").open("rb") as stream:
        header: dict[str, Any] = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    found = places(models["sdxl"], header.pop("__metadata__", {}))
    shapes: dict[str, dict[str, list[int]]] = defaultdict(dict)
    for key, entry in header.items():
        role = role_of(key)
        assert role is not None
        shapes[role.stem][role.part] = entry["shape"]
    assert len(shapes) == 560
    for stem, parts in shapes.items():
        (module,) = found[stem].modules
        assert models["sdxl"][module].weight.shape == (parts["up"][0], parts["down"][1])
