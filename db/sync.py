"""Reads a source into the catalogue, and only what has changed of it."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Connection, insert, select, update

from ..errors import InputError, SourceError
from ..protocols import Entry, Source
from ..records import Rejection
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
    with _few_collections():
        try:
            for offered in source.entries():
                run.take(offered)
        except (SourceError, InputError):
            # What was read before the source failed is good.
            run.write()
            raise
        run.write()
        run.finish()
    return run.report()


@contextmanager
def _few_collections() -> Iterator[None]:
    """Look for cyclic garbage seldom: records make many objects and no cycles, and looking costs a tenth."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@dataclass(slots=True)
class _Known:
    """What the catalogue holds of a scope when a run begins."""

    scope_id: int | None = None
    stamps: dict[str, str | None] = field(default_factory=dict)
    """By locator."""
    hidden: set[str] = field(default_factory=set)
    """Locators of entries of which an adapter is missing."""
    rejections: dict[tuple[str, str], int] = field(default_factory=dict)
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
        self.started = self.written_at = time.perf_counter()
        with database.reading() as connection:
            self.known = _load(connection, self.name, self.scope)
        self.seen: dict[str, str] = {}
        self.told: set[tuple[str, str]] = set()
        self.bookmark = self.known.bookmark
        # What waits to be written.
        self.waiting = 0
        self.readings: list[Reading] = []
        self.reappeared: list[str] = []
        self.untold: list[dict[str, str]] = []
        # What the report tells.
        self.counts = dict.fromkeys(("offered", "unchanged", "records", "rejected", "updated", "moved", "revived"), 0)
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
        complete = self.source.complete
        vanished = [locator for locator in known.stamps if locator not in self.seen] if complete else []
        offered = self.seen.keys() | {locator for locator, _ in self.told}
        overcome = [
            number
            for (locator, reason), number in known.rejections.items()
            if (locator, reason) not in self.told and (complete or locator in offered)
        ]
        if known.scope_id is None or not (vanished or overcome or known.unfinished):
            return
        with self.database.writing() as connection:
            done = settle(connection, known.scope_id, self.name, vanished=vanished, overcome=overcome)
        self.missing = (self.missing | done.missing) - {old for old, _ in done.moved}
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

    def _take_entry(self, offered: Entry) -> None:
        locator, stamp = storable(offered.locator), storable(offered.stamp)
        if locator in self.seen:
            self._take_again(locator, is_same=self.seen[locator] == stamp)
            return
        self.seen[locator] = stamp
        stored = self.known.stamps.get(locator)
        if stored is not None and stored in (stamp, stamp + _HASHED) and not self.force:
            self.counts["unchanged"] += 1
            if locator in self.known.hidden:
                self.reappeared.append(locator)
            return
        reading = _read(offered, locator, stamp, self.name)
        self.counts["records"] += len(reading.rows)
        self.counts["rejected"] += len(reading.rejections)
        self.readings.append(reading)

    def _take_again(self, locator: str, *, is_same: bool) -> None:
        if is_same:
            self.counts["unchanged"] += 1
        else:
            reason = "it was offered twice with different contents; the first was taken"
            self._reject(Rejection(source=self.name, locator=locator, reason=reason))

    def _reject(self, offered: Rejection) -> None:
        self.counts["rejected"] += 1
        locator, reason = storable(offered.locator), storable(offered.reason)
        if (locator, reason) not in self.told and (locator, reason) not in self.known.rejections:
            self.untold.append({"source": storable(offered.source), "locator": locator, "reason": reason})
        self.told.add((locator, reason))

    def _write(self, connection: Connection) -> None:
        scope_id = batches.open_scope(connection, self.name, self.scope)
        revived = batches.revive(connection, scope_id, self.reappeared)
        written = batches.write(connection, scope_id, self.readings)
        # Another run of the same scope may have told them since this one began.
        known = _rejections(connection, scope_id) if self.untold else {}
        untold = [told for told in self.untold if (told["locator"], told["reason"]) not in known]
        if untold:
            connection.execute(insert(rejection), [{"scope_id": scope_id, **told} for told in untold])
        if self.bookmark != self.known.bookmark:
            connection.execute(update(scope).where(scope.c.id == scope_id).values(bookmark=self.bookmark))
        self.known.scope_id, self.known.unfinished, self.known.bookmark = scope_id, True, self.bookmark
        self.added |= written.added
        self.missing = (self.missing | written.missing) - written.revived
        self.counts["updated"] += len(written.updated)
        self.counts["revived"] += len(revived) + len(written.revived)


def _load(connection: Connection, source: str, name: str) -> _Known:
    row = connection.execute(select(scope).where(scope.c.source == source, scope.c.scope == name)).first()
    if row is None:
        return _Known()
    entries = connection.execute(select(entry.c.locator, entry.c.stamp).where(entry.c.scope_id == row.id))
    hidden = connection.execute(
        select(entry.c.locator)
        .join(offer, offer.c.entry_id == entry.c.id)
        .join(adapter, adapter.c.id == offer.c.adapter_id)
        .where(entry.c.scope_id == row.id, adapter.c.missing_since.is_not(None))
    )
    return _Known(
        scope_id=row.id,
        stamps=dict(entries.all()),
        hidden=set(hidden.scalars()),
        rejections=_rejections(connection, row.id),
        bookmark=row.bookmark,
        unfinished=row.unfinished,
    )


def _rejections(connection: Connection, scope_id: int) -> dict[tuple[str, str], int]:
    """Return the numbers of the source's own rejections, by (locator, reason)."""
    rows = connection.execute(
        select(rejection.c.locator, rejection.c.reason, rejection.c.id).where(
            rejection.c.scope_id == scope_id, rejection.c.entry_id.is_(None)
        )
    )
    return {(locator, reason): number for locator, reason, number in rows}


def _read(offered: Entry, locator: str, stamp: str, source: str) -> Reading:
    """Read an entry; whatever goes wrong with it is its rejection and no one else's."""
    reading = Reading(locator, stamp)
    try:
        results = list(offered.read())
    except InputError as error:
        reading.rejections.append((source, locator, storable(str(error))))
        return reading
    except (SourceError, MemoryError):
        raise
    except Exception as error:
        reading.stamp, reading.is_kept = None, True
        reading.rejections.append((source, locator, _sentence("it could not be read", error)))
        return reading
    for result in results:
        if isinstance(result, Rejection):
            reading.rejections.append((storable(result.source), storable(result.locator), storable(result.reason)))
            continue
        try:
            reading.rows.append(row_of(result))
        except MemoryError:
            raise
        except Exception as error:
            reading.stamp = None
            reading.rejections.append((source, locator, _sentence("a record of it could not be kept", error)))
    return reading


def _sentence(what: str, error: Exception) -> str:
    lines = str(error).splitlines()
    return storable(f"{what}: {type(error).__name__}{f' ({lines[0][:200]})' if lines else ''}")
