"""The pictures that a Civitai page shows: their prompts, levels, and the weights they were made with."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ..records import Example, WeightEvidence
from .nsfw import read_nsfw, worst
from .text import clean_text
from .weights import weights_of_image

_LOOKED_AT = 400
_KEPT = 40
_PROMPT = 4_000


@dataclass(frozen=True, slots=True)
class Pictures:
    """What the pictures of one version tell."""

    examples: tuple[Example, ...] = ()
    weights: tuple[WeightEvidence, ...] = ()
    nsfw: int | None = None
    """The OR of the levels of all pictures that are rated."""


def read_pictures(
    images: object, *, names: Collection[str], hashes: Collection[str], version_id: int | None
) -> Pictures:
    """Read a version's `images`; those with a prompt are kept first, at most 40.

    Args:
        images: The list, in the shape of any of the three endpoints that give one.
        names: The version's files, each through `weights.name_key`.
        hashes: `weights.hash_keys` of the version's files.
        version_id: Civitai's id of the version.
    """
    if not isinstance(images, list):
        return Pictures()
    examples: dict[tuple[str | None, str | None], Example] = {}
    weights: list[WeightEvidence] = []
    levels = []
    for image in images[:_LOOKED_AT]:
        if not isinstance(image, dict):
            continue
        url = _url(image)
        meta = _meta(image.get("meta"))
        level = _level(image)
        levels.append(level)
        prompt = clean_text(meta.get("prompt"), _PROMPT)
        if url is None and prompt is None:
            continue
        example = Example(
            image=url, prompt=prompt, negative=clean_text(meta.get("negativePrompt"), _PROMPT), nsfw=level
        )
        if examples.setdefault((url, prompt), example) is example and meta:
            weights += weights_of_image(
                meta, names=names, hashes=hashes, version_id=version_id, image=url, shown_for=True
            )
    kept = list(examples.values())
    if len(kept) > _KEPT:
        kept.sort(key=lambda example: example.prompt is None)
    return Pictures(tuple(kept[:_KEPT]), tuple(weights), worst(levels))


def _url(image: Mapping[str, Any]) -> str | None:
    """Return where the picture is; a film is no picture, though its prompt counts."""
    url = image.get("url")
    if not isinstance(url, str) or image.get("type") == "video" or len(url) > 2000:
        return None
    return url if url.startswith(("https://", "http://")) and url.isprintable() else None


def _meta(value: object) -> Mapping[str, Any]:
    """Return the generation data, which `/api/v1/images` may wrap once more: `{"id": 1, "meta": {...}}`."""
    if not isinstance(value, dict):
        return {}
    inner = value.get("meta")
    return inner if isinstance(inner, dict) else value


def _level(image: Mapping[str, Any]) -> int | None:
    for name in ("browsingLevel", "nsfwLevel", "nsfw"):
        if name in image and (level := read_nsfw(image[name])) is not None:
            return level
    return None
