"""Which of these files work on this model: one answer a file, whatever state it is in."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from ...errors import UnreadableFile
from .coverage import Coverage, coverage
from .family import adapter_family
from .file import PICKLES, AdapterFile
from .names import places
from .plan import match

_PARENTS = {"pony": "sdxl", "illustrious": "sdxl", "noobai": "sdxl"}
"""Families that share a UNet with another."""

_ENDINGS = (".safetensors", *PICKLES)

Model = Callable[[str], dict[str, nn.Module]]
"""Gives the modules of a model by its name; of a family's standard model by the family's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The answer for one file."""

    path: Path
    coverage: Coverage | None
    problem: str | None
    """Why it would not be laid, in one sentence; None where it would."""


def check(paths: Iterable[Path], structure: Model, model: str | None, families: Iterable[str]) -> Iterator[Checked]:
    """Check adapter files against a model.

    Args:
        paths: Files, and folders whose `.safetensors` files are meant, at any depth.
        structure: Gives a model's modules without weights (see `generation.structure`).
        model: The model; None takes the standard model of each file's own family.
        families: The families whose standard model is known.
    """
    models: dict[str, dict[str, nn.Module]] = {}

    def modules(name: str) -> dict[str, nn.Module]:
        if name not in models:
            models[name] = structure(name)
        return models[name]

    for path in _files(paths):
        if isinstance(path, OSError):
            where = Path(str(path.filename))
            yield Checked(path=where, coverage=None, problem=f"the folder cannot be read: {path.strerror}")
            continue
        try:
            file = AdapterFile(path)
            wanted = modules(model) if model else _closest(file, dict.fromkeys(families, modules))
            found = coverage(match(file, wanted), wanted)
            file.read_all()
        except UnreadableFile as error:
            yield Checked(path=path, coverage=None, problem=str(error))
        else:
            yield Checked(path=path, coverage=found, problem=found.refusal)


def _closest(file: AdapterFile, models: Mapping[str, Model]) -> dict[str, nn.Module]:
    """Return the standard model of a file's family; where that is not told, the one that it fits best."""
    family = adapter_family(file, places({}, file.header)).family
    family = _PARENTS.get(family, family)
    if family in models:
        return models[family](family)
    built = [model(name) for name, model in models.items()]
    return max(built, key=lambda modules: match(file, modules).coverage)


def _files(paths: Iterable[Path]) -> Iterator[Path | OSError]:
    """Yield files, what folders hold (adapters, and pickles that may be some), and why a folder cannot be read."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        closed: list[OSError] = []
        for folder, inner, names in os.walk(path, onerror=closed.append):
            inner.sort()
            yield from (Path(folder, name) for name in sorted(names) if name.lower().endswith(_ENDINGS))
        yield from closed
