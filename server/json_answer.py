"""Answers as JSON: any text and any number that a catalogue may hold, written once and without looking twice."""

from __future__ import annotations

import math
from typing import Any

from pydantic_core import PydanticSerializationError, to_json
from starlette.responses import Response

from ..syntax import encodable


class Json(Response):
    """A plain value as JSON in UTF-8; numbers that JSON does not have are null, halves of characters question marks."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the bytes."""
        return dumped(content)


def dumped(value: Any) -> bytes:
    """Return a plain value as JSON in UTF-8."""
    try:
        return to_json(value, inf_nan_mode="null")
    except (PydanticSerializationError, UnicodeEncodeError):
        return to_json(clean(value), inf_nan_mode="null")


def clean(value: Any) -> Any:
    """Return a plain value without halves of characters and without numbers that are not finite."""
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {clean(name): clean(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return value
