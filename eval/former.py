"""What former runs of an experiment left in its folder: samples that still stand, and what each method was."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

from ..errors import InputError
from .manifest import read_manifest
from .records import CellName, Sample
from .whole import write_whole

METHODS: Final = "methods.json"
_LARGEST: Final = 1 << 20
"""Bytes of `METHODS` that are read."""

Place = tuple[CellName, tuple[str, int]]
"""A sample's cell and pair."""


def standing(manifest: Path, present: Sequence[Sample], covered: Collection[Place]) -> list[Sample]:
    """Return the samples of former runs that stand beside the present ones.

    Those whose place the present run covers are left out, and those whose picture is gone or whose prompt's id stands
    for another prompt now. Of a cell in which the present run has another picture of any sample, all are: it was
    painted another way then, and its halves cannot be compared.

    Args:
        manifest: What former runs wrote; where there is none to read there are no samples.
        present: The present run's samples.
        covered: The places that the present run asks for, whether there came a picture or not.
    """
    try:
        known = read_manifest(manifest).samples
    except InputError:
        return []
    prompts = {sample.prompt_id: sample.prompt for sample in present}
    painted = {(sample.cell, sample.pair): sample.image for sample in present}
    another = {sample.cell for sample in known if painted.get((sample.cell, sample.pair), sample.image) != sample.image}
    return [
        sample
        for sample in known
        if (sample.cell, sample.pair) not in covered
        and sample.cell not in another
        and prompts.get(sample.prompt_id, sample.prompt) == sample.prompt
        and (manifest.parent / sample.image).is_file()
    ]


def read_methods(folder: Path) -> dict[str, str]:
    """Return what each method of an experiment was, by the name that its samples have; empty where nothing tells."""
    path = folder / METHODS
    try:
        if path.stat().st_size > _LARGEST:
            return {}
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    given = told.items() if isinstance(told, dict) else ()
    return {method: said for method, said in given if isinstance(said, str)}


def write_methods(folder: Path, methods: Mapping[str, str]) -> Path:
    """Write what each method was, as a whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    path = folder / METHODS
    text = json.dumps(dict(sorted(methods.items())), ensure_ascii=False, indent=1) + "\n"
    write_whole(path, text.encode("utf-8", "backslashreplace"))
    return path
