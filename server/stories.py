"""The stories inside the pictures that are kept."""

from __future__ import annotations

import io
import json
from typing import Any

from PIL import Image

from ..parameters import parse_parameters


def story_of(content: bytes) -> dict[str, Any]:
    """Return what one of our own PNG files tells of itself, as `generation.story.read_story` does of a file."""
    with Image.open(io.BytesIO(content), formats=("PNG",)) as picture:
        texts: dict[str, str] = dict(picture.text)  # type: ignore[attr-defined]
    story: dict[str, Any] = json.loads(texts["velatura"])
    return story | {"parameters": parse_parameters(texts["parameters"]), "parameters_text": texts["parameters"]}
