"""Keeps a catalogue in step with folders while people work in them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from .catalog.settled import Offered, SettledFolder
from .catalog.unfinished import Unfinished, is_partial
from .errors import InputError, MissingDependency, VelaturaError

if TYPE_CHECKING:
    from .db import SyncReport
    from .pipeline import Velatura
    from .refiner.embed import EmbedReport
    from .refiner.pictures import PictureReport
    from .refiner.weights import MeasureReport

Report = TypeVar("Report")

_ANYWAY = 600.0
"""Seconds after which the folders are looked at though nothing was heard: systems drop events when there are many."""

_DEAF = 60.0
"""Seconds between looks where the system cannot tell of changes."""

_PATIENCE = 60.0
"""The most seconds between two tries of what went wrong."""

_DOUBLINGS = 10
"""How often the pause before the next try grows."""

_NAMED = 20
"""How many files of a look are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look at the folders found and did."""

    folders: Mapping[str, SyncReport]
    """By folder; one that could not be read is not there."""
    read: tuple[str, ...] = ()
    """The first of the files that are new or have changed, by path."""
    gone: tuple[str, ...] = ()
    """The first of the files that were there at the last look and are no longer."""
    waiting: tuple[str, ...] = ()
    """Files that are still being written, by path."""
    embedded: EmbedReport | None = None
    pictures: PictureReport | None = None
    measured: MeasureReport | None = None
    trouble: tuple[str, ...] = ()
    """What could not be done, a sentence each; it is tried again."""
    note: str | None = None
    """What is otherwise than one would think."""
    changed: bool = False
    """Whether the catalogue is another than before."""


@dataclass(slots=True)
class _Found:
    """What a look has gathered so far."""

    folders: dict[str, SyncReport] = field(default_factory=dict)
    read: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    changed: bool = False


class Watcher:
    """Indexes folders now, and again whenever something below them changes.

    A look costs what `Velatura.index` costs on a folder in which little has changed. A file that is still being
    written waits until it is whole. What goes wrong is told, and tried again.

    Args:
        velatura: An open catalogue.
        folders: The folders.
        settle: Seconds for which a file must have been still before it is read.
        poll: Look every so many seconds in place of listening, for drives that do not tell of changes.
        texts: Embed texts after a look that changed something.
        pictures: Embed pictures, too; the settings must name a model.
        weights: Measure the weights of what is new, too.
        progress: Called while a look goes on.

    Raises:
        InputError: One of the folders does not exist, or a time is no number above 0.
        MissingDependency: watchfiles is not installed, and `poll` is not given.
    """

    def __init__(
        self,
        velatura: Velatura,
        folders: Sequence[str | Path],
        *,
        settle: float = 2.0,
        poll: float | None = None,
        texts: bool = True,
        pictures: bool = False,
        weights: bool = False,
        progress: Callable[[SyncReport], None] | None = None,
    ) -> None:
        if not (0 < settle < inf and (poll is None or 0 < poll < inf)):
            raise InputError("seconds are a number above 0")
        self._velatura = velatura
        self._unfinished = Unfinished(settle)
        self._offered = {SettledFolder(folder, Offered(), self._unfinished).scope: Offered() for folder in folders}
        self._settle = settle
        self._tick = min(max(settle / 4, 0.05), 0.5)
        self._poll = poll
        self._hears = poll is None
        if self._hears:
            try:
                import watchfiles  # noqa: F401 - only to know that it is there
            except ModuleNotFoundError:
                raise MissingDependency("watchfiles", extra="watch") from None
        self._texts = texts
        self._pictures = pictures
        self._weights = weights
        self._progress = progress
        self._is_behind = True
        self._pending: set[str] = set()
        self._places: dict[str, tuple[int, int] | None] = {}
        self._deafness: str | None = None

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders' absolute paths, each once."""
        return tuple(self._offered)

    def run(self, tell: Callable[[Look], None], *, stopped: threading.Event | None = None) -> None:
        """Look at the folders until `stopped` is set, or the process is interrupted.

        What a look has written by then is kept, and the next run goes on from there.

        Args:
            tell: Called after the first look, and after every other that changed something or went wrong.
            stopped: Ends the run once it is set, after the look that is under way.
        """
        stopped = stopped or threading.Event()
        due = earliest = 0.0
        failures = 0
        last: Look | None = None
        for paths in self._changes(stopped):
            for path in paths:
                self._unfinished.touch(path)
            self._pending |= paths
            now = time.monotonic()
            if now < earliest or (now < due and not any(not self._unfinished(path) for path in self._pending)):
                continue
            look = self._look()
            self._pending = {path for path in self._pending if self._unfinished(path)} | set(look.waiting)
            if last is None or look.changed or look.note or look.trouble != last.trouble:
                tell(look)
            last = look
            failures = min(failures + 1, _DOUBLINGS) if look.trouble else 0
            after = time.monotonic()
            # A tree that takes long to walk is not walked without a rest.
            earliest = after + min(after - now, _PATIENCE)
            due = after + (self._poll or _ANYWAY)
            if failures:
                due = min(due, after + min(self._settle * 2**failures, _PATIENCE))

    # ---------------------------------------------------------------- what has changed

    def _changes(self, stopped: threading.Event) -> Iterator[set[str]]:
        """Yield, several times a second, the paths that have changed; the first time once changes are listened for."""
        while not stopped.is_set():
            places = self._find()
            # A folder that has gone or come back is a change; what listened to the one before hears nothing any more.
            moved = {folder for folder in places if places[folder] != self._places.get(folder, places[folder])}
            self._places = places
            for paths in self._listen(stopped):
                yield paths | moved
                moved = set()
                if self._find() != self._places:
                    break

    def _listen(self, stopped: threading.Event) -> Iterator[set[str]]:
        present = [folder for folder, place in self._places.items() if place is not None]
        if self._hears and present:
            has_heard = False
            try:
                for paths in self._hear(present, stopped):
                    has_heard = True
                    yield paths
                return
            except (OSError, RuntimeError) as error:
                if not all(os.path.isdir(folder) for folder in present):  # noqa: PTH112 - one went meanwhile
                    return
                if not has_heard:
                    self._hears, self._poll = False, _DEAF
                    self._deafness = (
                        f"the system cannot tell of changes here ({_first_line(error)}); "
                        f"the folders are looked at every {_DEAF:.0f} seconds instead"
                    )
            # What was to be told is lost: a name that is no text, say, ends the listening, which then begins anew.
            yield set(present)
            return
        while not stopped.wait(self._tick):
            yield set()

    def _hear(self, folders: Sequence[str], stopped: threading.Event) -> Iterator[set[str]]:
        from watchfiles import Change, watch

        file = self._velatura.store.path
        own = None if file is None else str(file.resolve())

        def matters(_: Change, path: str) -> bool:
            # The catalogue itself may lie in the folder, and a look at it must not be the reason for the next.
            return not (own and path.startswith(own)) and not is_partial(path)

        milliseconds = int(self._tick * 1000)
        heard = watch(
            *folders,
            watch_filter=matters,
            debounce=milliseconds,
            rust_timeout=milliseconds,
            yield_on_timeout=True,
            stop_event=stopped,
        )
        for events in heard:
            yield {path for _, path in events}

    def _find(self) -> dict[str, tuple[int, int] | None]:
        """Return where each folder is, as the system numbers places; None where there is none."""
        return {folder: _place(folder) for folder in self._offered}

    # ---------------------------------------------------------------- looking

    def _look(self) -> Look:
        found = _Found()
        for folder, before in self._offered.items():
            try:
                self._index(folder, before, found)
            except Exception as error:
                found.trouble.append(_sentence(error))
        self._is_behind = self._is_behind or found.changed
        embedded = _try(self._velatura.embed, found) if self._texts and self._is_behind else None
        pictures = _try(self._velatura.embed_pictures, found) if self._pictures and self._is_behind else None
        measured = _try(self._velatura.measure, found) if self._weights and self._is_behind else None
        self._is_behind = bool(found.trouble)
        note, self._deafness = self._deafness, None
        return Look(
            folders=found.folders,
            read=tuple(found.read[:_NAMED]),
            gone=tuple(found.gone[:_NAMED]),
            waiting=tuple(found.waiting),
            embedded=embedded,
            pictures=pictures,
            measured=measured,
            trouble=tuple(found.trouble),
            note=note,
            changed=found.changed,
        )

    def _index(self, folder: str, before: Offered, found: _Found) -> None:
        source = SettledFolder(folder, before, self._unfinished)
        _refuse_unmounted(folder, before)
        troubles = before.troubles
        report = self._velatura.store.sync(source, progress=self._progress)
        found.folders[folder] = report
        found.read += source.read
        found.gone += source.gone
        found.waiting += source.waiting
        found.changed = (
            found.changed
            or bool(source.read or source.gone or source.troubles != troubles)
            or bool(report.added or report.updated or report.moved or report.revived or report.missing)
        )


def _try(work: Callable[[], Report], found: _Found) -> Report | None:
    """Do what comes after a look; what goes wrong is the look's trouble, and None comes back."""
    try:
        return work()
    except Exception as error:
        found.trouble.append(_sentence(error))
        return None


def _place(folder: str) -> tuple[int, int] | None:
    try:
        status = os.stat(folder)  # noqa: PTH116 - paths are text throughout the folder source
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _refuse_unmounted(folder: str, before: Offered) -> None:
    """Refuse a folder that was full and is empty: where a drive was taken away, its folder stays behind.

    Raises:
        InputError: it looks so.
    """
    place = _place(folder)
    device = place[0] if place else None
    if before.files and before.device not in (None, device) and not os.listdir(folder):  # noqa: PTH208
        raise InputError(f"the folder {folder} is empty, and its drive is gone; what it held stays as it was")
    before.device = device


def _sentence(error: Exception) -> str:
    """Return what went wrong in one line."""
    if isinstance(error, VelaturaError):
        return str(error)
    return f"{type(error).__name__}: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:300]
