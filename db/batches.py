"""Writes a batch of entries that were read: all of it in one transaction, or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, or_, select, tuple_, update

from . import full_text, refinements, triggers, vectors
from .connect import chunks
from .rows import Row
from .schema import adapter, entry, offer, record, rejection, scope
from .words import texts


@dataclass(slots=True)
class Reading:
    """What came of reading one entry. All texts are storable."""

    locator: str
    stamp: str | None
    """None: to be read again next time, whatever its stamp."""
    rows: list[Row] = field(default_factory=list)
    rejections: list[tuple[str, str, str]] = field(default_factory=list)
    """(source, locator, reason) of each thing that became no record."""
    is_kept: bool = False
    """It could not be read this time: what it offered before still stands."""


@dataclass(slots=True)
class Written:
    """The adapters that a batch touched, by number."""

    added: set[int] = field(default_factory=set)
    updated: set[int] = field(default_factory=set)
    revived: set[int] = field(default_factory=set)
    missing: set[int] = field(default_factory=set)


def open_scope(connection: Connection, source: str, name: str) -> int:
    """Return the number of the scope, made if need be, and note that a run has begun to write to it."""
    row = connection.execute(
        select(scope.c.id, scope.c.unfinished).where(scope.c.source == source, scope.c.scope == name)
    ).first()
    if row is None:
        settled = connection.execute(select(func.max(adapter.c.id))).scalar() or 0
        values = {"source": source, "scope": name, "unfinished": True, "settled": settled}
        return int(connection.execute(insert(scope).returning(scope.c.id), values).scalar_one())
    if not row.unfinished:
        connection.execute(update(scope).where(scope.c.id == row.id).values(unfinished=True))
    return int(row.id)


def write(connection: Connection, scope_id: int, readings: Sequence[Reading]) -> Written:
    """Write what was read, replacing what the same entries gave before."""
    written = Written()
    entries, before = _write_entries(connection, scope_id, readings)
    rows = {row.name: row for reading in readings for row in reading.rows}
    numbers = _write_rows(connection, rows, written)
    wanted = {(entries[reading.locator], numbers[row.name]) for reading in readings for row in reading.rows}
    kept = {entries[reading.locator] for reading in readings if reading.is_kept}
    withdrawn = _write_offers(connection, before - kept, wanted)
    _write_rejections(connection, scope_id, readings, entries, before)
    written.missing = mark_missing(connection, scope_id, withdrawn)
    return written


def revive(connection: Connection, scope_id: int, locators: Iterable[str]) -> set[int]:
    """Take back that the adapters of these entries are missing; return their numbers."""
    revived: set[int] = set()
    for chunk in chunks(locators):
        rows = connection.execute(
            select(adapter.c.id)
            .join(offer, offer.c.adapter_id == adapter.c.id)
            .join(entry, entry.c.id == offer.c.entry_id)
            .where(entry.c.scope_id == scope_id, entry.c.locator.in_(chunk), adapter.c.missing_since.is_not(None))
        )
        revived.update(rows.scalars())
    _set_missing(connection, revived, None)
    return revived


def mark_missing(connection: Connection, scope_id: int, withdrawn: Iterable[int]) -> set[int]:
    """Mark those that nothing offers any more, after their entries ceased to; return their numbers.

    A local file is gone as soon as a scope that had it no longer finds it, even where an overlapping scope has not
    looked yet. What a site shows in several scopes is gone when none of them has it.
    """
    missing: set[int] = set()
    for chunk in chunks(withdrawn):
        here = select(offer.c.adapter_id).join(entry).where(entry.c.scope_id == scope_id)
        anywhere = select(offer.c.adapter_id)
        rows = connection.execute(
            select(adapter.c.id).where(
                adapter.c.id.in_(chunk),
                adapter.c.missing_since.is_(None),
                adapter.c.id.not_in(here.where(offer.c.adapter_id.in_(chunk))),
                or_(
                    adapter.c.path.is_not(None),
                    adapter.c.id.not_in(anywhere.where(offer.c.adapter_id.in_(chunk))),
                ),
            )
        )
        missing.update(rows.scalars())
    _set_missing(connection, missing, datetime.now(UTC).isoformat(timespec="seconds"))
    return missing


def _rewrite_words(connection: Connection, written: Sequence[tuple[int, Row]]) -> None:
    """Give adapters the words of their records and of what describers say of them."""
    said = refinements.said(connection, (number for number, _ in written))
    full_text.replace(
        connection,
        [(number, texts(row.record, said[number]) if number in said else row.texts) for number, row in written],
    )


def _set_missing(connection: Connection, numbers: set[int], since: str | None) -> None:
    if not numbers:
        return
    for chunk in chunks(numbers):
        connection.execute(update(adapter).where(adapter.c.id.in_(chunk)).values(missing_since=since))
    vectors.note_change(connection)


def _write_entries(
    connection: Connection, scope_id: int, readings: Sequence[Reading]
) -> tuple[dict[str, int], set[int]]:
    """Return (the number of each locator's entry, the numbers of those that were there before)."""
    entries: dict[str, int] = {}
    stamps: dict[str, str | None] = {}
    for chunk in chunks(reading.locator for reading in readings):
        rows = connection.execute(
            select(entry.c.id, entry.c.locator, entry.c.stamp).where(
                entry.c.scope_id == scope_id, entry.c.locator.in_(chunk)
            )
        )
        for number, locator, stamp in rows:
            entries[locator] = number
            stamps[locator] = stamp
    before = set(entries.values())
    changed = [
        {"number": entries[reading.locator], "new": reading.stamp}
        for reading in readings
        if reading.locator in entries and stamps[reading.locator] != reading.stamp
    ]
    if changed:
        connection.execute(
            update(entry).where(entry.c.id == bindparam("number")).values(stamp=bindparam("new")), changed
        )
    new = [
        {"scope_id": scope_id, "locator": reading.locator, "stamp": reading.stamp}
        for reading in readings
        if reading.locator not in entries
    ]
    if new:
        inserted = connection.execute(insert(entry).returning(entry.c.locator, entry.c.id), new)
        entries.update(inserted.all())
    return entries, before


def _write_rows(
    connection: Connection, rows: dict[tuple[str, str], Row], written: Written
) -> dict[tuple[str, str], int]:
    """Insert the new, update the changed, leave the rest alone; return every row's number."""
    numbers: dict[tuple[str, str], int] = {}
    changed: list[tuple[int, Row]] = []
    for chunk in chunks(rows):
        found = connection.execute(
            select(adapter.c.id, adapter.c.source, adapter.c.key, adapter.c.digest, adapter.c.missing_since).where(
                tuple_(adapter.c.source, adapter.c.key).in_(chunk)
            )
        )
        for number, source, key, digest, missing_since in found:
            row = rows[source, key]
            numbers[source, key] = number
            if missing_since is not None:
                written.revived.add(number)
            if digest != row.digest:
                changed.append((number, row))
    written.updated = {number for number, _ in changed} - written.revived
    _set_missing(connection, written.revived, None)
    new = [row for name, row in rows.items() if name not in numbers]
    if new:
        numbers.update(_insert_rows(connection, new))
        written.added = {numbers[row.name] for row in new}
    if changed:
        update_rows(connection, changed)
    return numbers


def _insert_rows(connection: Connection, rows: Sequence[Row]) -> dict[tuple[str, str], int]:
    returned = connection.execute(
        insert(adapter).returning(adapter.c.source, adapter.c.key, adapter.c.id),
        [row.columns for row in rows],
    )
    numbers = {(source, key): number for source, key, number in returned}
    numbered = [(numbers[row.name], row) for row in rows]
    connection.execute(insert(record), [{"adapter_id": number, "json": row.json} for number, row in numbered])
    full_text.insert(connection, [(number, row.texts) for number, row in numbered])
    triggers.write(connection, [(number, row.record) for number, row in numbered], new=True)
    return numbers


def update_rows(connection: Connection, rows: Sequence[tuple[int, Row]]) -> None:
    """Give adapters new records: what filters ask for, the JSON, and the words."""
    columns: list[dict[str, Any]] = [{"number": number, **row.columns} for number, row in rows]
    connection.execute(update(adapter).where(adapter.c.id == bindparam("number")), columns)
    connection.execute(
        update(record).where(record.c.adapter_id == bindparam("number")).values(json=bindparam("text")),
        [{"number": number, "text": row.json} for number, row in rows],
    )
    _rewrite_words(connection, rows)
    triggers.write(connection, [(number, row.record) for number, row in rows], new=False)


def _write_offers(connection: Connection, before: set[int], wanted: set[tuple[int, int]]) -> set[int]:
    """Bring the offers of these entries up to date; return the adapters that lost one."""
    present: set[tuple[int, int]] = set()
    for chunk in chunks(before):
        rows = connection.execute(select(offer.c.entry_id, offer.c.adapter_id).where(offer.c.entry_id.in_(chunk)))
        present.update((entry_id, number) for entry_id, number in rows)
    stale = present - wanted
    if stale:
        connection.execute(
            delete(offer).where(offer.c.entry_id == bindparam("e"), offer.c.adapter_id == bindparam("a")),
            [{"e": entry_id, "a": number} for entry_id, number in stale],
        )
    new = wanted - present
    if new:
        connection.execute(
            insert(offer), [{"entry_id": entry_id, "adapter_id": number} for entry_id, number in sorted(new)]
        )
    return {number for _, number in stale}


def _write_rejections(
    connection: Connection,
    scope_id: int,
    readings: Sequence[Reading],
    entries: dict[str, int],
    before: set[int],
) -> None:
    wanted = dict.fromkeys((entries[reading.locator], *told) for reading in readings for told in reading.rejections)
    present: dict[tuple[int, str, str, str], int] = {}
    for chunk in chunks(before):
        rows = connection.execute(select(rejection).where(rejection.c.entry_id.in_(chunk)))
        present.update(((row.entry_id, row.source, row.locator, row.reason), row.id) for row in rows)
    for numbers in chunks(number for told, number in present.items() if told not in wanted):
        connection.execute(delete(rejection).where(rejection.c.id.in_(numbers)))
    new = [
        {"scope_id": scope_id, "entry_id": entry_id, "source": source, "locator": locator, "reason": reason}
        for entry_id, source, locator, reason in wanted
        if (entry_id, source, locator, reason) not in present
    ]
    if new:
        connection.execute(insert(rejection), new)
