"""The grammar of prompts as people write them.

Tag lists, natural sentences, emphasis `(word:1.2)`, `((word))`, `[word]`, alternation `[a|b]`, `BREAK`, escaped
brackets, and adapters pinned by hand as `<lora:name:0.8>` (A1111's `modules/extra_networks.py`).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_TAG = re.compile(r"<(\w+):([^<>]*)>")
_WEIGHT = re.compile(r":\s*[+-]?(?:\d+\.?\d*|\.\d+)\s*(?=[)\]])")
_BRACKETS = re.compile(r"(?<!\\)[()\[\]{}]")
_ESCAPED = re.compile(r"\\([()\[\]{}])")
_BREAK = re.compile(r"\b(?:BREAK|AND)\b")
_SPLIT = re.compile(r"[,;\n|、,]|(?<=[.!?。])\s+")
_QUOTED = re.compile(r"[\"“”]([^\"“”]*)[\"“”]")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Pinned:
    """An adapter that the writer named by hand."""

    name: str
    """File stem or alias, as written."""
    weight: float
    """The UNet weight; the text encoder's stands in the tag's first number, and is taken where there is one only."""


def pinned(prompt: str) -> tuple[Pinned, ...]:
    """Return the adapters that the prompt names by `<lora:...>` or `<lyco:...>`, in order, each name once.

    >>> pinned("a fox <lora:foxy:0.7> <lora:ink:1:0.5> <lora:plain> <hypernet:x:1>")
    (Pinned(name='foxy', weight=0.7), Pinned(name='ink', weight=0.5), Pinned(name='plain', weight=1.0))
    """
    found: dict[str, Pinned] = {}
    for kind, body in _TAG.findall(prompt):
        if kind.lower() not in ("lora", "lyco"):
            continue
        name, *arguments = body.split(":")
        numbers = [number for argument in arguments if (number := _number(argument)) is not None]
        named = {key.strip(): _number(value) for key, _, value in (a.partition("=") for a in arguments)}
        unet = named.get("unet")
        weight = unet if unet is not None else (numbers[1] if len(numbers) > 1 else numbers[0] if numbers else 1.0)
        if name.strip():
            found.setdefault(name.strip(), Pinned(name=name.strip(), weight=weight))
    return tuple(found.values())


def without_tags(prompt: str) -> str:
    """Return the prompt less its `<kind:...>` tags, as the text encoder must see it.

    >>> without_tags("a fox, <lora:foxy:0.7>, in (deep:1.2) snow")
    'a fox, in (deep:1.2) snow'
    """
    text = _TAG.sub("", prompt)
    if text == prompt:
        return prompt
    text = re.sub(r"(?:\s*,\s*){2,}", ", ", text)
    return _SPACE.sub(" ", text).strip().strip(",").strip()


def plain_text(prompt: str) -> str:
    r"""Return the words of the prompt: no tags, no emphasis, no brackets but the escaped ones.

    >>> plain_text(r"(masterpiece:1.2), [[blurry]] fox \(animal\), <lora:x:1> BREAK snow_field")
    'masterpiece, blurry fox (animal), snow_field'
    """
    text = _TAG.sub(" ", prompt)
    text = _BREAK.sub(", ", text)
    text = _BRACKETS.sub("", _WEIGHT.sub("", text))
    text = _ESCAPED.sub(r"\1", text)
    text = re.sub(r"\s*,(?:\s*,)*\s*", ", ", _SPACE.sub(" ", text))
    return text.strip().strip(",").strip()


def phrases(prompt: str) -> tuple[str, ...]:
    """Return the prompt's phrases in order, each once: what stands between commas, breaks and full stops.

    >>> phrases("a fox in snow, (ink:1.2), BREAK ink. Moonlight above")
    ('a fox in snow', 'ink', 'ink.', 'Moonlight above')
    """
    parts = (part.strip() for part in _SPLIT.split(plain_text(prompt)))
    return tuple(dict.fromkeys(part for part in parts if part))


def quoted(text: str) -> tuple[str, ...]:
    """Return what stands between double quotes, each once and none that is empty.

    >>> quoted('a fox, "ink wash" and “red fox”, 6" wide')
    ('ink wash', 'red fox')
    """
    return tuple(dict.fromkeys(part.strip() for part in _QUOTED.findall(text) if part.strip()))


def _number(text: str) -> float | None:
    try:
        number = float(text.strip())
    except ValueError:
        return None
    return number if math.isfinite(number) else None
