"""Reads a source into the catalogue, and only what has changed of it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import Connection, select, update

from ..errors import InputError, SourceError, VelaturaError
from ..protocols import Entry, Source
from ..records import AdapterRecord, Rejection
from . import batches
from .batches import Reading
from .codec import storable
from .connect import Database
from .rows import row_of
from .schema import adapter, entry, offer, rejection, scope
from .settle import settle

_HASHED = "+hash"
"""What a source appends to a stamp when it also computed hashes: more than is asked for is not less."""

_PATIENCE = 2.0
"""Seconds after which entries that were read are written though the batch is not full: a slow site may go away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncReport:
    """What a run did, or has done so far."""

    source: str
    offered: int = 0
    """Entries and rejections that the source offered."""
    unchanged: int = 0
    """Entries that were not read, because their stamp is known."""
    records: int = 0
    """Records that came of the entries that were read."""
    added: int = 0
    """Adapters new to the catalogue."""
    updated: int = 0
    """Adapters whose record now says something else."""
    moved: int = 0
    """Adapters whose file has another path or name; they keep their number."""
    revived: int = 0
    """Adapters that were missing and are offered again."""
    missing: int = 0
    """Adapters that were there and are offered no more."""
    rejected: int = 0
    """Things that could not become a record, in the entries that were read and by the source itself."""
    seconds: float = 0.0


def sync(
    database: Database,
    source: Source,
    *,
    batch: int = 500,
    progress: Callable[[SyncReport], None] | None = None,
    force: bool = False,
) -> SyncReport:
    """Read what has changed; see `Store.sync`."""
    run = _Run(database, source, batch, progress, force)
    try:
        for offered in source.entries():
            run.take(offered)
    except VelaturaError:
        # What was read before the source failed is good.
        run.write()
        raise
    run.write()
    run.finish()
    return run.report()


@dataclass(slots=True)
class _Known:
    """What the catalogue holds of a scope when a run begins."""

    scope_id: int | None = None
    stamps: dict[str, str | None] = field(default_factory=dict)
    """By locator."""
    hidden: set[str] = field(default_factory=set)
    """Locators of entries of which an adapter is missing."""
    rejections: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    """Numbers of the source's own rejections, by (locator, reason)."""
    bookmark: str | None = None
    unfinished: bool = False


class _Run:
    def __init__(
        self,
        database: Database,
        source: Source,
        batch: int,
        progress: Callable[[SyncReport], None] | None,
        force: bool,
    ) -> None:
        self.database = database
        self.source = source
        self.name = storable(source.name)
        self.scope = storable(source.scope)
        self.batch = batch
        self.progress = progress
        self.force = force
        self.started = time.perf_counter()
        with database.reading() as connection:
            self.known = _load(connection, self.name, self.scope)
        self.seen: dict[str, str] = {}
        self.told: dict[tuple[str, str], Rejection] = {}
        self.readings: list[Reading] = []
        self.reappeared: list[str] = []
        self.untold: list[tuple[str, str, str]] = []
        self.bookmark = self.known.bookmark
        self.waiting = 0
        self.written_at = self.started
        self.counts: defaultdict[str, int] = defaultdict(int)
        self.added: set[int] = set()
        self.missing: set[int] = set()

    def take(self, offered: Entry | Rejection) -> None:
        """Read what was offered if it has changed, and write when a batch is full."""
        self.counts["offered"] += 1
        if isinstance(offered, Rejection):
            self._reject(offered)
        else:
            self._take_entry(offered)
            if offered.bookmark is not None:
                self.bookmark = storable(offered.bookmark)
        self.waiting += 1
        is_late = self.readings and time.perf_counter() - self.written_at > _PATIENCE
        if self.waiting >= self.batch or is_late:
            self.write()

    def write(self) -> None:
        """Write what has gathered, in one transaction; nothing when there is nothing new."""
        if self.readings or self.reappeared or self.untold or self.bookmark != self.known.bookmark:
            with self.database.writing() as connection:
                self._write(connection)
            self.readings, self.reappeared, self.untold = [], [], []
        self.waiting = 0
        self.written_at = time.perf_counter()
        if self.progress:
            self.progress(self.report())

    def finish(self) -> None:
        """Settle what is gone and what has moved, if anything was written since the last finished run."""
        known = self.known
        vanished = [locator for locator in known.stamps if locator not in self.seen] if self.source.complete else []
        overcome = [
            number
            for (locator, reason), numbers in known.rejections.items()
            if (locator, reason) not in self.told and (self.source.complete or self._is_offered(locator))
            for number in numbers
        ]
        if known.scope_id is None or not (vanished or overcome or known.unfinished):
            return
        with self.database.writing() as connection:
            done = settle(connection, known.scope_id, self.name, vanished=vanished, overcome=overcome)
        kept = {old for old, _ in done.moved}
        self.missing = (self.missing | done.missing) - kept
        self.added -= {new for _, new in done.moved}
        self.counts["moved"] = len(done.moved)

    def report(self) -> SyncReport:
        """Return what was done so far."""
        return SyncReport(
            source=self.source.name,
            added=len(self.added),
            missing=len(self.missing),
            seconds=time.perf_counter() - self.started,
            **self.counts,
        )
