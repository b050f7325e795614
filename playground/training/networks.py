"""The networks of the playground, with fresh weights: small, and built from the classes that everybody loads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ..world import SIZE

SHRINK: Final = 2
"""How many pixels one latent is wide and high."""
GRID: Final = SIZE // SHRINK
"""Latents a picture is wide and high."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How large the networks are."""

    latents: int = 8
    """Channels of a latent."""
    autoencoder: int = 40
    channels: tuple[int, ...] = (32, 64, 128)
    """Of the UNet's levels."""
    quick_channels: tuple[int, ...] = (32, 64, 128)
    """Of the one-step UNet's levels."""
    xl_channels: tuple[int, ...] = (32, 64, 96)
    """Of the levels of the UNet in the form of SDXL."""
    text: int = 128
    """Width of the text encoders."""
    layers: int = 2
    """Depth of the text encoders."""
    eye: int = 128
    """Width of the evaluator."""
    eye_layers: int = 4
    """Depth of its image half."""
    head: int = 32
    """Channels of one attention head."""


def build_autoencoder(sizes: Sizes) -> Any:
    """Build an autoencoder of `SHRINK`: images from -1 to 1 to latents and back."""
    from diffusers import AutoencoderTiny

    channels = (sizes.autoencoder, sizes.autoencoder)
    return AutoencoderTiny(
        encoder_block_out_channels=channels,
        decoder_block_out_channels=channels,
        num_encoder_blocks=(0, 2),
        num_decoder_blocks=(3, 1),
        latent_channels=sizes.latents,
    )


def build_text_encoder(sizes: Sizes, numbers: dict[str, int], *, length: int, projection: int | None = None) -> Any:
    """Build a CLIP text encoder; with a projection, the one of SDXL's second encoder."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        **numbers,
        hidden_size=sizes.text,
        intermediate_size=2 * sizes.text,
        num_hidden_layers=sizes.layers,
        num_attention_heads=max(1, sizes.text // sizes.head),
        max_position_embeddings=length,
        projection_dim=projection or sizes.text,
    )
    return CLIPTextModelWithProjection(config) if projection else CLIPTextModel(config)


def build_unet(sizes: Sizes) -> Any:
    """Build the base model's UNet: attention to the text on all levels but the finest."""
    from diffusers import UNet2DConditionModel

    below = len(sizes.channels) - 1
    return UNet2DConditionModel(
        **_common(sizes, sizes.channels),
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * below),
        up_block_types=(*("CrossAttnUpBlock2D",) * below, "UpBlock2D"),
        cross_attention_dim=sizes.text,
    )


def build_quick_unet(sizes: Sizes) -> Any:
    """Build a UNet without a middle, whose coarser levels do the work, as SDXS has it (Song and others, 2024)."""
    from diffusers import UNet2DConditionModel

    below = len(sizes.quick_channels) - 1
    return UNet2DConditionModel(
        **_common(sizes, sizes.quick_channels),
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * below),
        mid_block_type=None,
        up_block_types=(*("CrossAttnUpBlock2D",) * below, "UpBlock2D"),
        cross_attention_dim=sizes.text,
    )


def build_xl_unet(sizes: Sizes) -> Any:
    """Build a UNet that is told sizes and crops, as SDXL's is (Podell and others, 2023, section 2.2)."""
    from diffusers import UNet2DConditionModel

    below = len(sizes.xl_channels) - 1
    return UNet2DConditionModel(
        **_common(sizes, sizes.xl_channels),
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * below),
        up_block_types=(*("CrossAttnUpBlock2D",) * below, "UpBlock2D"),
        cross_attention_dim=2 * sizes.text,
        addition_embed_type="text_time",
        addition_time_embed_dim=sizes.head,
        projection_class_embeddings_input_dim=6 * sizes.head + sizes.text,
    )


def build_evaluator(sizes: Sizes, numbers: dict[str, int], *, length: int) -> Any:
    """Build a CLIP model that looks at patches of 4 x 4 pixels."""
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

    heads = max(1, sizes.eye // sizes.head)
    shared = {
        "hidden_size": sizes.eye,
        "intermediate_size": 2 * sizes.eye,
        "num_attention_heads": heads,
        "projection_dim": sizes.eye,
    }
    text = CLIPTextConfig(**numbers, **shared, num_hidden_layers=2, max_position_embeddings=length)
    vision = CLIPVisionConfig(**shared, num_hidden_layers=sizes.eye_layers, image_size=SIZE, patch_size=4)
    return CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=sizes.eye))


def _common(sizes: Sizes, channels: tuple[int, ...]) -> dict[str, Any]:
    return {
        "sample_size": GRID,
        "in_channels": sizes.latents,
        "out_channels": sizes.latents,
        "block_out_channels": channels,
        "layers_per_block": 1,
        "attention_head_dim": tuple(max(1, width // sizes.head) for width in channels),
        "norm_num_groups": 8,
    }
