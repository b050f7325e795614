"""ControlNets (Zhang and others, 2023): loaded by any name, and only onto the model that they were made for.

A ControlNet is a copy of the encoder of a UNet, and its outputs are added to that UNet's. So all sizes are told from
the shapes of its tensors, and what shapes cannot tell (heads, norms) is the UNet's own.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from ..errors import InputError
from .checkpoint import quiet
from .hub import HUB_ID, hub_folder
from .weight_files import OF_A_MODEL, Shapes, json_of, local, shapes_of, stamp, tensors_of, weights_in

_KEPT: Final = 2
"""ControlNets that stay loaded: each is a third as large as its model."""
_MADE_FOR: Final = {768: "SD 1.x", 1024: "SD 2.x", 2048: "SDXL"}
"""By the width of the text that is attended to."""
_LDM: Final = "control_model."
_FROM_UNET: Final = (
    "flip_sin_to_cos", "freq_shift", "downsample_padding", "only_cross_attention", "mid_block_scale_factor", "act_fn",
    "norm_num_groups", "norm_eps", "attention_head_dim", "num_attention_heads", "upcast_attention",
    "resnet_time_scale_shift", "addition_time_embed_dim",
)  # fmt: skip
_OTHERS: Final = (
    ("lora_controlnet", "a Control-LoRA"),
    ("task_embedding", "a ControlNet Union, which must be told the kind of every map"),
    ("adapter.body.0.", "a T2I-Adapter"),
    ("lllite_unet", "a ControlNet-LLLite"),
    ("double_blocks.0.", "a ControlNet for FLUX"),
    ("transformer_blocks.0.", "a ControlNet for a transformer"),
)
"""Marks of what is published under the name of ControlNet and is none for a UNet."""


class ControlNets:
    """The ControlNets of one UNet; the last few stay loaded.

    Args:
        unet: The `diffusers.UNet2DConditionModel` that they steer.
        local_files_only: Never ask the hub.
    """

    def __init__(self, unet: Any, *, local_files_only: bool = False) -> None:
        self._unet = unet
        self._local_files_only = local_files_only
        self._loaded: OrderedDict[Any, Any] = OrderedDict()

    def check(self, name: str) -> None:
        """Say whether a ControlNet can steer this model, from its header alone.

        Raises:
            InputError: it is not there, is none, or is made for another model; one sentence.
            UnreadableFile: it is damaged.
        """
        files, _ = self._files(name)
        self._config(_as_diffusers({key: torch.empty(s, device="meta") for key, s in shapes_of(files).items()}), name)

    def load(self, name: str) -> Any:
        """Return the `diffusers.ControlNetModel` of that name, on the UNet's device and in its precision.

        Args:
            name: A diffusers folder, a `.safetensors` file (of diffusers' keys, or of the authors' own), or a hub id.

        Raises:
            InputError: it is not there, is none, or is made for another model; one sentence.
            UnreadableFile: it is damaged.
        """
        files, told = self._files(name)
        key = stamp(files)
        if key not in self._loaded:
            # Before another is loaded, so that there is never one more than is kept.
            while len(self._loaded) >= _KEPT:
                self._loaded.popitem(last=False)
            self._loaded[key] = self._build(_as_diffusers(tensors_of(files)), name, told)
        self._loaded.move_to_end(key)
        return self._loaded[key]

    def _files(self, name: str) -> tuple[tuple[Path, ...], dict[str, Any]]:
        """Return where the weights are, and what is told beside them."""
        path = local(name)
        if path is None and HUB_ID.fullmatch(name):
            path = hub_folder(name, OF_A_MODEL, local_files_only=self._local_files_only)
        if path is None:
            raise InputError(
                f"there is no ControlNet {name!r}: give a diffusers folder, a .safetensors file, or a hub id"
            )
        if path.is_file():
            return (path,), {}
        return weights_in(path), json_of(path / "config.json")

    def _config(self, tensors: Mapping[str, Tensor], name: str) -> dict[str, Any]:
        """Tell the configuration of a ControlNet, and insist on its fitting the UNet."""
        shapes: Shapes = {key: tuple(value.shape) for key, value in tensors.items()}
        if self._unet.mid_block is None:
            raise InputError("this model has no middle block, to which every ControlNet adds (SDXS); paint without one")
        for mark, kind in _OTHERS:
            if any(key.startswith(mark) for key in shapes):
                raise InputError(f"{name} is {kind}; take a plain ControlNet")
        try:
            config = _shape_config(shapes)
        except (KeyError, IndexError, ValueError):
            raise InputError(f"{name} is no ControlNet") from None
        unet = self._unet.config
        made, here = config["cross_attention_dim"], unet.cross_attention_dim
        if made is None:  # without attention, as the small ones for SDXL are
            config["cross_attention_dim"] = here
        elif made != here:
            raise InputError(f"{name} is a ControlNet for {model_of(made)}, and this checkpoint is {model_of(here)}")
        # A UNet that fills masks takes them beside the latents, and a ControlNet the latents alone.
        wanted = {
            "block_out_channels": tuple(unet.block_out_channels),
            "layers_per_block": unet.layers_per_block,
            "in_channels": unet.out_channels,
        }
        for field, value in wanted.items():
            if config[field] != value:
                raise InputError(
                    f"{name} is a ControlNet for another model: it has {field} {config[field]}, not {value}"
                )
        return config | {field: unet[field] for field in _FROM_UNET if field in unet}

    def _build(self, tensors: Mapping[str, Tensor], name: str, told: Mapping[str, Any]) -> Any:
        from diffusers import ControlNetModel

        config = self._config(tensors, name)
        if told.get("controlnet_conditioning_channel_order") == "bgr":
            config["controlnet_conditioning_channel_order"] = "bgr"
        if told.get("global_pool_conditions") is True:
            config["global_pool_conditions"] = True
        device, dtype = self._unet.device, self._unet.dtype  # looked up anew over all modules each time
        copies = {key: value.to(device, dtype, copy=True) for key, value in tensors.items()}
        try:
            with quiet(), torch.device("meta"):
                model = ControlNetModel(**config)
            missing, _ = model.load_state_dict(copies, strict=False, assign=True)
        except (RuntimeError, ValueError, TypeError, ZeroDivisionError) as error:
            line = str(error).strip().splitlines()[-1].strip()
            raise InputError(f"{name} is not a whole ControlNet: {line.rstrip('.')}") from None
        if missing:
            raise InputError(f"{name} lacks {len(missing)} weights, {missing[0]} first")
        return model.eval().requires_grad_(requires_grad=False)


def _as_diffusers(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under diffusers' names; the authors' own layout is converted, also without its prefix."""
    from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint

    plain = {key.removeprefix(_LDM): value for key, value in tensors.items()}
    if "input_hint_block.0.weight" not in plain:
        return plain
    blocks = {int(found[1]) for key in plain if (found := re.match(r"input_blocks\.(\d{1,3})\.", key))}
    first = min((block for block in blocks if f"input_blocks.{block}.0.op.weight" in plain), default=len(blocks))
    with quiet():
        found = convert_controlnet_checkpoint(plain, {"layers_per_block": max(1, first - 1)})
    for number, name in (("0", "linear_1"), ("2", "linear_2")):  # SDXL's, which the library leaves behind
        for part in ("weight", "bias"):
            found[f"add_embedding.{name}.{part}"] = plain.get(f"label_emb.0.{number}.{part}")
    return {key: value for key, value in found.items() if value is not None}


def _shape_config(shapes: Shapes) -> dict[str, Any]:
    """Return the configuration that these shapes belong to."""
    depth = _count(shapes, r"down_blocks\.(\d+)\.")
    attended = [f"down_blocks.{block}.attentions.0.proj_in.weight" in shapes for block in range(depth)]
    middle = "mid_block.attentions.0.proj_in.weight" in shapes
    transformers = [
        _count(shapes, rf"down_blocks\.{block}\.attentions\.0\.transformer_blocks\.(\d+)\.") if yes else 1
        for block, yes in enumerate(attended)
    ]
    if middle:
        transformers[-1] = _count(shapes, r"mid_block\.attentions\.0\.transformer_blocks\.(\d+)\.")
    hints = _count(shapes, r"controlnet_cond_embedding\.blocks\.(\d+)\.")
    hint = "controlnet_cond_embedding"
    config: dict[str, Any] = {
        "in_channels": shapes["conv_in.weight"][1],
        "conditioning_channels": shapes[f"{hint}.conv_in.weight"][1],
        "conditioning_embedding_out_channels": (
            shapes[f"{hint}.conv_in.weight"][0],
            *(shapes[f"{hint}.blocks.{block}.weight"][0] for block in range(1, hints, 2)),
        ),
        "block_out_channels": tuple(shapes[f"down_blocks.{block}.resnets.0.conv1.weight"][0] for block in range(depth)),
        "layers_per_block": _count(shapes, r"down_blocks\.0\.resnets\.(\d+)\."),
        "down_block_types": tuple("CrossAttnDownBlock2D" if yes else "DownBlock2D" for yes in attended),
        "mid_block_type": "UNetMidBlock2DCrossAttn" if middle else "UNetMidBlock2D",
        "transformer_layers_per_block": tuple(transformers),
        "cross_attention_dim": next(
            (shape[1] for key, shape in shapes.items() if key.endswith("attn2.to_k.weight")), None
        ),
        "use_linear_projection": any(
            key.endswith("attentions.0.proj_in.weight") and len(shape) == 2 for key, shape in shapes.items()
        ),
    }
    if "mid_block.resnets.0.conv1.weight" not in shapes:
        raise KeyError("mid_block")
    if (key := "add_embedding.linear_1.weight") in shapes:
        config |= {"addition_embed_type": "text_time", "projection_class_embeddings_input_dim": shapes[key][1]}
    return config


def _count(shapes: Shapes, pattern: str) -> int:
    return len({found[1] for key in shapes if (found := re.match(pattern, key))})


def model_of(width: int) -> str:
    """Name the model whose text is that wide.

    >>> model_of(768), model_of(2048), model_of(64)
    ('SD 1.x', 'SDXL', 'a model whose text is 64 wide')
    """
    return _MADE_FOR.get(width, f"a model whose text is {width} wide")
