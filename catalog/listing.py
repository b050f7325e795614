"""Walks a folder tree and groups every model file with what lies beside it. No file is opened."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .sidecars import PICTURE_EXTENSIONS, SIDECAR_EXTENSIONS, owner_of

MODEL_EXTENSION = "safetensors"
OTHER_EXTENSIONS = frozenset({"pt", "bin", "ckpt", "pth"})

_BESIDE = SIDECAR_EXTENSIONS | PICTURE_EXTENSIONS

# macOS keeps a file's colour and the like under such a name on foreign disks.
_RESOURCE_FORK = "._"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model file and the names of the files beside it that belong to it."""

    folder: str
    """Where it lies, with the separator at its end."""
    name: str
    state: str
    """Names, sizes and times of the file and of all that lies beside it, as one text."""
    companions: tuple[str, ...]
    is_safetensors: bool
    """Otherwise it is a format that is not read."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something in the tree that cannot be offered."""

    path: str
    reason: str
    hides: bool = False
    """Whether there may be files behind it that are not offered either."""


def walk(root: str) -> Iterator[ModelFile | Trouble]:
    """Yield every model file of a tree, each folder in the order of its names.

    Links to folders are followed after everything that lies in the tree itself, so a folder that is reached twice
    goes by its own name; no folder is visited twice.
    """
    visited: set[object] = set()
    waiting: list[str] = [root]
    links: list[str] = []
    while waiting or links:
        folder = waiting.pop() if waiting else links.pop(0)
        try:
            place = _place(folder)
            if place in visited:
                continue
            visited.add(place)
            with os.scandir(folder) as listing:
                found = sorted(listing, key=_name)
            inner = [entry for entry in found if _is_folder(entry)]
        except OSError as error:
            yield Trouble(
                folder, f"the folder cannot be listed ({error.strerror}); nothing in it is indexed", hides=True
            )
            continue
        for entry in reversed(inner):
            if not is_text(entry.name):
                yield Trouble(entry.path, "the folder's name is not valid text; rename it", hides=True)
            elif entry.is_symlink():
                links.append(entry.path)
            else:
                waiting.append(entry.path)
        yield from _group(folder if folder.endswith(os.sep) else folder + os.sep, found)


def is_text(name: str) -> bool:
    """Whether a name can be written as UTF-8; the file system itself allows any bytes."""
    if name.isascii():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _place(folder: str) -> object:
    """Return what tells a folder from every other, however it is reached."""
    status = os.stat(folder)  # noqa: PTH116 - paths are text throughout the walk
    return (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(folder)


def _group(folder: str, found: Sequence[os.DirEntry[str]]) -> Iterator[ModelFile | Trouble]:
    """Group the files of one listing."""
    models: list[os.DirEntry[str]] = []
    beside: list[os.DirEntry[str]] = []
    companions: dict[str, list[os.DirEntry[str]]] = {}
    for entry in found:
        stem, _, extension = entry.name.rpartition(".")
        extension = extension.lower()
        if not stem:
            continue
        if extension == MODEL_EXTENSION:
            companions[stem] = []
            models.append(entry)
        elif extension in _BESIDE:
            beside.append(entry)
        elif extension in OTHER_EXTENSIONS:
            models.append(entry)
    if companions:
        for entry in beside:
            owner = owner_of(entry.name, companions)
            if owner is not None:
                companions[owner].append(entry)
    for entry in models:
        if _is_folder(entry) or entry.name.startswith(_RESOURCE_FORK):
            continue
        stem, _, extension = entry.name.rpartition(".")
        yield _model(folder, entry, companions[stem] if extension.lower() == MODEL_EXTENSION else None)


def _model(folder: str, entry: os.DirEntry[str], beside: Sequence[os.DirEntry[str]] | None) -> ModelFile | Trouble:
    if not is_text(entry.name):
        return Trouble(entry.path, "the file's name is not valid text; rename it")
    try:
        if not entry.is_file():
            return Trouble(entry.path, "it is a link to nothing, or no file at all")
        states = [_state(entry)]
    except OSError as error:
        return Trouble(entry.path, f"it cannot be looked at: {error.strerror}")
    names = []
    for companion in beside or ():
        try:
            if companion.is_file():
                states.append(_state(companion))
                names.append(companion.name)
        except OSError:
            states.append(companion.name)
    return ModelFile(folder, entry.name, "\n".join(states), tuple(names), beside is not None)


def _state(entry: os.DirEntry[str]) -> str:
    status = entry.stat()
    return f"{entry.name}\t{status.st_size}\t{status.st_mtime_ns}"
