"""The strength that PEFT and diffusers keep beside the weights.

Their files hold no alpha tensors: it stands in the header (`lora_adapter_metadata`, diffusers 0.34 and later) or in
`adapter_config.json` beside `adapter_model.safetensors`. Without either, alpha is the rank.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import UnreadableFile

_PREFIXES = ("unet.", "text_encoder.", "text_encoder_2.")
_LARGEST = 1 << 20
"""Bytes of an `adapter_config.json` that are read at most."""


@dataclass(frozen=True, slots=True)
class PeftConfig:
    """The LoRA settings of one file, by part (`unet.`, `text_encoder.`, or the empty string for all)."""

    parts: Mapping[str, Mapping[str, Any]]
    file: str

    @classmethod
    def of(cls, header: Mapping[str, str], path: Path) -> PeftConfig:
        """Read the settings of a file from its header, else from its neighbour."""
        text = header.get("lora_adapter_metadata")
        if text is None:
            return cls({"": _load(_beside(path))}, path.name)
        flat = _load(text)
        parts = {p: {k[len(p) :]: v for k, v in flat.items() if k.startswith(p)} for p in _PREFIXES}
        return cls(parts, path.name)

    def scale(self, stem: str, rank: int) -> float:
        """Return alpha / rank (alpha / sqrt(rank) with rsLoRA) of the module that a stem names.

        Raises:
            UnreadableFile: the alpha is not a finite number.
        """
        settings = self.parts.get("") or self.parts.get(next((p for p in _PREFIXES if stem.startswith(p)), "unet."), {})
        alpha = settings.get("lora_alpha")
        patterns = settings.get("alpha_pattern")
        for name, value in patterns.items() if isinstance(patterns, dict) else ():
            # PEFT takes regular expressions here, but writes plain names; a stranger's expression is not run.
            if stem == name or stem.endswith(f".{name}"):
                alpha = value
        if alpha is None:
            return 1.0
        if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not math.isfinite(alpha):
            raise UnreadableFile(f"{self.file}: the alpha of {brief(stem)} is not a number")
        return float(alpha) / (math.sqrt(rank) if settings.get("use_rslora") is True else rank)


def brief(key: str) -> str:
    """Quote a stranger's name for a sentence: on one line, without control characters, and not too long."""
    return repr(key if len(key) <= 120 else f"{key[:120]}...")


def _beside(path: Path) -> str:
    config = path.with_name("adapter_config.json")
    if path.name != "adapter_model.safetensors" or not config.is_file() or config.stat().st_size > _LARGEST:
        return "{}"
    return config.read_text(encoding="utf-8", errors="replace")


def _load(text: str) -> dict[str, Any]:
    try:
        settings = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return settings if isinstance(settings, dict) else {}
