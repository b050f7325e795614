"""What was extracted of samples, from the cache; what is missing is extracted when it is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from ...errors import InputError
from ...syntax import encodable
from ..records import Sample
from .run import Progress, extract

if TYPE_CHECKING:
    from ..cache import FeatureCache
    from ..cells import Features
    from ..protocols import FeatureExtractor, TextExtractor

_TEXTS: Final = 512
"""So many are read between two writes."""


class CachedFeatures(Mapping[str, "Features"]):
    """Features of samples by the extractor's name: a row for each, in order, held once they were asked for.

    Args:
        samples: Those of a cell.
        extractors: What may be asked for.
        cache: Where features are kept.
        folder: Where relative names begin; None takes the current folder.
        progress: Called as pictures are done, where any are missing.
        workers: Threads that read, decode and prepare.
        batch: How many pictures a network looks at at once.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        extractors: Sequence[FeatureExtractor],
        cache: FeatureCache,
        *,
        folder: Path | None = None,
        progress: Progress | None = None,
        workers: int = 2,
        batch: int = 32,
    ) -> None:
        self._samples = samples
        self._extractors = {extractor.name: extractor for extractor in extractors}
        self._cache = cache
        self._folder = folder
        self._progress = progress
        self._workers = workers
        self._batch = batch
        self._held: dict[str, Features] = {}

    def __getitem__(self, name: str) -> Features:
        """Return the features that an extractor finds, shape (samples, width).

        Raises:
            KeyError: there is no such extractor.
            InputError: a picture cannot be read; extract beforehand, and measure those that can.
        """
        if name not in self._held:
            self._held[name] = self._rows(self._extractors[name])
        return self._held[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._extractors)

    def __len__(self) -> int:
        return len(self._extractors)

    def _rows(self, extractor: FeatureExtractor) -> Features:
        if not self._samples:
            return np.empty((0, extractor.width), np.float32)
        shas = [sample.sha256 for sample in self._samples if sample.sha256 is not None]
        if len(shas) == len(self._samples):
            rows, missing = self._cache.get(extractor.fingerprint, shas)
            if not missing:
                return rows
        found = extract(
            self._samples,
            [extractor],
            self._cache,
            folder=self._folder,
            progress=self._progress,
            workers=self._workers,
            batch=self._batch,
        )
        if found.rejections:
            more = f" (and {len(found.rejections) - 1:,} more)" if len(found.rejections) > 1 else ""
            raise InputError(found.rejections[0].reason + more)
        rows, missing = self._cache.get(extractor.fingerprint, [found.digests[one.image] for one in self._samples])
        if missing:
            raise InputError(f"the features kept in {self._cache.folder} were taken away; try again")
        return rows


class CachedTexts(Mapping[str, "Features"]):
    """Features of the samples' prompts by the extractor's name: a row for each sample, in order.

    Args:
        samples: Those of a cell.
        extractors: What may be asked for.
        cache: Where features are kept.
        progress: Called as texts are done, where any are missing.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        extractors: Sequence[TextExtractor],
        cache: FeatureCache,
        *,
        progress: Progress | None = None,
    ) -> None:
        self._texts = [encodable(sample.prompt) for sample in samples]
        self._extractors = {extractor.name: extractor for extractor in extractors}
        self._cache = cache
        self._progress = progress
        self._held: dict[str, Features] = {}

    def __getitem__(self, name: str) -> Features:
        """Return the features that an extractor reads, shape (samples, width).

        Raises:
            KeyError: there is no such extractor.
        """
        if name not in self._held:
            self._held[name] = self._rows(self._extractors[name])
        return self._held[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._extractors)

    def __len__(self) -> int:
        return len(self._extractors)

    def _rows(self, extractor: TextExtractor) -> Features:
        if not self._texts:
            return np.empty((0, extractor.width), np.float32)
        address = f"{extractor.fingerprint}-texts"
        shas = [hashlib.sha256(text.encode()).hexdigest() for text in self._texts]
        rows, missing = self._cache.get(address, shas)
        if missing:
            by_sha = dict(zip(shas, self._texts, strict=True))
            new = list(dict.fromkeys(missing))
            for start in range(0, len(new), _TEXTS):
                if self._progress is not None:
                    self._progress(start, len(new))
                some = new[start : start + _TEXTS]
                self._cache.put(address, some, extractor.read([by_sha[sha] for sha in some]))
            if self._progress is not None:
                self._progress(len(new), len(new))
            rows, missing = self._cache.get(address, shas)
        if missing:
            raise InputError(f"the features kept in {self._cache.folder} were taken away; try again")
        return rows
