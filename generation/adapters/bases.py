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

from ...errors import InputError

_BLOCK = 256 << 20
_PAGE = 2 << 20
_ROOM = 2 << 30
"""Bytes of a GPU that are left free for painting."""
_PROBES = 64
"""Values that are compared of a weight that was just loaded from the file."""
_PIECE = 1 << 18
"""Values that are compared at once; they stay in the cache while they are cast."""


class StoredWeights(dict[str, Tensor]):
    """Weights in files, memory-mapped, by the names of `names.targets`."""

    def __init__(self) -> None:
        super().__init__()
        self._stamps: dict[Path, tuple[int, ...]] = {}

    def read(self, path: Path, part: str) -> None:
        """Take the weights of one file; `part` is `unet`, `text_encoder` and the like.

        Raises:
            SafetensorError: it is damaged.
            OSError: it cannot be read.
        """
        stamp = _stamp(path)
        opened: Any = safe_open(path, framework="pt", device="cpu")
        for key in opened.keys():  # noqa: SIM118 - it is no mapping
            self.setdefault(f"{part}.{key.removeprefix('text_model.')}", opened.get_tensor(key))
        self._stamps[path] = stamp

    def drop(self, part: str) -> None:
        """Leave a part out: of a part that is not whole, nothing is known to be what was loaded."""
        for name in [name for name in self if name.startswith(f"{part}.")]:
            del self[name]

    def check(self) -> None:
        """Refuse to go on where a file was written to in place: what is mapped has changed, and may end earlier.

        A file that was replaced or deleted is still there for whoever has mapped it.

        Raises:
            InputError: it was.
        """
        for path, stamp in self._stamps.items():
            with suppress(OSError):
                now = _stamp(path)
                if now[:2] == stamp[:2] and now != stamp:
                    raise InputError(f"{path} has changed since the model was loaded from it; load the model again")


class Bases:
    """The unchanged weights of one model, by the parameter's name.

    Args:
        stored: The weights as the checkpoint's files hold them, in any precision (see `stored_weights`). A weight is
            taken from there only if the model's agrees with it.
        fresh: The model was loaded from these files and nothing has been written to it since, so that a few values
            of each weight are compared and not all.
    """

    def __init__(self, stored: Mapping[str, Tensor] | None = None, *, fresh: bool = False) -> None:
        self._stored = stored or {}
        self._fresh = fresh
        self._kept: dict[str, Tensor] = {}
        self._mapped = False
        self._pages = _Pages()
        self.copied = 0
        """Bytes that copies take."""

    def __contains__(self, name: str) -> bool:
        return name in self._kept

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __getitem__(self, name: str) -> Tensor:
        return self._kept[name]

    def check(self) -> None:
        """Refuse to go on where the files that weights are taken from have changed; see `StoredWeights.check`."""
        if self._mapped and isinstance(self._stored, StoredWeights):
            self._stored.check()

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
        if stored is not None and _agree(stored, live, probes=_PROBES if self._fresh else None):
            self._mapped = True
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


def stored_weights(folder: Path) -> StoredWeights:
    """Return the weights that a diffusers folder holds.

    What is not there, or not as safetensors, is left out. Files of the variant `fp16` are those that were loaded only
    where there are no others; of two files that claim one part otherwise, neither is taken.
    """
    found = StoredWeights()
    for part in _PARTS:
        try:
            for path in _files(folder / part):
                found.read(path, part)
        except (SafetensorError, OSError, ValueError):
            found.drop(part)
    return found


def _files(folder: Path) -> list[Path]:
    files = sorted(folder.glob("*.safetensors"))
    half = all(".fp16" in file.name for file in files)
    index = [path for path in folder.glob("*.safetensors.index*.json") if (".fp16." in path.name) == half]
    if len(index) == 1:
        try:
            names = set(json.loads(index[0].read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, AttributeError, TypeError, OSError, RecursionError):
            return []
        return [folder / name for name in sorted(map(str, names)) if Path(name).name == name]
    files = [file for file in files if (".fp16" in file.name) == half]
    return files if len(files) == 1 else []


def _agree(stored: Tensor, live: Tensor, *, probes: int | None) -> bool:
    """Whether a stored weight, cast, is the live one, bit for bit: what differs in one value cannot be restored."""
    if stored.shape != live.shape or live.device.type not in ("cpu", "cuda"):
        return False
    if probes is not None:
        step = max(1, stored.numel() // probes)
        stored, live = stored.flatten()[::step].contiguous(), live.flatten()[::step].contiguous()
    pieces = zip(torch.split(stored.reshape(-1), _PIECE), torch.split(live.reshape(-1), _PIECE), strict=True)
    return all(_same_bits(theirs.to(own), own) for theirs, own in pieces)


def _same_bits(one: Tensor, other: Tensor) -> bool:
    # Eight bytes at a time where they lie so: numbers would take twice as long, and know two zeros and no NaN.
    whole = all(not t.nbytes % 8 and not t.storage_offset() * t.element_size() % 8 for t in (one, other))
    kind = torch.int64 if whole else torch.uint8
    return torch.equal(one.view(kind), other.view(kind))


def _stamp(path: Path) -> tuple[int, ...]:
    """What tells one file from another, and then from itself once it is written to."""
    stat = path.stat()
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


def _pages(size: int) -> mmap.mmap:
    if sys.platform == "win32":
        return mmap.mmap(-1, size)
    # Private, because the kernel gives no large pages to memory that might be shared.
    block = mmap.mmap(-1, -(-size // _PAGE) * _PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without large pages gives small ones
            block.madvise(mmap.MADV_HUGEPAGE)
    return block
