"""Weights by whatever name people give: a file, a folder, or a place on the hub. Only safetensors are opened."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import InputError, UnreadableFile
from .adapters.file import PICKLES

Shapes: TypeAlias = dict[str, tuple[int, ...]]

HUB_ID: Final = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
HUB_FILE: Final = re.compile(rf"(?P<repository>{HUB_ID.pattern})/(?P<file>(?!.*\.\./)[^\\\0\n]+\.safetensors)")

_LARGEST_CONFIG: Final = 1_000_000


def local(name: str) -> Path | None:
    """Return the file or folder of that name on this machine, or None where there is none.

    Raises:
        InputError: it is a pickle.
    """
    if not name.strip():
        return None
    try:
        path = Path(name).expanduser()
    except RuntimeError:  # ~ of a person that this machine does not know
        return None
    if path.suffix.lower() in PICKLES:
        raise InputError(f"{path.name} is a pickle, which can run code when opened; take a .safetensors file")
    try:
        return path if path.is_dir() or path.is_file() else None
    except (OSError, ValueError):  # a name with a NUL, or too long
        return None


def weights_in(folder: Path) -> tuple[Path, ...]:
    """Return the `.safetensors` files of a model's folder: those in full precision, or else the halves.

    Raises:
        InputError: it has none.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        if any(folder.glob("*.bin")):
            raise InputError(
                f"{folder} has its weights only as pickles, which are not opened; save them as safetensors"
            )
        raise InputError(f"{folder} holds no weights in .safetensors files")
    whole = [file for file in files if not re.search(r"\.fp16(-\d+-of-\d+)?$", file.stem)]
    # Of two files that hold the same weights the one with the shorter name is the library's own.
    pieces = [file for file in whole or files if re.search(r"-\d+-of-\d+$", file.stem)]
    return tuple(pieces or sorted(whole or files, key=lambda file: (len(file.name), file.name))[:1])


def shapes_of(files: Sequence[Path]) -> Shapes:
    """Return the shape of every tensor, from the headers alone.

    Raises:
        UnreadableFile: a file is damaged.
    """
    shapes: Shapes = {}
    for file in files:
        try:
            with safe_open(file, framework="pt", device="cpu") as stream:
                for key in stream.keys():  # noqa: SIM118
                    shapes[key] = tuple(stream.get_slice(key).get_shape())
        except (SafetensorError, OSError, ValueError) as error:
            raise UnreadableFile(f"{file.name} is truncated or damaged: {str(error).rstrip('.')}") from None
    return shapes


def tensors_of(files: Sequence[Path]) -> dict[str, Tensor]:
    """Return every tensor, mapped from its file.

    Raises:
        UnreadableFile: a file is damaged.
    """
    tensors: dict[str, Tensor] = {}
    for file in files:
        try:
            with safe_open(file, framework="pt", device="cpu") as stream:
                for key in stream.keys():  # noqa: SIM118
                    tensors[key] = stream.get_tensor(key)
        except (SafetensorError, OSError, ValueError) as error:
            raise UnreadableFile(f"{file.name} is truncated or damaged: {str(error).rstrip('.')}") from None
    return tensors


def json_of(path: Path) -> dict[str, Any]:
    """Return a JSON object; an empty one where there is no file.

    Raises:
        InputError: it is no JSON object, or larger than 1 MB.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_bytes()) if path.stat().st_size <= _LARGEST_CONFIG else None
    except (OSError, ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise InputError(f"{path} is not a JSON object")
    return content


def stamp(files: Sequence[Path]) -> tuple[tuple[str, int, int], ...]:
    """Return what changes whenever one of the files does."""
    found = [(os.fspath(file), file.stat()) for file in files]
    return tuple((name, told.st_size, told.st_mtime_ns) for name, told in found)


def hub_file(repository: str, file: str, *, local_files_only: bool) -> Path:
    """Return a file of a hub repository, from the cache or fetched into it.

    Raises:
        InputError: neither has it.
    """
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repository, file, local_files_only=local_files_only))
    except Exception as error:  # every kind of network trouble, in each of the hub's own classes
        raise InputError(
            f"{repository}/{file} is not on this machine and the hub does not give it ({type(error).__name__}); "
            "download it where there is a network, or name a file on this machine"
        ) from error


def hub_folder(repository: str, *, under: str = "", local_files_only: bool) -> Path:
    """Return a folder of a hub repository with its configuration and its safetensors.

    Raises:
        InputError: neither the cache nor the hub has it.
    """
    from huggingface_hub import snapshot_download

    wanted = [f"{under}{name}" for name in ("config.json", "*.safetensors")]
    try:
        folder = Path(snapshot_download(repository, allow_patterns=wanted, local_files_only=local_files_only)) / under
    except Exception as error:  # every kind of network trouble, in each of the hub's own classes
        raise InputError(
            f"{repository} is not on this machine and the hub does not give it ({type(error).__name__}); "
            "download it where there is a network, or name a folder or a .safetensors file"
        ) from error
    return folder
