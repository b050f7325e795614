"""What the end of a run decides: what is gone, and what has only moved."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Select, and_, delete, func, insert, select, update

from . import codec, full_text, vectors
from .batches import mark_missing, update_rows
from .connect import chunks
from .rows import row_of
from .schema import adapter, entry, offer, record, rejection, scope


@dataclass(slots=True)
class Settled:
    """The adapters that the end of a run touched, by number."""

    missing: set[int] = field(default_factory=set)
    moved: list[tuple[int, int]] = field(default_factory=list)
    """(the number kept, the number that the file had been given in its new place)."""


@dataclass(frozen=True, slots=True)
class _File:
    number: int
    stem: str | None
    autov3: str | None

    def may_equal(self, other: _File) -> bool:
        """Fingerprints are equal already; a hash over all tensors, where both have one, has the last word."""
        return self.autov3 is None or other.autov3 is None or self.autov3 == other.autov3


def settle(
    connection: Connection, scope_id: int, source: str, *, vanished: Iterable[str], overcome: Iterable[int]
) -> Settled:
    """End a run: drop what vanished, let moved files keep their numbers, and close the scope.

    Args:
        connection: A writing transaction.
        scope_id: The scope that was run.
        source: The source's name.
        vanished: Locators of entries that exist no longer.
        overcome: Numbers of rejections that hold no longer.
    """
    for numbers in chunks(overcome):
        connection.execute(delete(rejection).where(rejection.c.id.in_(numbers)))
    settled = Settled(missing=_drop_entries(connection, scope_id, vanished) | _drop_left(connection, scope_id, source))
    settled.moved = _keep_moved(connection, scope_id, source)
    highest = connection.execute(select(func.max(adapter.c.id))).scalar() or 0
    connection.execute(
        update(scope).where(scope.c.id == scope_id).values(bookmark=None, unfinished=False, settled=highest)
    )
    return settled


def _drop_entries(connection: Connection, scope_id: int, locators: Iterable[str]) -> set[int]:
    withdrawn: set[int] = set()
    for chunk in chunks(locators):
        gone = select(entry.c.id).where(entry.c.scope_id == scope_id, entry.c.locator.in_(chunk))
        withdrawn.update(connection.execute(select(offer.c.adapter_id).where(offer.c.entry_id.in_(gone))).scalars())
        connection.execute(delete(entry).where(entry.c.scope_id == scope_id, entry.c.locator.in_(chunk)))
    return mark_missing(connection, scope_id, withdrawn)


def _drop_left(connection: Connection, scope_id: int, source: str) -> set[int]:
    """Let go of the files that other scopes had, that are on disk no more, and whose equals came in this run.

    So a library whose root was renamed keeps its numbers, though nobody can run the old scope again.
    """
    local = and_(adapter.c.source == source, adapter.c.path.is_not(None), adapter.c.missing_since.is_(None))
    settled = connection.execute(select(scope.c.settled).where(scope.c.id == scope_id)).scalar_one()
    here = select(offer.c.adapter_id).join(entry).where(entry.c.scope_id == scope_id)
    come = select(adapter.c.fingerprint).where(local, adapter.c.id > settled, adapter.c.id.in_(here))
    rows = connection.execute(
        select(adapter.c.id, adapter.c.path).where(local, adapter.c.fingerprint.in_(come), adapter.c.id.not_in(here))
    )
    left = [number for number, path in rows if not os.path.lexists(path)]
    for chunk in chunks(left):
        offering = select(offer.c.entry_id).where(offer.c.adapter_id.in_(chunk))
        connection.execute(delete(entry).where(entry.c.id.in_(offering)))
    return mark_missing(connection, scope_id, left)


def _keep_moved(connection: Connection, scope_id: int, source: str) -> list[tuple[int, int]]:
    """Give each file that came since the last finished run the number of an equal file that is missing."""
    lost, found = _equal_files(connection, scope_id, source)
    pairs: list[tuple[int, int]] = []
    for fingerprint, arrivals in found.items():
        pairs.extend(_pair(lost[fingerprint], arrivals))
    pairs.sort()
    for chunk in chunks(pairs):
        _merge(connection, chunk)
    if pairs:
        vectors.note_change(connection)
    return pairs


def _equal_files(
    connection: Connection, scope_id: int, source: str
) -> tuple[dict[str, list[_File]], dict[str, list[_File]]]:
    """Return (the missing, the newly come) local files by fingerprint, each list by number."""
    columns = (adapter.c.id, adapter.c.fingerprint, adapter.c.stem_key, adapter.c.autov3)
    local = and_(adapter.c.source == source, adapter.c.path.is_not(None), adapter.c.fingerprint.is_not(None))
    missing = select(*columns).where(local, adapter.c.missing_since.is_not(None)).order_by(adapter.c.id)
    lost = _by_fingerprint(connection, missing)
    if not lost:
        return {}, {}
    settled = connection.execute(select(scope.c.settled).where(scope.c.id == scope_id)).scalar_one()
    offered_here = select(offer.c.adapter_id).join(entry).where(entry.c.scope_id == scope_id)
    come = (
        select(*columns)
        .where(local, adapter.c.missing_since.is_(None), adapter.c.id > settled, adapter.c.id.in_(offered_here))
        .order_by(adapter.c.id)
    )
    found = _by_fingerprint(connection, come)
    return lost, {fingerprint: files for fingerprint, files in found.items() if fingerprint in lost}


def _by_fingerprint(connection: Connection, statement: Select[Any]) -> dict[str, list[_File]]:
    files: dict[str, list[_File]] = defaultdict(list)
    for number, fingerprint, stem, autov3 in connection.execute(statement):
        files[fingerprint].append(_File(number, stem, autov3))
    return files


def _pair(lost: Sequence[_File], found: Sequence[_File]) -> Iterator[tuple[int, int]]:
    """Match copies of one file: first those that kept their name, then the others in the order of their numbers."""
    arrivals = dict.fromkeys(found)
    by_stem: dict[str | None, list[_File]] = defaultdict(list)
    for file in reversed(found):
        by_stem[file.stem].append(file)
    renamed: list[_File] = []
    for file in lost:
        same_name = by_stem[file.stem]
        if same_name and file.may_equal(same_name[-1]):
            arrival = same_name.pop()
            del arrivals[arrival]
            yield file.number, arrival.number
        else:
            renamed.append(file)
    for file in renamed:
        match = next((arrival for arrival in arrivals if file.may_equal(arrival)), None)
        if match:
            del arrivals[match]
            yield file.number, match.number


def _merge(connection: Connection, pairs: Sequence[tuple[int, int]]) -> None:
    """Let each first adapter become what each second one is, and drop the second."""
    kept = {new: old for old, new in pairs}
    texts = connection.execute(select(record.c.adapter_id, record.c.json).where(record.c.adapter_id.in_(kept)))
    rows = [(kept[number], row_of(codec.load(text))) for number, text in texts]
    offers = connection.execute(
        select(offer.c.entry_id, offer.c.adapter_id).where(offer.c.adapter_id.in_([*kept, *kept.values()]))
    )
    present = {(entry_id, number) for entry_id, number in offers}
    full_text.delete(connection, kept)
    connection.execute(delete(adapter).where(adapter.c.id.in_(kept)))
    update_rows(connection, rows)
    wanted = {(entry_id, kept[number]) for entry_id, number in present if number in kept} - present
    connection.execute(insert(offer), [{"entry_id": entry_id, "adapter_id": number} for entry_id, number in wanted])
