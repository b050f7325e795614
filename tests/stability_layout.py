"""Checkpoints in the layout of Stability's single files, written out by hand from diffusers folders."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
FIXED = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def ldm_unet(name: str, attended: set[str]) -> str:
    """Spell one weight of a UNet with two layers a level; `attended` are the levels up that have attention."""
    for ours, theirs in FIXED.items():
        if name.startswith(f"{ours}."):
            return theirs + name[len(ours) :]
    name = re.sub(r"(resnets\.\d+)\.(\w+)\.", lambda m: f"{m[1]}.{RESNET[m[2]]}.", name)
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"middle_block.{2 * int(m[1])}", name)
    name = name.replace("mid_block.attentions.0", "middle_block.1")
    for kind, place in (("resnets", 0), ("attentions", 1)):
        name = re.sub(
            rf"down_blocks\.(\d)\.{kind}\.(\d)",
            lambda m, place=place: f"input_blocks.{3 * int(m[1]) + int(m[2]) + 1}.{place}",
            name,
        )
        name = re.sub(
            rf"up_blocks\.(\d)\.{kind}\.(\d)",
            lambda m, place=place: f"output_blocks.{3 * int(m[1]) + int(m[2])}.{place}",
            name,
        )
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0\.conv", lambda m: f"input_blocks.{3 * int(m[1]) + 3}.0.op", name)
    return re.sub(
        r"up_blocks\.(\d)\.upsamplers\.0\.conv",
        lambda m: f"output_blocks.{3 * int(m[1]) + 2}.{2 if m[1] in attended else 1}.conv",
        name,
    )


def ldm_vae(name: str) -> str:
    name = name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    name = name.replace("mid_block.attentions.0", "mid.attn_1").replace("attn_1.group_norm", "attn_1.norm")
    name = re.sub(r"attn_1\.to_([qkv])\.", r"attn_1.\1.", name).replace("attn_1.to_out.0", "attn_1.proj_out")
    name = re.sub(r"down_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0\.conv", r"down.\1.downsample.conv", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"up.{3 - int(m[1])}.block.{m[2]}", name)
    return re.sub(r"up_blocks\.(\d)\.upsamplers\.0\.conv", lambda m: f"up.{3 - int(m[1])}.upsample.conv", name)


def ldm_clip(clip: Mapping[str, Tensor], root: str, *, unused: int = 0) -> dict[str, Tensor]:
    """Spell a text encoder as OpenCLIP does, with copies of its last layer behind it that are never read."""
    plain = {name.removeprefix("text_model."): value for name, value in clip.items()}
    layers = len({name.split(".")[2] for name in plain if name.startswith("encoder.layers.")})
    tensors = {
        f"{root}token_embedding.weight": plain["embeddings.token_embedding.weight"],
        f"{root}positional_embedding": plain["embeddings.position_embedding.weight"],
    }
    if "text_projection.weight" in plain:
        tensors[f"{root}text_projection"] = plain["text_projection.weight"].T
    for kind in ("weight", "bias"):
        tensors[f"{root}ln_final.{kind}"] = plain[f"final_layer_norm.{kind}"]
        for layer in range(layers + unused):
            ours = f"encoder.layers.{min(layer, layers - 1)}"
            theirs = f"{root}transformer.resblocks.{layer}"
            tensors[f"{theirs}.attn.in_proj_{kind}"] = torch.cat(
                [plain[f"{ours}.self_attn.{part}_proj.{kind}"] for part in "qkv"]
            )
            tensors[f"{theirs}.attn.out_proj.{kind}"] = plain[f"{ours}.self_attn.out_proj.{kind}"]
            tensors[f"{theirs}.ln_1.{kind}"] = plain[f"{ours}.layer_norm1.{kind}"]
            tensors[f"{theirs}.ln_2.{kind}"] = plain[f"{ours}.layer_norm2.{kind}"]
            tensors[f"{theirs}.mlp.c_fc.{kind}"] = plain[f"{ours}.mlp.fc1.{kind}"]
            tensors[f"{theirs}.mlp.c_proj.{kind}"] = plain[f"{ours}.mlp.fc2.{kind}"]
    return tensors


def ldm_of(folder: Path, *, wrapper: str = "text_model.") -> dict[str, Tensor]:
    """Return the tensors of a tiny checkpoint of SD 1, SD 2 or SDXL as its single file would have them."""
    tensors = {}
    unet = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    attended = {name.split(".")[1] for name in unet if re.match(r"up_blocks\.\d\.attentions", name)}
    for name, value in unet.items():
        tensors[f"model.diffusion_model.{ldm_unet(name, attended)}"] = value
    for name, value in load_file(folder / "vae" / "diffusion_pytorch_model.safetensors").items():
        square = ".mid_block.attentions." in f".{name}" and value.ndim == 2
        tensors[f"first_stage_model.{ldm_vae(name)}"] = value[..., None, None] if square else value
    clip = load_file(folder / "text_encoder" / "model.safetensors")
    first = "cond_stage_model."
    if (folder / "text_encoder_2").is_dir():
        first = "conditioner.embedders.0."
        second = load_file(folder / "text_encoder_2" / "model.safetensors")
        tensors |= ldm_clip(second, "conditioner.embedders.1.model.")
    if unet["mid_block.attentions.0.proj_in.weight"].ndim == 2 and first == "cond_stage_model.":
        tensors |= ldm_clip(clip, f"{first}model.", unused=1)
    else:
        for name, value in clip.items():
            tensors[f"{first}transformer.{wrapper}{name.removeprefix('text_model.')}"] = value
    return {name: value.clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
