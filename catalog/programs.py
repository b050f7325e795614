"""How other programs keep their adapters and checkpoints: the folders of one installation, as its own files tell.

Their files are read as data and never believed blindly: a folder that is not there, or that would be the whole disk, is
left out, and what cannot be read counts as absent. Nothing is written.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from .listing import is_text

_LARGEST = 1_000_000
"""Bytes of a settings file; larger ones are no settings files."""
_LARGEST_YAML = 32_768
"""Characters of one in YAML, whose reader takes a second for that many; real ones have a few thousand."""
_LONGEST = 4096
_MOST = 500
"""How many folders of a listing are looked at."""
_FEW = 20
"""How many folders a line may name."""

_FLAGS = re.compile(
    r"""--(lora-dir|lyco-dir|ckpt-dir|models-dir|data-dir|forge-ref-a1111-home)(?:=|\s+)("[^"\n]+"|'[^'\n]+'|[^\s"']+)"""
)
_COMMENT = re.compile(r"\s*(?:#|@?rem\b)", re.IGNORECASE)
_KEY = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """A program that is installed here, and the folders that it loads from; all are there."""

    program: str
    root: str
    adapters: tuple[str, ...]
    checkpoints: tuple[str, ...]


def recognise(root: Path) -> Installation | None:
    """Return what is installed in a folder; None where it is nothing known, or holds no folder of interest."""
    for program, is_it, folders in _PROGRAMS:
        if _holds(partial(is_it, root)):
            adapters, checkpoints = folders(root)
            return installation(program, root, adapters, checkpoints)
    return None


def installation(
    program: str, root: Path, adapters: Iterable[str | None], checkpoints: Iterable[str | None]
) -> Installation | None:
    """Return an installation with those of the folders that are there, each once; None when there are none."""
    found = [tuple(dict.fromkeys(folder for folder in named if folder)) for named in (adapters, checkpoints)]
    if not any(found):
        return None
    return Installation(program=program, root=str(root), adapters=found[0], checkpoints=found[1])


def folder_at(named: object, base: Path) -> str | None:
    """Return the absolute path of a folder that a file names; None unless it is there and may be looked through."""
    if not isinstance(named, str) or not named.strip() or len(named) > _LONGEST or "\0" in named:
        return None
    text = named.strip().strip("\"'")
    if os.sep == "/":  # the file may have been written on Windows
        text = text.replace("\\", "/")
    try:
        path = (base / Path(os.path.expandvars(text)).expanduser()).resolve()
        home = Path.home().resolve()
        if not path.is_dir() or path == home or path in home.parents or not is_text(str(path)):
            return None
    except (OSError, RuntimeError, ValueError):
        return None
    return str(path)


def read_settings_text(path: Path) -> str | None:
    """Return the text of another program's settings file; None when it is not there, too large or no text."""
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:
            return None
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError):
        return None


def read_mapping(path: Path) -> Mapping[str, Any]:
    """Return what a JSON or YAML file of settings holds; nothing when it cannot be read or is something else."""
    text = read_settings_text(path)
    try:
        if text is None or (path.suffix != ".json" and len(text) > _LARGEST_YAML):
            return {}
        # The base loader makes texts, lists and mappings alone, and no merge keys, which a few lines can blow up.
        found = json.loads(text) if path.suffix == ".json" else yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506
    except (ValueError, RecursionError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def inner_folders(folder: Path) -> list[Path]:
    """Return the folders right below a folder, by name, at most 500; none when it cannot be read."""
    try:
        with os.scandir(folder) as listing:
            names = sorted(entry.name for entry in listing if _holds(entry.is_dir) and is_text(entry.name))
    except (OSError, ValueError):
        return []
    return [folder / name for name in names[:_MOST]]


def extra_model_paths(path: Path) -> tuple[list[str | None], list[str | None]]:
    """Return the adapters' and the checkpoints' folders of a ComfyUI `extra_model_paths.yaml`."""
    adapters: list[str | None] = []
    checkpoints: list[str | None] = []
    for section in read_mapping(path).values():
        if not isinstance(section, dict):
            continue
        named = section.get("base_path")
        base = path.parent if named is None else folder_at(named, path.parent)
        for key, into in (("loras", adapters), ("checkpoints", checkpoints)):
            lines = section.get(key)
            if base is not None and isinstance(lines, str):
                into += [folder_at(line, Path(base)) for line in lines.splitlines()]
    return adapters, checkpoints


# ------------------------------------------------------------------------------------------- each program


_Folders = tuple[list[str | None], list[str | None]]


def _below(root: Path, adapters: Iterable[str], checkpoints: Iterable[str]) -> _Folders:
    return [folder_at(name, root) for name in adapters], [folder_at(name, root) for name in checkpoints]


def _comfyui(root: Path) -> _Folders:
    adapters, checkpoints = _below(root, ["models/loras"], ["models/checkpoints"])
    for name in ("extra_model_paths.yaml", "extra_models_config.yaml"):
        more = extra_model_paths(root / name)
        adapters += more[0]
        checkpoints += more[1]
    return adapters, checkpoints


def _webui(root: Path) -> _Folders:
    models = [root / "models"]
    adapters: list[str | None] = []
    checkpoints: list[str | None] = []
    for flag, named in _flags(root):
        if flag in ("lora-dir", "lyco-dir"):
            adapters.append(folder_at(named, root))
        elif flag == "ckpt-dir":
            checkpoints.append(folder_at(named, root))
        else:
            folder = folder_at(named, root)
            models += [Path(folder) if flag == "models-dir" else Path(folder, "models")] if folder else []
    settings = read_mapping(root / "config.json")  # SD.Next names its folders there
    adapters += [folder_at(settings.get(name), root) for name in ("lora_dir", "lyco_dir")]
    checkpoints += [folder_at(settings.get(name), root) for name in ("ckpt_dir", "diffusers_dir")]
    for place in models:
        more = webui_models(place)
        adapters += more[0]
        checkpoints += more[1]
    return adapters, checkpoints


def webui_models(models: Path) -> _Folders:
    """Return the adapters' and the checkpoints' folders below a `models` folder as A1111 and its forks lay it out."""
    return _below(models, ["Lora", "LyCORIS"], ["Stable-diffusion"])


def _flags(root: Path) -> Iterator[tuple[str, str]]:
    """Yield the folders that a start script of A1111 or a fork names, by the flag."""
    for name in ("webui-user.sh", "webui-user.bat"):
        for line in (read_settings_text(root / name) or "").splitlines():
            if not _COMMENT.match(line):
                yield from _FLAGS.findall(line[:_LONGEST])


def _fooocus(root: Path) -> _Folders:
    adapters, checkpoints = _below(root, ["models/loras"], ["models/checkpoints"])
    text = read_settings_text(root / "config.txt")
    try:
        told = json.loads(text or "{}")
    except (ValueError, RecursionError):
        told = {}
    for key, into in (("path_loras", adapters), ("path_checkpoints", checkpoints)):
        named = told.get(key) if isinstance(told, dict) else None
        into += [folder_at(one, root) for one in (named if isinstance(named, list) else [named])[:_MOST]]
    return adapters, checkpoints


def _invokeai(root: Path) -> _Folders:
    named = read_mapping(root / "invokeai.yaml").get("models_dir")
    models = Path(folder_at(named, root) or root / "models")
    bases = inner_folders(models)
    adapters = [folder_at("lora", base) for base in bases] + [folder_at("autoimport/lora", root)]
    if any(_KEY.fullmatch(base.name) for base in bases):  # newer releases give each model a folder of its own
        adapters.append(folder_at(".", models))
    return adapters, [folder_at("main", base) for base in bases]


def _swarmui(root: Path) -> _Folders:
    told = {"ModelRoot": "Models", "SDLoraFolder": "Lora", "SDModelFolder": "Stable-Diffusion"}
    for line in (read_settings_text(root / "Data" / "Settings.fds") or "").splitlines():
        name, _, value = line.strip().partition(":")
        if name in told and value.strip():
            told[name] = value.strip()
    roots, adapters, checkpoints = (value[:_LONGEST].split(";")[:_FEW] for value in told.values())
    models = [Path(folder) for named in roots if (folder := folder_at(named, root))]
    return (
        [folder_at(named, folder) for folder in models for named in adapters],
        [folder_at(named, folder) for folder in models for named in checkpoints],
    )


def _stability_matrix(root: Path) -> _Folders:
    return _below(_matrix_data(root) / "Models", ["Lora", "LyCORIS"], ["StableDiffusion"])


def _matrix_data(root: Path) -> Path:
    """Return where Stability Matrix keeps its models and packages: in a folder beside it, or where it was told."""
    return root / "Data" if (root / "Data" / "Models").is_dir() else root


def matrix_packages(root: Path) -> list[Path]:
    """Return the folders of the programs that a Stability Matrix has installed."""
    return inner_folders(_matrix_data(root) / "Packages")


def _is_comfyui(root: Path) -> bool:
    return (root / "folder_paths.py").is_file() or (
        (root / "custom_nodes").is_dir() and (root / "models" / "loras").is_dir()
    )


def _is_webui(root: Path) -> bool:
    return (root / "webui.py").is_file() and (root / "modules").is_dir()


def _holds(question: Callable[[], bool]) -> bool:
    """Answer a question about a path; what cannot be looked at is not so."""
    try:
        return question()
    except (OSError, ValueError):
        return False


_PROGRAMS: tuple[tuple[str, Callable[[Path], bool], Callable[[Path], _Folders]], ...] = (
    ("Fooocus", lambda root: (root / "fooocus_version.py").is_file(), _fooocus),
    ("Forge", lambda root: _is_webui(root) and (root / "modules_forge").is_dir(), _webui),
    ("SD.Next", lambda root: _is_webui(root) and (root / "installer.py").is_file(), _webui),
    ("A1111", _is_webui, _webui),
    ("ComfyUI", _is_comfyui, _comfyui),
    (
        "InvokeAI",
        lambda root: (root / "invokeai.yaml").is_file() or (root / "databases" / "invokeai.db").is_file(),
        _invokeai,
    ),
    (
        "SwarmUI",
        lambda root: any((root / name).is_file() for name in ("src/SwarmUI.csproj", "Data/Settings.fds")),
        _swarmui,
    ),
    (
        "Stability Matrix",
        lambda root: (
            (root / "Data" / "Models" / "StableDiffusion").is_dir()
            or ((root / "Models" / "StableDiffusion").is_dir() and (root / "Packages").is_dir())
        ),
        _stability_matrix,
    ),
)
"""What each program is called, how its folder is known, and where it loads from; the first that fits counts."""
