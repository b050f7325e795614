"""Hugging Face models as records: what `list_models` tells of a repository, with its card."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from ..errors import InputError
from ..families import OTHER, UNKNOWN, family_of
from ..records import AdapterRecord, Example, Hashes, Licence, Rejection
from .civitai_files import read_url
from .identity import good_hash
from .licence import named_licence
from .nsfw import read_nsfw
from .text import clean_html, clean_line, clean_text
from .triggers import trigger_groups
from .weights import weights_in_prose

READER_VERSION = "huggingface-1"
"""Changes whenever the same JSON would give other records."""

SITE = "https://huggingface.co"

_NAME = re.compile(r"[\w.-]{1,96}(?:/[\w.-]{1,96})?", re.ASCII)
_ADAPTER_TAGS = {
    "lora": "lora",
    "template:sd-lora": "lora",
    "template:diffusion-lora": "lora",
    "locon": "locon",
    "lycoris": "locon",
    "dora": "dora",
    "textual_inversion": "embedding",
    "textual-inversion": "embedding",
}
_PICTURE_TASKS = frozenset({"text-to-image", "image-to-image", "unconditional-image-generation", "text-to-video"})
_MACHINE_TAG = re.compile(
    r"(?:region|license|base_model|dataset|arxiv|doi|diffusers|template|autotrain_compatible|endpoints_compatible|"
    r"has_space|co2_eq_emissions|model-index)(?::.*)?"
)
_FORMATS = {"safetensors": "safetensors", "bin": "pickle", "pt": "pickle", "ckpt": "pickle", "pth": "pickle"}
# What training leaves behind, and the parts of a whole model.
_NO_ADAPTER = re.compile(
    r"(?:^|/)(?:unet|vae|transformer|text_encoder\w*|tokenizer\w*|safety_checker|scheduler|image_encoder|optimizer|"
    r"feature_extractor|logs|runs)/|(?:^|/)(?:optimizer|scheduler|scaler|random_states?\w*|training_args|"
    r"diffusion_pytorch_model|vae|rng_state\w*)(?:[._-][^/]*)?$",
    re.IGNORECASE,
)
# Pivotal tuning keeps its new words beside its adapter.
_EMBEDDING = re.compile(r"(?:_emb|(?:^|[/_-])embeddings?)\.\w+$", re.IGNORECASE)
_CHECKPOINT = re.compile(r"(?:^|/)checkpoint[-_]\d+/", re.IGNORECASE)
_FRONT_MATTER = re.compile(r"\A\s*---\r?\n.*?\n---\s*(?:\n|\Z)", re.DOTALL)
_MARKDOWN_PICTURE = re.compile(r"!\[[^\[\]]*\]\([^()\s]*\)")
_MARKDOWN_LINK = re.compile(r"\[([^\[\]]*)\]\([^()\s]*\)")
_README_LIMIT = 100_000
_FILES, _TAGS, _EXAMPLES = 500, 100, 40
_DATE = re.compile(r"\d{4}-\d\d-\d\d[T ]?[\d:.]*(?:Z|[+-]\d\d:?\d\d)?")
_Plain = Mapping[str, Any]


def read_model(model: object) -> list[AdapterRecord | Rejection]:
    """Return one record for each adapter file of a repository; one without a file where none is listed.

    Args:
        model: A `ModelInfo` as JSON, its keys in snake_case or as the site spells them.

    Raises:
        InputError: it has no id of a repository.
    """
    model_id = repository(model)
    if not isinstance(model, dict):
        raise InputError("a Hugging Face model is a JSON object")
    where = f"huggingface:{model_id}"
    card = _card(model)
    tags = _texts(model.get("tags"), 2_000) + _texts(card.get("tags"), _TAGS)
    kind = _kind(tags, card)
    if kind is None:
        return [
            Rejection(source="huggingface", locator=where, reason="the repository says nowhere that it is an adapter")
        ]
    fields = model_fields(model, card, tags)
    task = clean_line(model.get("pipeline_tag"), 60) or clean_line(card.get("pipeline_tag"), 60)
    if task not in _PICTURE_TASKS and fields["family"] in (UNKNOWN, OTHER) and "diffusers" not in tags:
        told = f"of the task {task}" if task else "of no stated task"
        return [Rejection(source="huggingface", locator=where, reason=f"it is an adapter {told}, not one for pictures")]
    files = list(_adapter_files(model.get("siblings")))
    if not files and isinstance(model.get("siblings"), list) and model["siblings"]:
        return [Rejection(source="huggingface", locator=where, reason="no adapter file among its files")]
    if not files:
        return [AdapterRecord(source="huggingface", key=f"{model_id}/-", kind=kind, url=f"{SITE}/{model_id}", **fields)]
    return [
        AdapterRecord(
            source="huggingface",
            key=f"{model_id}/{name}",
            kind="embedding" if _EMBEDDING.search(name) else kind,
            **fields,
            **_file_fields(file, name, model_id),
        )
        for name, file in files
    ]


def repository(model: object) -> str:
    """Return the `owner/name` of a model.

    Raises:
        InputError: it has none.
    """
    if isinstance(model, dict):
        for key in ("id", "modelId", "model_id", "repo_id"):
            name = model.get(key)
            if isinstance(name, str) and _NAME.fullmatch(name) and not set(name.split("/")) & {".", ".."}:
                return name
    raise InputError("it is no Hugging Face model: it has no id of the form owner/name")


def model_fields(model: _Plain, card: _Plain, tags: tuple[str, ...]) -> dict[str, Any]:
    """Return the arguments of `AdapterRecord` that all files of a repository share.

    Args:
        model: The repository.
        card: The YAML of its card.
        tags: The site's tags and the card's.
    """
    model_id = repository(model)
    base, family = _base(card, tags)
    description = _readme(model, card)
    created, modified = _either(model, "created_at", "createdAt"), _either(model, "last_modified", "lastModified")
    return {
        "title": model_id.rpartition("/")[2].replace("_", " ").replace("-", " ").strip() or model_id,
        "model_id": model_id,
        "version_id": clean_line(_either(model, "sha"), 64),
        "creator": clean_line(_either(model, "author"), 100) or model_id.rpartition("/")[0] or None,
        "triggers": trigger_groups(card.get("instance_prompt")),
        "tags": tuple(dict.fromkeys(tag for tag in tags if not _is_machine_tag(tag)))[:_TAGS],
        "description": description,
        "weights": weights_in_prose(description),
        "examples": _examples(card, model, model_id),
        "licence": _licence(card, tags),
        "nsfw": read_nsfw(True) if "not-for-all-audiences" in tags else None,
        "base_model": base,
        "family": family,
        "available": False if model.get("disabled") is True else None if _either(model, "gated") else True,
        "downloads": _count(_either(model, "downloads")),
        "published": _date(created) or _date(modified),
    }


def _card(model: _Plain) -> _Plain:
    card = _either(model, "card_data", "cardData")
    return card if isinstance(card, dict) else {}


def _kind(tags: tuple[str, ...], card: _Plain) -> str | None:
    lowered = [tag.lower() for tag in tags]
    for tag in lowered:
        if tag in _ADAPTER_TAGS:
            return _ADAPTER_TAGS[tag]
    if any(tag.startswith("base_model:adapter:") for tag in lowered) or card.get("base_model_relation") == "adapter":
        return "lora"
    return None


def _base(card: _Plain, tags: tuple[str, ...]) -> tuple[str | None, str]:
    """Return (the base as it is spelt, its family): the card's, the adapter tag's, or what another tag implies."""
    named = _texts(card.get("base_model"), 20)
    tagged = [tag.removeprefix("base_model:adapter:") for tag in tags if tag.startswith("base_model:adapter:")]
    tagged += [tag.rpartition(":")[2] for tag in tags if tag.startswith("base_model:")]
    bases = [*named, *tagged]
    for base in bases:
        if (family := family_of(base)) not in (UNKNOWN, OTHER):
            return base, family
    implied = (family_of(tag) for tag in tags if ":" not in tag)
    known = next((family for family in implied if family not in (UNKNOWN, OTHER)), None)
    first = bases[0] if bases else None
    return first, known or family_of(first)


def _readme(model: _Plain, card: _Plain) -> str | None:
    """Return the prose of the card: no YAML, no pictures, links as their text."""
    text = _either(model, "readme", "README", "card_text", "cardText", "description") or card.get("description")
    if not isinstance(text, str):
        return None
    text = _FRONT_MATTER.sub("", text[:_README_LIMIT])
    return clean_html(_MARKDOWN_LINK.sub(r"\1", _MARKDOWN_PICTURE.sub("", text)))


def _examples(card: _Plain, model: _Plain, model_id: str) -> tuple[Example, ...]:
    widget = card.get("widget") or _either(model, "widget_data", "widgetData")
    found: dict[Example, None] = {}
    for item in widget[:_EXAMPLES] if isinstance(widget, list) else []:
        if not isinstance(item, dict):
            continue
        output, parameters = item.get("output"), item.get("parameters")
        image = _picture(output.get("url") if isinstance(output, dict) else None, model_id)
        prompt = clean_text(item.get("text"), 4_000)
        prompt = prompt if prompt and prompt.strip("-. ") else None
        negative = clean_text(parameters.get("negative_prompt"), 4_000) if isinstance(parameters, dict) else None
        if image or prompt:
            found.setdefault(Example(image=image, prompt=prompt, negative=negative))
    return tuple(found)


def _picture(url: object, model_id: str) -> str | None:
    """Return the address of a picture that the card names within its own repository."""
    if not isinstance(url, str) or not url or len(url) > 500:
        return None
    if "://" in url:
        return read_url(url)
    path = url.removeprefix("./")
    if path.startswith("/") or ".." in path.split("/") or not path.isprintable():
        return None
    return f"{SITE}/{model_id}/resolve/main/{quote(path)}"


def _licence(card: _Plain, tags: tuple[str, ...]) -> Licence:
    name = card.get("license")
    if name == "other" and isinstance(card.get("license_name"), str):
        name = card["license_name"]
    tagged = next((tag.removeprefix("license:") for tag in tags if tag.startswith("license:")), None)
    return named_licence(name if isinstance(name, str | list) else tagged)


def _adapter_files(siblings: object) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (path, entry) of each adapter file; checkpoints of the training only where there is nothing else."""
    if not isinstance(siblings, list):
        return
    found: dict[str, dict[str, Any]] = {}
    for file in siblings[:_FILES]:
        entry = {"rfilename": file} if isinstance(file, str) else file
        name = entry.get("rfilename") if isinstance(entry, dict) else None
        if isinstance(name, str) and _is_adapter_file(name):
            found.setdefault(name, entry)
    final = {name: entry for name, entry in found.items() if not _CHECKPOINT.search(name)}
    yield from (final or found).items()


def _is_adapter_file(name: str) -> bool:
    if len(name) > 400 or not name.isprintable() or name.startswith("/") or ".." in name.split("/"):
        return False
    return name.rpartition(".")[2].lower() in _FORMATS and _NO_ADAPTER.search(name) is None


def _file_fields(file: _Plain, name: str, model_id: str) -> dict[str, Any]:
    lfs = file.get("lfs")
    lfs = lfs if isinstance(lfs, dict) else {}
    sha256 = good_hash(lfs.get("sha256") or lfs.get("oid"), 64)
    return {
        "file_name": name.rpartition("/")[2],
        "file_id": name,
        "url": f"{SITE}/{model_id}/resolve/main/{quote(name)}",
        "size": _count(file.get("size")) or _count(lfs.get("size")),
        "format": _FORMATS[name.rpartition(".")[2].lower()],
        "hashes": Hashes(sha256=sha256, autov2=sha256[:10] if sha256 else None),
    }


def _texts(value: object, limit: int) -> tuple[str, ...]:
    items = [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else []
    texts = (clean_line(item, 200) for item in items[:limit] if isinstance(item, str))
    return tuple(text for text in texts if text)


def _is_machine_tag(tag: str) -> bool:
    return len(tag) <= 2 or _MACHINE_TAG.fullmatch(tag) is not None


def _either(model: _Plain, *names: str) -> Any:
    return next((model[name] for name in names if model.get(name) is not None), None)


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else None


def _date(value: object) -> str | None:
    text = value if isinstance(value, str) else None
    return text if text and len(text) <= 40 and _DATE.fullmatch(text) else None
