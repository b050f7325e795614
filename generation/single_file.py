"""A single-file checkpoint of Stability's own layout, loaded without asking the hub what its parts look like.

Every size stands in the shapes of the tensors; what does not is the same for all of the family: heads of 64 (SD 2,
CLIP) or eight of them (SD 1), the noise schedule, the latent scale. Only the tokenizer's vocabulary is not in there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..errors import InputError, UnreadableFile
from .kinds import Header, Shapes

UNET = "model.diffusion_model."
VAE = "first_stage_model."
_CLIP = "cond_stage_model.transformer."
_OPEN_CLIP = "cond_stage_model.model."

NOISE = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SCHEDULE = {**NOISE, "skip_prk_steps": True, "set_alpha_to_one": False, "steps_offset": 1}
"""The noise schedule that SD 1.x and 2.x were trained with."""


def load_parts(path: Path, header: Header, dtype: torch.dtype, prediction: str | None) -> dict[str, Any]:
    """Load UNet, autoencoder, text encoder and scheduler of SD 1.x or 2.x; the tokenizer comes from elsewhere.

    Args:
        path: A `.safetensors` file.
        header: Its head.
        dtype: The precision of the parts.
        prediction: `epsilon` or `v_prediction`; None takes what the header tells, else `epsilon` for SD 1.x and
            `v_prediction` for SD 2.x, where the file itself does not tell the 512 from the 768 models.

    Raises:
        InputError: the file is damaged, or not a whole checkpoint.
    """
    from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
    from diffusers.loaders import single_file_utils as convert
    from transformers import CLIPTextModel

    shapes = header.shapes
    layout = ((UNET, "UNet"), (VAE, "autoencoder"), ("cond_stage_model.", "text encoder"))
    require(shapes, layout, f"{path.stem} is not a whole checkpoint: it has no", "of the SD 1.x and 2.x layout")
    tensors = read_tensors(path, [prefix for prefix, _ in layout])
    open_clip = f"{_OPEN_CLIP}token_embedding.weight" in shapes
    try:
        unet_config, vae_config, clip_config = unet_of(shapes), vae_of(shapes), clip_of(shapes)
        unet = filled(
            UNet2DConditionModel, unet_config, convert.convert_ldm_unet_checkpoint(tensors, unet_config), dtype
        )
        vae = filled(AutoencoderKL, vae_config, convert.convert_ldm_vae_checkpoint(tensors, vae_config), dtype)
        clip = open_clip_weights(tensors, _OPEN_CLIP) if open_clip else without(_CLIP, tensors)
        text_encoder = filled_clip(CLIPTextModel, clip_config, clip, dtype)
    except (KeyError, IndexError, ValueError, RuntimeError) as error:
        raise InputError(f"{path.stem} is not a whole SD 1.x or 2.x checkpoint: {first_line(error)}") from None
    kind = prediction or told_prediction(header) or ("v_prediction" if open_clip else "epsilon")
    unet.register_to_config(sample_size=96 if open_clip and kind == "v_prediction" else 64)
    scheduler = PNDMScheduler(**SCHEDULE, prediction_type=kind)
    return {"unet": unet, "vae": vae, "text_encoder": text_encoder, "scheduler": scheduler}


def read_tensors(path: Path, prefixes: Iterable[str]) -> dict[str, Tensor]:
    """Return the tensors whose names start so, memory-mapped; averages and optimisers stay where they are.

    Raises:
        UnreadableFile: the file is damaged.
    """
    wanted = tuple(prefixes)
    try:
        with safe_open(path, framework="pt", device="cpu") as stream:
            return {key: stream.get_tensor(key) for key in stream.keys() if key.startswith(wanted)}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise UnreadableFile(f"{path.name} is truncated or damaged: {str(error).rstrip('.')}") from None


def require(shapes: Shapes, layout: Iterable[tuple[str, str]], before: str, after: str) -> None:
    """Refuse a file that lacks a part.

    Args:
        shapes: What is there.
        layout: (prefix, part) of what must be there.
        before: What the sentence says before the part,
        after: and behind it.

    Raises:
        InputError: a part is not there.
    """
    for prefix, part in layout:
        if not any(key.startswith(prefix) for key in shapes):
            raise InputError(f"{before} {part} {after}")


def first_line(error: Exception) -> str:
    """Return the first line of what the libraries say, or at least its kind."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")


def unet_of(shapes: Shapes) -> dict[str, Any]:
    """Return the diffusers configuration of the UNet that these shapes belong to."""
    levels: list[list[int]] = [[]]
    depths = [0]
    block = 1
    while any(key.startswith(f"{UNET}input_blocks.{block}.") for key in shapes):
        here = f"{UNET}input_blocks.{block}"
        if f"{here}.0.op.weight" in shapes:
            levels.append([])
            depths.append(0)
        else:
            levels[-1].append(shapes[f"{here}.0.out_layers.3.weight"][0])
            depths[-1] = max(depths[-1], _count(shapes, f"{here}.1.transformer_blocks."))
        block += 1
    channels = tuple(level[-1] for level in levels)
    middle = f"{UNET}middle_block.1"
    linear = len(shapes[f"{middle}.proj_in.weight"]) == 2
    return {
        "in_channels": shapes[f"{UNET}input_blocks.0.0.weight"][1],
        "out_channels": shapes[f"{UNET}out.2.weight"][0],
        "block_out_channels": channels,
        "layers_per_block": len(levels[0]),
        "down_block_types": tuple("CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths),
        "up_block_types": tuple("CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)),
        "transformer_layers_per_block": tuple(max(1, depth) for depth in depths),
        "cross_attention_dim": shapes[f"{middle}.transformer_blocks.0.attn2.to_k.weight"][1],
        # In diffusers this name has always meant the number of heads.
        "attention_head_dim": tuple(max(1, width // 64) for width in channels) if linear else 8,
        "use_linear_projection": linear,
    }


def vae_of(shapes: Shapes) -> dict[str, Any]:
    """Return the diffusers configuration of the autoencoder that these shapes belong to."""
    channels: list[int] = []
    layers = 0
    while (first := f"{VAE}encoder.down.{len(channels)}.block.0.conv1.weight") in shapes:
        layers = sum(f"{VAE}encoder.down.{len(channels)}.block.{n}.conv1.weight" in shapes for n in range(8))
        channels.append(shapes[first][0])
    return {
        "in_channels": shapes[f"{VAE}encoder.conv_in.weight"][1],
        "out_channels": shapes[f"{VAE}decoder.conv_out.weight"][0],
        "latent_channels": shapes[f"{VAE}decoder.conv_in.weight"][1],
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
    if f"{_OPEN_CLIP}token_embedding.weight" in shapes:
        return open_clip_of(shapes, _OPEN_CLIP, unused=1)
    return openai_clip_of(shapes, _CLIP)


def openai_clip_of(shapes: Shapes, prefix: str) -> dict[str, Any]:
    """Return the configuration of a text encoder that is spelt as OpenAI's CLIP is in transformers."""
    root = f"{prefix}text_model." if any(key.startswith(f"{prefix}text_model.") for key in shapes) else prefix
    blocks = f"{root}encoder.layers."
    return _clip(
        shapes[f"{root}embeddings.token_embedding.weight"],
        layers=_count(shapes, blocks),
        inner=shapes[f"{blocks}0.mlp.fc1.weight"][0],
        places=shapes[f"{root}embeddings.position_embedding.weight"][0],
        activation="quick_gelu",
    )


def open_clip_of(shapes: Shapes, prefix: str, *, unused: int) -> dict[str, Any]:
    """Return the configuration of a text encoder that is spelt as OpenCLIP's, less its last layers.

    Args:
        shapes: What is there.
        prefix: Of the text encoder's names.
        unused: How many of its last layers are never read.
    """
    blocks = f"{prefix}transformer.resblocks."
    return _clip(
        shapes[f"{prefix}token_embedding.weight"],
        layers=_count(shapes, blocks) - unused,
        inner=shapes[f"{blocks}0.mlp.c_fc.weight"][0],
        places=shapes[f"{prefix}positional_embedding"][0],
        activation="gelu",
    )


def _clip(table: tuple[int, ...], *, layers: int, inner: int, places: int, activation: str) -> dict[str, Any]:
    vocabulary, width = table
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


def told_prediction(header: Header) -> str | None:
    """Return what a file says that its UNet predicts, in its header or by an empty tensor; None where it does not."""
    if "v_pred" in header.shapes:
        return "v_prediction"
    return {"epsilon": "epsilon", "v": "v_prediction"}.get(header.fields.get("modelspec.prediction_type", ""))


def without(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of one part by the names that they have in it."""
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def open_clip_weights(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return OpenCLIP's tensors by the names that transformers has for them."""
    from diffusers.loaders import single_file_utils as convert

    # That function asks the model for its width where the file holds no projection, and splits attention by it.
    width = tensors[f"{prefix}token_embedding.weight"].shape[1]
    model = SimpleNamespace(config=SimpleNamespace(hidden_size=width))
    own: dict[str, Tensor] = convert.convert_open_clip_checkpoint(model, tensors, prefix=prefix)
    return own


def filled(cls: Any, config: dict[str, Any], tensors: Mapping[str, Tensor], dtype: torch.dtype) -> Any:
    """Build a model around copies of the tensors: the mapped file must not be what adapters are laid on."""
    with torch.device("meta"):
        model: nn.Module = cls(**config)
    model.load_state_dict({k: v.to(dtype, copy=True) for k, v in tensors.items()}, assign=True)
    return model.eval()


def filled_clip(cls: Any, config: dict[str, Any], tensors: Mapping[str, Tensor], dtype: torch.dtype) -> Any:
    """Build a text encoder around copies of the tensors, which may be spelt with `text_model.` or without.

    Raises:
        ValueError: a weight is not there.
    """
    from transformers import CLIPTextConfig

    with torch.device("meta"):
        model: nn.Module = cls(CLIPTextConfig(**config))
    wrapper = "text_model." if hasattr(model, "text_model") else ""
    wanted = {}
    for key, value in tensors.items():
        plain = key.removeprefix("text_model.")
        wanted[plain if plain.startswith("text_projection.") else f"{wrapper}{plain}"] = value.to(dtype, copy=True)
    missing, _ = model.load_state_dict(wanted, strict=False, assign=True)
    if missing:
        raise ValueError(f"the text encoder lacks {missing[0]}")
    for module in model.modules():
        if isinstance(getattr(module, "position_ids", None), Tensor):  # never stored, so still without memory
            module.position_ids = torch.arange(config["max_position_embeddings"]).expand((1, -1))
    return model.eval()
