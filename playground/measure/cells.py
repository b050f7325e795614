"""Paints, and keeps what is painted: what was painted once, with whatever was laid on the model, is not painted again.

A cell is the pictures of one prompt with one set of adapters. It is named by everything that decides them, so a run
that was stopped goes on, and a model or an adapter that has changed gets cells of its own.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ...errors import VelaturaError
from ...generation import PaintingWarning, open_backend
from ...protocols import Backend
from ...records import Composition, GenerationRequest
from ...whole_file import whole_file
from ..world import SIZE
from .evaluator import Pixels

BATCH = 8
"""Pictures drawn at once."""


@dataclass(frozen=True, slots=True)
class Painted:
    """The pictures of one prompt with one set of adapters."""

    pictures: Pixels
    failure: str | None = None
    """Why the adapters could not be laid on; the pictures are black then."""


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Everything painted with one model in one way."""

    folder: Path
    """Where the cells lie."""
    model: Path
    """A diffusers folder."""
    steps: int
    guidance: float
    count: int
    """Pictures of each prompt."""

    @cached_property
    def backend(self) -> Backend:
        """The product's own, opened when there is something to paint."""
        return open_backend("sd", str(self.model), batch_size=BATCH, laying="weights")

    @cached_property
    def _model_digest(self) -> str:
        return digest_of(path for path in sorted(self.model.rglob("*")) if path.is_file())

    @cached_property
    def _adapter_digests(self) -> dict[str, str]:
        return {}

    def has(self, composition: Composition, seed: int) -> bool:
        """Whether a cell is painted already."""
        return self._path(self._request(composition, seed)).is_file()

    def paint(self, composition: Composition, seed: int) -> Painted:
        """Return the pictures of a composition; one that cannot be laid on the model gives black ones, never kept.

        Raises:
            VelaturaError: the model cannot be opened, or nothing is laid on it and it cannot paint.
        """
        request = self._request(composition, seed)
        path = self._path(request)
        kept = _read(path)
        if kept is not None and len(kept) == self.count:
            return Painted(kept)
        painted = self._paint(request)
        if painted.failure is not None:
            return painted
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as unfinished, unfinished.open("wb") as stream:
            np.savez_compressed(stream, pictures=painted.pictures)
        return painted

    def _request(self, composition: Composition, seed: int) -> GenerationRequest:
        return GenerationRequest(
            composition=composition,
            model=str(self.model),
            seed=seed,
            steps=self.steps,
            guidance=self.guidance,
            width=SIZE,
            height=SIZE,
        )

    def _paint(self, request: GenerationRequest) -> Painted:
        backend = self.backend
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", PaintingWarning)  # what is wrong with a picture shows in its figures
                images = [np.asarray(made.image.convert("RGB")) for made in backend.generate(request, self.count)]
        except VelaturaError as error:
            if not request.choices:
                raise
            return Painted(np.zeros((self.count, SIZE, SIZE, 3), np.uint8), str(error))
        return Painted(np.stack(images))

    def _path(self, request: GenerationRequest) -> Path:
        adapters = [
            (self._adapter_digest(choice.adapter.path or choice.adapter.key), choice.weight)
            for choice in request.choices
        ]
        how = (self._model_digest, request.prompt, adapters, request.seed, self.count, self.steps, self.guidance)
        name = hashlib.blake2b(json.dumps(how).encode(), digest_size=16).hexdigest()
        return self.folder / f"{name}.npz"

    def _adapter_digest(self, path: str) -> str:
        if path not in self._adapter_digests:
            self._adapter_digests[path] = digest_of([Path(path)])
        return self._adapter_digests[path]


def digest_of(paths: Iterable[Path]) -> str:
    """Return the digest of some files' contents, in the order given."""
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _read(path: Path) -> Pixels | None:
    """Read a cell; a damaged one is as good as none."""
    try:
        with np.load(path) as kept:
            pictures: Pixels = kept["pictures"]
            return pictures
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None
