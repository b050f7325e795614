"""Looks at pictures: each file is read and decoded once for all extractors that lack it, and alike files once."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from ...errors import InputError
from ...records import Rejection
from ..cache import FeatureCache
from ..records import Sample
from .digests import FileDigests
from .pictures import no_warnings, read_picture_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..cells import Features
    from ..protocols import FeatureExtractor

Shown: TypeAlias = "tuple[Sequence[str], NDArray[Any]]"
"""The names of extractors of one network, and a batch of what it is shown."""
Through: TypeAlias = "Callable[[Iterable[Shown]], Iterable[tuple[int, Sequence[Features]]]]"
"""Has networks look at batches, wherever: gives the features of each extractor with the batch's place."""
Progress = Callable[[int, int], None]
"""Called with how many pictures are done, and how many there are."""
Picture = Sample | str | Path

_ROWS: Final = 512
_SECONDS: Final = 15.0
"""So many rows, or after so long, are written: what a killed process loses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """What became of pictures."""

    digests: dict[str, str]
    """The SHA-256 of each that could be read, by its name as it was given."""
    rejections: tuple[Rejection, ...]
    """Those that could not."""
    looked_at: int
    """Different pictures that were decoded; of the others all features were there."""

    def readable(self, samples: Iterable[Sample]) -> tuple[Sample, ...]:
        """Return the samples whose pictures could be read, each with its SHA-256."""
        told = ((one, self.digests.get(one.image)) for one in samples)
        return tuple(
            replace(one, sha256=sha) for one, sha in told if sha and (one.sha256 is None or one.sha256.lower() == sha)
        )


def extract(
    pictures: Iterable[Picture],
    extractors: Sequence[FeatureExtractor],
    cache: FeatureCache,
    *,
    folder: Path | None = None,
    progress: Progress | None = None,
    workers: int = 2,
    batch: int = 32,
    through: Through | None = None,
) -> Extraction:
    """See to it that the cache has the features of pictures.

    What is there already is not looked at again, so a run that was stopped goes on where it was.

    Args:
        pictures: Samples or files.
        extractors: What looks at them.
        cache: Where features are kept.
        folder: Where relative names begin; None takes the current folder.
        progress: Called as pictures are done.
        workers: Threads that read, decode and prepare.
        batch: How many pictures a network looks at at once.
        through: Has networks that are open elsewhere look; None has these.

    Returns:
        What became of them; a picture that cannot be read costs nothing but itself.

    Raises:
        InputError: the cache cannot be written, or a network not be loaded.
    """
    tasks = list(dict.fromkeys(_tasks(pictures, folder)))
    run = _Run(extractors, cache, batch, through)
    whole, remaining = len(tasks), tasks
    progress = progress or (lambda _done, _of: None)
    with no_warnings():  # held for all threads: what damaged files make Pillow warn of
        try:
            # Alike files wait for the first of them; should that be lost, the next has its turn.
            while remaining:
                done = whole - len(remaining)
                progress(done, whole)
                now = run.first_of_kind(remaining)
                run.look(now, workers, partial(_told, progress, done, whole))
                remaining = [task for task in remaining if not run.settled(task)]
        finally:
            run.close()
    progress(whole, whole)
    run.reject()
    digests = {task.name: run.found[task] for task in tasks if task not in run.lost}
    lost = [(task.name, run.lost[task]) for task in tasks if task in run.lost]
    rejections = [Rejection(source="pictures", locator=name, reason=reason) for name, reason in lost]
    return Extraction(digests=digests, rejections=tuple(rejections), looked_at=len(run.claimed))


def _told(progress: Progress, before: int, whole: int, count: int) -> None:
    progress(before + count, whole)


@dataclass(frozen=True, slots=True)
class _Task:
    """A file to look at."""

    name: str
    path: Path
    sha256: str | None


@dataclass(slots=True)
class _Prepared:
    """A picture that was read: for each network that lacks it, what that is shown."""

    task: _Task
    sha256: str = ""
    shown: dict[str, NDArray[Any]] = field(default_factory=dict)
    reason: str | None = None
    """Why it could not be read."""


class _Run:
    """One call of `extract`."""

    def __init__(
        self, extractors: Sequence[FeatureExtractor], cache: FeatureCache, batch: int, through: Through | None
    ) -> None:
        self.found: dict[_Task, str] = {}
        self.lost: dict[_Task, str] = {}
        self.claimed: set[str] = set()
        self._bad: dict[str, str] = {}
        self._cache = cache
        self._batch = batch
        self._through = through or self._here
        self._digests = FileDigests(cache.folder)
        self._groups: dict[str, list[FeatureExtractor]] = {}
        for extractor in extractors:
            network = getattr(extractor, "network", None)  # outputs of one network are had at once
            key = extractor.fingerprint if network is None else f"network {id(network)}"
            self._groups.setdefault(key, []).append(extractor)
        self._by_name = {extractor.name: extractor for extractor in extractors}
        self._waiting: dict[str, list[_Prepared]] = {group: [] for group in self._groups}
        self._shown: list[tuple[str, list[_Prepared]]] = []
        """Of each batch, by its place: the network, and the pictures until they were looked at."""
        self._rows: dict[str, list[tuple[str, NDArray[np.float32]]]] = {one.fingerprint: [] for one in extractors}
        self._written = time.monotonic()

    def first_of_kind(self, tasks: Sequence[_Task]) -> list[_Task]:
        """Return the tasks to look at now.

        Those are files of which nothing is known; of files that lack features, and are known or told to be alike, the
        first; and files of which a manifest tells that they have some, unless they were not touched since they were
        last read: those are not even opened.
        """
        now: list[_Task] = []
        seen: set[str] = set()
        for task in tasks:
            known = self._digests.get(task.path)
            sha = task.sha256 or known
            if sha is None:
                now.append(task)
            elif sha in self.claimed or not self._lacking(sha):
                if known == sha:
                    self.found[task] = sha
                else:  # read, and compared with what is told
                    now.append(task)
            elif sha not in seen:
                seen.add(sha)
                now.append(task)
        return now

    def settled(self, task: _Task) -> bool:
        """Say whether it is known what became of a task."""
        return task in self.found or task in self.lost

    def look(self, tasks: Sequence[_Task], workers: int, told: Callable[[int], None]) -> None:
        """Look at files; `told` is called with how many were read."""
        self._shown.clear()
        with closing(self._batches(tasks, workers, told)) as batches:
            for place, found in self._through(batches):
                self._keep(place, found)

    def _batches(
        self, tasks: Sequence[_Task], workers: int, told: Callable[[int], None]
    ) -> Generator[Shown, None, None]:
        """Read files, and yield what networks are shown, a batch whenever one is full, and the rest at the end."""
        queue = iter(tasks)
        pool = ThreadPoolExecutor(max_workers=max(1, workers))
        try:
            under_way: deque[Future[_Prepared]] = deque(
                pool.submit(self._prepare, task) for task in islice(queue, 2 * max(1, workers) + 2)
            )
            done = 0
            while under_way:
                prepared = under_way.popleft().result()
                under_way.extend(pool.submit(self._prepare, task) for task in islice(queue, 1))
                yield from self._take(prepared)
                done += 1
                told(done)
            for group in self._groups:
                yield from self._show(group)
        finally:
            pool.shutdown(cancel_futures=True)

    def reject(self) -> None:
        """Count those as lost in which a network found nothing."""
        for task, sha in self.found.items():
            if sha in self._bad:
                self.lost[task] = f"{task.name}: {self._bad[sha]}"

    def close(self) -> None:
        """Write what was found."""
        self._write()
        self._digests.flush()
        for fingerprint in self._rows:
            self._cache.compact(fingerprint)

    def _lacking(self, sha256: str) -> list[str]:
        """Return the networks that have not looked at a picture."""
        return [
            group
            for group, extractors in self._groups.items()
            if not all(self._cache.has(one.fingerprint, [sha256])[0] for one in extractors)
        ]

    def _prepare(self, task: _Task) -> _Prepared:
        """Read a file and, where features of it are lacking, decode it; called by several threads."""
        prepared = _Prepared(task)
        try:
            file = read_picture_file(task.path, task.sha256)
            self._digests.note(file)
            prepared.sha256 = file.sha256
            # A twin that is under way beside its first is decoded too, and dropped: so batches are always the same.
            lacking = [] if file.sha256 in self.claimed else self._lacking(file.sha256)
            if lacking:
                picture = file.decode()
                prepared.shown = {group: self._groups[group][0].prepare(picture) for group in lacking}
        except InputError as error:
            prepared.reason = str(error)
        return prepared

    def _take(self, prepared: _Prepared) -> Iterator[Shown]:
        task = prepared.task
        if prepared.reason is not None:
            self.lost[task] = prepared.reason
        elif prepared.sha256 in self.claimed or not prepared.shown:
            self.found[task] = prepared.sha256
        else:
            self.claimed.add(prepared.sha256)
            for group in list(prepared.shown):
                self._waiting[group].append(prepared)
                if len(self._waiting[group]) >= self._batch:
                    yield from self._show(group)
            self.found[task] = prepared.sha256

    def _show(self, group: str) -> Iterator[Shown]:
        """Yield what waits for a network."""
        waiting, self._waiting[group] = self._waiting[group], []
        if not waiting:
            return
        shown = np.stack([prepared.shown.pop(group) for prepared in waiting])
        shown.flags.writeable = False  # the outputs of one network know by that that it stays the same
        self._shown.append((group, waiting))
        yield [extractor.name for extractor in self._groups[group]], shown

    def _here(self, batches: Iterable[Shown]) -> Iterator[tuple[int, Sequence[Features]]]:
        for place, (names, shown) in enumerate(batches):
            yield place, [self._by_name[name].extract(shown) for name in names]

    def _keep(self, place: int, found: Sequence[Features]) -> None:
        """Keep what a network found in a batch."""
        group, waiting = self._shown[place]
        self._shown[place] = group, []
        for extractor, features in zip(self._groups[group], found, strict=True):
            for prepared, row in zip(waiting, features, strict=True):
                if np.isfinite(row).all():
                    self._rows[extractor.fingerprint].append((prepared.sha256, row))
                else:
                    self._bad[prepared.sha256] = f"{extractor.name} finds no finite features in it"
        if time.monotonic() - self._written > _SECONDS or max(map(len, self._rows.values())) >= _ROWS:
            self._write()

    def _write(self) -> None:
        for fingerprint, rows in self._rows.items():
            if rows:
                self._cache.put(fingerprint, [sha for sha, _ in rows], np.stack([row for _, row in rows]))
                rows.clear()
        self._written = time.monotonic()


def _tasks(pictures: Iterable[Picture], folder: Path | None) -> Iterator[_Task]:
    for picture in pictures:
        name, sha256 = (picture.image, picture.sha256) if isinstance(picture, Sample) else (str(picture), None)
        path = Path(name) if folder is None else folder / name
        yield _Task(name, path, None if sha256 is None else sha256.lower())
