"""The unchanged weights, which every laying starts from.

Where the checkpoint's own files hold them, they are read from there, memory-mapped: that costs no memory of ours.
Else each weight is copied when it is first touched: on a GPU beside it while there is room, otherwise into large
pages on the CPU, since a gigabyte in small ones takes longer to come by than to fill.
"""

from __future__ import annotations

import json
import mmap
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

_BLOCK = 256 << 20
_PAGE = 2 << 20
_ROOM = 2 << 30
"""Bytes of a GPU that are left free for painting."""
_PROBES = 64
"""Values that are compared before a file is believed to hold a weight."""


class Bases:
    """The unchanged weights of one model, by the parameter's name.

    Args:
        stored: The weights as the checkpoint's files hold them, in any precision (see `stored_weights`). A weight is
            taken from there only if the model's agrees with it.
    """

    def __init__(self, stored: Mapping[str, Tensor] | None = None) -> None:
        self._stored = stored or {}
        self._kept: dict[str, Tensor] = {}
        self._pages = _Pages()
        self.copied = 0
        """Bytes that copies take."""

    def __contains__(self, name: str) -> bool:
        return name in self._kept

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __getitem__(self, name: str) -> Tensor:
        return self._kept[name]

    def keep(self, name: str, live: Tensor) -> Tensor:
        """Return the unchanged weight; the first call must come before the weight is changed."""
        if name not in self._kept:
            self._kept[name] = self._find(name, live)
        return self._kept[name]

    def _find(self, name: str, live: Tensor) -> Tensor:
        if live.is_cuda and torch.cuda.mem_get_info(live.device)[0] > live.nbytes + _ROOM:
            self.copied += live.nbytes
            return live.clone(memory_format=torch.contiguous_format)
        stored = self._stored.get(name)
        if stored is not None and _agree(stored, live):
            return stored
        self.copied += live.nbytes
        return live.to("cpu").contiguous().pin_memory() if live.is_cuda else self._pages.copy(live)


class _Pages:
    """Memory in large pages, of which a block serves many weights."""

    def __init__(self) -> None:
        self._block: Any = None
        self._used = 0

    def copy(self, live: Tensor) -> Tensor:
        """Return a contiguous copy on the CPU."""
        size = live.numel() * live.element_size()
        if live.device.type != "cpu" or size < _PAGE:
            return live.to("cpu", copy=True).contiguous()
        return self._place(size).view(live.dtype).view(live.shape).copy_(live)

    def _place(self, size: int) -> Tensor:
        if size >= _BLOCK:
            return torch.frombuffer(_pages(size), dtype=torch.uint8, count=size)
        if self._block is None or self._used + size > _BLOCK:
            self._block, self._used = _pages(_BLOCK), 0
        found = torch.frombuffer(self._block, dtype=torch.uint8, count=size, offset=self._used)
        self._used += -(-size // 64) * 64
        return found


def own_memory(model: nn.Module) -> None:
    """Move a freshly loaded model on the CPU into memory of its own.

    Libraries leave weights in the mapped file, where they lie askew, and where the first writing to each small page
    is a copy that the kernel makes: laying a first set would take five times as long, every other twice.
    """
    pages = _Pages()
    for parameter in model.parameters():
        if parameter.device.type == "cpu" and parameter.is_contiguous() and parameter.nbytes >= _PAGE:
            parameter.data = pages.copy(parameter.data)


_PARTS = ("unet", "transformer", "text_encoder", "text_encoder_2")


def stored_weights(folder: Path) -> dict[str, Tensor]:
    """Return the weights that a diffusers folder holds, memory-mapped, by the names of `names.targets`.

    What is not there, or not as safetensors, is left out; so is all where two files claim one weight (a folder with
    a `.fp16` variant beside the whole precision), since the folder does not tell which was loaded.
    """
    found: dict[str, Tensor] = {}
    for part in _PARTS:
        own: dict[str, Tensor] = {}
        for path in _files(folder / part):
            try:
                opened: Any = safe_open(path, framework="pt", device="cpu")
                for key in opened.keys():  # noqa: SIM118 - it is no mapping
                    own.setdefault(f"{part}.{key.removeprefix('text_model.')}", opened.get_tensor(key))
            except (SafetensorError, OSError):
                own.clear()
                break
        found |= own
    return found


def _files(folder: Path) -> list[Path]:
    index = [path for path in folder.glob("*.safetensors.index.json") if ".fp16." not in path.name]
    if len(index) == 1:
        try:
            names = set(json.loads(index[0].read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, AttributeError, TypeError, OSError, RecursionError):
            return []
        return [folder / name for name in sorted(map(str, names)) if Path(name).name == name]
    files = sorted(folder.glob("*.safetensors"))
    return files if len(files) == 1 else []


def _agree(stored: Tensor, live: Tensor) -> bool:
    """Whether a stored weight, cast, is the live one: shapes whole, values at some places."""
    if stored.shape != live.shape or stored.numel() == 0 or live.device.type not in ("cpu", "cuda"):
        return False
    step = max(1, stored.numel() // _PROBES)
    return torch.equal(stored.flatten()[::step].to(live.dtype), live.flatten()[::step].cpu())


def _pages(size: int) -> mmap.mmap:
    if sys.platform == "win32":
        return mmap.mmap(-1, size)
    # Private, because the kernel gives no large pages to memory that might be shared.
    block = mmap.mmap(-1, -(-size // _PAGE) * _PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without large pages gives small ones
            block.madvise(mmap.MADV_HUGEPAGE)
    return block
