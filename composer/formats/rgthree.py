"""Rows of rgthree's Power Lora Loader, as its node has them in ComfyUI's API form.

`{"lora_1": {"on": true, "lora": "fox.safetensors", "strength": 0.8}}`; `strengthTwo` is the text encoder's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .foreign import Foreign, Named, few, named
from .written import Export, as_json


def write(export: Export) -> str:
    """Return the rows, in order."""
    export.note("rows hold no prompt; write it into the workflow's own text")
    rows = ({"on": True, "lora": file, "strength": choice.weight} for choice, file in export.files())
    return as_json({f"lora_{place}": row for place, row in enumerate(rows, 1)})


def read(rows: Iterable[Any]) -> Foreign:
    """Read rows; those that are off are left out."""
    notes: list[str] = []
    return Foreign(form="rgthree", adapters=tuple(read_rows(rows, notes)), notes=tuple(notes))


def read_rows(rows: Iterable[Any], notes: list[str]) -> list[Named]:
    """Return the adapters of the rows that are on."""
    found = (
        named(row.get("lora"), row.get("strength"), notes, clip=row.get("strengthTwo"))
        for row in few(list(rows))
        if is_row(row) and row.get("on") is not False and row.get("lora") != "None"
    )
    return [one for one in found if one]


def is_row(value: object) -> bool:
    """Say whether a foreign value is such a row."""
    return isinstance(value, Mapping) and "lora" in value and ("on" in value or "strength" in value)
