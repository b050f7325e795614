"""What one place tells about an adapter, and how far that place is believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum


class Level(IntEnum):
    """How far a place is believed; the lowest comes first."""

    EDIT = 0
    """The owner's own hand on this very field: rgthree's user words, Stability Matrix' user title."""
    OWNER = 1
    """The fields that owners fill in A1111, Lora Manager and SwarmUI, and their text files."""
    SITE = 2
    """What a site said, as kept in a sidecar."""
    HEADER = 3
    """What the trainer wrote into the file."""
    LLM = 4
    """What a language model made up from a page."""
    NAME = 5
    """What the file is called."""


@dataclass(frozen=True, slots=True)
class Told:
    """What one place tells about a file."""

    place: str
    """For people: `fox.json (A1111)`."""
    level: Level
    fields: Mapping[str, object]
    """Fields of `AdapterRecord`; empty values and None are not told."""


@dataclass(frozen=True, slots=True)
class Beside:
    """The adapter that a sidecar lies beside."""

    file_name: str
    size: int
    """Bytes."""


Json = Mapping[str, object]
"""A parsed JSON object from a stranger: every value may be of any type."""
