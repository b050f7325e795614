"""ComfyUI's folders of LoRAs, read into the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InputError
from .folders import lora_folders

if TYPE_CHECKING:
    from ..settings import Settings


def index(settings: Settings, *, embed: bool) -> str:
    """Return what was read, a line for each folder.

    Raises:
        InputError: ComfyUI has no folder of LoRAs.
        CatalogueError: the catalogue cannot be written.
    """
    from ..pipeline import Velatura

    folders = lora_folders()
    if not folders:
        raise InputError("ComfyUI has no folder of LoRAs")
    rows = []
    with Velatura(settings) as velatura:
        for folder in folders:
            report = velatura.index(folder, kind="folder", progress=_stoppable)
            changed = f"{report.added:,} new, {report.updated:,} changed, {report.missing:,} gone"
            refused = f", {report.rejected:,} that could not be read" if report.rejected else ""
            rows.append(f"{folder}: {changed}{refused}")
        if embed:
            lacking = velatura.lacking_embedder()
            rows.append(
                f"not embedded, found by words alone: {lacking}"
                if lacking
                else f"{velatura.embed(_stoppable).adapters:,} embedded"
            )
    return "\n".join(rows)


def _stoppable(_: object) -> None:
    """Stop where the person pressed ComfyUI's button; what was read is kept."""
    import comfy.model_management  # type: ignore[import-not-found]

    comfy.model_management.throw_exception_if_processing_interrupted()
