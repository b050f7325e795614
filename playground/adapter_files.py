"""The files of the library, made of trained adapters: whole, copied, saved anew, made for another base, cut off.

What is written here is the same bytes on every machine; safetensors itself writes a header's entries in any order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Tensors = Mapping[str, NDArray[Any]]

HEADER_BASE: Final = "velatura_miniature"
"""What headers call the playground's model."""

_TELLING: Final = "_overtrained"
"""What the trainer adds to the name of an adapter that it trains for too long."""
_DTYPES: Final = {"float16": "F16", "float32": "F32"}
_XL: Final = (
    ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k", 2048, 640),
    ("lora_unet_middle_block_1_transformer_blocks_0_attn2_to_v", 2048, 1280),
    ("lora_te1_text_model_encoder_layers_0_self_attn_q_proj", 768, 768),
    ("lora_te2_text_model_encoder_layers_0_self_attn_q_proj", 1280, 1280),
)
"""Modules of SDXL with the widths of what goes in and out."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """A trained adapter in kohya's layout."""

    tensors: Tensors
    header: Mapping[str, str]


def read_adapter(path: Path) -> Adapter:
    """Read a trained adapter's file."""
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        return Adapter(tensors, dict(file.metadata() or {}))


def at_weight(adapter: Adapter, full: float) -> Adapter:
    """Return the adapter with its alphas set so that it makes its trained change at the weight `full`.

    Its header calls it what its owner would: none says of an adapter that it was trained for too long.
    """
    tensors = {name: _divided(tensor, full) if _is_alpha(name) else tensor for name, tensor in adapter.tensors.items()}
    header = _named_by_owner(adapter.header)
    header["ss_base_model_version"] = HEADER_BASE
    if "ss_network_alpha" in header:
        header["ss_network_alpha"] = str(round(float(header["ss_network_alpha"]) / full, 4))
    arguments = json.loads(header.get("ss_network_args", "{}"))
    if "conv_alpha" in arguments:
        arguments["conv_alpha"] = str(round(float(arguments["conv_alpha"]) / full, 4))
        header["ss_network_args"] = json.dumps(arguments)
    return Adapter(tensors, header)


def saved_anew(adapter: Adapter) -> Adapter:
    """Return an adapter of other tensors that makes the same change: twice the alpha, half of one factor, float32."""
    tensors = {}
    for name, tensor in adapter.tensors.items():
        factor = 2.0 if _is_alpha(name) else 0.5 if name.endswith(".lora_up.weight") else 1.0
        tensors[name] = tensor.astype(np.float32) * np.float32(factor)
    return Adapter(tensors, {"ss_base_model_version": HEADER_BASE, "ss_network_module": "networks.lora"})


def noise_like(adapter: Adapter, name: str) -> Adapter:
    """Return random changes of one direction to the layers that read the text, as strong as the adapter's own."""
    numbers = np.random.default_rng(int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little"))
    tensors: dict[str, NDArray[Any]] = {}
    for key, tensor in sorted(adapter.tensors.items()):
        if "attn2" not in key:
            continue
        if _is_alpha(key):
            tensors[key] = np.ones_like(tensor)
            continue
        shape = (1, *tensor.shape[1:]) if key.endswith(".lora_down.weight") else (len(tensor), 1, *tensor.shape[2:])
        tensors[key] = (numbers.standard_normal(shape) * np.std(tensor.astype(np.float32))).astype(np.float16)
    header = {"ss_network_module": "networks.lora", "ss_network_dim": "1", "ss_network_alpha": "1.0"}
    return Adapter(tensors, {**header, "ss_base_model_version": HEADER_BASE, "ss_output_name": name})


def for_sdxl(name: str) -> Adapter:
    """Return an adapter with the names and widths of SDXL's modules."""
    tensors: dict[str, NDArray[Any]] = {}
    for stem, inputs, outputs in _XL:
        tensors[f"{stem}.lora_down.weight"] = np.full((1, inputs), 0.01, np.float16)
        tensors[f"{stem}.lora_up.weight"] = np.full((outputs, 1), 0.01, np.float16)
        tensors[f"{stem}.alpha"] = np.array(1, np.float16)
    header = {"ss_base_model_version": "sdxl_base_v1-0", "ss_network_module": "networks.lora"}
    return Adapter(tensors, {**header, "ss_network_dim": "1", "ss_network_alpha": "1.0", "ss_output_name": name})


def to_bytes(adapter: Adapter) -> bytes:
    """Return the adapter as a safetensors file, with the digest of its tensors that kohya's trainer writes."""
    entries: dict[str, Any] = {}
    parts: list[bytes] = []
    place = 0
    for name, tensor in sorted(adapter.tensors.items(), key=lambda item: (item[1].dtype.str, item[0])):
        raw = np.ascontiguousarray(tensor).tobytes()
        entries[name] = {
            "dtype": _DTYPES[tensor.dtype.name],
            "shape": list(tensor.shape),
            "data_offsets": [place, place + len(raw)],
        }
        parts.append(raw)
        place += len(raw)
    blob = b"".join(parts)
    told = {**adapter.header, "sshs_model_hash": hashlib.sha256(blob).hexdigest()}
    header = json.dumps({"__metadata__": dict(sorted(told.items())), **entries}).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + blob


def _named_by_owner(header: Mapping[str, str]) -> dict[str, str]:
    named = dict(header)
    if "ss_output_name" in named:
        named["ss_output_name"] = named["ss_output_name"].removesuffix(_TELLING)
    if "ss_tag_frequency" in named:
        folders = json.loads(named["ss_tag_frequency"])
        plain = {folder.removesuffix(_TELLING): tags for folder, tags in folders.items()}
        named["ss_tag_frequency"] = json.dumps(plain, ensure_ascii=False)
    return named


def _is_alpha(name: str) -> bool:
    return name.endswith(".alpha")


def _divided(tensor: NDArray[Any], full: float) -> NDArray[Any]:
    divided: NDArray[Any] = (tensor.astype(np.float32) / np.float32(full)).astype(tensor.dtype)
    return divided
