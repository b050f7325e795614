"""The modules of a model without its weights: enough to say which adapters fit, in a second and no memory.

Told from a checkpoint's configuration or header, or from the name of a family, whose standard model is known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import InputError
from ..families import TITLES
from .adapters.names import targets
from .checkpoint import quiet
from .kinds import kind_of_file, read_header, read_object
from .known import exists, resolve
from .single_file import clip_of, unet_of
from .single_file_xl import first_clip_of, second_clip_of, xl_unet_of

_CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12}
_CLIP_H = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 23}
_CLIP_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_attention_heads": 20, "num_hidden_layers": 32}
_T5_XXL = {"d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64}
_SDXL = {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
_SDXS = {"block_out_channels": (320, 640, 1280), "layers_per_block": 1, "mid_block_type": None}
_SDXS_09 = {
    **_SDXS,
    "down_block_types": ("CrossAttnDownBlock2D",) * 3,
    "up_block_types": ("CrossAttnUpBlock2D",) * 3,
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
}
_LIKE = {"sdxs-dreamshaper": "sdxs", "sdxs-0.9": "sdxs-0.9", "pony": "sdxl", "illustrious": "sdxl", "noobai": "sdxl"}
"""Checkpoints and families that are built as another."""
_PARTS = ("unet", "transformer", "text_encoder", "text_encoder_2", "text_encoder_3")


def standard() -> tuple[str, ...]:
    """Return the families whose standard model is known."""
    return tuple(family for family in _standard() if family in TITLES)


def structure(model: str) -> dict[str, nn.Module]:
    """Return the modules of a model, as `adapters.names.targets` does, on torch's meta device.

    Args:
        model: A diffusers folder, a `.safetensors` checkpoint, a family of `standard()`, or a name of `known`, of
            which nothing is downloaded.

    Raises:
        InputError: there is no such model, or its structure cannot be told.
    """
    located, known = resolve(model)
    with quiet(), torch.device("meta"):
        if model in _standard():
            return targets(**_standard()[model]())
        if known is not None:
            return targets(**_standard()[_LIKE.get(known.name) or _LIKE.get(known.family, known.family)]())
        if exists(located):
            path = Path(located).expanduser()
            return targets(**(_of_folder(path) if path.is_dir() else _of_file(path)))
    raise InputError(
        f"there is no model {model!r}: give a diffusers folder, a .safetensors file, or one of {', '.join(standard())}"
    )


def _standard() -> Mapping[str, Callable[[], dict[str, nn.Module]]]:
    from diffusers import FluxTransformer2DModel, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel

    def clip(sizes: Mapping[str, int], cls: Any = CLIPTextModel) -> Any:
        return cls(CLIPTextConfig(**sizes, projection_dim=sizes["hidden_size"]))

    return {
        "sd1": lambda: {"unet": UNet2DConditionModel(cross_attention_dim=768), "text_encoder": clip(_CLIP_L)},
        "sd2": lambda: {
            "unet": UNet2DConditionModel(
                cross_attention_dim=1024, attention_head_dim=(5, 10, 20, 20), use_linear_projection=True
            ),
            "text_encoder": clip(_CLIP_H),
        },
        "sdxs": lambda: {
            "unet": UNet2DConditionModel(
                **_SDXS,
                down_block_types=_SDXL["down_block_types"],
                up_block_types=_SDXL["up_block_types"],
                cross_attention_dim=768,
            ),
            "text_encoder": clip(_CLIP_L),
        },
        "sdxs-0.9": lambda: {"unet": UNet2DConditionModel(**_SDXS_09), "text_encoder": clip(_CLIP_H)},
        "sdxl": lambda: {
            "unet": UNet2DConditionModel(**_SDXL),
            "text_encoder": clip(_CLIP_L),
            "text_encoder_2": clip(_CLIP_G, CLIPTextModelWithProjection),
        },
        "flux1": lambda: {
            "transformer": FluxTransformer2DModel(guidance_embeds=True),
            "text_encoder": clip(_CLIP_L),
            "text_encoder_2": T5EncoderModel(T5Config(**_T5_XXL, feed_forward_proj="gated-gelu")),
        },
    }


def _of_folder(folder: Path) -> dict[str, nn.Module]:
    import diffusers
    import transformers

    index = read_object(folder / "model_index.json", folder.name)
    found: dict[str, nn.Module] = {}
    for part in _PARTS:
        named = index.get(part)
        if not isinstance(named, list) or len(named) != 2 or named[1] is None:
            continue
        library: Any = {"diffusers": diffusers, "transformers": transformers}.get(str(named[0]))
        cls: Any = getattr(library, str(named[1]), None)
        config = read_object(folder / part / "config.json", folder.name)
        try:
            if _is(cls, diffusers.ModelMixin):
                found[part] = cls.from_config(config)
            elif _is(cls, transformers.PreTrainedModel):
                found[part] = cls(cls.config_class.from_dict(config))
        except Exception as error:  # the libraries raise of every kind, and a configuration is a stranger's input
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise InputError(f"{folder.name}: the {part} cannot be built: {line.rstrip('.')}") from error
    if not {"unet", "transformer"} & found.keys():
        raise InputError(f"{folder.name} has no UNet or transformer that this version knows")
    return found


def _is(cls: Any, parent: type) -> bool:
    return isinstance(cls, type) and issubclass(cls, parent)


def _of_file(path: Path) -> dict[str, nn.Module]:
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    header = read_header(path)
    kind, shapes = kind_of_file(header, path.stem), header.shapes
    if kind in ("flux", "sdxs"):
        return _standard()["flux1" if kind == "flux" else kind]()
    try:
        if not kind.startswith("sdxl"):
            text_encoder = CLIPTextModel(CLIPTextConfig(**clip_of(shapes)))
            return {"unet": UNet2DConditionModel(**unet_of(shapes)), "text_encoder": text_encoder}
        return {
            "unet": UNet2DConditionModel(**xl_unet_of(shapes)),
            "text_encoder": CLIPTextModel(CLIPTextConfig(**first_clip_of(shapes))),
            "text_encoder_2": CLIPTextModelWithProjection(CLIPTextConfig(**second_clip_of(shapes))),
        }
    except (KeyError, IndexError, ValueError, RuntimeError):
        raise InputError(f"{path.name} is not a whole checkpoint of SD 1.x, SD 2.x, SDXL or FLUX.1") from None
