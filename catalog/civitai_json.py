"""Civitai's JSON as records: a model page with its versions, or one version as `by-hash` answers it.

Both the shape of 2023 (one commercial use, levels as words, prompts in the list) and today's (a list of uses, levels
as bits, no prompts in the list) are read, and every field of the wrong type is as good as missing. What cannot be
identified is rejected; nothing else is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from ..errors import InputError
from ..families import family_of
from ..records import AdapterRecord, R, Rejection
from .civitai_files import adapter_files, file_fields, read_id, read_url
from .civitai_images import Pictures, read_pictures
from .licence import read_licence
from .nsfw import read_nsfw, worst
from .text import TEXT_LIMIT, clean_html, clean_line
from .triggers import trigger_groups
from .weights import hash_keys, name_key, weights_in_prose

READER_VERSION = "civitai-1"
"""Changes whenever the same JSON would give other records."""

SITE = "https://civitai.com"

KINDS = {
    "lora": "lora",
    "locon": "locon",
    "lycoris": "locon",
    "dora": "dora",
    "textualinversion": "embedding",
}
"""Civitai's types of adapters, without case, and the kinds that they are."""

_VERSIONS, _FILES, _TAGS = 5_000, 100, 100
_GONE = frozenset({"archived", "takendown"})
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ][\d:.]{5,16}(?:Z|[+-]\d\d:?\d\d)?)?")
_Plain = Mapping[str, Any]
_family = lru_cache(maxsize=512)(family_of)


def read_page(page: object) -> list[AdapterRecord | Rejection]:
    """Return one record for each adapter file of each version of a page, and a rejection for each version without.

    A version that the site knows and has no files for (archived, taken down) keeps one record without a file.

    Args:
        page: The JSON of a model, or of one version with its `modelId` and `model`.

    Raises:
        InputError: it is neither, or has no id.
    """
    if not isinstance(page, dict):
        raise InputError(f"a Civitai page is a JSON object, and this is {_named(page)}")
    model, versions = _model_and_versions(page)
    model_id = read_id(model.get("id"))
    if model_id is None:
        raise InputError("the page has no usable id")
    where = f"civitai:{model_id}"
    kind = model.get("type")
    if _kind(model) is None:
        told = f"type {clean_line(kind, 40)}, which is no adapter" if isinstance(kind, str) else "no stated type"
        return [Rejection(source="civitai", locator=where, reason=f"the page is of {told}")]
    if not versions:
        return [Rejection(source="civitai", locator=where, reason="the page has no versions")]
    shared = page_fields(model)
    found: dict[str, AdapterRecord | Rejection] = {}
    for number, version in enumerate(versions[:_VERSIONS]):
        for result in _read_version(version, model, shared, f"{where}@{number}"):
            key = result.key if isinstance(result, AdapterRecord) else f"rejected {result.locator}"
            found.setdefault(key, result)
    return list(found.values())


def page_fields(model: _Plain) -> dict[str, Any]:
    """Return the arguments of `AdapterRecord` that the page tells of all its versions alike; None where it does not."""
    description = clean_html(model.get("description"))
    return {
        "title": clean_line(model.get("name"), 300),
        "model_id": read_id(model.get("id")),
        "creator": clean_line(_mapping(model.get("creator")).get("username"), 100),
        "kind": _kind(model),
        "tags": _tags(model.get("tags")),
        "description": description,
        "weights": weights_in_prose(description),
        "licence": read_licence(model),
        "real_person": _flag(model.get("poi")),
        "minor": _flag(model.get("minor")),
        "downloads": _count(_mapping(model.get("stats")).get("downloadCount")),
    }


def version_fields(version: _Plain, model: _Plain) -> dict[str, Any]:
    """Return the arguments of `AdapterRecord` that do not depend on the file; None where nothing is told.

    Args:
        version: The JSON of a version.
        model: The JSON of its page, as much of it as there is; `{}` will do.
    """
    return _version_fields(version, model, page_fields(model), [file_fields(file) for file in adapter_files(version)])


def _version_fields(version: _Plain, model: _Plain, page: _Plain, files: list[dict[str, Any]]) -> dict[str, Any]:
    version_id = _version_id(version)
    pictures = Pictures()
    if images := version.get("images"):
        names = frozenset(name_key(file["file_name"]) for file in files if file["file_name"])
        digests = frozenset[str]().union(*(hash_keys(file["hashes"]) for file in files))
        pictures = read_pictures(images, names=names, hashes=digests, version_id=version_id)
    own = clean_html(version.get("description"))
    description, told_by = _joined(page["description"], own)
    downloads = _count(_mapping(version.get("stats")).get("downloadCount"))
    base_model = clean_line(version.get("baseModel"), 100)
    nsfw, rated_by = _rating(version, model, pictures)
    prose = page["weights"] + (weights_in_prose(own) if told_by != "page" else ())
    provenance = {
        "description": told_by,
        "downloads": "version" if downloads is not None else "page" if page["downloads"] is not None else None,
        "nsfw": rated_by,
        "weights": ", ".join(place for place, seen in (("images", pictures.weights), ("prose", prose)) if seen),
    }
    return {
        **page,
        "model_id": page["model_id"] or read_id(version.get("modelId")),
        "version_id": version_id,
        "version_name": clean_line(version.get("name"), 200),
        "triggers": trigger_groups(version.get("trainedWords")),
        "description": description,
        "examples": pictures.examples,
        "weights": pictures.weights + prose,
        "nsfw": nsfw,
        "base_model": base_model,
        "family": _family(base_model),
        "available": _available(version, model, files),
        "downloads": downloads if downloads is not None else page["downloads"],
        "published": _date(version.get("publishedAt")) or _date(version.get("createdAt")),
        "url": read_url(version.get("downloadUrl")),
        "provenance": tuple((field, place) for field, place in provenance.items() if place),
    }


def _model_and_versions(page: _Plain) -> tuple[_Plain, list[Any]]:
    versions = page.get("modelVersions")
    if isinstance(versions, list):
        return page, versions
    if "modelId" in page and ("files" in page or "model" in page):
        model = dict(_mapping(page.get("model")))
        model["id"] = page["modelId"]
        model.setdefault("creator", page.get("creator"))
        return model, [page]
    if "type" in page and "name" in page:
        return page, []
    raise InputError("it is no Civitai model: it has neither modelVersions nor a modelId")


def _read_version(
    version: object, model: _Plain, shared: Mapping[str, Any], where: str
) -> Iterator[AdapterRecord | Rejection]:
    if not isinstance(version, dict):
        yield Rejection(source="civitai", locator=where, reason=f"a version is {_named(version)} and no JSON object")
        return
    version_id = _version_id(version)
    if version_id is None:
        yield Rejection(source="civitai", locator=where, reason="a version has no usable id")
        return
    files = [file_fields(file) for file in adapter_files(version)]
    if not files and version.get("files"):
        where = f"civitai:{shared['model_id']}@{version_id}"
        yield Rejection(source="civitai", locator=where, reason=f"no adapter among its files: {_listed(version)}")
        return
    fields = _version_fields(version, model, shared, files)
    page = f"{fields['model_id']}/{version_id}"
    if fields["title"] is None:
        fields["title"] = f"Civitai model {fields['model_id']}"
    if not files:
        yield AdapterRecord(source="civitai", key=f"{page}/-", **fields)
    for number, own in enumerate(files):
        if own["url"] is None and len(files) == 1:
            own["url"] = fields["url"]
        yield AdapterRecord(source="civitai", key=f"{page}/{own['file_id'] or f'-{number}'}", **(fields | own))


def _kind(model: _Plain) -> str | None:
    kind = model.get("type")
    return KINDS.get(kind.strip().lower()) if isinstance(kind, str) else None


def _version_id(version: _Plain) -> int | None:
    """Return the version's id, or else the one in the address that it is downloaded from."""
    if (version_id := read_id(version.get("id"))) is not None:
        return version_id
    url = version.get("downloadUrl")
    match = re.search(r"/download/models/(\d{1,18})", url[:500]) if isinstance(url, str) else None
    return read_id(match.group(1)) if match else None


def _rating(version: _Plain, model: _Plain, pictures: Pictures) -> tuple[int | None, str | None]:
    """Return the version's level and where it came from: itself and its pictures, else its page, else a flag."""
    mature = model.get("nsfw") is True
    own = _level(version.get("nsfwLevel"))
    level, place = worst((own, pictures.nsfw)), "version" if own else "images"
    if own and level != own:
        place = "version, images"
    if level is None:
        level, place = _level(model.get("nsfwLevel")), "page"
    if level is not None:
        # Mild pictures on a page that announces more do not make the adapter mild.
        return (worst((level, read_nsfw(True))), f"{place}, flag") if mature and level < R else (level, place)
    if mature or (model.get("nsfw") is False and "nsfwLevel" not in model and "nsfwLevel" not in version):
        # Today's pages carry levels; where theirs is 0 nobody has looked, and the flag's default says nothing.
        return read_nsfw(mature), "flag"
    return None, None


def _level(value: object) -> int | None:
    return None if isinstance(value, bool) else read_nsfw(value)


def _available(version: _Plain, model: _Plain, files: list[dict[str, Any]]) -> bool | None:
    mode, use, availability = (_word(value) for value in (
        model.get("mode"), version.get("usageControl"), version.get("availability")
    ))  # fmt: skip
    if mode in _GONE or (use and use != "download") or availability == "private" or version.get("files") == []:
        return False
    if availability == "earlyaccess" or version.get("earlyAccessDeadline"):
        return None  # to be had for some, or later
    return True if files and (read_url(version.get("downloadUrl")) or files[0]["url"]) else None


def _joined(page: str | None, version: str | None) -> tuple[str | None, str | None]:
    if page and version and version not in page:
        return f"{page}\n{version}"[:TEXT_LIMIT], "page, version"
    return (page, "page") if page else (version, "version" if version else None)


def _listed(version: _Plain) -> str:
    files = version.get("files")
    if not isinstance(files, list):
        return _named(files)
    kinds = (clean_line(file.get("type"), 40) if isinstance(file, dict) else _named(file) for file in files[:10])
    return ", ".join(dict.fromkeys(kind or "untyped" for kind in kinds))


def _tags(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = value[:20_000].split(",")
    if not isinstance(value, list | tuple):
        return ()
    names = (item.get("name") if isinstance(item, dict) else item for item in value[:_TAGS])
    tags: dict[str, str] = {}
    for name in names:
        if isinstance(name, str) and (tag := clean_line(name, 100)):
            tags.setdefault(tag.casefold(), tag)
    return tuple(tags.values())


def _date(value: object) -> str | None:
    return value if isinstance(value, str) and len(value) <= 40 and _DATE.fullmatch(value) else None


def _count(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else None


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _word(value: object) -> str | None:
    return value.strip().lower() if isinstance(value, str) and len(value) <= 100 else None


def _mapping(value: object) -> _Plain:
    return value if isinstance(value, dict) else {}


def _named(value: object) -> str:
    names = {type(None): "null", bool: "a truth value", str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), "a number")
