"""Opens a catalogue: the file found or made, its schema brought up to date, its errors put into a sentence."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from ..errors import CatalogueError
from . import migrate, sqlite

T = TypeVar("T")

_CHUNK = 500


class Database:
    """An open catalogue: one transaction at a time to write, any number to read beside it."""

    def __init__(self, engine: Engine, name: str, *, read_only: bool = False) -> None:
        self.engine = engine
        self.name = name
        self.read_only = read_only
        self._file = _file_at(name)
        self._writer = engine.execution_options(writes=True)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that sees one state of the catalogue, whatever others write meanwhile."""
        if self.read_only:
            self._follow()
        with self._errors(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction that is kept as a whole or not at all; waits for another writer to finish."""
        if self.read_only:
            raise CatalogueError(f"{self.name} was opened for reading only")
        with self._errors(), self._writer.begin() as connection:
            yield connection

    def mark(self) -> tuple[tuple[int, int], ...]:
        """Return time and size of the file and of its log, where every transaction is written first."""
        told = []
        for path in (Path(self.name), Path(f"{self.name}-wal")):
            try:
                stat = path.stat()
            except OSError:
                continue
            told.append((stat.st_mtime_ns, stat.st_size))
        return tuple(told)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    def _follow(self) -> None:
        """Let go of a file that another one has replaced, or that was deleted: its connections would go on reading it.

        Raises:
            CatalogueError: there is no catalogue there now that can be read.
        """
        file = _file_at(self.name)
        if file == self._file:
            return
        self.engine.dispose()
        with self._errors(), self.engine.begin() as connection:
            _is_current(connection, self)
        self._file = file

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, sqlite3.Error) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            sentence = sqlite.explain(cause, self.name) if cause else None
            if sentence is None:
                raise
            raise CatalogueError(sentence) from error


def chunks(values: Iterable[T]) -> Iterator[list[T]]:
    """Cut into lists that fit one statement's `IN (...)`."""
    remaining = iter(values)
    while chunk := list(islice(remaining, _CHUNK)):
        yield chunk


def open_database(target: str | Path, *, read_only: bool = False) -> Database:
    """Open the catalogue at a path or an SQLAlchemy URL, creating and migrating it unless `read_only`.

    Raises:
        CatalogueError: It cannot be opened, is no catalogue, or is of a newer version.
    """
    path = _path_of(target)
    if path.is_dir():
        raise CatalogueError(f"{path} is a folder; name a file inside it, such as {path / 'catalogue.db'}")
    if read_only and not path.exists():
        raise CatalogueError(f"there is no catalogue at {path}; run `velatura index FOLDER --db {path}` first")
    if not read_only:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CatalogueError(f"the folder of {path} cannot be made: {error.strerror}") from error
    database = Database(sqlite.connect(path, read_only=read_only), str(path), read_only=read_only)
    try:
        _bring_up_to_date(database)
    except BaseException:
        database.close()
        raise
    return database


def _path_of(target: str | Path) -> Path:
    if isinstance(target, Path) or "://" not in target:
        return Path(target).expanduser()
    try:
        url = make_url(target)
    except ArgumentError as error:
        raise CatalogueError(f"{target} is neither a path nor a database URL") from error
    if url.get_backend_name() != "sqlite":
        raise CatalogueError(f"a catalogue cannot be kept in {url.get_backend_name()}; give a path or sqlite:///PATH")
    if url.database in (None, "", ":memory:"):
        raise CatalogueError("a catalogue needs a file; give a path or sqlite:///PATH")
    return Path(str(url.database)).expanduser()


def _file_at(name: str) -> tuple[int, int] | None:
    """Return what tells the file at a path from another one there; None where there is none."""
    try:
        found = Path(name).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _bring_up_to_date(database: Database) -> None:
    with database.reading() as connection:
        current = _is_current(connection, database)
    if current:
        return
    with database._errors():
        sqlite.let_readers_go_on(database.engine)
    with database.writing() as connection:
        # Asked again: another process may have been quicker.
        if not _is_current(connection, database):
            migrate.upgrade(connection)


def _is_current(connection: Connection, database: Database) -> bool:
    if sqlite.is_foreign(connection):
        raise CatalogueError(f"{database.name} is the database of another program; give another path with --db")
    revision = migrate.revision_of(connection)
    if revision == migrate.HEAD:
        return True
    if revision is not None and not migrate.is_known(revision):
        raise CatalogueError(
            f"{database.name} was made by a newer version of Velatura (its schema is {revision}, "
            f"this version knows {migrate.HEAD}); upgrade Velatura, or index again into another file"
        )
    if database.read_only:
        if revision is None:
            raise CatalogueError(f"{database.name} is empty; run `velatura index FOLDER --db {database.name}` first")
        raise CatalogueError(f"{database.name} is of an older version; open it once for writing, as `index` does")
    return False
