"""Our own JSON: the whole composition, as `plain` tells it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...plain import from_plain, to_plain
from ...records import Choice, Composition
from ...syntax import without_tags
from .foreign import Foreign, Named
from .written import Export, as_json, file_name, file_stem


def write(export: Export) -> str:
    """Return the composition, whole."""
    return as_json(to_plain(export.composition))


def read(plain: Mapping[str, Any]) -> Foreign:
    """Read a composition, or the story of a picture of ours that holds one.

    Raises:
        InputError: a field of it is wrong.
    """
    request = plain.get("request")
    negative = ""
    if isinstance(request, Mapping):
        plain = request.get("composition") if isinstance(request.get("composition"), Mapping) else {}  # type: ignore[assignment]
        negative = request["negative"] if isinstance(request.get("negative"), str) else ""
    composition = from_plain(Composition, plain)
    return Foreign(
        form="json",
        prompt=without_tags(composition.prompt),
        negative=negative,
        adapters=tuple(_named(choice) for choice in composition.choices),
        composition=composition,
    )


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
