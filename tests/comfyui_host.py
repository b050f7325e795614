"""Stand-ins for what of ComfyUI the nodes call: its folders, its reader of files, its loader, its button to stop.

They are scripted: nothing is laid on a model, and what was asked is written down. Nothing here needs this package.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

ENDINGS = (".safetensors", ".sft", ".pt", ".ckpt")


class Stopped(Exception):
    """What ComfyUI raises where the person pressed the button."""


class Host:
    """ComfyUI's modules, over folders on this disk."""

    def __init__(self, *folders: Path) -> None:
        self.folders = [str(folder) for folder in folders]
        self.read: list[str] = []
        self.laid: list[tuple[str, float, float]] = []
        self.stops = False

    def modules(self) -> dict[str, ModuleType]:
        comfy, sd, utils, management = (
            ModuleType(name) for name in ("comfy", "comfy.sd", "comfy.utils", "comfy.model_management")
        )
        paths: Any = ModuleType("folder_paths")
        paths.get_folder_paths = lambda kind: self.folders[:]
        paths.get_filename_list = self._names
        paths.get_full_path = self._full_path
        utils.load_torch_file = self._load  # type: ignore[attr-defined]
        sd.load_lora_for_models = self._lay  # type: ignore[attr-defined]
        management.throw_exception_if_processing_interrupted = self._go_on  # type: ignore[attr-defined]
        comfy.sd, comfy.utils, comfy.model_management = sd, utils, management  # type: ignore[attr-defined]
        return {module.__name__: module for module in (comfy, sd, utils, management, paths)}

    def install(self) -> None:
        """Put the modules in place for the rest of the process."""
        sys.modules.update(self.modules())

    def _names(self, kind: str) -> list[str]:
        found = set()
        for folder in self.folders:
            for parent, _, files in os.walk(folder, followlinks=True):
                found |= {str(Path(parent, file).relative_to(folder)) for file in files}
        return sorted(name for name in found if name.endswith(ENDINGS))

    def _full_path(self, kind: str, name: str) -> str | None:
        name = os.path.relpath(Path("/", name), "/")
        return next((str(path) for each in self.folders if (path := Path(each, name)).is_file()), None)

    def _load(self, path: str, safe_load: bool = False) -> str:
        assert safe_load
        self.read.append(Path(path).name)
        return Path(path).name

    def _lay(self, model: Any, clip: Any, lora: str, on_model: float, on_clip: float) -> tuple[Any, Any]:
        self.laid.append((lora, on_model, on_clip))
        return f"{model}+{lora}", f"{clip}+{lora}"

    def _go_on(self) -> None:
        if self.stops:
            raise Stopped
