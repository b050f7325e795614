"""The `parameters` text of A1111, read: the prompt, the negative prompt and the settings, whoever wrote it."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from .syntax import pinned

_FIELD = re.compile(r'(\w[\w \-/]{1,60}):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
_JSON_FIELDS = ("Hashes", "Civitai resources", "Civitai metadata")
_TELLING = frozenset({"Steps", "Seed", "Sampler", "CFG scale", "Size", "Model", "Model hash", "Version"})
"""Without one of these a line of colons and commas is prose."""
_LONGEST = 1 << 18
"""Characters of a foreign text that are parsed."""


def parse_parameters(text: str) -> dict[str, Any]:
    """Read such a text, whoever wrote it.

    Returns:
        `prompt`, `negative`, `adapters` (name and weight of each tag), and `settings` by A1111's names, of which
        `Hashes` and `Civitai resources` are parsed JSON.
    """
    *lines, last = text[:_LONGEST].strip().split("\n")
    settings, rest = _json_fields(last)
    settings |= {name: _unquoted(value) for name, value in _FIELD.findall(rest)}
    if len(settings) < 3 or _TELLING.isdisjoint(settings):  # a picture without settings: its last line is prose too
        lines, settings = [*lines, last], {}
    prompt: list[str] = []
    negative: list[str] = []
    current = prompt
    for line in lines:
        if line.strip().startswith("Negative prompt:"):
            current, line = negative, line.strip().removeprefix("Negative prompt:")
        current.append(line.strip())
    whole = "\n".join(prompt)
    adapters = [{"name": pin.name, "weight": pin.weight} for pin in pinned(whole)]
    return {"prompt": whole, "negative": "\n".join(negative), "adapters": adapters, "settings": settings}


def finite(number: str) -> float:
    """Read a number of a picture's JSON; Python's reader takes NaN and 1e400, which no JSON can tell again.

    Raises:
        ValueError: it is not finite.
    """
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number} is not a finite number")
    return value


def _unquoted(text: str) -> str:
    if text.startswith('"') and text.endswith('"') and len(text) > 1:
        try:
            return str(json.loads(text))
        except ValueError:
            return text
    return text.strip()


def _json_fields(line: str) -> tuple[dict[str, Any], str]:
    """Take the fields whose values are bare JSON out of a line of settings."""
    found: dict[str, Any] = {}
    for name in _JSON_FIELDS:
        if match := re.search(rf"(?:^|, ){name}: (?=[\[{{])", line):
            try:
                found[name], end = json.JSONDecoder(parse_constant=finite, parse_float=finite).raw_decode(
                    line, match.end()
                )
            except (ValueError, RecursionError):
                continue
            line = line[: match.start()] + line[end:]
    return found, line
