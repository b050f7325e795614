"""Adapters of a site and of somebody's machine, and rows of somebody else's dataset."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import shelf

from velatura.dataset.columns import row_of
from velatura.records import (
    PG,
    XXX,
    AdapterRecord,
    Example,
    Hashes,
    Licence,
    RefinedAdapter,
    Refinement,
    WeightEvidence,
)
from velatura.refiner.passages import digest, passages

HOME = "/home/ada-lovelace"
RECORDS = (
    AdapterRecord(
        source="civitai",
        key="1/2/3",
        title="Red Fox <script>",
        model_id=1,
        version_id=2,
        file_id=3,
        family="sd1",
        url="https://civitai.com/api/download/models/2?type=Model&token=hunter2",
        size=9,
        hashes=Hashes(sha256="ab" * 32, autov2="ab" * 5),
        triggers=(("red fox", "fur"), ("foxy",)),
        tags=("animal",),
        training_tags=(("fox", 7),),
        description="A fox in the snow.",
        examples=(
            Example(image="https://image.civitai.com/fox.png", prompt="a red fox, snow", nsfw=PG),
            Example(image="http://127.0.0.1:8188/view?filename=x", prompt="fox by night"),
        ),
        weights=(WeightEvidence(weight=0.7, source="prompt", image=f"{HOME}/pictures/1.png"),),
        licence=Licence(commercial=("image", "sell"), no_credit=True, derivatives=False),
        nsfw=PG,
        real_person=False,
        downloads=12,
        published="2024-05-01T10:00:00Z",
        provenance=(("nsfw", "pictures"),),
    ),
    AdapterRecord(
        source="folder",
        key=f"{HOME}/loras/styles/ink.safetensors",
        path=f"{HOME}/loras/styles/ink.safetensors",
        file_name="styles/ink.safetensors",
        title="Ink wash",
        fingerprint="cd" * 16,
        family="sd1",
        base_model=f"{HOME}/models/dreamshaper 8.safetensors",
        description="Ink on wet paper.",
        notes="for Charles, do not show him",
        previews=(f"{HOME}/loras/styles/ink.png",),
        provenance=(("sidecar", f"{HOME}/loras/styles/ink.json: broken"),),
        tags=("style",),
        triggers=(("ink wash",),),
    ),
    AdapterRecord(
        source="civitai", key="4/5/6", title="Oak", model_id=4, family="sdxl", nsfw=XXX, triggers=(("oak",),)
    ),
)
MINOR = AdapterRecord(source="civitai", key="7/8/9", title="Child", family="sd1", minor=True, nsfw=PG)


class Given(shelf.Given):
    """A source of one of the names that records have."""

    def __init__(self, name: str, records: Sequence[AdapterRecord]) -> None:
        super().__init__([record for record in records if record.source == name])
        self.name = name


def row(**values: Any) -> dict[str, Any]:
    """A row of somebody's dataset."""
    record = AdapterRecord(source="civitai", key="1/1/1", title="Fox", family="sd1")
    told = [(field, digest(text)) for field, text in passages(RefinedAdapter(id=1, record=record))]
    return row_of(record, Refinement(), told) | values


def rewrite(folder: Path, **values: Any) -> None:
    """Let a manifest say something else."""
    path = folder / "velatura.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
