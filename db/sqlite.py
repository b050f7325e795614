"""What only SQLite needs: how its file is opened, begun upon and told apart, and what its errors mean."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event

from ..errors import CatalogueError
from .schema import COUNTED

APPLICATION_ID = 1447382081
"""`VELA` in the file's header: a catalogue, and not another program's database."""

WAIT = 30.0
"""Seconds to wait for another writer."""

_MEANINGS = (
    ("not a database", "{name} is not a catalogue: it is not an SQLite database; give another path with --db"),
    ("locked", "{name} is locked by another program; try again when that has finished"),
    ("readonly", "{name} cannot be written: the file or its folder is read-only"),
    ("unable to open", "{name} cannot be opened: check that its folder exists and may be read and written"),
    ("is full", "the disk that holds {name} is full; nothing of the last step was kept"),
    ("malformed", "{name} is damaged; restore a copy of it, or index again into a new file"),
)


READING: Mapping[str, Any] = {}
WRITING: Mapping[str, Any] = {"writes": True}


def checked(url: URL) -> URL:
    """Return the URL with the path of its file.

    Raises:
        CatalogueError: It names none.
    """
    if url.database in (None, "", ":memory:"):
        raise CatalogueError("a catalogue needs a file; give a path or sqlite:///PATH")
    return URL.create("sqlite", database=str(Path(str(url.database)).expanduser()))


def name_of(url: URL) -> str:
    """Return the path."""
    return str(url.database)


def file_of(url: URL) -> Path:
    """Return the file."""
    return Path(str(url.database))


def beside(url: URL, what: str) -> Path:
    """Return the path of a file next to the catalogue's."""
    path = file_of(url)
    return path.with_name(f"{path.name}.{what}")


def prepare(url: URL, *, read_only: bool) -> None:
    """Make the file's folder.

    Raises:
        CatalogueError: It cannot be made, or there is no file to read.
    """
    path = file_of(url)
    if path.is_dir():
        raise CatalogueError(f"{path} is a folder; name a file inside it, such as {path / 'catalogue.db'}")
    if read_only and not path.exists():
        raise CatalogueError(f"there is no catalogue at {path}; run `velatura index FOLDER --db {path}` first")
    if not read_only:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CatalogueError(f"the folder of {path} cannot be made: {error.strerror}") from error


def connect(url: URL, *, read_only: bool) -> Engine:
    """Return an engine over the file; nothing is opened yet.

    Transactions of a connection with the execution option `writes` take the writer's lock when they begin, so that
    none fails half-way for having read first.
    """
    path = file_of(url)
    uri = f"{path.absolute().as_uri()}?{_mode(path, read_only)}"

    def open_file() -> sqlite3.Connection:
        # Without an isolation level the driver begins nothing by itself; `begin` below does.
        return sqlite3.connect(uri, uri=True, timeout=WAIT, isolation_level=None, check_same_thread=False)

    engine = create_engine("sqlite://", creator=open_file, poolclass=QueuePool)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = NORMAL")
        # An index run rewrites the same pages of the full-text tables: kept in memory, and copied back seldom.
        connection.execute("PRAGMA cache_size = -65536")
        connection.execute("PRAGMA wal_autocheckpoint = 8000")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def identity(url: URL) -> Hashable:
    """Return where the file lies on its disk; None where there is none."""
    try:
        found = file_of(url).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def mark(engine: Engine, url: URL) -> Hashable:
    """Return time and size of the file and of its log, where every transaction is written first."""
    told = []
    path = file_of(url)
    for one in (path, _log_of(path)):
        try:
            stat = one.stat()
        except OSError:
            continue
        told.append((stat.st_mtime_ns, stat.st_size))
    return tuple(told)


def is_foreign(connection: Connection) -> bool:
    """Return whether the file holds another program's tables."""
    ours = connection.exec_driver_sql("PRAGMA application_id").scalar() == APPLICATION_ID
    return not ours and bool(connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar())


def make_ready(engine: Engine, name: str) -> None:
    """Switch the file to write-ahead logging, once; waits for others that are just creating it."""
    deadline = time.monotonic() + WAIT
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        while cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            try:
                cursor.execute("PRAGMA journal_mode = WAL")
                break  # A file system without shared memory keeps its mode; all still works, readers wait.
            except sqlite3.OperationalError as error:
                # SQLite does not wait by itself for this switch.
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
    finally:
        connection.close()


def last_numbers(connection: Connection) -> dict[str, int]:
    """Return the last number that was given in each table with `AUTOINCREMENT`; see `COUNTED`."""
    return dict(connection.exec_driver_sql("SELECT name, seq FROM sqlite_sequence").all())


def set_last_numbers(connection: Connection, numbers: Mapping[str, int]) -> None:
    """Let the numbers of such tables go on after these; what is no such table is passed over."""
    for name in COUNTED & numbers.keys():
        connection.exec_driver_sql("DELETE FROM sqlite_sequence WHERE name = ?", (name,))
        connection.exec_driver_sql("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (name, numbers[name]))


def explain(error: BaseException, name: str) -> str | None:
    """Return one sentence about an error of the driver, or None when it speaks of a fault in the program."""
    if not (type(error) is sqlite3.DatabaseError or isinstance(error, sqlite3.OperationalError)):
        return None
    # A full disk has another name where it is the log's index that finds no room.
    text = "is full" if getattr(error, "sqlite_errorname", None) == "SQLITE_IOERR_SHMSIZE" else str(error)
    for sign, meaning in _MEANINGS:
        if sign in text:
            return meaning.format(name=name)
    return f"{name} could not be read or written: {text}"


def _mode(path: Path, read_only: bool) -> str:
    if not read_only:
        return "mode=rwc"
    # On a read-only medium the shared-memory file of the log cannot be made; without a log it is not needed.
    if not os.access(path.parent, os.W_OK) and not _log_of(path).exists():
        return "immutable=1"
    return "mode=ro"


def _log_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")
