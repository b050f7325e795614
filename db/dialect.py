"""What each kind of database does in its own way: `velatura.db.sqlite` and `velatura.db.postgres` are written to it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import URL, Connection, Engine


class Dialect(Protocol):
    """The functions of such a module."""

    READING: Mapping[str, Any]
    """Execution options of a transaction that reads: it sees one state of the catalogue from its begin to its end."""
    WRITING: Mapping[str, Any]
    """Execution options of one that writes: none other is open while it is, and none fails half-way for that."""

    def checked(self, url: URL) -> URL:
        """Return the URL as `connect` takes it.

        Raises:
            CatalogueError: No catalogue can be kept there.
        """

    def name_of(self, url: URL) -> str:
        """Return what a person knows the catalogue by, and can name it by to a command; nothing secret is in it."""

    def file_of(self, url: URL) -> Path | None:
        """Return the catalogue's file; None where it is on a server."""

    def beside(self, url: URL, what: str) -> Path:
        """Return where something lies on this machine that is made of the catalogue.

        Raises:
            CatalogueError: The folder for it cannot be made.
        """

    def prepare(self, url: URL, *, read_only: bool) -> None:
        """Make what must be there before the database is opened.

        Raises:
            CatalogueError: It cannot be made, or there is nothing to read.
        """

    def connect(self, url: URL, *, read_only: bool) -> Engine:
        """Return an engine; nothing is opened yet.

        Raises:
            MissingDependency: The driver is not installed.
        """

    def identity(self, url: URL) -> Hashable:
        """Return what tells this database from another one that is put in its place; None where nothing could be."""

    def is_foreign(self, connection: Connection) -> bool:
        """Return whether another program's tables are there."""

    def make_ready(self, engine: Engine, name: str) -> None:
        """Do to a new database what must be done before its tables are made.

        Raises:
            CatalogueError: No catalogue can be kept in it.
        """

    def mark(self, engine: Engine, url: URL) -> Hashable:
        """Return what is another whenever anybody has committed to the catalogue."""

    def last_numbers(self, connection: Connection) -> dict[str, int]:
        """Return the last number that was given in each table whose numbers are never given again."""

    def set_last_numbers(self, connection: Connection, numbers: Mapping[str, int]) -> None:
        """Let the numbers of tables, written with numbers of their own, go on after these; in a writing transaction."""

    def explain(self, error: BaseException, name: str) -> str | None:
        """Return one sentence about an error of the driver, or None when it speaks of a fault in the program."""
