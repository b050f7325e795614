"""What Civitai says of an adapter, kept beside its file as other downloaders do: `X.civitai.info`.

Without it the file would be a stranger here: its rating, its licence, and whom it depicts stand in no header, and
gates go by them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..records import AdapterRecord

_TYPES = {"locon": "LoCon", "loha": "LoCon", "lokr": "LoCon", "dora": "DoRA", "embedding": "TextualInversion"}


def civitai_info(record: AdapterRecord, file_name: str, size: int, sha256: str) -> dict[str, Any]:
    """Return the version of a record as Civitai's API spells it, with the one file that was fetched."""
    licence = record.licence
    model = {
        "name": record.title,
        "type": _TYPES.get(record.kind, "LORA"),
        "poi": record.real_person,
        "minor": record.minor,
        "tags": list(record.tags),
        "creator": {"username": record.creator} if record.creator else None,
        "allowNoCredit": licence.no_credit,
        "allowCommercialUse": None if licence.commercial is None else _uses(licence.commercial),
        "allowDerivatives": licence.derivatives,
        "allowDifferentLicense": licence.different_licence,
    }
    return {
        "id": record.version_id,
        "modelId": record.model_id,
        "name": record.version_name,
        "baseModel": record.base_model,
        "nsfwLevel": record.nsfw,
        "trainedWords": [", ".join(group) for group in record.triggers],
        "description": record.description,
        "publishedAt": record.published,
        "model": {name: value for name, value in model.items() if value is not None},
        "files": [
            {
                "id": record.file_id,
                "name": file_name,
                "sizeKB": size / 1024,
                "type": "Model",
                "metadata": {"format": "SafeTensor"},
                "hashes": {"SHA256": sha256.upper()},
            }
        ],
    }


def keep_sidecar(record: AdapterRecord, target: Path, size: int, sha256: str) -> None:
    """Write what Civitai says beside a file, where nothing is kept there yet.

    Raises:
        OSError: it cannot be written.
    """
    if not isinstance(record.version_id, int):
        return
    text = json.dumps(civitai_info(record, target.name, size, sha256), indent=1)
    try:
        with target.with_suffix(".civitai.info").open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        return


def _uses(uses: tuple[str, ...]) -> list[str]:
    names = {"image": "Image", "rentcivit": "RentCivit", "rent": "Rent", "sell": "Sell"}
    return [names[use] for use in uses if use in names] or ["None"]
