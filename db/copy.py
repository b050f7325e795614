"""Moves a catalogue into another database, of the same kind or the other: every row, number and word of it.

All is written in one transaction, read back and compared before that ends. Whoever reads the new catalogue sees all of
it or nothing, and a copy that was killed leaves an empty one, into which the same command copies anew.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Table, delete, func, insert, select

from ..errors import CatalogueError
from . import full_text
from .catalogue_name import forget_name
from .codec import storable
from .connect import Database, chunks, open_database
from .schema import meta, metadata, word_change

_WORDS: Final = "words"
"""What the tables of full-text search are called together."""
_AT_ONCE: Final = 1000
_ROUND: Final = 1 << 256

Progress = Callable[[str, int, int], None]
"""Told (table, rows that are done, rows in all)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyReport:
    """What was copied."""

    source: str
    target: str
    rows: dict[str, int] = field(default_factory=dict)
    """By table; `words` are the adapters in full-text search."""
    seconds: float = 0.0


@dataclass(slots=True)
class _Sum:
    """The number of some rows and a digest of them, in whatever order they come."""

    rows: int = 0
    digest: int = 0

    def add(self, row: Sequence[Any]) -> None:
        """Take a row in."""
        self.rows += 1
        # Texts sort otherwise in another database: what is added up has no order.
        told = hashlib.blake2b(repr(row).encode("utf-8", "backslashreplace"), digest_size=32).digest()
        self.digest = (self.digest + int.from_bytes(told, "big")) % _ROUND


def copy_catalogue(source: str | Path, target: str | Path, *, progress: Progress | None = None) -> CopyReport:
    """Copy a catalogue into another database, which must be empty or not be there yet.

    Every table is copied with the numbers of its rows, numbers go on where they went on before, and the tables of
    full-text search are made anew. At the end the rows of each table are counted and digested in both.

    Args:
        source: A catalogue: a path or a URL. It is read in one state, whatever others write meanwhile.
        target: Another path or URL.
        progress: Told how far it is.

    Raises:
        CatalogueError: One of them cannot be opened, both are one, the target is not empty, or what was written there
            is not what was read here; then nothing of it is kept.
    """
    started = time.perf_counter()
    old = open_database(source, read_only=True)
    try:
        new = open_database(target)
        try:
            if _is_one(old, new):
                raise CatalogueError(f"{old.name} and {new.name} are one catalogue; name another to copy it to")
            with old.reading() as reader, new.writing() as writer:
                rows = _copy(reader, writer, old, new, progress or _silent)
        finally:
            new.close()
    finally:
        old.close()
    return CopyReport(source=old.name, target=new.name, rows=rows, seconds=time.perf_counter() - started)


def _copy(reader: Connection, writer: Connection, old: Database, new: Database, progress: Progress) -> dict[str, int]:
    for table in metadata.sorted_tables:
        if table is not meta and writer.execute(select(table).limit(1)).first() is not None:
            raise CatalogueError(f"{new.name} is not empty; name a database that is, or a file that is not there yet")
    writer.execute(delete(meta))
    copied: dict[str, _Sum] = {}
    # The words are noted as changed when they are written; what was noted where they come from takes its place.
    tables = [table for table in metadata.sorted_tables if table is not word_change]
    for table in tables:
        copied[table.name] = _copy_table(reader, writer, table, progress)
    copied[_WORDS] = _copy_words(reader, writer, progress)
    writer.execute(delete(word_change))
    copied[word_change.name] = _copy_table(reader, writer, word_change, progress)
    new.dialect.set_last_numbers(writer, old.dialect.last_numbers(reader))
    for name, wanted in copied.items():
        rows = full_text.texts(writer, None) if name == _WORDS else _rows(writer, metadata.tables[name])
        if _sum(rows) != wanted:
            raise CatalogueError(f"what {new.name} holds in {name} is not what was copied; nothing was kept")
        progress(f"compared {name}", wanted.rows, wanted.rows)
    # Under one name both would write into one collection of Milvus, in turn.
    forget_name(writer)
    return {name: total.rows for name, total in copied.items()}


def _copy_table(reader: Connection, writer: Connection, table: Table, progress: Progress) -> _Sum:
    whole = reader.execute(select(func.count()).select_from(table)).scalar_one()
    names = [column.name for column in table.columns]
    total = _Sum()
    for some in chunks(_rows(reader, table)):
        for row in some:
            total.add(row)
        writer.execute(insert(table), [dict(zip(names, row, strict=True)) for row in some])
        progress(table.name, total.rows, whole)
    return total


def _copy_words(reader: Connection, writer: Connection, progress: Progress) -> _Sum:
    total = _Sum()
    for some in chunks(full_text.texts(reader, None)):
        rows = [(number, tuple(storable(text) for text in texts)) for number, texts in some]
        for row in rows:
            total.add(row)
        full_text.insert(writer, rows)
        progress(_WORDS, total.rows, total.rows)
    return total


def _rows(connection: Connection, table: Table) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a table as any database can hold them, some at a time from the server."""
    statement = select(table).order_by(*table.primary_key.columns)
    for row in connection.execute(statement, execution_options={"yield_per": _AT_ONCE}):
        yield tuple([_plain(value) for value in row])


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    return bytes(value) if isinstance(value, memoryview) else value


def _sum(rows: Iterable[Sequence[Any]]) -> _Sum:
    total = _Sum()
    for row in rows:
        total.add(row)
    return total


def _is_one(old: Database, new: Database) -> bool:
    known = old.dialect.identity(old.url)
    if known is not None:
        return old.dialect is new.dialect and known == new.dialect.identity(new.url)
    return old.name == new.name


def _silent(name: str, done: int, whole: int) -> None:
    pass
