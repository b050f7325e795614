"""What only SQLite needs: how its file is opened, begun upon and told apart, and what its errors mean."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event

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


def connect(path: Path, *, read_only: bool) -> Engine:
    """Return an engine over the file; nothing is opened yet.

    Transactions of a connection with the execution option `writes` take the writer's lock when they begin, so that
    none fails half-way for having read first.
    """
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


def is_foreign(connection: Connection) -> bool:
    """Return whether the file holds another program's tables."""
    ours = connection.exec_driver_sql("PRAGMA application_id").scalar() == APPLICATION_ID
    return not ours and bool(connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar())


def let_readers_go_on(engine: Engine) -> None:
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


def explain(error: BaseException, name: str) -> str | None:
    """Return one sentence about an error of the driver, or None when it speaks of a fault in the program."""
    if not (type(error) is sqlite3.DatabaseError or isinstance(error, sqlite3.OperationalError)):
        return None
    text = str(error)
    for sign, meaning in _MEANINGS:
        if sign in text:
            return meaning.format(name=name)
    return f"{name} could not be read or written: {text}"


def _mode(path: Path, read_only: bool) -> str:
    if not read_only:
        return "mode=rwc"
    log = path.with_name(path.name + "-wal")
    # On a read-only medium the shared-memory file of the log cannot be made; without a log it is not needed.
    if not os.access(path.parent, os.W_OK) and not log.exists():
        return "immutable=1"
    return "mode=ro"
