"""ComfyUI's folders of LoRAs: what a file is called there, and where it lies."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..fenced import line

_SHOWN = 120
_TENSORS = (".safetensors", ".sft")


def lora_folders() -> list[Path]:
    """Return the folders of LoRAs that are there, each once."""
    told = (Path(folder).absolute() for folder in _host().get_folder_paths("loras"))
    return [folder for folder in dict.fromkeys(told) if folder.is_dir()]


def lora_names() -> list[str]:
    """Return every file's name as ComfyUI lists it: below its folder, with the machine's own separators."""
    return list(_host().get_filename_list("loras"))


def names_by_place() -> dict[str, str]:
    """Return the name of each file by its `place`; of two files of one name, that which ComfyUI would load."""
    return _names_by_place(tuple(lora_names()), tuple(map(str, lora_folders())))


def place(path: str) -> str:
    """Return a path such that two paths to one file, by links to folders or by spelling, are the same text."""
    return os.path.normcase(os.path.join(_real(os.path.dirname(path)), os.path.basename(path)))  # noqa: PTH118, PTH119, PTH120


def path_of(name: str) -> str:
    """Return where the file lies that a stack names.

    Raises:
        InputError: ComfyUI lists no such file, or it is no file of tensors alone.
    """
    wanted = spelt(name)
    listed = next((each for each in lora_names() if spelt(each) == wanted), None)
    path = None if listed is None else _host().get_full_path("loras", listed)
    if path is None:
        raise InputError(f"{line(name, _SHOWN)} is not in ComfyUI's folders of LoRAs")
    if not str(path).lower().endswith(_TENSORS):
        raise InputError(f"{line(name, _SHOWN)} is not loaded: only .safetensors is, since others may run programs")
    return str(path)


def spelt(name: str) -> str:
    r"""Return a name with one kind of separator: stacks are saved with those of another machine.

    >>> spelt("art\\ink.safetensors")
    'art/ink.safetensors'
    """
    return name.replace("\\", "/")


@lru_cache(maxsize=1)
def _names_by_place(names: tuple[str, ...], _folders: tuple[str, ...]) -> dict[str, str]:
    _real.cache_clear()
    found = ((_host().get_full_path("loras", name), name) for name in names)
    return {place(str(path)): name for path, name in found if path is not None}


@lru_cache(maxsize=65_536)
def _real(folder: str) -> str:
    """Resolve a folder; files are told by folder and name, as resolving each takes long where there are many."""
    return os.path.realpath(folder)


def _host() -> Any:
    """Return ComfyUI's module of folders.

    Raises:
        InputError: this is not ComfyUI.
    """
    try:
        import folder_paths  # type: ignore[import-not-found]
    except ImportError:
        raise InputError("this is a node of ComfyUI, and runs within it alone") from None
    return folder_paths
