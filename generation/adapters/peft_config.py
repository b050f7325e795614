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

_PREFIXES = ("unet.", "transformer.", "text_encoder.", "text_encoder_2.", "text_encoder_3.")
_DENOISERS = ("unet.", "transformer.")
_NAME, _OWNER = "adapter_config.json", "adapter_model.safetensors"
_LARGEST = 1 << 20
"""Bytes of an `adapter_config.json` that are read at most."""
_STEPS = 64
"""Names within a module's that an `alpha_pattern` may leave out."""

HIGHEST = 1e12
"""The highest alpha: LyCORIS writes up to 1e10 where it plays no part."""


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

    @staticmethod
    def stamp(path: Path) -> int:
        """Return what changes when the settings beside a file do; 0 where there are none."""
        try:
            return path.with_name(_NAME).stat().st_mtime_ns if path.name == _OWNER else 0
        except OSError:
            return 0

    def scale(self, stem: str, rank: int | None) -> float:
        """Return alpha / rank (alpha / sqrt(rank) with rsLoRA) of the module that a stem names.

        Args:
            stem: The stem.
            rank: None where the factors do not tell it; the settings do then.

        Raises:
            UnreadableFile: the alpha is no number, or beyond all measure.
        """
        settings = self._settings(stem)
        # LoHa and LoKr call it alpha.
        alpha = _of_module(stem, settings.get("alpha_pattern"), settings.get("lora_alpha", settings.get("alpha")))
        if rank is None:
            rank = _of_module(stem, settings.get("rank_pattern"), settings.get("r"))
            if not isinstance(rank, int) or not 1 <= rank <= HIGHEST:
                return 1.0
        if alpha is None:
            return 1.0
        if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not abs(alpha) <= HIGHEST:
            raise UnreadableFile(f"{plain(self.file)}: the alpha of {brief(stem)} is not a number that can be used")
        return float(alpha) / (math.sqrt(rank) if settings.get("use_rslora") is True else rank)

    def _settings(self, stem: str) -> Mapping[str, Any]:
        if whole := self.parts.get(""):
            return whole
        named = next((prefix for prefix in _PREFIXES if stem.startswith(prefix)), None)
        # A stem without a part is the denoiser's, whichever this file's is called.
        names = (named,) if named else _DENOISERS
        return next((found for name in names if (found := self.parts.get(name))), {})


def _of_module(stem: str, patterns: Any, default: Any) -> Any:
    """What a setting is for one module; PEFT takes regular expressions here, but writes plain names.

    A stranger's expression is not run.
    """
    if not isinstance(patterns, dict):
        return default
    steps = stem.split(".")
    endings = (".".join(steps[first:]) for first in range(min(len(steps), _STEPS)))
    return next((patterns[ending] for ending in endings if ending in patterns), default)


def brief(key: str) -> str:
    """Quote a stranger's name for a sentence: on one line, without control characters, and not too long."""
    quoted = repr(key[:121])  # a character that cannot be printed becomes up to ten
    return quoted if len(quoted) <= 122 else f"{quoted[:121]}...{quoted[0]}"


def plain(text: str) -> str:
    """Make a stranger's text, such as a file's name, fit for a sentence: on one line, printable, not too long."""
    line = "".join(letter if letter.isprintable() else "?" for letter in text)
    return line if len(line) <= 120 else f"{line[:60]}...{line[-57:]}"


def _beside(path: Path) -> str:
    config = path.with_name(_NAME)
    try:
        if path.name != _OWNER or not config.is_file() or config.stat().st_size > _LARGEST:
            return "{}"
        return config.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "{}"


def _load(text: str) -> dict[str, Any]:
    try:
        settings = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return settings if isinstance(settings, dict) else {}
