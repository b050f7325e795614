"""What lies beside a file of the library: a page in one of the forms that tools write, and pictures with their prompts.

Sites and tools are named as in `velatura.catalog.sidecars`, which reads all of these.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final

from PIL.PngImagePlugin import PngInfo

from .cards import Card
from .world import Picture, enlarge, paint

_SHOWN: Final = 8
"""How many times larger than it was painted a picture is kept."""
_ABOUT: Final = (0.0, -0.05, 0.05, 0.0)
"""By how much the weights of the pictures on a page differ from the advised one."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture that an owner keeps, and the prompt that it came of."""

    picture: Picture
    prompt: str
    seed: int


def sidecar(card: Card, number: int, content: bytes, shown: Sequence[Shown]) -> tuple[str, bytes] | None:
    """Return the suffix and the content of the text beside a file; None for one without.

    Args:
        card: What is to be told.
        number: The card's place, of which page and version get their numbers.
        content: The file itself, for its size and digests.
        shown: The pictures of the page.
    """
    if card.sidecar == "none":
        return None
    suffix, write = _WRITERS[card.sidecar]
    text = json.dumps(write(card, number, content, shown), indent=1, ensure_ascii=False)
    return suffix, text.encode()


def example(card: Card, shown: Shown, place: int, content: bytes) -> tuple[str, bytes]:
    """Return the suffix and the bytes of one PNG beside a file, with the text that A1111 leaves in its pictures."""
    stem = PurePath(card.file).stem
    settings = "Steps: 20, Sampler: DDIM, CFG scale: 2, " + (
        f'Seed: {shown.seed}, Size: 32x32, Model: velatura_miniature, Lora hashes: "{stem}: {_tensors(content)[:12]}"'
    )
    texts = PngInfo()
    texts.add_text("parameters", f"{_prompt(card, shown, place)}\nNegative prompt: {card.negative}\n{settings}")
    stream = io.BytesIO()
    enlarge(paint(shown.picture), _SHOWN).save(stream, "PNG", pnginfo=texts)
    return ".preview.png" if place == 0 else f".example.{place}.png", stream.getvalue()


def _weight(card: Card, place: int) -> float:
    return round((card.weight or 0.8) + _ABOUT[place % len(_ABOUT)], 2)


def _prompt(card: Card, shown: Shown, place: int) -> str:
    return f"{shown.prompt} <lora:{PurePath(card.file).stem}:{_weight(card, place):g}>"


def _tensors(content: bytes) -> str:
    return hashlib.sha256(content[8 + int.from_bytes(content[:8], "little") :]).hexdigest()


def _civitai(card: Card, number: int, content: bytes, shown: Sequence[Shown]) -> dict[str, Any]:
    """Civitai Helper keeps the site's answer about the file's version."""
    model, version = _ids(number)
    return {
        "id": version,
        "modelId": model,
        "name": card.version,
        "description": None,
        "baseModel": card.base,
        "trainedWords": list(card.triggers),
        "model": {
            "id": model,
            "name": card.title,
            "type": "LORA",
            "description": card.description,
            "nsfw": False,
            "poi": False,
            "tags": list(card.tags),
            "creator": {"username": card.creator},
        },
        "stats": {"downloadCount": card.downloads},
        "files": [
            {
                "id": 10 * version,
                "name": card.file,
                "type": "Model",
                "primary": True,
                "sizeKB": len(content) / 1024,
                "metadata": {"format": "SafeTensor"},
                "hashes": _hashes(content),
            }
        ],
        "images": [_image(card, version, place, one) for place, one in enumerate(shown)],
    }


def _image(card: Card, version: int, place: int, shown: Shown) -> dict[str, Any]:
    stem = PurePath(card.file).stem
    meta = {
        "prompt": _prompt(card, shown, place),
        "negativePrompt": card.negative,
        "steps": 20,
        "sampler": "DDIM",
        "cfgScale": 2,
        "seed": shown.seed,
        "resources": [{"type": "lora", "name": stem, "weight": _weight(card, place)}],
    }
    url = f"https://example.invalid/{version}/{place}.png"
    return {"url": url, "nsfwLevel": 1, "width": 256, "height": 256, "type": "image", "meta": meta}


def _a1111(card: Card, _number: int, _content: bytes, _shown: Sequence[Shown]) -> dict[str, Any]:
    """A1111 keeps what its user typed."""
    return {
        "description": card.description,
        "sd version": "Unknown",
        "activation text": " || ".join(card.triggers),
        "preferred weight": card.weight or 0.0,
        "negative text": card.negative,
        "notes": card.notes,
    }


def _stability(card: Card, number: int, content: bytes, _shown: Sequence[Shown]) -> dict[str, Any]:
    """Stability Matrix keeps the site's page and version under names of its own."""
    model, version = _ids(number)
    return {
        "ModelId": model,
        "ModelName": card.title,
        "ModelDescription": card.description,
        "Nsfw": False,
        "Tags": list(card.tags),
        "ModelType": "LORA",
        "VersionId": version,
        "VersionName": card.version,
        "VersionDescription": "",
        "AuthorUsername": card.creator,
        "BaseModel": card.base,
        "RemoteFileName": card.file,
        "FileMetadata": {"format": "SafeTensor"},
        "Hashes": _hashes(content),
        "TrainedWords": list(card.triggers),
        "Stats": {"downloadCount": card.downloads},
        "UserTitle": None,
    }


def _ids(number: int) -> tuple[int, int]:
    return 5000 + number, 50_000 + number


def _hashes(content: bytes) -> dict[str, str]:
    whole = hashlib.sha256(content).hexdigest().upper()
    return {"SHA256": whole, "AutoV2": whole[:10], "AutoV3": _tensors(content)[:12].upper()}


_Writer = Callable[[Card, int, bytes, Sequence[Shown]], dict[str, Any]]
_WRITERS: Final[dict[str, tuple[str, _Writer]]] = {
    "civitai": (".civitai.info", _civitai),
    "a1111": (".json", _a1111),
    "stability": (".cm-info.json", _stability),
}
"""The suffix that each tool's text has, and what writes it."""
