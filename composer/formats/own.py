"""Our own JSON: the whole composition, as `plain` tells it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import compress
from typing import Any

from ...errors import InputError
from ...plain import from_plain, to_plain
from ...records import Choice, Composition
from ...syntax import without_tags
from .foreign import Foreign, Named, list_of, mapping_of
from .written import Export, as_json, file_name, file_stem


def write(export: Export) -> str:
    """Return the composition, whole."""
    return as_json(to_plain(export.composition))


def read(plain: Mapping[str, Any]) -> Foreign:
    """Read a composition, or the story of a picture of ours that holds one: of that, what the picture was painted with.

    Raises:
        InputError: a field of it is wrong.
    """
    request = plain.get("request")
    negative = ""
    if isinstance(request, Mapping):
        plain = _painted(request)
        negative = request["negative"] if isinstance(request.get("negative"), str) else ""
    composition = from_plain(Composition, plain)
    return Foreign(
        form="json",
        prompt=without_tags(composition.prompt),
        negative=negative,
        adapters=tuple(_named(choice) for choice in composition.choices),
        composition=composition,
    )


def _painted(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the plain composition of a plain request with the choices alone that its mask leaves on.

    Raises:
        InputError: the mask is none for these choices.
    """
    composition, mask = mapping_of(request.get("composition")), request.get("mask")
    if mask is None:
        return composition
    choices = list_of(composition.get("choices"))
    if not isinstance(mask, list) or not all(isinstance(on, bool) for on in mask) or len(mask) != len(choices):
        raise InputError(f"the mask must be a list of true or false, one for each of the {len(choices)} choices")
    return {**composition, "choices": list(compress(choices, mask))}


def _named(choice: Choice) -> Named:
    record = choice.adapter
    return Named(
        name=file_stem(record) or record.title,
        weight=choice.weight,
        hashes=record.hashes,
        model_id=record.model_id,
        version_id=record.version_id,
        file=file_name(record) or None,
        triggers=choice.triggers,
        span=choice.span,
        reason=choice.reason,
    )
