"""CLIP's eye, as IP-Adapters look through it: found beside them, loaded by any name, and asked once for each picture.

`ImagePrompts` needs no more of it than two tensors: the picture's embedding, or its last hidden layer but one.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import InputError
from .checkpoint import quiet
from .hub import HUB_ID, hub_folder
from .weight_files import OF_A_MODEL, Shapes, json_of, local, shapes_of, stamp, tensors_of, weights_in

_REMEMBERED: Final = 64
"""Pictures whose features are kept: a few kilobytes each, or a megabyte where all of the hidden layer is."""
_MEAN: Final = (0.48145466, 0.4578275, 0.40821073)
_SPREAD: Final = (0.26862954, 0.26130258, 0.27577711)
"""Of the pictures that CLIP was trained on; IP-Adapters were trained with these whatever the encoder."""
_PARTS: Final = ("vision_model.", "visual_projection.")
_ACTIVATIONS: Final = ("gelu", "quick_gelu")


@dataclass(frozen=True, slots=True)
class Sight:
    """How wide that is which an encoder gives of a picture."""

    embedding: int
    hidden: int


@dataclass(frozen=True, slots=True)
class _Encoder:
    model: Any
    side: int
    key: Any


class ClipVision:
    """CLIP vision models; the last one stays loaded.

    Args:
        device: Where they look.
        dtype: In which precision.
        local_files_only: Never ask the hub.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype, *, local_files_only: bool = False) -> None:
        self._device, self._dtype = device, dtype
        self._local_files_only = local_files_only
        self._loaded: _Encoder | None = None
        self._features: OrderedDict[Any, Tensor] = OrderedDict()

    def sight(self, name: str) -> Sight:
        """Say what an encoder gives, from its header alone.

        Raises:
            InputError: it is not there, or none; one sentence.
            UnreadableFile: it is damaged.
        """
        files, _ = self._files(name)
        return sight_of(shapes_of(files), name)

    def features(self, name: str, pictures: Sequence[Image.Image | None], *, hidden: bool = False) -> Tensor:
        """Return what an encoder sees in pictures; what was seen once is remembered.

        Args:
            name: A folder or `.safetensors` file of a `CLIPVisionModelWithProjection`, or a hub id.
            pictures: In RGB; the middle square of each is looked at. None is a picture of nothing (zeros).
            hidden: Whether to return the last hidden layer but one in place of the embedding.

        Returns:
            (len(pictures), width), or with `hidden` (len(pictures), places, width).

        Raises:
            InputError: the encoder is not there, or none; one sentence.
            UnreadableFile: it is damaged.
        """
        files, told = self._files(name)
        key = stamp(files)
        if self._loaded is None or self._loaded.key != key:
            self._loaded = None  # before another is loaded, so that there are never two
            self._loaded = _load(files, told, name, key, self._device, self._dtype)
        return torch.stack([self._seen(self._loaded, picture, hidden=hidden) for picture in pictures])

    def _seen(self, encoder: _Encoder, picture: Image.Image | None, *, hidden: bool) -> Tensor:
        digest = None
        if picture is not None:
            picture = picture.convert("RGB")
            digest = hashlib.sha256(f"{picture.size}".encode() + picture.tobytes()).digest()
        key = encoder.key, digest, hidden
        if key not in self._features:
            side = encoder.side
            pixels = torch.zeros(3, side, side) if picture is None else _pixels(picture, side)
            with torch.no_grad():
                # One at a time, so that what is seen in a picture does not depend on its neighbours.
                seen = encoder.model(pixels[None].to(self._device, self._dtype), output_hidden_states=hidden)
            self._features[key] = seen.hidden_states[-2][0] if hidden else seen.image_embeds[0]
            if len(self._features) > _REMEMBERED:
                self._features.popitem(last=False)
        self._features.move_to_end(key)
        return self._features[key]

    def _files(self, name: str) -> tuple[tuple[Path, ...], dict[str, Any]]:
        path = local(name)
        if path is None and HUB_ID.fullmatch(name):
            path = hub_folder(name, OF_A_MODEL, local_files_only=self._local_files_only)
        if path is None:
            raise InputError(f"there is no CLIP vision model {name!r}: give a folder, a .safetensors file, or a hub id")
        if path.is_file():
            return (path,), {}
        told = json_of(path / "config.json")
        inner = told.get("vision_config")
        return weights_in(path), inner if isinstance(inner, dict) else told


def sight_of(shapes: Shapes, name: str) -> Sight:
    """Return what the encoder with these tensors gives.

    Raises:
        InputError: they are no CLIP vision model's.
    """
    projection = shapes.get("visual_projection.weight", ())
    if len(projection) != 2 or "vision_model.embeddings.class_embedding" not in shapes:
        raise InputError(f"{name} is no CLIP vision model with a projection, as transformers keeps it")
    return Sight(*projection)


def _load(
    files: Sequence[Path], told: dict[str, Any], name: str, key: Any, device: torch.device, dtype: torch.dtype
) -> _Encoder:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    tensors = {key: value for key, value in tensors_of(files).items() if key.startswith(_PARTS)}
    shapes = {key: tuple(value.shape) for key, value in tensors.items()}
    sight_of(shapes, name)
    try:
        config = _shape_config(shapes, told)
        with quiet():
            model, info = CLIPVisionModelWithProjection.from_pretrained(
                None, config=CLIPVisionConfig(**config), state_dict=tensors, output_loading_info=True
            )
    except Exception as error:  # the library raises of every kind, and an encoder is a stranger's input
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{name} is not a whole CLIP vision model: {line.rstrip('.')}") from None
    if lacking := sorted(key for key in info["missing_keys"] if not key.endswith("position_ids")):
        raise InputError(f"{name} lacks {len(lacking)} weights of a CLIP vision model, {lacking[0]} first")
    return _Encoder(model.to(device, dtype).eval().requires_grad_(requires_grad=False), config["image_size"], key)


def _shape_config(shapes: Shapes, told: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration that these shapes belong to; heads and activation are told beside them, or known."""
    width, _, patch, _ = shapes["vision_model.embeddings.patch_embedding.weight"]
    places = shapes["vision_model.embeddings.position_embedding.weight"][0]
    layers = {found[1] for key in shapes if (found := re.match(r"vision_model\.encoder\.layers\.(\d+)\.", key))}
    heads = told.get("num_attention_heads")
    if not isinstance(heads, int) or heads < 1 or width % heads:
        heads = 16 if width >= 1024 else max(1, width // 64)
    activation = told.get("hidden_act")
    if activation not in _ACTIVATIONS:
        # OpenAI's own models have the quick one; ViT-H and ViT-bigG, which most IP-Adapters want, are OpenCLIP's.
        activation = "quick_gelu" if width <= 1024 else "gelu"
    return {
        "hidden_size": width,
        "intermediate_size": shapes["vision_model.encoder.layers.0.mlp.fc1.weight"][0],
        "num_hidden_layers": len(layers),
        "num_attention_heads": heads,
        "patch_size": patch,
        "image_size": math.isqrt(places - 1) * patch,
        "projection_dim": shapes["visual_projection.weight"][0],
        "hidden_act": activation,
    }


def _pixels(picture: Image.Image, side: int) -> Tensor:
    """Return the middle square of a picture, normalised, shape (3, side, side)."""
    shorter = min(picture.size)
    left, top = ((length - shorter) / 2 for length in picture.size)
    # Cut and resized in one step: all of a picture of 20,000 x 1 would be millions of pixels wide.
    square = picture.resize((side, side), Image.Resampling.BICUBIC, box=(left, top, left + shorter, top + shorter))
    values = np.asarray(square, dtype=np.float32) / 255
    values = (values - np.array(_MEAN, np.float32)) / np.array(_SPREAD, np.float32)
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))
