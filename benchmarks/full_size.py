"""Checkpoints of the true sizes with random weights, for benchmarks of speed and memory; `scale` divides the widths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from velatura.generation.adapters.names import targets
from velatura.playground.sample import make_checkpoint

KINDS = ("sd", "sdxl", "sdxl-turbo", "sdxs")
NATIVE = {"sd": 512, "sdxl": 1024, "sdxl-turbo": 512, "sdxs": 512}
"""Pixels of a side that each is made for."""


def make_full_size(folder: Path, kind: str, *, scale: int = 1, dtype: torch.dtype = torch.float16) -> dict[str, Any]:
    """Write a diffusers folder and return the modules that adapters reach, by the names of `names.targets`.

    Args:
        folder: Where it goes.
        kind: One of `KINDS`.
        scale: What the widths are divided by: 4 makes a sixteenth of the weights.
        dtype: The precision of the weights on disk.
    """
    from diffusers import DiffusionPipeline

    tiny = make_checkpoint(folder.parent / f"tiny-{kind}", kind=kind)  # type: ignore[arg-type]
    pipe = DiffusionPipeline.from_pretrained(tiny)
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        parts = _parts(kind, scale)
    finally:
        torch.set_default_dtype(before)
    pipe.register_modules(**parts)
    pipe.save_pretrained(folder)
    return targets(**{name: part for name, part in parts.items() if name != "vae"})


def _parts(kind: str, scale: int) -> dict[str, Any]:
    from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    xl = kind.startswith("sdxl")
    groups = 32 // scale
    vae: Any
    if kind == "sdxs":
        vae = AutoencoderTiny(
            encoder_block_out_channels=(64 // scale,) * 4, decoder_block_out_channels=(64 // scale,) * 4
        )
    else:
        vae = AutoencoderKL(
            block_out_channels=tuple(width // scale for width in (128, 256, 512, 512)),
            layers_per_block=2,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            norm_num_groups=groups,
            scaling_factor=0.13025 if xl else 0.18215,
            force_upcast=xl,
        )
    widths = (320, 640, 1280) if kind != "sd" else (320, 640, 1280, 1280)
    config: dict[str, Any] = {
        "block_out_channels": tuple(width // scale for width in widths),
        "norm_num_groups": groups,
        "sample_size": NATIVE[kind] // 8,
        "cross_attention_dim": (2048 if xl else 768) // scale,
    }
    if xl or kind == "sdxs":
        config |= {
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        }
    if kind == "sdxs":
        config |= {"layers_per_block": 1, "mid_block_type": None}
    if xl:
        config |= {
            "transformer_layers_per_block": (1, 2, 10),
            "attention_head_dim": (5, 10, 20),
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 6 * 256 + 1280 // scale,
        }
    parts = {
        "unet": UNet2DConditionModel(**config),
        "vae": vae,
        "text_encoder": CLIPTextModel(_clip(768 // scale, 12)),
    }
    if xl:
        parts["text_encoder_2"] = CLIPTextModelWithProjection(_clip(1280 // scale, 32))
    return parts


def _clip(width: int, layers: int) -> Any:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=max(1, width // 64),
        projection_dim=width,
    )
