"""The catalogue's door: from what a person names to the source that reads it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..protocols import Source

KINDS = ("folder", "civitai", "huggingface")
"""What a source can be. `civitai` and `huggingface` are also the words for the sites themselves."""

_ADAPTERS = (".safetensors", ".pt", ".ckpt", ".bin", ".pth")
_DUMPS = (".json", ".jsonl", ".ndjson", ".gz")
_LOOKED_AT = 100_000


def open_source(
    what: str | Path,
    *,
    kind: str | None = None,
    hash_files: bool = False,
    with_prompts: bool = False,
    resume_from: str | None = None,
) -> Source:
    """Return the source that reads `what`.

    The words `civitai` and `huggingface` are the sites; `./civitai` is a folder of that name. A folder with an
    adapter anywhere in it is a folder of adapters, whatever else lies there; one with JSON and no adapter is a dump.
    Which site a dump is of is seen from its first item.

    Args:
        what: A folder, a dump, or the name of a site.
        kind: One of `KINDS`, to decide instead of looking.
        hash_files: For a folder: read every file to its end, for its digests.
        with_prompts: For Civitai itself: also fetch example prompts.
        resume_from: For Civitai itself: the bookmark to go on from.

    Raises:
        InputError: it is nothing of the kind; one sentence that says what is wrong.
    """
    if kind is not None and kind not in KINDS:
        raise InputError(f"there is no kind of source called {kind}; take one of {', '.join(KINDS)}")
    if str(what) in ("civitai", "huggingface") and kind in (None, str(what)):
        return _open_site(str(what), with_prompts=with_prompts, resume_from=resume_from)
    path = Path(what).expanduser()
    if not os.path.exists(path):  # noqa: PTH110 - unlike Path.exists, it answers for names too long, too
        raise InputError(f"{what} is no file or folder here, and no site; the sites are civitai and huggingface")
    chosen = kind or _look(path)
    if chosen == "folder":
        from .folder import FolderSource

        return FolderSource(path, hash_files=hash_files)
    if chosen == "civitai":
        from .civitai import CivitaiDump

        return CivitaiDump(path)
    from .huggingface import HuggingFaceDump

    return HuggingFaceDump(path)


def _open_site(name: str, *, with_prompts: bool, resume_from: str | None) -> Source:
    if name == "civitai":
        from .civitai_live import CivitaiLive

        return CivitaiLive(with_prompts=with_prompts, resume_from=resume_from)
    from .huggingface import HuggingFaceLive

    return HuggingFaceLive()


def _look(path: Path) -> str:
    """Return the kind of a path by what is in it."""
    from .json_dump import first_value

    if path.is_dir():
        has_dump = False
        for name in _names(path):
            if name.endswith(_ADAPTERS):
                return "folder"
            has_dump = has_dump or name.endswith(_DUMPS)
        if not has_dump:
            return "folder"
    elif path.suffix.lower() in _ADAPTERS:
        raise InputError(f"{path} is one adapter; give the folder that it lies in")
    found = _site_of(first_value(path))
    if found is None:
        what = "a folder without adapters, and its JSON" if path.is_dir() else "neither a folder nor a dump: it"
        raise InputError(f"{path} is {what} holds no Civitai or Hugging Face model")
    return found


def _names(path: Path) -> list[str]:
    """Return the lower-case names of the files below a folder, as many as are worth looking at."""
    names: list[str] = []
    for _, _, files in os.walk(path):
        names += [name.lower() for name in files]
        if len(names) > _LOOKED_AT or any(name.endswith(".safetensors") for name in names[-len(files) :]):
            break
    return names


def _site_of(value: Any) -> str | None:
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("id", value.get("modelId")), str) and not {"modelVersions", "files"} & value.keys():
        return (
            "huggingface"
            if {"siblings", "cardData", "card_data", "tags", "pipeline_tag", "sha"} & value.keys()
            else None
        )
    return "civitai" if {"modelVersions", "modelId"} & value.keys() or {"type", "name", "id"} <= value.keys() else None
