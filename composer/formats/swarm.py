"""SwarmUI's pictures: `{"sui_image_params": {"prompt", "loras", "loraweights", ...}, "sui_models": [...]}`.

Its hashes are SHA-256 over the tensors alone, as AutoV3 is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...records import Hashes
from ...syntax import without_tags
from .a1111 import read_tags
from .foreign import Foreign, Named, few, hashes_of, list_of, mapping_of, named, stem_of, text_of


def read(picture: Mapping[str, Any]) -> Foreign:
    """Read the parameters of a picture."""
    notes: list[str] = []
    params = mapping_of(picture.get("sui_image_params"))
    digests = {
        stem_of(text_of(mapping_of(model).get("name"))): _tensors(mapping_of(model).get("hash"))
        for model in list_of(picture.get("sui_models"))
    }
    prompt = text_of(params.get("prompt"))
    names, weights = few(_listed(params.get("loras"))), _listed(params.get("loraweights"))
    found: list[Named | None] = [
        named(name, weight, notes, digests=digests.get(stem_of(text_of(name)), Hashes()))
        for name, weight in zip(names, [*weights, *["1"] * len(names)], strict=False)
    ]
    told = [one for one in found if one]
    names_told = {one.name for one in told}
    told += [one for one in read_tags(prompt, notes) if one.name not in names_told]
    negative = text_of(params.get("negativeprompt")) or text_of(params.get("negative_prompt"))
    return Foreign(
        form="swarmui",
        prompt=without_tags(prompt),
        negative=without_tags(negative),
        adapters=tuple(told),
        notes=tuple(notes),
    )


def _listed(value: object) -> list[Any]:
    return value.split(",") if isinstance(value, str) and value else list_of(value)


def _tensors(value: object) -> Hashes:
    digest = text_of(value).removeprefix("0x")
    return hashes_of(digest[:12]) if len(digest) == 64 else hashes_of(digest)
