"""What generated pictures are compared with: a folder, a manifest or a list of pictures, or statistics of them."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from ..errors import InputError
from .extract.cached import CachedFeatures
from .extract.digests import FileDigests
from .extract.pictures import SUFFIXES, read_picture_file
from .extract.run import Progress
from .extract.weights import digest_file
from .records import Sample

if TYPE_CHECKING:
    from .cache import FeatureCache
    from .cells import Features
    from .moments import Moments
    from .protocols import FeatureExtractor

_PROMPT: Final = ""
"""References are read for their pictures alone."""


class References(Protocol):
    """What generated pictures are compared with."""

    @property
    def name(self) -> str:
        """What it is called, in signatures."""

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits, of what it holds."""

    @property
    def signature(self) -> str:
        """Both, for signatures: `coco14v:6f3a1b2c`."""

    @property
    def n(self) -> int | None:
        """Pictures; None where statistics do not say."""

    def features(self, extractor: FeatureExtractor) -> Features:
        """Return the features of the pictures, shape (n, extractor.width).

        Raises:
            InputError: a picture cannot be read, or there are none.
        """

    def moments(self, extractor: FeatureExtractor) -> Moments:
        """Return the mean and the scatter of the features.

        Raises:
            InputError: a picture cannot be read, or the statistics are of other features.
        """


class PictureReferences:
    """Pictures to compare with.

    All must be readable: a reference that quietly lost some would be another one.

    Args:
        name: What they are called.
        pictures: Their files.
        cache: Where features and moments are kept.
        progress: Called as pictures are done, where any must be looked at.
        workers: Threads that read, decode and prepare.
        batch: How many pictures a network looks at at once.
    """

    def __init__(
        self,
        name: str,
        pictures: Sequence[Path],
        cache: FeatureCache,
        *,
        progress: Progress | None = None,
        workers: int = 2,
        batch: int = 32,
    ) -> None:
        self.name = name
        self._pictures = pictures
        self._cache = cache
        self._progress = progress
        self._workers = workers
        self._batch = batch

    @property
    def n(self) -> int:
        """Pictures."""
        return len(self._pictures)

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits, of the pictures' content, in whatever order and under whatever names they lie."""
        return self._address[:8]

    @property
    def signature(self) -> str:
        """Its name and digest, for signatures: `coco14v:6f3a1b2c`."""
        return f"{_plain(self.name)}:{self.digest}"

    def features(self, extractor: FeatureExtractor) -> Features:
        """Return the features of the pictures, shape (n, extractor.width).

        Raises:
            InputError: a picture cannot be read; says which, and how many.
        """
        found = CachedFeatures(
            self._samples,
            [extractor],
            self._cache,
            progress=self._progress,
            workers=self._workers,
            batch=self._batch,
        )
        return found[extractor.name]

    def moments(self, extractor: FeatureExtractor) -> Moments:
        """Return the mean and the scatter of the features, which are kept beside them.

        Raises:
            InputError: a picture cannot be read; says which, and how many.
        """
        from .moments import Moments, moments_of

        told = f"{extractor.fingerprint} {self._address}"
        path = self._cache.folder / "moments" / f"{hashlib.blake2b(told.encode(), digest_size=16).hexdigest()}.npz"
        if path.is_file():
            try:
                return Moments.load(path)
            except InputError:
                path.unlink(missing_ok=True)  # damaged: reckoned again
        moments_of(self.features(extractor)).save(path)
        return Moments.load(path)  # as every later run does: the same to the last digit

    @cached_property
    def _samples(self) -> list[Sample]:
        """The pictures with their digests; what was not touched since it was last read is not read again."""
        digests = FileDigests(self._cache.folder)
        found = []
        for path in self._pictures:
            sha256 = digests.get(path)
            if sha256 is None:
                file = read_picture_file(path)
                digests.note(file)
                sha256 = file.sha256
            found.append(Sample(prompt_id=str(path), prompt=_PROMPT, method="", image=str(path), sha256=sha256))
        digests.flush()
        return found

    @cached_property
    def _address(self) -> str:
        shas = sorted(sample.sha256 or "" for sample in self._samples)
        return hashlib.blake2b("".join(shas).encode(), digest_size=20).hexdigest()


class StatisticsReferences:
    """The mean and the covariance of features, as clean-fid and pytorch-fid keep them.

    Args:
        path: An `.npz` file with `mu` and `sigma`, and `n` where it is known.

    Raises:
        InputError: it is not there, damaged, or holds something else.
    """

    def __init__(self, path: Path) -> None:
        from .moments import Moments

        self.name = path.stem
        self._path = path
        self._moments = Moments.load(path)

    @property
    def n(self) -> int | None:
        """Pictures; None where the file does not say."""
        return self._moments.n

    @cached_property
    def digest(self) -> str:
        """Eight hexadecimal digits, of the file."""
        return digest_file(self._path)[:8]

    @property
    def signature(self) -> str:
        """Its name and digest, for signatures: `coco14v:6f3a1b2c`."""
        return f"{_plain(self.name)}:{self.digest}"

    def features(self, extractor: FeatureExtractor) -> Features:
        """Raise `InputError`: there are none."""
        raise InputError(
            f"{self._path} holds statistics alone; KID, CMMD and whatever else reads {extractor.name} features of "
            "references needs their pictures: name their folder"
        )

    def moments(self, extractor: FeatureExtractor) -> Moments:
        """Return the mean and the scatter.

        Raises:
            InputError: they are of features of another width.
        """
        if self._moments.width != extractor.width:
            raise InputError(
                f"{self._path} holds statistics of {self._moments.width} features, and {extractor.name} finds "
                f"{extractor.width}; name the references' pictures, or statistics of {extractor.name}"
            )
        return self._moments


def open_references(
    what: str | Path | Sequence[str | Path],
    cache: FeatureCache,
    *,
    name: str | None = None,
    progress: Progress | None = None,
    workers: int = 2,
    batch: int = 32,
) -> References:
    """Return what generated pictures are compared with.

    Args:
        what: A folder of PNG, JPEG and WebP pictures, folders within it too; a manifest (`.jsonl`); an `.npz` file of
            statistics; or a list of pictures, such as a dataset's.
        cache: Where features and moments are kept.
        name: What to call it in signatures; None takes the file's or folder's own.
        progress: Called as pictures are done, where any must be looked at.
        workers: Threads that read, decode and prepare.
        batch: How many pictures a network looks at at once.

    Raises:
        InputError: there is no such thing, or there are no pictures in it; one sentence.
    """
    if not isinstance(what, str | Path):
        pictures, found = list(dict.fromkeys(Path(one) for one in what)), "pictures"
    else:
        path = Path(what).expanduser()
        found = path.resolve().stem if path.suffix.lower() in (".npz", ".jsonl") else path.resolve().name
        if path.suffix.lower() == ".npz":
            return StatisticsReferences(path)
        pictures = _pictures_of(path)
    if not pictures:
        raise InputError(f"there are no PNG, JPEG or WebP pictures in {what}" if found else "there are no pictures")
    return PictureReferences(name or found, pictures, cache, progress=progress, workers=workers, batch=batch)


def _pictures_of(path: Path) -> list[Path]:
    """Return the pictures of a folder, or of a manifest."""
    if path.is_dir():
        found = (Path(base) / file for base, _, files in os.walk(path) for file in files)
        return sorted(file for file in found if file.suffix.lower() in SUFFIXES and not file.name.startswith("."))
    if path.suffix.lower() == ".jsonl":
        from .manifest import read_manifest

        manifest = read_manifest(path)
        return list(dict.fromkeys(manifest.path(sample) for sample in manifest.samples))
    if path.exists():
        raise InputError(f"{path} is no folder of pictures, no manifest (.jsonl) and no statistics (.npz)")
    raise InputError(f"there are no references at {path}: name a folder of pictures, a manifest or an .npz file")


def _plain(name: str) -> str:
    """Return a name without what signatures are split by."""
    return re.sub(r"[|:=\s]+", "-", name)
