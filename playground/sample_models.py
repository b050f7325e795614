"""The parts of tiny models with random weights, each of the exact architecture of one that people paint with.

Only the widths are small, and the text encoders and the deepest levels have fewer layers.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

Kind = Literal["sd", "sd2", "sdxl", "sdxl-turbo", "sdxs", "sdxs-0.9"]
"""What a tiny checkpoint is: SD 1.5, SD 2 (768-v), SDXL, SDXL-Turbo, SDXS-512-DreamShaper or SDXS-512-0.9."""

KINDS: tuple[Kind, ...] = ("sd", "sd2", "sdxl", "sdxl-turbo", "sdxs", "sdxs-0.9")

_SIZE = 16
"""The side that the models are made for, in latents: pictures of 128 pixels."""
_TIME = 8
"""The width of one of SDXL's six numbers about size, where the real one has 256."""
_NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
_ATTENDED = {"down_block_types": ("CrossAttnDownBlock2D",) * 3, "up_block_types": ("CrossAttnUpBlock2D",) * 3}
_ATTENDED_INSIDE = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
}


class Vocabulary(NamedTuple):
    """What the text encoders must know of the tokenizer."""

    words: int
    start: int
    end: int


def tiny_unet(kind: Kind, text: int) -> Any:
    """Return a UNet that attends to text `text` wide (SDXL: that of its two text encoders side by side)."""
    from diffusers import UNet2DConditionModel

    config: dict[str, Any] = {"sample_size": _SIZE, "cross_attention_dim": text, "attention_head_dim": 8}
    if kind.startswith("sdxl"):
        wide = text * 2 // 3
        config |= {
            **_ATTENDED_INSIDE,
            "block_out_channels": (32, 64, 96),
            "attention_head_dim": 1,
            "transformer_layers_per_block": (1, 1, 2),
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": _TIME,
            "projection_class_embeddings_input_dim": 6 * _TIME + wide,
        }
    elif kind.startswith("sdxs"):
        config |= {
            **(_ATTENDED if kind == "sdxs-0.9" else _ATTENDED_INSIDE),
            "block_out_channels": (32, 64, 96),
            "layers_per_block": 1,
            "mid_block_type": None,
        }
    else:
        config["block_out_channels"] = (32, 32, 32, 64)
    if open_clip(kind):
        config |= {"attention_head_dim": 1, "use_linear_projection": True}
    return UNet2DConditionModel(**config)


def tiny_autoencoder(kind: Kind) -> Any:
    """Return an autoencoder of eight pixels to a latent."""
    from diffusers import AutoencoderKL, AutoencoderTiny

    if kind.startswith("sdxs"):
        return AutoencoderTiny(
            encoder_block_out_channels=(16,) * 4,
            decoder_block_out_channels=(16,) * 4,
            num_encoder_blocks=(1,) * 4,
            num_decoder_blocks=(1,) * 4,
        )
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(32,) * 4,
        sample_size=8 * _SIZE,
        **({"scaling_factor": 0.13025, "force_upcast": True} if kind.startswith("sdxl") else {}),
    )


def tiny_text_encoder(kind: Kind, text: int, vocabulary: Vocabulary, *, second: bool = False) -> Any:
    """Return a CLIP text encoder: OpenAI's or, as SD 2's and SDXL's second are, OpenCLIP's."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=vocabulary.words,
        hidden_size=text,
        intermediate_size=2 * text,
        num_hidden_layers=2,
        num_attention_heads=max(1, text // 64),
        hidden_act="gelu" if second or open_clip(kind) else "quick_gelu",
        projection_dim=text,
        bos_token_id=vocabulary.start,
        eos_token_id=vocabulary.end,
    )
    return (CLIPTextModelWithProjection if second else CLIPTextModel)(config)


def open_clip(kind: Kind) -> bool:
    """Say whether the first text encoder is OpenCLIP's."""
    return kind in ("sd2", "sdxs-0.9")


def tiny_scheduler(kind: Kind) -> Any:
    """Return the scheduler that the real model comes with; SD's is DDIM, whose steps are the easiest to follow."""
    import diffusers

    if kind == "sdxl":
        return diffusers.EulerDiscreteScheduler(**_NOISE, steps_offset=1, timestep_spacing="leading")
    if kind == "sdxl-turbo":
        return diffusers.EulerAncestralDiscreteScheduler(**_NOISE, steps_offset=1, timestep_spacing="trailing")
    if kind.startswith("sdxs"):
        return diffusers.DEISMultistepScheduler(**_NOISE, steps_offset=1)
    prediction = {"prediction_type": "v_prediction"} if kind == "sd2" else {}
    return diffusers.DDIMScheduler(**_NOISE, clip_sample=False, set_alpha_to_one=False, steps_offset=1, **prediction)
