"""One adapter file, memory-mapped and never trusted.

Tensors are grouped by stem (what stands before `.lora_down.weight` and its kin), whatever way the trainer spelt it;
`aliases` says which module of a live model a stem means. The `safetensors` library checks the header: lengths,
offsets and overlaps. Pickles are refused by name and by content, and never opened.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from ..errors import UnreadableFile
from .peft_config import PeftConfig, brief

if TYPE_CHECKING:
    from torch import Tensor

PICKLES = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth")

_PART = re.compile(
    r"(?P<stem>.+?)(?:"
    r"[._]lora(?:_linear_layer)?[._](?P<plain>down|up|mid)\.weight"  # kohya, diffusers old and new
    r"|\.lora_(?P<peft>[AB])(?:\.[^.]+)?\.weight"
    r"|:(?P<safelora>down|up)"  # cloneofsimo's safeloras: unet:12:down
    r"|(?:[._]lora(?:_linear_layer)?)?\.(?P<alpha>alpha)"
    r")",
    re.DOTALL,
)
_ROLES = {"A": "down", "B": "up"}

_OTHER_KINDS = tuple(
    (re.compile(pattern), kind)
    for pattern, kind in (
        (r"\.hada_", "LoHa"),
        (r"\.lokr_", "LoKr"),
        (r"\.dora_scale$|\.lora_magnitude_vector", "DoRA"),
        (r"\.b?oft_", "OFT"),
        (r"\.on_input$|\.ia3_l\b", "IA3"),
        (r"\.[ab][12]\.weight$", "GLoRA"),
        (r"\.diff(?:_b)?$", "full difference"),
        (r"\.[wb]_norm$", "norm difference"),
        (r"\.lora_B(?:\.[^.]+)?\.bias$", "LoRA with biases"),
    )
)
_EMBEDDING = re.compile(r"bundle_emb\.|<[^<>]+>$|emb_params$|clip_[lg]$")
_CHECKPOINT = re.compile(r"model\.diffusion_model\.|first_stage_model\.|cond_stage_model\.")
_FLOATS = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"}


@dataclass(frozen=True, slots=True)
class Network:
    """The low-rank factors that an adapter holds for one module, by the names of their tensors."""

    stem: str
    down: str
    up: str
    mid: str | None
    """The core of a Tucker decomposition (LoCon's `lora_mid`)."""
    down_shape: tuple[int, ...]
    up_shape: tuple[int, ...]
    mid_shape: tuple[int, ...] | None
    scale: float
    """alpha / rank; 1 where the file tells no alpha."""

    @property
    def rank(self) -> int:
        """The number of columns of the up factor."""
        return self.up_shape[1]


@dataclass(eq=False)
class AdapterFile:
    """An opened adapter: its networks by stem, its header, and what else it holds.

    Raises:
        UnreadableFile: the file is missing, truncated, a pickle, or holds no adapter; one sentence.
    """

    path: Path
    header: Mapping[str, str] = field(init=False)
    """The `__metadata__` of the file."""
    networks: Mapping[str, Network] = field(init=False)
    other_kinds: tuple[str, ...] = field(init=False)
    """Networks that are neither LoRA nor LoCon, such as `LoHa`."""
    embeddings: tuple[str, ...] = field(init=False)
    """Learned token embeddings inside the file."""
    ignored: tuple[str, ...] = field(init=False)
    """Tensors that belong to nothing known."""

    def __post_init__(self) -> None:
        self.path = Path(self.path)
        keys = self._open()
        self.header = self._file.metadata() or {}
        groups: dict[str, dict[str, str]] = {}
        kinds: dict[str, None] = {}
        embeddings, ignored = [], []
        for key in keys:
            if kind := next((kind for pattern, kind in _OTHER_KINDS if pattern.search(key)), None):
                kinds[kind] = None
            elif match := _PART.fullmatch(key):
                role = match["plain"] or match["safelora"] or match["alpha"] or _ROLES[match["peft"]]
                groups.setdefault(match["stem"], {})[role] = key
            elif _EMBEDDING.match(key):
                embeddings.append(key)
            else:
                ignored.append(key)
        self.other_kinds, self.embeddings = tuple(kinds), tuple(embeddings)
        # A stem that has only an alpha belongs to a network of another kind, or to none.
        ignored += [group["alpha"] for group in groups.values() if group.keys() == {"alpha"} and not kinds]
        self.ignored = tuple(ignored)
        config = PeftConfig.of(self.header, self.path)
        self.networks = {s: self._network(s, g, config) for s, g in groups.items() if g.keys() != {"alpha"}}
        if not self.networks and not kinds:
            raise UnreadableFile(f"{self.path.name} holds no adapter: {self._what_else(keys)}")

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem

    @cached_property
    def kind(self) -> str:
        """`locon` when a network reaches convolutions wider than one pixel, else `lora`."""
        wide = any(math.prod(network.down_shape[2:]) > 1 or network.mid for network in self.networks.values())
        return "locon" if wide else "lora"

    def tensor(self, key: str) -> Tensor:
        """Read one tensor as float32 on the CPU.

        Raises:
            UnreadableFile: the tensor holds NaN or infinity, or the file has vanished.
        """
        try:
            values: Tensor = self._file.get_tensor(key).float()
        except (SafetensorError, OSError) as error:
            raise UnreadableFile(f"{self.path.name}: {brief(key)} cannot be read: {_line(error)}") from None
        if not values.sum().isfinite():  # one pass; NaN and infinity survive a sum
            raise UnreadableFile(f"{self.path.name}: {brief(key)} holds NaN or infinity, so the file is damaged")
        return values

    def _open(self) -> list[str]:
        name, refused = self.path.name, f"{self.path.name} is a pickle, which can run code when opened"
        if self.path.suffix.lower() in PICKLES:
            raise UnreadableFile(f"{refused}; only .safetensors files are read")
        if not self.path.is_file():
            raise UnreadableFile(f"{self.path} is not a file that is there")
        try:
            with self.path.open("rb") as stream:
                start = stream.read(4)
            if start[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
                raise UnreadableFile(f"{refused}; only .safetensors files are read")
            opened: Any = safe_open(self.path, framework="pt", device="cpu")
        except OSError as error:
            raise UnreadableFile(f"{self.path} cannot be read: {error.strerror or _line(error)}") from None
        except (SafetensorError, ValueError) as error:
            raise UnreadableFile(f"{name} is truncated or damaged: {_line(error)}") from None
        self._file = opened
        keys: list[str] = opened.keys()
        return sorted(keys)

    def _network(self, stem: str, group: Mapping[str, str], config: PeftConfig) -> Network:
        if lacking := {"down", "up"} - group.keys():
            raise UnreadableFile(f"{self.path.name}: {brief(stem)} lacks its {' and '.join(sorted(lacking))} factor")
        shapes = {role: self._shape(key) for role, key in group.items()}
        down, up, mid = shapes["down"], shapes["up"], shapes.get("mid")
        if len(down) < 2 or len(up) < 2 or 0 in (*down, *up, *(mid or ())):
            raise UnreadableFile(
                f"{self.path.name}: {brief(stem)} has factors of shapes {down} and {up}, which is no LoRA"
            )
        if "alpha" in group:
            if math.prod(shapes["alpha"]) != 1:
                raise UnreadableFile(f"{self.path.name}: the alpha of {brief(stem)} is not one number")
            scale = float(self.tensor(group["alpha"]).item()) / up[1]
        else:
            scale = config.scale(stem, up[1])
        return Network(stem, group["down"], group["up"], group.get("mid"), down, up, mid, scale)

    def _shape(self, key: str) -> tuple[int, ...]:
        entry = self._file.get_slice(key)
        if entry.get_dtype() not in _FLOATS:
            raise UnreadableFile(
                f"{self.path.name}: {brief(key)} holds {entry.get_dtype()} values, which are no weights"
            )
        return tuple(entry.get_shape())

    def _what_else(self, keys: list[str]) -> str:
        if any(_CHECKPOINT.match(key) for key in keys):
            return "it is a whole checkpoint"
        if self.embeddings:
            return "it is a textual inversion"
        return f"none of its {len(keys)} tensors is a LoRA factor"


def _line(error: Exception) -> str:
    """The first line of a library's message, without its full stop."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
