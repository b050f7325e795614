"""ComfyUI-Lora-Manager's `X.metadata.json`: the owner's fields, the site's version, and what a model may have added."""

from __future__ import annotations

import json

from ..records import Hashes, WeightEvidence
from .civitai_files import read_url
from .identity import good_hash
from .nsfw import read_nsfw
from .sidecar_site import read_version
from .text import clean_html, clean_line, clean_text
from .told import Beside, Json, Level, Told
from .training import read_tags
from .weights import read_weight, weights_in_prose


def is_lora_manager(data: Json) -> bool:
    """Whether a JSON object is Lora Manager's metadata.

    >>> is_lora_manager({"file_name": "fox", "sha256": "", "civitai": {}}), is_lora_manager({"model": "fox"})
    (True, False)
    """
    return len({"file_name", "model_name", "file_path", "sha256", "civitai", "usage_tips"} & data.keys()) >= 2


def read_lora_manager(data: Json, name: str, beside: Beside) -> list[Told]:
    """Read schema 1.1. Fields that an agent wrote from a page are believed last, the owner's own among the first."""
    place = f"{name} (Lora Manager)"
    by_agent = str(data.get("metadata_source")).startswith("agent") or bool(data.get("llm_enriched_at"))
    title = clean_line(data.get("model_name"), 200)
    description = clean_html(_string(data.get("modelDescription")))
    base_model = clean_line(data.get("base_model"), 100)
    page = {
        "description": description,
        "tags": read_tags(data.get("tags")),
        "base_model": None if base_model in (None, "Unknown") else base_model,
        "weights": weights_in_prose(description),
    }
    own = {
        # Until it knows better, the tool calls a file by its name.
        "title": None if title == data.get("file_name") else title,
        "notes": clean_text(data.get("notes"), 20_000),
        "weights": _read_tips(data.get("usage_tips")),
        "nsfw": read_nsfw(data.get("preview_nsfw_level")),
        "available": False if data.get("civitai_deleted") is True else None,
        "url": read_url(data.get("hf_url")),
        "hashes": _read_hashes(data, beside),
        "excluded": data.get("exclude") is True,
    }
    told = [Told(place, Level.OWNER, own), Told(place, Level.LLM if by_agent else Level.OWNER, page)]
    version = data.get("civitai")
    if isinstance(version, dict) and version:
        told.append(Told(place, Level.LLM if by_agent else Level.SITE, read_version(version, beside)))
    return told


def _read_tips(value: object) -> tuple[WeightEvidence, ...]:
    """Read `usage_tips`, a JSON object inside a text: one strength, or the ends of a range."""
    if not isinstance(value, str) or len(value) > 10_000:
        return ()
    try:
        tips = json.loads(value)
    except (ValueError, RecursionError):
        return ()
    if not isinstance(tips, dict):
        return ()
    strength = read_weight(tips.get("strength"))
    ends = (
        [strength] if strength is not None else [read_weight(tips.get(end)) for end in ("strength_min", "strength_max")]
    )
    return tuple(WeightEvidence(weight=weight, source="tips") for weight in ends if weight is not None)


def _read_hashes(data: Json, beside: Beside) -> Hashes:
    """Return the digests that the tool computed, unless it did so for a file of another size."""
    size = data.get("size")
    if type(size) is int and size != beside.size:
        return Hashes()
    sha256 = good_hash(data.get("sha256"), 64)
    return Hashes(sha256=sha256, autov3=good_hash(data.get("autov3"), 12))


def _string(value: object) -> str | None:
    return value if isinstance(value, str) else None
