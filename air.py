"""AIR: the names by which models of Civitai and others are told apart everywhere (Civitai's `Air`, 2026-08).

    urn:air:<ecosystem>:<type>:<source>:<model>@<version>[+<file>][.<format>]

Readers also meet the short `civitai:<model>@<version>`. The ecosystem is the root of a family: Pony, Illustrious and
NoobAI are `sdxl` there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .families import OTHER, UNKNOWN
from .records import AdapterRecord

_AIR = re.compile(
    r"(?:urn:)?(?:air:)?(?:(?P<ecosystem>[\w-]{1,40}):(?P<type>[\w-]{1,40}):)?"
    r"(?P<source>civitai|huggingface):"
    r"(?P<model>[\w./-]{1,200}?)(?:@(?P<version>[\w.-]{1,100}?))?(?:\+(?P<file>\d{1,18}))?"
    r"(?:\.(?:safetensors|ckpt|pt|bin))?",
    re.IGNORECASE | re.ASCII,
)
_LONGEST = 500
_TYPES = {"locon": "lycoris", "loha": "lycoris", "lokr": "lycoris", "dora": "dora", "embedding": "embedding"}
_ROOTS = {"pony": "sdxl", "illustrious": "sdxl", "noobai": "sdxl"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Air:
    """What a name says."""

    source: str
    """`civitai` or `huggingface`."""
    model_id: int | str
    version_id: int | str | None = None
    file_id: int | None = None
    ecosystem: str | None = None
    type: str | None = None
    """`lora`, `lycoris`, `dora`, `embedding`, `checkpoint`, ..."""


def air_of(record: AdapterRecord) -> str | None:
    """Return the name of an adapter; None where it has no numbers on Civitai, or its family is not known.

    >>> air_of(AdapterRecord(source="civitai", key="1/2", title="Fox", model_id=1, version_id=2, family="pony"))
    'urn:air:sdxl:lora:civitai:1@2'
    """
    if not isinstance(record.model_id, int) or not isinstance(record.version_id, int):
        return None
    if record.family in (UNKNOWN, OTHER):
        return None
    root = _ROOTS.get(record.family, record.family)
    return f"urn:air:{root}:{_TYPES.get(record.kind, 'lora')}:civitai:{record.model_id}@{record.version_id}"


def parse_air(text: str) -> Air | None:
    """Read a name, the short form too; None where the text is none.

    >>> parse_air("urn:air:sdxl:lora:civitai:1@2+33").file_id, parse_air("civitai:1@2").version_id
    (33, 2)
    >>> parse_air("fox.safetensors"), parse_air("a red fox: at night")
    (None, None)
    """
    text = text.strip()
    match = _AIR.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        return None
    source = match["source"].lower()
    if not text.lower().startswith(("urn:air:", "air:")) and not (source == "civitai" and match["version"]):
        return None
    return Air(
        source=source,
        model_id=_number(match["model"]),
        version_id=_number(match["version"]) if match["version"] else None,
        file_id=int(match["file"]) if match["file"] else None,
        ecosystem=match["ecosystem"] and match["ecosystem"].lower(),
        type=match["type"] and match["type"].lower(),
    )


def _number(text: str) -> int | str:
    return int(text) if text.isdigit() and len(text) <= 18 else text
