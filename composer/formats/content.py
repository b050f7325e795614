"""Foreign bytes as text and as JSON, without trusting either."""

from __future__ import annotations

import json
import math
from typing import Any

from ...errors import InputError

LARGEST = 1 << 24
"""Bytes, or characters, of a foreign file that are read."""
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8")


def text_in(content: bytes | str, name: str) -> str:
    """Return the text of a file.

    Raises:
        InputError: it is too large, a picture, or no text.
    """
    if len(content) > LARGEST:
        raise InputError(
            f"{name} has {len(content) >> 20} MiB; of a workflow or list at most {LARGEST >> 20} MiB are read"
        )
    if isinstance(content, str):
        return content.removeprefix("\ufeff")
    if content.startswith(_PICTURES) or (content[:4] == b"RIFF" and content[8:12] == b"WEBP"):
        raise InputError(f"{name} is a picture: the texts inside it have to be taken out first")
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{name} is not text in UTF-8; give a workflow, a list of adapters or a prompt") from None


def parse(text: str, name: str) -> Any:
    """Return the value of a JSON text; numbers that JSON cannot tell, such as ComfyUI's NaN, are null.

    Raises:
        InputError: it is no JSON, or nested too deep.
    """
    try:
        return json.loads(text, parse_constant=lambda _: None, parse_float=_number)
    except RecursionError:
        raise InputError(f"{name} is nested too deep to be read") from None
    except ValueError as error:
        what = (
            f"{error.msg} at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "a number is too long"
        )
        raise InputError(f"{name} is not JSON: {what}") from None


def _number(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None
