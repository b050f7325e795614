"""Sidecars that keep what a site said: Civitai Helper's, SD.Next's, Stability Matrix' and rgthree's."""

from __future__ import annotations

from collections.abc import Iterable

from ..records import Example, Hashes
from .civitai_json import version_fields
from .identity import good_hash
from .nsfw import read_nsfw
from .text import clean_line, clean_text
from .told import Beside, Json, Level, Told
from .triggers import trigger_groups

_KIB = 1024
_LENGTHS = {"SHA256": 64, "AutoV1": 8, "AutoV2": 10, "AutoV3": 12, "CRC32": 8, "BLAKE3": 64}


def read_civitai_info(data: Json, name: str, beside: Beside) -> list[Told]:
    """Read `X.civitai.info`: a version of Civitai's API, or a fork's skeleton for a file that the site does not know."""
    fields = read_version(data, beside)
    if _is_skeleton(data):
        # Everything else in it is a placeholder made from the file's name.
        fields = {field: fields[field] for field in ("triggers", "hashes") if field in fields}
    return [Told(f"{name} (Civitai Helper)", Level.SITE, fields)]


def read_model_page(data: Json, name: str, beside: Beside) -> list[Told]:
    """Read the page that SD.Next keeps as `X.json`; its version is the one that holds this very file."""
    versions = [version for version in objects(data.get("modelVersions"))]
    holding = [version for version in versions if matching_file(version.get("files"), beside) is not None]
    if len(holding) == 1 or len(versions) == 1:
        fields = read_version((holding or versions)[0], beside, model=data)
    else:
        fields = version_fields({}, data)
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
    fields = version_fields(version, model)
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
    if isinstance(version, dict) and version:
        fields = read_version(version, beside)
    else:
        fields = {
            "title": clean_line(data.get("name"), 200),
            "base_model": clean_line(data.get("baseModel"), 100),
            "triggers": trigger_groups([word["word"] for word in words if word.get("civitai") is True]),
            "examples": tuple(_examples(data.get("images"))),
        }
    fields["hashes"] = Hashes(sha256=good_hash(data.get("sha256"), 64))
    return [Told(place, Level.EDIT, {"triggers": trigger_groups(own)}), Told(place, Level.SITE, fields)]


def read_version(version: Json, beside: Beside, *, model: Json | None = None) -> dict[str, object]:
    """Return the fields of a version of Civitai's API, with what its list of files says about this very file."""
    if model is None:
        inner = version.get("model")
        model = dict(inner) if isinstance(inner, dict) else {}
        model.setdefault("id", version.get("modelId"))
        model.setdefault("creator", version.get("creator"))
    fields = version_fields(version, model)
    url = clean_text(version.get("downloadUrl"), 2000)
    fields["url"] = url if url and url.startswith(("https://", "http://")) else None
    file = matching_file(version.get("files"), beside)
    if file is not None:
        fields["hashes"] = read_hashes(file.get("hashes"))
        file_id = file.get("id")
        fields["file_id"] = file_id if type(file_id) is int and file_id > 0 else None
    return fields


def matching_file(files: object, beside: Beside) -> Json | None:
    """Return the entry of a version's list that is the file on the disk.

    A size that differs says that it is not: the owner has the pruned one, or a tool has written a new header. Its
    digests would be those of another file then.
    """
    candidates = []
    for file in objects(files):
        kib = file.get("sizeKB")
        if isinstance(kib, int | float) and abs(kib * _KIB - beside.size) > _KIB:
            continue
        candidates.append(file)
    named = [file for file in candidates if file.get("name") == beside.file_name]
    if named:
        return named[0]
    return candidates[0] if len(candidates) == 1 else None


def read_hashes(claims: object) -> Hashes:
    """Return the digests that a site claims, by Civitai's names; what cannot be a digest is left out."""
    if not isinstance(claims, dict):
        return Hashes()
    found = {name: good_hash(claims.get(name), length) for name, length in _LENGTHS.items()}
    return Hashes(
        sha256=found["SHA256"],
        autov1=found["AutoV1"],
        autov2=found["AutoV2"],
        autov3=found["AutoV3"] or good_hash(claims.get("AutoV3"), 64, keep=12),
        crc32=found["CRC32"],
        blake3=found["BLAKE3"],
    )


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
