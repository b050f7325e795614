"""The files that other tools keep beside an adapter, told apart by their names and, where those clash, by their keys.

A damaged sidecar never costs the adapter: what is wrong with it is noted, and everything else is used.

| beside `X.safetensors` | written by |
| --- | --- |
| `X.metadata.json` | ComfyUI-Lora-Manager |
| `X.json` | A1111, Forge and the like; SD.Next keeps Civitai's page under the same name, trainers their settings |
| `X.civitai.info` | Civitai Helper and its forks |
| `X.cm-info.json` | Stability Matrix |
| `X.safetensors.rgthree-info.json` | rgthree, Autopilot |
| `X.swarm.json` | SwarmUI |
| `X.txt`, `X.description.txt` | A1111 (a description), RuinedFooocus and text loaders (trigger words) |
| `X.png`, `X.preview.png`, `X.thumb.jpg`, `X.example.0.jpg`, ... | all of them: pictures |
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from os import fstat

from .sidecar_lora_manager import is_lora_manager, read_lora_manager
from .sidecar_owner import is_a1111, read_a1111, read_description, read_swarm, read_text
from .sidecar_site import read_civitai_info, read_model_page, read_rgthree, read_stability_matrix
from .text import clean_line
from .told import Beside, Json, Told

SIDECAR_EXTENSIONS = frozenset({"json", "info", "txt"})
PICTURE_EXTENSIONS = frozenset({"png", "jpg", "jpeg", "webp", "gif", "avif", "jxl", "mp4", "webm"})

_LIMIT = 8_000_000
"""Bytes of one sidecar; the largest, with whole pages inside, stay under one million."""

# What may stand between the adapter's name and the extension.
_MIDDLES = frozenset({"civitai", "metadata", "cm-info", "swarm", "description", "preview", "thumb", "rgthree-info"})

JsonReader = Callable[[Json, str, Beside], list[Told]]


def _read_clashing(data: Json, name: str, beside: Beside) -> list[Told]:
    """Read an `X.json` by its keys; a trainer's settings and everything unknown tell nothing."""
    if isinstance(data.get("modelVersions"), list):
        return read_model_page(data, name, beside)
    if is_a1111(data):
        return read_a1111(data, name, beside)
    if is_lora_manager(data):
        return read_lora_manager(data, name, beside)
    if "modelId" in data and ("trainedWords" in data or "baseModel" in data):
        return read_civitai_info(data, name, beside)
    return []


def _read_metadata(data: Json, name: str, beside: Beside) -> list[Told]:
    return read_lora_manager(data, name, beside) if is_lora_manager(data) else []


# Within one level of belief, the earlier is believed first.
_JSON_READERS: dict[str, JsonReader] = {
    ".metadata.json": _read_metadata,
    ".json": _read_clashing,
    ".swarm.json": read_swarm,
    ".civitai.info": read_civitai_info,
    ".cm-info.json": read_stability_matrix,
    ".safetensors.rgthree-info.json": read_rgthree,
    ".rgthree-info.json": read_rgthree,
}
_TEXT_READERS: dict[str, Callable[[str, str], list[Told]]] = {
    ".description.txt": read_description,
    ".txt": read_text,
}
_ORDER = (*_JSON_READERS, *_TEXT_READERS)


@dataclass(frozen=True, slots=True)
class Sidecars:
    """What the files beside an adapter tell."""

    told: tuple[Told, ...]
    previews: tuple[str, ...]
    """The names of the pictures."""
    problems: tuple[tuple[str, str], ...]
    """(`sidecar`, what is wrong with one), as a record's provenance keeps it."""


def owner_of(name: str, stems: Container[str]) -> str | None:
    """Return the stem of the adapter that a file lies beside, by its name alone.

    >>> [owner_of(name, {"fox"}) for name in ("fox.json", "fox.civitai.info", "fox.example.0.png", "foxes.png")]
    ['fox', 'fox', 'fox', None]
    >>> owner_of("fox.safetensors.rgthree-info.json", {"fox"})
    'fox'
    """
    base = name.rpartition(".")[0]
    if base in stems:
        return base
    base, _, middle = base.rpartition(".")
    if middle in _MIDDLES:
        if base in stems:
            return base
        base, _, extension = base.rpartition(".")
        known = middle == "rgthree-info" and extension.lower() == "safetensors"
    else:
        base, _, word = base.rpartition(".")
        known = word == "example" and middle.isdecimal()
    return base if known and base in stems else None


def read_sidecars(folder: str, names: Sequence[str], beside: Beside) -> Sidecars:
    """Read the files that lie beside an adapter.

    Args:
        folder: Where they lie, with the separator at its end.
        names: Their names.
        beside: The adapter itself.
    """
    start = len(beside.file_name.rpartition(".")[0])
    told: list[Told] = []
    problems: list[tuple[str, str]] = []
    previews = []
    suffixes = {}
    for name in names:
        if name.rpartition(".")[2].lower() in PICTURE_EXTENSIONS:
            previews.append(name)
        else:
            suffixes[name[start:].lower()] = name
    for suffix in _ORDER:
        if suffix in suffixes:
            name = suffixes[suffix]
            try:
                told += _read(folder + name, suffix, clean_line(name, 200) or "?", beside)
            except _Damaged as damage:
                problems.append(("sidecar", f"{clean_line(name, 200)}: {damage}"))
    return Sidecars(tuple(told), tuple(sorted(previews)), tuple(problems))


class _Damaged(Exception):
    """One sidecar cannot be used; says why."""


def _read(path: str, suffix: str, name: str, beside: Beside) -> list[Told]:
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - the path is text throughout
            if fstat(file.fileno()).st_size > _LIMIT:
                raise _Damaged("too large to be a sidecar")
            raw = file.readall()
    except OSError as error:
        raise _Damaged(f"cannot be read ({error.strerror})") from error
    if suffix in _TEXT_READERS:
        return _TEXT_READERS[suffix](raw.decode("utf-8-sig", "replace"), name)
    try:
        data = json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise _Damaged("not UTF-8") from None
    except RecursionError:
        raise _Damaged("nested too deeply") from None
    except ValueError:
        raise _Damaged("not JSON") from None
    if not isinstance(data, dict):
        raise _Damaged("no JSON object")
    return _JSON_READERS[suffix](data, name, beside)
