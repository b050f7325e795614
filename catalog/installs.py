"""Which programs that load adapters are installed here, found where people and installers put them."""

from __future__ import annotations

import configparser
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .programs import (
    Installation,
    extra_model_paths,
    folder_at,
    inner_folders,
    installation,
    matrix_packages,
    read_mapping,
    read_settings_text,
    recognise,
    webui_models,
)

_COUNTED = 100_000
"""How many files of a folder are counted before it is left at that."""
_LISTED = 500

_IN_HOME = (
    *("AI", "ai", "Applications", "Apps", "apps", "code", "Desktop", "dev", "Documents", "Downloads", "git", "Games"),
    *("opt", "pinokio/api", "projects", "Projects", "repos", "sd", "src", "stable-diffusion", "tools", "workspace"),
)
_ON_DISK = ("/opt", "/srv", "/data", "/workspace", "/root")
_MOUNTS = ("/mnt", "/media", "/run/media", "/Volumes")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFile:
    """A checkpoint that a program paints with."""

    path: str
    """A `.safetensors` file, or a folder of diffusers."""
    size: int
    """Bytes of the file; 0 for a folder."""


def find_installations(
    *, home: Path, environment: Mapping[str, str], places: Sequence[Path] | None = None
) -> list[Installation]:
    """Return the installations found, each folder named once: by the first that has it.

    Args:
        home: The person's home folder.
        environment: The environment's variables.
        places: Folders to look in, one level deep; None takes the usual ones.
    """
    found: list[Installation] = []
    taken: set[str] = set()
    roots: set[str] = set()
    for candidate in _candidates(home, environment, _usual_places(home) if places is None else places):
        one = candidate if isinstance(candidate, Installation) else _recognise_once(candidate, roots)
        if one is None:
            continue
        adapters = tuple(folder for folder in one.adapters if folder not in taken)
        checkpoints = tuple(folder for folder in one.checkpoints if folder not in taken)
        taken.update(adapters, checkpoints)
        if adapters or checkpoints:
            found.append(replace(one, adapters=adapters, checkpoints=checkpoints))
    return found


def count_adapters(folder: str) -> int:
    """Return how many `.safetensors` files lie in a folder and below it, as far as the first 100,000 files tell."""
    count = seen = 0
    for _, _, names in os.walk(folder):
        seen += len(names)
        count += sum(name.lower().endswith(".safetensors") for name in names)
        if seen > _COUNTED:
            break
    return count


def list_checkpoints(folders: Sequence[str]) -> list[CheckpointFile]:
    """Return the checkpoints in folders and below them, by path, at most 500."""
    found: dict[str, CheckpointFile] = {}
    for folder in folders:
        seen = 0
        for place, inner, names in os.walk(folder):
            inner.sort()
            seen += len(names)
            if "model_index.json" in names:
                inner.clear()
                found[place] = CheckpointFile(path=place, size=0)
                continue
            for name in sorted(names):
                path = os.path.join(place, name)  # noqa: PTH118 - paths are text throughout the folder source
                if name.lower().endswith(".safetensors"):
                    found[path] = CheckpointFile(path=path, size=_size(path))
            if seen > _COUNTED or len(found) >= _LISTED:
                break
    return list(found.values())[:_LISTED]


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except OSError:
        return 0


def _recognise_once(root: Path | None, roots: set[str]) -> Installation | None:
    if root is None:
        return None
    real = os.path.realpath(root)
    if real in roots:
        return None
    roots.add(real)
    return recognise(root)


def _candidates(
    home: Path, environment: Mapping[str, str], places: Sequence[Path]
) -> Iterator[Path | Installation | None]:
    """Yield the folders that may be an installation, those first that are named somewhere."""
    for name in ("INVOKEAI_ROOT", "COMFYUI_PATH"):
        folder = folder_at(environment.get(name), home)
        if folder:
            yield Path(folder)
    models = folder_at(environment.get("SD_MODELSDIR"), home)
    if models:
        yield installation("SD.Next", Path(models), *webui_models(Path(models)))
    for config in _config_folders(home, environment):
        yield from _named_in(config)
    for place in places:
        for root in (place, *inner_folders(place)):
            # What an archive unpacks to, and what SwarmUI brings along, holds the program one or two folders deeper.
            yield from _expanded(root)
            for inner in ("ComfyUI", "Fooocus", "webui", "dlbackend/ComfyUI", "dlbackend/comfy/ComfyUI"):
                yield root / inner


def _expanded(root: Path) -> Iterator[Path]:
    """Yield a folder, and the programs in it where it is a Stability Matrix."""
    yield root
    yield from matrix_packages(root)


def _named_in(config: Path) -> Iterator[Path | Installation | None]:
    """Yield what the settings of ComfyUI's desktop program, of comfy-cli and of Stability Matrix name."""
    base = folder_at(read_mapping(config / "ComfyUI" / "config.json").get("basePath"), config)
    if base:
        yield Path(base)
    extra = config / "ComfyUI" / "extra_models_config.yaml"
    yield installation("ComfyUI", extra, *extra_model_paths(extra))
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(read_settings_text(config / "comfy-cli" / "config.ini") or "")
    except configparser.Error:
        parser.clear()
    for key in ("default_workspace", "recent_workspace"):
        workspace = folder_at(parser.defaults().get(key), config)
        if workspace:
            yield Path(workspace)
    library = folder_at(read_mapping(config / "StabilityMatrix" / "library.json").get("LibraryPath"), config)
    if library:
        yield from _expanded(Path(library))


def _config_folders(home: Path, environment: Mapping[str, str]) -> list[Path]:
    """Return where programs keep their settings, on every system."""
    named = [environment[name] for name in ("APPDATA", "XDG_CONFIG_HOME") if environment.get(name)]
    usual = [home / "AppData" / "Roaming", home / "Library" / "Application Support", home / ".config"]
    return list(dict.fromkeys([*map(Path, named), *usual]))


def _usual_places(home: Path) -> list[Path]:
    drives = [Path(f"{letter}:\\") for letter in "CDEFGH"] if os.name == "nt" else [Path(name) for name in _ON_DISK]
    mounts = [] if os.name == "nt" else [inner for name in _MOUNTS for inner in inner_folders(Path(name))]
    return [home, *(home / name for name in _IN_HOME), *drives, *mounts]
