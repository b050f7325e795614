"""Sidecars that keep what a site said: Civitai Helper's, SD.Next's, Stability Matrix' and rgthree's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..records import Example, Hashes
from .civitai_files import adapter_files, file_fields, read_hashes
from .civitai_json import version_fields
from .identity import good_hash
from .nsfw import read_nsfw
from .text import clean_line, clean_text
from .told import Beside, Json, Level, Told
from .triggers import trigger_groups

_KIB = 1024


def read_civitai_info(data: Json, name: str, beside: Beside) -> list[Told]:
    """Read `X.civitai.info`: a version of Civitai's API, or a fork's skeleton for a file unknown to it."""
    fields = read_version(data, beside)
    if _is_skeleton(data):
        # Everything else in it is a placeholder made from the file's name.
        fields = {field: fields[field] for field in ("triggers", "hashes") if field in fields}
    return [Told(f"{name} (Civitai Helper)", Level.SITE, fields)]


def read_model_page(data: Json, name: str, beside: Beside) -> list[Told]:
    """Read the page that SD.Next keeps as `X.json`; its version is the one that holds this very file."""
    versions = objects(data.get("modelVersions"))
    holding = [version for version in versions if matching_file(version, beside) is not None]
    version = holding[0] if len(holding) == 1 else versions[0] if len(versions) == 1 else {}
    fields = read_version(version, beside, model=data)
    return [Told(f"{name} (SD.Next)", Level.SITE, fields)]


def read_stability_matrix(data: Json, name: str, beside: Beside) -> list[Told]:
    """Read `X.cm-info.json`: Civitai's page and version under names of its own, and the owner's title."""
    version = {
        "id": data.get("VersionId"),
        "modelId": data.get("ModelId"),
        "name": data.get("VersionName"),
        "description": data.get("VersionDescription"),
        "baseModel": data.get("BaseModel"),
        "trainedWords": data.get("TrainedWords"),
        "stats": data.get("Stats"),
    }
    model = {
        "id": data.get("ModelId"),
        "name": data.get("ModelName"),
        "description": data.get("ModelDescription"),
        "type": data.get("ModelType"),
        "nsfw": data.get("Nsfw"),
        "tags": data.get("Tags"),
        "creator": {"username": data.get("AuthorUsername")},
        "stats": data.get("Stats"),
    }
    place = f"{name} (Stability Matrix)"
    fields = read_version(version, beside, model=model)
    fields["hashes"] = read_hashes(data.get("Hashes"))
    return [
        Told(place, Level.EDIT, {"title": clean_line(data.get("UserTitle"), 200)}),
        Told(place, Level.SITE, fields),
    ]


def read_rgthree(data: Json, name: str, beside: Beside) -> list[Told]:
    """Read `X.safetensors.rgthree-info.json`; each of its words says whether the owner or the site gave it."""
    place = f"{name} (rgthree)"
    raw = data.get("raw")
    version = raw.get("civitai") if isinstance(raw, dict) else None
    words = [word for word in objects(data.get("trainedWords")) if isinstance(word.get("word"), str)]
    own = [word["word"] for word in words if word.get("user") is True]
    site = [word["word"] for word in words if word.get("civitai") is True or not {"user", "metadata"} & word.keys()]
    if isinstance(version, dict) and version:
        fields = read_version(version, beside)
    else:
        fields = {
            "title": clean_line(data.get("name"), 200),
            "base_model": clean_line(data.get("baseModel"), 100),
            "triggers": trigger_groups(site),
            "examples": tuple(_examples(data.get("images"))),
        }
    return [
        Told(place, Level.EDIT, {"triggers": trigger_groups(own)}),
        Told(place, Level.OWNER, {"hashes": Hashes(sha256=good_hash(data.get("sha256"), 64))}),
        Told(place, Level.SITE, fields),
    ]


def read_version(version: Json, beside: Beside, *, model: Json | None = None) -> dict[str, Any]:
    """Return the fields of a version of Civitai's API, with what its list of files says about this very file.

    Args:
        version: The version's JSON.
        beside: The file on the disk.
        model: The page's JSON, where the version does not bring its own.
    """
    if model is None:
        inner = version.get("model")
        model = dict(inner) if isinstance(inner, dict) else {}
        model.setdefault("id", version.get("modelId"))
        model.setdefault("creator", version.get("creator"))
    has_files = bool(version.get("files"))
    if not has_files:
        # Pictures name the file that they used, so the list must hold the one that there is.
        version = {**version, "files": [{"name": beside.file_name, "type": "Model"}]}
    fields = version_fields(version, model)
    if not has_files:
        return fields | {"available": None}
    file = matching_file(version, beside)
    if file is not None:
        fields |= {"hashes": file["hashes"], "file_id": file["file_id"]}
    return fields


def matching_file(version: Json, beside: Beside) -> dict[str, Any] | None:
    """Return what a version's list of files tells about the one on the disk.

    A size that differs says that an entry is not it: the owner has the pruned one, or a tool has written a new
    header. Its digests would be those of another file then.
    """
    named, alike = [], []
    for entry in adapter_files(version):
        file = file_fields(entry)
        if file["size"] is not None and abs(file["size"] - beside.size) > _KIB:
            continue
        if file["file_name"] == beside.file_name:
            named.append(file)
        elif file["size"] is not None:
            alike.append(file)
    if named:
        return named[0]
    return alike[0] if len(alike) == 1 else None


def objects(value: object) -> list[dict[str, object]]:
    """Return the JSON objects of a foreign list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _is_skeleton(data: Json) -> bool:
    extensions = data.get("extensions")
    helper = extensions.get("sd_civitai_helper") if isinstance(extensions, dict) else None
    return bool(data.get("skeleton_file") or (isinstance(helper, dict) and helper.get("skeleton_file")))


def _examples(images: object) -> Iterable[Example]:
    for image in objects(images)[:20]:
        prompt = clean_text(image.get("positive"), 4000)
        if prompt:
            yield Example(
                image=clean_text(image.get("url"), 2000),
                prompt=prompt,
                negative=clean_text(image.get("negative"), 4000),
                nsfw=read_nsfw(image.get("nsfwLevel")),
            )
