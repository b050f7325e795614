"""Adapter files made on the spot."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

WIDTH = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8, "U8": 1, "I64": 8}

Shape = Sequence[int] | tuple[str, Sequence[int]]
WriteAdapter = Callable[..., Path]


def header_bytes(
    tensors: Mapping[str, Shape], metadata: Mapping[str, object] | None = None, *, metadata_last: bool = False
) -> tuple[bytes, int]:
    """Return a header's JSON and how many bytes of data it promises."""
    entries: dict[str, object] = {}
    if metadata is not None and not metadata_last:
        entries["__metadata__"] = metadata
    place = 0
    for name, shape in tensors.items():
        dtype, extents = shape if shape and isinstance(shape[0], str) else ("F16", shape)
        size = WIDTH[dtype]
        for extent in extents:
            size *= extent
        entries[name] = {"dtype": dtype, "shape": list(extents), "data_offsets": [place, place + size]}
        place += size
    if metadata is not None and metadata_last:
        entries["__metadata__"] = metadata
    return json.dumps(entries, separators=(",", ":")).encode(), place


def adapter_bytes(
    tensors: Mapping[str, Shape],
    metadata: Mapping[str, object] | None = None,
    *,
    seed: int = 0,
    metadata_last: bool = False,
) -> bytes:
    """Return a whole safetensors file; its data depend on the seed alone."""
    header, size = header_bytes(tensors, metadata, metadata_last=metadata_last)
    return struct.pack("<Q", len(header)) + header + random.Random(seed).randbytes(size)


@pytest.fixture
def make_bytes() -> Callable[..., bytes]:
    return adapter_bytes


@pytest.fixture
def sd1() -> dict[str, Sequence[int]]:
    """A few modules of an SD 1.5 adapter, in diffusers' spelling."""
    place = "unet.down_blocks.0.attentions.0.transformer_blocks.0"
    return {
        f"{place}.attn1.to_k.lora.down.weight": [4, 320],
        f"{place}.attn1.to_k.lora.up.weight": [320, 4],
        f"{place}.attn2.to_k.lora.down.weight": [4, 768],
        f"{place}.attn2.to_k.lora.up.weight": [320, 4],
    }


@pytest.fixture
def sdxl() -> dict[str, Shape]:
    """A few modules of an SDXL adapter, in kohya's spelling."""
    place = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"
    return {
        f"{place}.alpha": ("F32", []),
        f"{place}.lora_down.weight": [8, 2048],
        f"{place}.lora_up.weight": [640, 8],
    }


@pytest.fixture
def write_adapter(tmp_path: Path, sd1: dict[str, Sequence[int]]) -> WriteAdapter:
    """Write an adapter and return its path: `write_adapter("fox", tensors=..., metadata=..., seed=...)`."""

    def write(
        stem: str = "fox",
        *,
        folder: Path | None = None,
        tensors: Mapping[str, Shape] | None = None,
        metadata: Mapping[str, object] | None = None,
        seed: int = 0,
    ) -> Path:
        path = (folder or tmp_path) / f"{stem}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(adapter_bytes(sd1 if tensors is None else tensors, metadata, seed=seed))
        return path

    return write
