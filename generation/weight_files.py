"""Weights by whatever name people give: a file, a folder, or a place on the hub. Only safetensors are opened."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import InputError, UnreadableFile
from .adapters.file import PICKLES
from .hub import json_object

Shapes: TypeAlias = dict[str, tuple[int, ...]]

OF_A_MODEL: Final = ("config.json", "*.safetensors")
"""What of a model's repository on the hub is wanted."""


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
        content = json_object(path)
    except OSError:
        content = None
    if content is None:
        raise InputError(f"{path} is not a JSON object")
    return content


def stamp(files: Sequence[Path]) -> tuple[tuple[str, int, int], ...]:
    """Return what changes whenever one of the files does."""
    found = [(os.fspath(file), file.stat()) for file in files]
    return tuple((name, told.st_size, told.st_mtime_ns) for name, told in found)
