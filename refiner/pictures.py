"""Keeps the vectors of the pictures beside adapters up to date, and of their cards as a picture model reads them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..db.pictures import Seen
from ..errors import InputError
from ..records import AdapterRecord, Filter, Rejection
from .embed import embed_texts
from .passages import CARD, VERSION
from .picture_file import SUFFIXES, PictureFile, read_picture_file, stamp

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..db import Store
    from ..protocols import ImageEmbedder

_SCANNED: Final = 1024
"""Adapters whose pictures are looked up at once."""
_CHUNK: Final = 64
"""Adapters per step: so few that little is lost when killed."""
_BATCH: Final = 32
"""Pictures in memory at once."""
_MOST: Final = 8
"""Pictures of an adapter: the search takes the nearest of them, and more of them are much alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureReport:
    """What a run of `embed_pictures` has done so far."""

    adapters: int = 0
    """Adapters whose pictures, or whose card, were out of date."""
    done: int = 0
    pictures: int = 0
    """Pictures that went through the model; the same picture beside several adapters goes once."""
    texts: int = 0
    """Cards that went through the model."""
    failed: tuple[Rejection, ...] = ()
    """Pictures that cannot be read; they are left out, and not tried again until they change."""
    seconds: float = 0.0


def embed_pictures(
    store: Store, embedder: ImageEmbedder, *, progress: Callable[[PictureReport], None] | None = None
) -> PictureReport:
    """Embed every picture beside an adapter, and every card, that has no vector of this model yet.

    Can be killed at any moment and called again: what is stored is not embedded twice. A picture is known by what is
    in it; a file is read again when its size, its time or its place has changed.
    """
    started = time.perf_counter()
    unread = set(store.unembedded(VERSION, embedder.model, embedder.revision, (CARD,)))
    changed = dict(_changed(store, embedder))
    wanted = sorted(unread | changed.keys())
    report = PictureReport(adapters=len(wanted))
    for start in range(0, len(wanted), _CHUNK):
        chunk = wanted[start : start + _CHUNK]
        texts = embed_texts(store, embedder, [number for number in chunk if number in unread], (CARD,))
        paths = {number: changed[number] for number in chunk if number in changed}
        seen, embedded, failed = _embed_files(store, embedder, paths)
        # Last, so that a kill before this line leaves the pictures out of date and the next run finishes them.
        store.set_pictures(seen.items())
        report = replace(
            report,
            done=report.done + len(chunk),
            pictures=report.pictures + embedded,
            texts=report.texts + texts,
            failed=(*report.failed, *failed),
            seconds=time.perf_counter() - started,
        )
        if progress is not None:
            progress(report)
    return report


def local_pictures(record: AdapterRecord) -> list[Path]:
    """Return where the pictures of a local adapter lie: beside its file, or below; at most 8.

    A path that climbs out of the file's folder is left out. Whether anything is there is not looked at.
    """
    if record.path is None:
        return []
    folder = os.path.dirname(os.path.normpath(record.path))  # noqa: PTH120 - links are not to be followed
    shown = [example.image for example in record.examples if example.image and "://" not in example.image]
    found = dict.fromkeys(os.path.normpath(os.path.join(folder, path)) for path in (*record.previews, *shown))  # noqa: PTH118
    inside = (Path(path) for path in found if path.startswith(os.path.join(folder, "")))  # noqa: PTH118
    return [path for path in inside if path.suffix.lower() in SUFFIXES][:_MOST]


def _changed(store: Store, embedder: ImageEmbedder) -> Iterator[tuple[int, list[Path]]]:
    """Yield the local adapters whose pictures are others than those that are known and embedded, and where they lie."""
    remaining = iter(store.select(Filter(installed=True)).tolist())
    while numbers := list(islice(remaining, _SCANNED)):
        known = store.pictures(numbers)
        digests = {seen.digest for pictures in known.values() for seen in pictures if seen.digest}
        missing = store.missing_vectors(embedder.model, embedder.revision, digests)
        for adapter in store.adapters(numbers):
            there = {path: found for path in local_pictures(adapter.record) if (found := _stamp(path))}
            told = known.get(adapter.id, [])
            same = [seen.stamp for seen in told] == list(there.values())
            if not same or any(seen.digest in missing for seen in told):
                yield adapter.id, list(there)


def _stamp(path: Path) -> str | None:
    try:
        return stamp(path, path.stat())
    except (OSError, ValueError):  # it is gone, or its name holds a NUL
        return None


def _embed_files(
    store: Store, embedder: ImageEmbedder, paths: Mapping[int, Sequence[Path]]
) -> tuple[dict[int, list[Seen]], int, list[Rejection]]:
    """Return the pictures of each adapter, how many went through the model, and those that cannot be read."""
    seen: dict[int, list[Seen]] = {number: [] for number in paths}
    failed: list[Rejection] = []
    waiting: dict[str, Image] = {}
    embedded = 0
    for number, path in ((number, path) for number, files in paths.items() for path in files):
        file, image = None, None
        try:
            file = read_picture_file(path)
            if file.digest not in waiting and _is_new(store, embedder, file):
                image = file.decode()
        except InputError as error:
            failed.append(Rejection(source="picture", locator=str(path), reason=str(error)))
            marked = file.stamp if file is not None else _stamp(path)
            if marked is not None:
                seen[number].append(Seen(name=path.name, stamp=marked, digest=None))
            continue
        seen[number].append(Seen(name=path.name, stamp=file.stamp, digest=file.digest))
        if image is not None:
            waiting[file.digest] = image
        if len(waiting) >= _BATCH:
            embedded += _put(store, embedder, waiting)
    return seen, embedded + _put(store, embedder, waiting), failed


def _is_new(store: Store, embedder: ImageEmbedder, file: PictureFile) -> bool:
    return bool(store.missing_vectors(embedder.model, embedder.revision, [file.digest]))


def _put(store: Store, embedder: ImageEmbedder, waiting: dict[str, Image]) -> int:
    """Embed what is waiting, and keep it."""
    count = len(waiting)
    if count:
        rows = embedder.embed_images(list(waiting.values()))
        store.put_vectors(embedder.model, embedder.revision, dict(zip(waiting, rows, strict=True)))
        waiting.clear()
    return count
