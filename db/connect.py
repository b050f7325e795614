"""Opens a catalogue: the database found or made, its schema brought up to date, its errors put into a sentence."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TypeVar

from sqlalchemy import URL, Connection
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from ..errors import CatalogueError
from . import migrate, postgres, sqlite
from .dialect import Dialect

T = TypeVar("T")

_CHUNK = 500

_URL = re.compile(r".*://|postgres(ql)?(\+\w+)?:", re.DOTALL)
"""With a stroke forgotten it is one still: taken for a path, its password would be the name of a folder."""

_DIALECTS: dict[str, Dialect] = {"sqlite": sqlite, "postgresql": postgres, "postgres": postgres}


class Database:
    """An open catalogue: one transaction at a time to write, any number to read beside it."""

    def __init__(self, url: URL, *, read_only: bool = False) -> None:
        self.dialect = _DIALECTS[url.get_backend_name()]
        self.url = url
        self.name = self.dialect.name_of(url)
        self.read_only = read_only
        self.engine = self.dialect.connect(url, read_only=read_only)
        self._identity = self.dialect.identity(url)
        self._reader = self.engine.execution_options(**self.dialect.READING)
        self._writer = self.engine.execution_options(**self.dialect.WRITING)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that sees one state of the catalogue, whatever others write meanwhile."""
        if self.read_only:
            self._follow()
        with self._errors(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction that is kept as a whole or not at all; waits for another writer to finish."""
        if self.read_only:
            raise CatalogueError(f"{self.name} was opened for reading only")
        with self._errors(), self._writer.begin() as connection:
            yield connection

    def mark(self) -> Hashable:
        """Return what is another whenever anybody has committed to the catalogue."""
        with self._errors():
            return self.dialect.mark(self.engine, self.url)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    def _follow(self) -> None:
        """Let go of a file that another one has replaced, or that was deleted: its connections would go on reading it.

        Raises:
            CatalogueError: there is no catalogue there now that can be read.
        """
        identity = self.dialect.identity(self.url)
        if identity == self._identity:
            return
        self.engine.dispose()
        with self._errors(), self._reader.begin() as connection:
            _is_current(connection, self)
        self._identity = identity

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            # The driver's own come too, where its rows are read without SQLAlchemy.
            cause = error.orig if isinstance(error, DBAPIError) else error
            sentence = self.dialect.explain(cause, self.name) if cause else None
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
        MissingDependency: The driver of its server is not installed.
    """
    url = url_of(target)
    _DIALECTS[url.get_backend_name()].prepare(url, read_only=read_only)
    database = Database(url, read_only=read_only)
    try:
        _bring_up_to_date(database)
    except BaseException:
        database.close()
        raise
    return database


def url_of(target: str | Path) -> URL:
    """Return the URL that a path or a URL means.

    Raises:
        CatalogueError: It is neither, or no catalogue can be kept there.
    """
    if isinstance(target, Path) or not _URL.match(target):
        return URL.create("sqlite", database=str(Path(target).expanduser()))
    try:
        url = make_url(target)
    except (ArgumentError, ValueError) as error:
        # It may hold a password, and is not repeated.
        raise CatalogueError("what the catalogue is named by is neither a path nor a database URL") from error
    dialect = _DIALECTS.get(url.get_backend_name())
    if dialect is None:
        raise CatalogueError(
            f"a catalogue cannot be kept in {url.get_backend_name()}; give a path, sqlite:///PATH or postgresql://..."
        )
    return dialect.checked(url)


def name_of(target: str | Path) -> str:
    """Return what a person knows a catalogue by, without the password of its URL.

    Raises:
        CatalogueError: See `url_of`.
    """
    url = url_of(target)
    return _DIALECTS[url.get_backend_name()].name_of(url)


def file_of(target: str | Path) -> Path | None:
    """Return the file of a catalogue, there or not; None where it is on a server.

    Raises:
        CatalogueError: See `url_of`.
    """
    url = url_of(target)
    return _DIALECTS[url.get_backend_name()].file_of(url)


def _bring_up_to_date(database: Database) -> None:
    with database.reading() as connection:
        current = _is_current(connection, database)
    if current:
        return
    with database._errors():
        database.dialect.make_ready(database.engine, database.name)
    with database.writing() as connection:
        # Asked again: another process may have been quicker.
        if not _is_current(connection, database):
            migrate.upgrade(connection)


def _is_current(connection: Connection, database: Database) -> bool:
    if database.dialect.is_foreign(connection):
        raise CatalogueError(f"{database.name} is the database of another program; give another one with --db")
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
