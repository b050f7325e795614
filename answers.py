"""The JSON object in what a language model answers."""

from __future__ import annotations

import json
import re
from itertools import islice
from typing import Any, Final

_COMMA: Final = re.compile(r",(?=\s*[}\]])")
"""A comma behind the last item, which JSON has not and some models write."""
_TRIALS: Final = 16
"""Places in an answer at which an object is looked for."""


def object_in(text: str) -> dict[str, Any]:
    """Return the JSON object of an answer, which may stand in prose, in a code block, or behind the model's thoughts.

    >>> object_in('<think>{} or so</think>Here you are: ```json {"scores": []} ```')
    {'scores': []}

    Raises:
        ValueError: There is none.
    """
    # What quotes a stranger's `</think>{}`, thoughts or answer, is no whole answer from there on.
    ends = (end.end() for end in re.finditer("</think>", text))
    for start in (0, *islice(ends, _TRIALS)):
        whole = text[start:].strip().removeprefix("```json").removeprefix("```").removesuffix("```").strip()
        value, rest = _first(whole)
        if value is not None and not rest:
            return value
    text = text.rpartition("</think>")[2]
    starts = (place for place, letter in enumerate(text) if letter == "{")
    for start in islice(starts, _TRIALS):
        value, _ = _first(text[start:])
        if value is not None:
            return value
    raise ValueError("it holds no whole JSON object")


def _first(text: str) -> tuple[dict[str, Any] | None, str]:
    """Return the JSON object that a text begins with, and what follows it; also where commas stand too many."""
    for told in dict.fromkeys((text, _COMMA.sub("", text))) if text.startswith("{") else ():
        try:
            value, end = json.JSONDecoder().raw_decode(told)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return value, told[end:]
    return None, text
