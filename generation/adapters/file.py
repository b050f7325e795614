"""One adapter file, memory-mapped and never trusted.

The `safetensors` library checks the header: lengths, offsets and overlaps. Pickles are refused by name and by
content, and never opened. Nothing but shapes and alphas is read before a network is asked for its factors.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ...errors import UnreadableFile
from .keys import SHARED, is_checkpoint, is_embedding, role_of
from .kinds import Network, networks_of
from .peft_config import HIGHEST, PeftConfig, brief, plain

PICKLES = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth")
_PICKLED = (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")

_FLOATS = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
}  # fmt: skip
_NUMBERS = _FLOATS | {
    "BOOL": torch.bool, "I8": torch.int8, "U8": torch.uint8, "I16": torch.int16, "U16": torch.uint16,
    "I32": torch.int32, "U32": torch.uint32, "I64": torch.int64, "U64": torch.uint64,
}  # fmt: skip
_BARE = ".weight"
"""What IA3 puts behind a stem, and many other things, too."""

_HEADER = 1 << 25
"""Bytes of the longest header that is read; real ones, with every caption of a data set, stay far below."""
_TENSORS, _LETTERS, _LETTERS_OF_ONE = 1 << 16, 1 << 22, 1000
"""Tensors that a file may name, and the length of their names together; the largest real files have some 5,000."""
_DIMENSIONS = 8
_LARGEST = 1 << 28
"""Values of the largest tensor; four times as many as any matrix of an image model has."""
_HEAVIEST = HIGHEST
"""The norm of the heaviest tensor; that of a model's whole weight is some hundreds."""
_VALUES = 1 << 24
"""Values of factors that are read whatever the weight they are for; beyond, they may be four times as many as its."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredTensor:
    """One tensor of an adapter file; see `kinds.Stored`."""

    file: AdapterFile
    key: str
    shape: tuple[int, ...]

    def read(self) -> Tensor:
        """Read it as float32 on the CPU.

        Raises:
            UnreadableFile: it holds NaN or infinity, or the file has changed.
        """
        return self.file.tensor(self.key)


@dataclass(frozen=True, slots=True)
class FileStrength:
    """The strength that a file gives one of its networks; see `kinds.Strength`."""

    stem: str
    alpha: float | None
    config: PeftConfig

    def over(self, rank: int | None) -> float:
        """Return alpha / rank, or what the settings beside the weights say."""
        if self.alpha is None:
            return self.config.scale(self.stem, rank)
        return 1.0 if rank is None else self.alpha / rank


@dataclass(eq=False)
class AdapterFile:
    """An opened adapter: its networks, its header, and what else it holds.

    Raises:
        UnreadableFile: the file is missing, truncated, a pickle, or holds no adapter; one sentence.
    """

    path: Path
    header: Mapping[str, str] = field(init=False)
    """The `__metadata__` of the file."""
    networks: tuple[Network, ...] = field(init=False)
    """In the order of their stems."""
    embeddings: tuple[str, ...] = field(init=False)
    """The keys of learned token embeddings inside the file."""
    ignored: tuple[str, ...] = field(init=False)
    """The keys that belong to nothing known."""

    def __post_init__(self) -> None:
        self.path = Path(self.path)
        keys = self._open()
        groups, embeddings, ignored = self._grouped(keys)
        self.embeddings = tuple(embeddings)
        config = PeftConfig.of(self.header, self.path)
        networks: list[Network] = []
        for stem, kinds in groups.items():
            shared = kinds.pop(SHARED, {})
            if not kinds and shared.keys() == {"alpha"}:
                ignored.append(shared["alpha"].key)
                continue
            strength = FileStrength(stem, self._alpha(shared), config)
            strength.over(1)  # settings that lie are told now
            try:
                networks += networks_of(stem, kinds, shared, strength)
            except ValueError as error:
                raise UnreadableFile(f"{self.title}: {brief(stem)} {plain(str(error))}") from None
        for network in networks:
            if sum(math.prod(part.shape) for part in network.parts.values()) > max(_VALUES, 4 * network.extent):
                raise UnreadableFile(f"{self.title}: {brief(network.stem)} holds far more than the weight it is for")
        self.networks, self.ignored = tuple(networks), tuple(sorted(ignored))
        if not self.networks:
            raise UnreadableFile(f"{self.title} holds no adapter: {self._what_else(keys)}")

    @property
    def title(self) -> str:
        """The file's name, fit for a sentence."""
        return plain(self.path.name)

    @property
    def name(self) -> str:
        """The file's name without its ending, fit for a sentence."""
        return plain(self.path.stem)

    @property
    def kinds(self) -> dict[str, int]:
        """How many networks there are of each kind, the most frequent first."""
        counts: dict[str, int] = {}
        for network in self.networks:
            counts[network.kind] = counts.get(network.kind, 0) + 1
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def tensor(self, key: str) -> Tensor:
        """Read one tensor as float32 on the CPU.

        Raises:
            UnreadableFile: the tensor holds NaN or infinity, or the file was written to since it was opened.
        """
        self._check_unchanged()
        try:
            values = self._mapped(key).float()
        except (RuntimeError, OSError) as error:
            raise UnreadableFile(f"{self.title}: {brief(key)} cannot be read: {_line(error)}") from None
        if not values.norm() < _HEAVIEST:  # one pass; NaN and infinity survive it
            what = "values beyond all measure" if values.isfinite().all() else "NaN or infinity"
            raise UnreadableFile(f"{self.title}: {brief(key)} holds {what}, so the file is damaged")
        return values

    def _mapped(self, key: str) -> Tensor:
        """Return a tensor as it lies in the file.

        Not by the library, which leaves two numbers behind in memory for each tensor that it reads (0.8 and before).
        """
        entry = self._entries[key]
        start, end = (self._data + offset for offset in entry["data_offsets"])
        empty = torch.empty(0, dtype=_NUMBERS[entry["dtype"]])
        return empty.set_(self._bytes[start:end]).reshape(entry["shape"])

    def read_all(self) -> None:
        """Read every network once, so that damage shows before anything is laid.

        Raises:
            UnreadableFile: a tensor holds NaN or infinity.
        """
        for network in self.networks:
            network.read_all()

    def _open(self) -> list[str]:
        refused = f"{self.title} is a pickle, which can run code when opened; only .safetensors files are read"
        if self.path.suffix.lower() in PICKLES:
            raise UnreadableFile(refused)
        try:
            if not self.path.is_file():
                raise UnreadableFile(f"{plain(str(self.path))} is not a file that is there")
            with self.path.open("rb") as stream:
                stat = os.fstat(stream.fileno())
                self._stamp = _stamp(stat)
                start = stream.read(9)
                # The length of a header may begin with the same bytes; then the header follows it.
                if start.startswith(_PICKLED) and start[8:] != b"{":
                    raise UnreadableFile(refused)
                if (length := int.from_bytes(start[:8], "little")) > _HEADER:
                    raise UnreadableFile(f"{self.title} is truncated or damaged: it claims a header of {length} bytes")
                with safe_open(self.path, framework="pt", device="cpu") as checked:
                    self.header = checked.metadata() or {}
                stream.seek(8)
                header = stream.read(length)
                self._data = stream.tell()
            self._bytes = torch.UntypedStorage.from_file(str(self.path), shared=False, nbytes=stat.st_size)
        except OSError as error:
            raise UnreadableFile(f"{plain(str(self.path))} cannot be read: {error.strerror or _line(error)}") from None
        except (SafetensorError, ValueError, RuntimeError) as error:
            raise UnreadableFile(f"{self.title} is truncated or damaged: {_line(error)}") from None
        self._check_unchanged()  # it was opened by its name, twice
        self._entries = self._tensors(header)
        return sorted(self._entries)

    def _tensors(self, header: bytes) -> Mapping[str, Any]:
        """Read {key: its type, shape and place}; the library has checked these, and lets names stand twice."""
        try:
            entries: dict[str, Any] = json.loads(header, object_pairs_hook=_unique)
        except ValueError as error:
            raise UnreadableFile(f"{self.title} is damaged: its header {str(error)[:160]}") from None
        entries.pop("__metadata__", None)
        if len(entries) > _TENSORS or sum(map(len, entries)) > _LETTERS:
            raise UnreadableFile(f"{self.title} names {len(entries):,} tensors, more or longer than any adapter's")
        for key, entry in entries.items():
            if not isinstance(entry, dict):
                raise UnreadableFile(f"{self.title} is damaged: its header describes {brief(key)} by a list")
            if len(entry["shape"]) > _DIMENSIONS:
                raise UnreadableFile(f"{self.title}: {brief(key)} has {len(entry['shape'])} dimensions")
        return entries

    def _check_unchanged(self) -> None:
        """Refuse a file that was written to in place: what is mapped has changed, and may end earlier.

        A file that was replaced or deleted is still there for whoever has mapped it.
        """
        with suppress(OSError):
            now = _stamp(self.path.stat())
            if now[:2] == self._stamp[:2] and now != self._stamp:
                raise UnreadableFile(f"{self.title} has changed since it was opened")

    def _grouped(self, keys: list[str]) -> tuple[dict[str, dict[str, dict[str, StoredTensor]]], list[str], list[str]]:
        """Sort the tensors by stem, kind and part; then what is embeddings, and what is nothing known."""
        groups: dict[str, dict[str, dict[str, StoredTensor]]] = {}
        embeddings, others = [], []
        for key in keys:
            if is_embedding(key):
                embeddings.append(key)
            elif len(key) > _LETTERS_OF_ONE:
                raise UnreadableFile(f"{self.title} names a tensor with {len(key):,} letters, {brief(key)}")
            elif (role := role_of(key)) is not None:
                parts = groups.setdefault(role.stem, {}).setdefault(role.kind, {})
                if role.part in parts:
                    raise UnreadableFile(f"{self.title}: {brief(role.stem)} has two {role.part} parts")
                parts[role.part] = self._stored(key, floating=role.part != "on_input")
            else:
                others.append(key)
        ignored = []
        for key in others:
            stem = key.removesuffix(_BARE)
            if key != stem and "ia3" in groups.get(stem, {}):
                groups[stem]["ia3"]["weight"] = self._stored(key)
            else:
                ignored.append(key)
        return groups, embeddings, ignored

    def _stored(self, key: str, *, floating: bool = True) -> StoredTensor:
        entry = self._entries[key]
        dtype = entry["dtype"]
        # An alpha is one number, and some trainers write it as an integer.
        if dtype not in (_FLOATS if floating and not key.endswith(".alpha") else _NUMBERS):
            raise UnreadableFile(f"{self.title}: {brief(key)} holds {dtype} values, which are no weights")
        if math.prod(entry["shape"]) > _LARGEST:
            raise UnreadableFile(f"{self.title}: {brief(key)} is larger than any matrix of a model")
        return StoredTensor(self, key, tuple(entry["shape"]))

    def _alpha(self, shared: Mapping[str, StoredTensor]) -> float | None:
        if "alpha" not in shared:
            return None
        if math.prod(shared["alpha"].shape) != 1:
            raise UnreadableFile(f"{self.title}: {brief(shared['alpha'].key)} is not one number")
        return float(shared["alpha"].read().item())

    def _what_else(self, keys: list[str]) -> str:
        if any(is_checkpoint(key) for key in keys):
            return "it is a whole checkpoint"
        if self.embeddings:
            return "it is a textual inversion"
        return f"none of its {len(keys)} tensors is a part of an adapter"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object in which no name stands twice."""
    made = dict(pairs)
    if len(made) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"names {brief(twice)} twice")
    return made


def _stamp(stat: os.stat_result) -> tuple[int, ...]:
    """What tells one file from another, and then from itself once it is written to."""
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


def _line(error: Exception) -> str:
    """The first line of a library's message, without its full stop."""
    line = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    return plain(line.removeprefix("Error while deserializing header: "))
