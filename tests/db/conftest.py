"""What the tests of the database share: a source in memory, records to offer, and a look at every row."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from velatura.db import Store, open_store
from velatura.protocols import Entry
from velatura.records import AdapterRecord, Rejection


class FakeSource:
    """Offers what it is given, in order."""

    def __init__(
        self,
        offers: Sequence[Entry | Rejection | BaseException],
        *,
        name: str = "folder",
        scope: str = "/adapters",
        complete: bool = True,
    ) -> None:
        self.offers = offers
        self.name = name
        self.scope = scope
        self.complete = complete

    def entries(self) -> Iterator[Entry | Rejection]:
        for offered in self.offers:
            if isinstance(offered, BaseException):
                raise offered
            yield offered


def make_record(key: str, **fields: Any) -> AdapterRecord:
    """A local file's record unless told otherwise."""
    fields = {"source": "folder", "title": f"Title of {key}", "file_name": key, "path": f"/adapters/{key}"} | fields
    return AdapterRecord(key=key, **fields)


def make_entry(
    locator: str,
    *results: AdapterRecord | Rejection | BaseException,
    stamp: str = "1",
    bookmark: str | None = None,
    reads: list[str] | None = None,
) -> Entry:
    """An entry that gives these results, or raises; `reads` collects its locator when it is read."""

    def read() -> Sequence[AdapterRecord | Rejection]:
        if reads is not None:
            reads.append(locator)
        if len(results) == 1 and isinstance(results[0], BaseException):
            raise results[0]
        return results  # type: ignore[return-value]

    return Entry(locator=locator, stamp=stamp, read=read, bookmark=bookmark)


def make_file(key: str, fingerprint: str | None = None, *, stamp: str = "1", **fields: Any) -> Entry:
    """An entry with one local file."""
    return make_entry(key, make_record(key, fingerprint=fingerprint, **fields), stamp=stamp)


# Random or of the moment, and so never the same in two catalogues.
_OF_THE_MOMENT = {"missing_since"}
_SKIPPED = {"word_change", "meta", "encoder", "alembic_version", "sqlite_sequence"}


def rows_of(path: Path, *, numbers: bool = True) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, sorted; without `numbers`, those that merely count are left out."""
    connection = sqlite3.connect(path)
    try:
        tables = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
            if name not in _SKIPPED and (not name.startswith("words_") or name.endswith("_content"))
        ]
        content = {}
        for table in tables:
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            kept = [
                f"{column} IS NULL" if column in _OF_THE_MOMENT else column
                for column in columns
                if numbers or not (column == "id" or column.endswith("_id") or column == "settled")
            ]
            found = connection.execute(f"SELECT {', '.join(kept or ['1'])} FROM {table}").fetchall()
            content[table] = sorted(found, key=repr)
        return content
    finally:
        connection.close()


@pytest.fixture
def make() -> SimpleNamespace:
    """The makers of this file."""
    return SimpleNamespace(source=FakeSource, entry=make_entry, file=make_file, record=make_record)


@pytest.fixture
def rows() -> Callable[..., dict[str, list[tuple[Any, ...]]]]:
    """Every row of a catalogue's file, by table."""
    return rows_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the catalogue lies."""
    return tmp_path / "catalogue.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """An empty catalogue."""
    with open_store(path) as store:
        yield store
