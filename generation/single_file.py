"""A single-file checkpoint of Stability's own layout, loaded without asking the hub what its parts look like.

Every size stands in the shapes of the tensors; what does not is the same for all of the family: heads of 64 (SD 2,
CLIP) or eight of them (SD 1), the noise schedule, the latent scale. Only the tokenizer's vocabulary is not in there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..errors import InputError, UnreadableFile

Shapes = Mapping[str, tuple[int, ...]]

_UNET = "model.diffusion_model."
_VAE = "first_stage_model."
_CLIP = "cond_stage_model.transformer."
_OPEN_CLIP = "cond_stage_model.model."
_FOREIGN = (
    ("conditioner.embedders.", "an SDXL"),
    ("model.diffusion_model.label_emb.", "an SDXL"),
    ("model.diffusion_model.joint_blocks.", "an SD 3"),
    ("model.diffusion_model.double_blocks.", "a FLUX"),
    ("double_blocks.", "a FLUX"),
)

SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "skip_prk_steps": True,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
"""The noise schedule that SD 1.x and 2.x were trained with."""


def load_parts(path: Path, dtype: torch.dtype, prediction: str | None) -> dict[str, Any]:
    """Load UNet, autoencoder, text encoder and scheduler of a checkpoint; the tokenizer comes from elsewhere.

    Args:
        path: A `.safetensors` file.
        dtype: The precision of the parts.
        prediction: `epsilon` or `v_prediction`; None takes what the header tells, else `epsilon` for SD 1.x and
            `v_prediction` for SD 2.x, where the file itself does not tell the 512 from the 768 models.

    Raises:
        InputError: the file is damaged, of another architecture, or not a whole checkpoint.
    """
    from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
    from diffusers.loaders import single_file_utils as convert
    from transformers import CLIPTextConfig, CLIPTextModel

    try:
        with safe_open(path, framework="pt", device="cpu") as stream:
            tensors: dict[str, Tensor] = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118
            header = stream.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise UnreadableFile(f"{path.name} is truncated or damaged: {str(error).rstrip('.')}") from None
    shapes = {key: tuple(value.shape) for key, value in tensors.items()}
    _require(shapes, path.name)
    open_clip = f"{_OPEN_CLIP}token_embedding.weight" in shapes
    try:
        unet_config, vae_config, clip_config = unet_of(shapes), vae_of(shapes), clip_of(shapes)
        text_encoder = CLIPTextModel(CLIPTextConfig(**clip_config))
        unet = _filled(
            UNet2DConditionModel, unet_config, convert.convert_ldm_unet_checkpoint(tensors, unet_config), dtype
        )
        vae = _filled(AutoencoderKL, vae_config, convert.convert_ldm_vae_checkpoint(tensors, vae_config), dtype)
        if open_clip:
            clip = convert.convert_open_clip_checkpoint(text_encoder, tensors, prefix=_OPEN_CLIP)
        else:
            clip = {key.removeprefix(_CLIP): value for key, value in tensors.items() if key.startswith(_CLIP)}
        _fill_clip(text_encoder, clip, dtype)
    except (KeyError, IndexError, ValueError, RuntimeError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path.name} is not a whole SD 1.x or 2.x checkpoint: {line}") from None
    kind = prediction or _prediction(header) or ("v_prediction" if open_clip else "epsilon")
    unet.register_to_config(sample_size=96 if open_clip and kind == "v_prediction" else 64)
    scheduler = PNDMScheduler(**SCHEDULE, prediction_type=kind)
    return {"unet": unet, "vae": vae, "text_encoder": text_encoder, "scheduler": scheduler}


def unet_of(shapes: Shapes) -> dict[str, Any]:
    """Return the diffusers configuration of the UNet that these shapes belong to."""
    levels: list[list[int]] = [[]]
    attended = [False]
    block = 1
    while any(key.startswith(f"{_UNET}input_blocks.{block}.") for key in shapes):
        here = f"{_UNET}input_blocks.{block}"
        if f"{here}.0.op.weight" in shapes:
            levels.append([])
            attended.append(False)
        else:
            levels[-1].append(shapes[f"{here}.0.out_layers.3.weight"][0])
            attended[-1] = attended[-1] or f"{here}.1.proj_in.weight" in shapes
        block += 1
    channels = tuple(level[-1] for level in levels)
    middle = f"{_UNET}middle_block.1"
    linear = len(shapes[f"{middle}.proj_in.weight"]) == 2
    return {
        "in_channels": shapes[f"{_UNET}input_blocks.0.0.weight"][1],
        "out_channels": shapes[f"{_UNET}out.2.weight"][0],
        "block_out_channels": channels,
        "layers_per_block": len(levels[0]),
        "down_block_types": tuple("CrossAttnDownBlock2D" if yes else "DownBlock2D" for yes in attended),
        "up_block_types": tuple("CrossAttnUpBlock2D" if yes else "UpBlock2D" for yes in reversed(attended)),
        "cross_attention_dim": shapes[f"{middle}.transformer_blocks.0.attn2.to_k.weight"][1],
        # In diffusers this name has always meant the number of heads.
        "attention_head_dim": tuple(max(1, width // 64) for width in channels) if linear else 8,
        "use_linear_projection": linear,
    }


def vae_of(shapes: Shapes) -> dict[str, Any]:
    """Return the diffusers configuration of the autoencoder that these shapes belong to."""
    channels: list[int] = []
    layers = 0
    while (first := f"{_VAE}encoder.down.{len(channels)}.block.0.conv1.weight") in shapes:
        layers = sum(f"{_VAE}encoder.down.{len(channels)}.block.{n}.conv1.weight" in shapes for n in range(8))
        channels.append(shapes[first][0])
    return {
        "in_channels": shapes[f"{_VAE}encoder.conv_in.weight"][1],
        "out_channels": shapes[f"{_VAE}decoder.conv_out.weight"][0],
        "latent_channels": shapes[f"{_VAE}decoder.conv_in.weight"][1],
        "block_out_channels": tuple(channels),
        "layers_per_block": layers,
        "down_block_types": ("DownEncoderBlock2D",) * len(channels),
        "up_block_types": ("UpDecoderBlock2D",) * len(channels),
        "scaling_factor": 0.18215,
    }


def clip_of(shapes: Shapes) -> dict[str, Any]:
    """Return the transformers configuration of the text encoder that these shapes belong to.

    SD 2.x reads OpenCLIP's last layer but one, so its last is left out.
    """
    if (table := f"{_OPEN_CLIP}token_embedding.weight") in shapes:
        blocks = f"{_OPEN_CLIP}transformer.resblocks."
        layers = _count(shapes, blocks) - 1
        inner, places = shapes[f"{blocks}0.mlp.c_fc.weight"][0], shapes[f"{_OPEN_CLIP}positional_embedding"][0]
        activation = "gelu"
    else:
        root = f"{_CLIP}text_model." if any(key.startswith(f"{_CLIP}text_model.") for key in shapes) else _CLIP
        table, blocks = f"{root}embeddings.token_embedding.weight", f"{root}encoder.layers."
        layers = _count(shapes, blocks)
        inner, places = shapes[f"{blocks}0.mlp.fc1.weight"][0], shapes[f"{root}embeddings.position_embedding.weight"][0]
        activation = "quick_gelu"
    vocabulary, width = shapes[table]
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": max(1, width // 64),
        "max_position_embeddings": places,
        "hidden_act": activation,
        "projection_dim": width,
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
    }


def _count(shapes: Shapes, prefix: str) -> int:
    return len({key[len(prefix) :].split(".")[0] for key in shapes if key.startswith(prefix)})


def _require(shapes: Shapes, name: str) -> None:
    for prefix, family in _FOREIGN:
        if any(key.startswith(prefix) for key in shapes):
            raise InputError(f"{name} is {family} checkpoint; the backend sd paints with SD 1.x and 2.x")
    for prefix, part in ((_UNET, "UNet"), (_VAE, "autoencoder"), ("cond_stage_model.", "text encoder")):
        if not any(key.startswith(prefix) for key in shapes):
            raise InputError(f"{name} is not a whole checkpoint: it has no {part} of the SD 1.x and 2.x layout")


def _prediction(header: Mapping[str, str]) -> str | None:
    return {"epsilon": "epsilon", "v": "v_prediction"}.get(header.get("modelspec.prediction_type", ""))


def _filled(cls: Any, config: dict[str, Any], tensors: Mapping[str, Tensor], dtype: torch.dtype) -> Any:
    """Build a model around copies of the tensors: the mapped file must not be what adapters are laid on."""
    with torch.device("meta"):
        model: nn.Module = cls(**config)
    model.load_state_dict({k: v.to(dtype, copy=True) for k, v in tensors.items()}, assign=True)
    return model.eval()


def _fill_clip(model: nn.Module, tensors: Mapping[str, Tensor], dtype: torch.dtype) -> None:
    wrapped = hasattr(model, "text_model")
    plain = {key.removeprefix("text_model."): value for key, value in tensors.items()}
    wanted = {f"text_model.{key}" if wrapped else key: value for key, value in plain.items()}
    missing, _ = model.load_state_dict(wanted, strict=False)
    if missing:
        raise ValueError(f"the text encoder lacks {missing[0]}")
    model.to(dtype).eval()
