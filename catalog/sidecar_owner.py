"""Sidecars that the owner fills: A1111's user metadata, SwarmUI's, and plain text."""

from __future__ import annotations

import re

from ..records import Hashes, WeightEvidence
from .civitai_files import read_id
from .identity import good_hash
from .text import clean_html, clean_line, clean_text
from .told import Beside, Json, Level, Told
from .training import read_modelspec
from .triggers import trigger_groups
from .weights import read_weight, weights_in_prose

# Any of these names the file; the others are too common to do so and count only where nothing else stands beside them.
_A1111_OWN = frozenset({"activation text", "preferred weight", "sd version", "negative text"})
_A1111_ALL = _A1111_OWN | {
    "description", "notes", "category", "extensions", "sha256", "modelId", "modelVersionId", "vae", "tags", "nsfw",
}  # fmt: skip

_SENTENCE = re.compile(r"[.!?。！？:](?:\s|$)|https?:")
_LONGEST_TRIGGER_TEXT = 200
_LONGEST_TRIGGER = 4


def is_a1111(data: Json) -> bool:
    """Whether an `X.json` is A1111's user metadata.

    >>> is_a1111({"activation text": "foxy"}), is_a1111({"notes": "good"}), is_a1111({"notes": "", "unet_lr": 1e-4})
    (True, True, False)
    """
    keys = data.keys()
    return bool(_A1111_OWN & keys) or (bool({"description", "notes"} & keys) and keys <= _A1111_ALL)


def read_a1111(data: Json, name: str, beside: Beside) -> list[Told]:
    """Read A1111's, Forge's and browser-plus' `X.json`; a preferred weight of 0 means that none is set."""
    description = clean_html(_string(data.get("description")))
    weight = read_weight(data.get("preferred weight"))
    weights = (WeightEvidence(weight=weight, source="preferred"),) if weight else ()
    version = clean_line(data.get("sd version"), 50)
    fields = {
        "description": description,
        "notes": clean_html(_string(data.get("notes"))),
        "negative": clean_text(data.get("negative text"), 4000),
        "triggers": trigger_groups([data.get("activation text")]),
        "weights": weights + weights_in_prose(description),
        "base_model": None if version in (None, "Unknown") else version,
        "model_id": read_id(data.get("modelId")),
        "version_id": read_id(data.get("modelVersionId")),
        "hashes": Hashes(sha256=good_hash(data.get("sha256"), 64)),
    }
    return [Told(f"{name} (A1111)", Level.OWNER, fields)]


def read_swarm(data: Json, name: str, beside: Beside) -> list[Told]:
    """Read SwarmUI's `X.swarm.json`: ModelSpec keys, with or without their prefix."""
    return [Told(f"{name} (SwarmUI)", Level.OWNER, read_modelspec(data, weight_from="preferred"))]


def read_description(text: str, name: str) -> list[Told]:
    """Read A1111's `X.description.txt`."""
    description = clean_html(text)
    fields = {"description": description, "weights": weights_in_prose(description)}
    return [Told(f"{name} (A1111)", Level.OWNER, fields)]


def read_text(text: str, name: str) -> list[Told]:
    """Read `X.txt`, which is a description to A1111 and a list of trigger words to others.

    One short line of phrases of at most four words, without the end of a sentence or a link, is taken for triggers.
    """
    line = text.strip()
    phrases = line.split(",")
    is_triggers = (
        len(line) <= _LONGEST_TRIGGER_TEXT
        and "\n" not in line
        and not _SENTENCE.search(line)
        and all(len(phrase.split()) <= _LONGEST_TRIGGER for phrase in phrases)
    )
    if not is_triggers:
        return read_description(text, name)
    return [Told(f"{name} (trigger words)", Level.OWNER, {"triggers": trigger_groups([line])})]


def _string(value: object) -> str | None:
    return value if isinstance(value, str) else None
