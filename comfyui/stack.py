"""LORA_STACK, as packs of nodes hand it on: `(name in the folders of LoRAs, weight on the model, on the text encoder)`.

What comes in was made by any pack, or by hand: names are only names, and are looked up in ComfyUI's own list.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import InputError
from ..fenced import line

Stack = list[tuple[str, float, float]]

_SHOWN = 80
_FARTHEST = 100.0
"""The largest weight, either way, that ComfyUI's own loader takes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One adapter of a stack."""

    name: str
    model: float
    clip: float


def entries(stack: object) -> list[Entry]:
    """Return the adapters of a stack, in order; those named `None`, as rows left empty are, are left out.

    Raises:
        InputError: it is no stack, or a weight is none.
    """
    if stack is None:
        return []
    if not isinstance(stack, Sequence) or isinstance(stack, str | bytes):
        raise InputError(f"a LORA_STACK is a list, not {type(stack).__name__}")
    found = (_entry(each, place) for place, each in enumerate(stack, 1))
    return [entry for entry in found if entry.name != "None"]


def _entry(value: object, place: int) -> Entry:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes) or len(value) != 3:
        raise InputError(f"entry {place} of the LORA_STACK is not (name, model weight, clip weight)")
    name, model, clip = value
    if not isinstance(name, str):
        raise InputError(f"entry {place} of the LORA_STACK has no name")
    return Entry(name, _weight(model, name), _weight(clip, name))


def _weight(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _FARTHEST:
        shown = f"{value:g}" if isinstance(value, float) and not math.isfinite(value) else line(repr(value), 20)
        raise InputError(f"the weight of {line(name, _SHOWN)} must be a number from -100 to 100, not {shown}")
    return float(value)
