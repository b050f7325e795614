"""The texts of the playground's library: what its pages say, and, apart from that, what each file really is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final, Literal

BASE_MODEL: Final = "Velatura miniature"
"""The base that pages name: the playground's own model."""

Trouble = Literal["copy", "resaved", "overtrained", "foreign", "broken", "mislabelled", "noise"]
"""What can be wrong with a file: the same bytes again; the same changes saved anew; trained for too long; made for
another base; cut off; called what it is not; a tool that does nothing good, whatever its page claims."""

HARMLESS: Final = frozenset({"copy", "resaved"})
"""Troubles that paint what the good file paints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What is told about one file of the library."""

    file: str
    sidecar: Literal["civitai", "a1111", "stability", "none"]
    """Whose habit the text beside the file follows; `none` for a file that nothing but its header speaks for."""
    title: str = ""
    version: str = ""
    creator: str = ""
    description: str = ""
    """HTML on a site's page, else plain text."""
    triggers: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    weight: float | None = None
    """The weight that pictures and owners use."""
    notes: str = ""
    negative: str = ""
    base: str = BASE_MODEL
    downloads: int = 0
    examples: int = 0
    """Pictures beside the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What one file of the library really is. Nothing that chooses adapters may look at it."""

    file: str
    lora: str | None
    """Name of the trained adapter that it is made of."""
    full: float
    """The weight at which it does what it was trained to."""
    subject: str | None = None
    style: str | None = None
    scene: str | None = None
    trouble: Trouble | None = None

    @property
    def serves(self) -> tuple[str, str] | None:
        """The part of a picture and its name that it was made for: `("subject", "cat")`."""
        parts = (("subject", self.subject), ("style", self.style), ("scene", self.scene))
        return next(((part, name) for part, name in parts if name is not None), None)

    @property
    def harmful(self) -> bool:
        """Whether laying it on is a mistake."""
        return self.trouble is not None and self.trouble not in HARMLESS


def read_cards() -> tuple[Card, ...]:
    """Return the cards of the library's files."""
    return tuple(
        Card(**{**row, "triggers": tuple(row.get("triggers", ())), "tags": tuple(row.get("tags", ()))})
        for row in _read("adapters.json")
    )


def read_truth() -> dict[str, Truth]:
    """Return what each file really is, by its name."""
    return {file: Truth(file=file, **row) for file, row in _read("truth.json").items()}


def distractor_pages() -> dict[str, Any]:
    """Return pages of adapters that are not on this machine, in the form in which Civitai's API answers."""
    return {"items": [_page(number, row) for number, row in enumerate(_read("distractors.json"))]}


def _read(name: str) -> Any:
    return json.loads(files(__package__).joinpath("cards", name).read_text(encoding="utf-8"))


def _page(number: int, row: dict[str, Any]) -> dict[str, Any]:
    model, version = 7000 + number, 70_000 + number
    stem = "_".join("".join(letter for letter in row["title"].lower() if letter.isalnum() or letter == " ").split())
    resource = {"type": "lora", "name": stem, "weight": 0.7}
    meta = {"prompt": f"{row['prompt']} <lora:{stem}:0.7>", "steps": 20, "cfgScale": 7, "resources": [resource]}
    image = {"url": f"https://example.invalid/{version}/0.jpeg", "nsfwLevel": 1, "type": "image", "meta": meta}
    file = {"id": 700_000 + number, "name": f"{stem}.safetensors", "type": "Model", "primary": True, "sizeKB": 370.0}
    return {
        "id": model,
        "name": row["title"],
        "description": f"<p>{row['description']}</p>",
        "type": "LORA",
        "nsfw": False,
        "nsfwLevel": 1,
        "tags": row["tags"],
        "creator": {"username": "passer_by"},
        "stats": {"downloadCount": 100 + 37 * number},
        "modelVersions": [
            {
                "id": version,
                "name": "v1.0",
                "baseModel": row.get("base", BASE_MODEL),
                "trainedWords": row["triggers"],
                "files": [{**file, "metadata": {"format": "SafeTensor"}, "hashes": {}}],
                "images": [image],
            }
        ],
    }
