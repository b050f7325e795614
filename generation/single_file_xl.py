"""A single-file checkpoint of SDXL, or of what is trained from it, in Stability's own layout; see `single_file`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..errors import InputError
from .kinds import Header, Shapes
from .single_file import (
    NOISE,
    UNET,
    VAE,
    filled,
    filled_clip,
    first_line,
    open_clip_of,
    open_clip_weights,
    openai_clip_of,
    read_tensors,
    require,
    told_prediction,
    unet_of,
    vae_of,
    without,
)

_FIRST = "conditioner.embedders.0.transformer."
_SECOND = "conditioner.embedders.1.model."
_SIZES = 6
"""Numbers that tell the UNet of sizes and cuts, each embedded for itself."""


def load_xl_parts(
    path: Path, header: Header, dtype: torch.dtype, prediction: str | None, *, turbo: bool
) -> dict[str, Any]:
    """Load UNet, autoencoder, both text encoders and scheduler of SDXL; the tokenizers come from elsewhere.

    Args:
        path: A `.safetensors` file.
        header: Its head.
        dtype: The precision of the parts.
        prediction: `epsilon` or `v_prediction`; None takes what the file tells, else `epsilon`.
        turbo: Whether it is SDXL-Turbo, which its tensors cannot tell.

    Raises:
        InputError: the file is damaged, or not a whole checkpoint.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from diffusers.loaders import single_file_utils as convert
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    shapes = header.shapes
    layout = (
        (UNET, "UNet"),
        (VAE, "autoencoder"),
        (_FIRST, "first text encoder"),
        (_SECOND, "second text encoder"),
    )
    require(shapes, layout, f"{path.stem} is not a whole checkpoint: it has no", "of the SDXL layout")
    tensors = read_tensors(path, [prefix for prefix, _ in layout])
    try:
        unet_config, vae_config, second_config = xl_unet_of(shapes), xl_vae_of(shapes), second_clip_of(shapes)
        parts = {
            "unet": filled(
                UNet2DConditionModel, unet_config, convert.convert_ldm_unet_checkpoint(tensors, unet_config), dtype
            ),
            "vae": filled(AutoencoderKL, vae_config, convert.convert_ldm_vae_checkpoint(tensors, vae_config), dtype),
            "text_encoder": filled_clip(CLIPTextModel, first_clip_of(shapes), without(_FIRST, tensors), dtype),
            "text_encoder_2": filled_clip(
                CLIPTextModelWithProjection, second_config, open_clip_weights(tensors, _SECOND), dtype
            ),
        }
    except (KeyError, IndexError, ValueError, RuntimeError) as error:
        raise InputError(f"{path.stem} is not a whole SDXL checkpoint: {first_line(error)}") from None
    parts["unet"].register_to_config(sample_size=64 if turbo else 128)
    return {**parts, "scheduler": _scheduler(header, prediction, turbo=turbo)}


def xl_unet_of(shapes: Shapes) -> dict[str, Any]:
    """Return the diffusers configuration of the UNet that these shapes belong to."""
    told = shapes[f"{UNET}label_emb.0.0.weight"][1]
    return {
        **unet_of(shapes),
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": (told - second_clip_of(shapes)["projection_dim"]) // _SIZES,
        "projection_class_embeddings_input_dim": told,
    }


def xl_vae_of(shapes: Shapes) -> dict[str, Any]:
    """Return the diffusers configuration of the autoencoder that these shapes belong to."""
    return {**vae_of(shapes), "scaling_factor": 0.13025, "force_upcast": True}


def first_clip_of(shapes: Shapes) -> dict[str, Any]:
    """Return the transformers configuration of the first text encoder, OpenAI's CLIP."""
    return openai_clip_of(shapes, _FIRST)


def second_clip_of(shapes: Shapes) -> dict[str, Any]:
    """Return the transformers configuration of the second text encoder, OpenCLIP's; its last layer is pooled."""
    return {
        **open_clip_of(shapes, _SECOND, unused=0),
        "projection_dim": shapes[f"{_SECOND}text_projection"][1],
    }


def _scheduler(header: Header, prediction: str | None, *, turbo: bool) -> Any:
    from diffusers import EulerAncestralDiscreteScheduler, EulerDiscreteScheduler

    if turbo:
        return EulerAncestralDiscreteScheduler(**NOISE, steps_offset=1, timestep_spacing="trailing")
    kind = prediction or told_prediction(header) or "epsilon"
    # Trained to start from noise alone, a model must be asked at the very last time step.
    zero = "ztsnr" in header.shapes
    return EulerDiscreteScheduler(
        **NOISE,
        steps_offset=1,
        prediction_type=kind,
        rescale_betas_zero_snr=zero,
        timestep_spacing="trailing" if zero else "leading",
    )
