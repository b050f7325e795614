"""What the tests of the database share: a source in memory, records to offer, and a look at every row."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from postgres_server import needs_postgres

from velatura.db import COLUMNS, Store, driver, open_store
from velatura.db.connect import open_database
from velatura.db.schema import metadata
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
_SKIPPED = {"word_change", "meta", "encoder"}
_WORDS = ("rowid", "text")


def rows_of(target: str | Path, *, numbers: bool = True) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, sorted; without `numbers`, those that merely count are left out."""
    content = {}
    with closing(open_database(target, read_only=True)) as database, database.reading() as connection:
        names = [*metadata.tables, *(f"words_{column}" for column in COLUMNS)]
        for table in sorted(set(names) - _SKIPPED):
            columns = [column.name for column in metadata.tables[table].columns] if table in metadata.tables else _WORDS
            kept = [
                f"{column} IS NULL" if column in _OF_THE_MOMENT else column
                for column in columns
                if numbers or not (column in ("id", "rowid", "settled") or column.endswith("_id"))
            ]
            found = connection.exec_driver_sql(f"SELECT {', '.join(kept or ['1'])} FROM {table}")
            content[table] = sorted(map(tuple, found), key=repr)
    return content


@pytest.fixture
def make() -> SimpleNamespace:
    """The makers of this file."""
    return SimpleNamespace(source=FakeSource, entry=make_entry, file=make_file, record=make_record)


@pytest.fixture
def rows() -> Callable[..., dict[str, list[tuple[Any, ...]]]]:
    """Every row of a catalogue, by table."""
    return rows_of


@pytest.fixture
def damage() -> Callable[..., None]:
    """Run a statement of SQLite's on a catalogue, past all that would mind it."""

    def run(target: str | Path, statement: str, *values: object) -> None:
        with closing(open_database(target)) as database, database.writing() as connection:
            if connection.dialect.name == "postgresql":
                statement = re.sub(r"x'(\w+)'", r"'\\x\1'::bytea", statement)
            driver.execute(connection, statement, values)

    return run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a catalogue's file lies."""
    return tmp_path / "catalogue.db"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=needs_postgres)])
def another(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], str | Path]]:
    """Give a place for one more catalogue, on one kind of database and then on the other."""
    if request.param == "sqlite":
        names = (tmp_path / f"catalogue{number or ''}.db" for number in count())
        yield lambda: next(names)
    else:
        yield request.getfixturevalue("another_postgres")


@pytest.fixture
def target(another: Callable[[], str | Path]) -> str | Path:
    """A place for a catalogue, on each kind of database."""
    return another()


@pytest.fixture
def store(target: str | Path) -> Iterator[Store]:
    """An empty catalogue, on each kind of database."""
    with open_store(target) as store:
        yield store
