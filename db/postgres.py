"""What only PostgreSQL needs: how a server is reached, who may write when, what changed, and what its errors mean.

A writing transaction holds a lock of the catalogue from its begin to its end, as it does on SQLite: a step that looks
first and writes then is as safe as if it were alone. Readers take no lock and wait for nobody.

Two small tables are kept by the transactions themselves. `commit_stamp` holds a text drawn by the last one that wrote.
`commit_number` holds the last number that each sequence gave in a transaction that was kept: sequences do not go back
with a transaction that was not, and so are put back by the next one. A run that was killed and repeated thereby ends
with the numbers of a run that was not.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import ArgumentError

from ..errors import CatalogueError, MissingDependency
from .schema import COUNTED, metadata

WAIT = 30.0
"""Seconds to wait for another writer."""

READING: Mapping[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
# Each statement sees what was committed before it, and behind the lock nothing more is: an older look would be stale.
WRITING: Mapping[str, Any] = {"isolation_level": "READ COMMITTED", "writes": True}

_SILENT: Final = 600
"""Seconds after which the server lets go of a writer whose machine has vanished, and with it of the lock."""

_LOCK: Final = 1447382081  # `VELA`, beside the schema's name
_CONNECT = 10  # seconds
_DRIVERS = ("postgres", "postgresql", "postgresql+psycopg")
_TOLD = ("host", "hostaddr", "port", "dbname", "user", "service", "options", "sslmode", "target_session_attrs")
"""What of a URL's query is no secret."""

_BY_STATE = {
    "25006": "{name} cannot be written: the server takes no changes",
    "25P03": "the server of {name} ended it: {told}",
    "28": "{name} refuses the role: {told}",
    "3D000": "there is no such database on the server of {name}; make it first, as `createdb` does",
    "40": "the server of {name} took a step back: {told}; try again",
    "42501": "{name} does not let this role do that: {told}",
    "42P01": "{name} could not be read or written: {told}",
    "53100": "the disk that holds {name} is full; nothing of the last step was kept",
    "53": "the server of {name} has no room: {told}",
    "54": "{name} cannot keep that, it is too large: {told}",
    "55P03": "{name} is locked by another program; try again when that has finished",
    "57": "the server of {name} ended it: {told}",
    "58": "the server of {name} failed: {told}",
    "08": "{name} cannot be reached: {told}",
    "22": "{name} cannot keep that: {told}",
    "XX": "{name} is damaged: {told}",
}
"""By the beginning of the SQLSTATE, the longest first."""


def checked(url: URL) -> URL:
    """Return the URL with its driver.

    Raises:
        CatalogueError: It names another driver, or its password goes on into the host.
    """
    if url.drivername not in _DRIVERS:
        raise CatalogueError(f"PostgreSQL is reached through psycopg, not {url.get_driver_name()}; write postgresql://")
    if "@" in (url.host or ""):
        raise CatalogueError("the catalogue's URL has an @ too many; in a password it is written %40")
    return url.set(drivername="postgresql+psycopg")


def name_of(url: URL) -> str:
    """Return the URL without its password, and without all that is not known to be no secret."""
    told = {name: value for name, value in url.query.items() if name in _TOLD}
    # Nothing of the given one is left: `set` could take a password away, and would keep it in a query.
    return URL.create(
        "postgresql", username=url.username, host=url.host, port=url.port, database=url.database, query=told
    ).render_as_string()


def file_of(url: URL) -> None:
    """Return None: it is on a server."""


def beside(url: URL, what: str) -> Path:
    """Return the path of a file in a folder of this machine that belongs to the catalogue.

    Raises:
        CatalogueError: The folder cannot be made.
    """
    from ..settings import home

    folder = home() / "catalogues" / hashlib.sha256(name_of(url).encode()).hexdigest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CatalogueError(f"the folder {folder} cannot be made: {error.strerror}") from error
    return folder / f"catalogue.{what}"


def prepare(url: URL, *, read_only: bool) -> None:
    """Do nothing: a database is made by whoever keeps the server."""


def connect(url: URL, *, read_only: bool) -> Engine:
    """Return an engine over the database; nothing is opened yet.

    Raises:
        CatalogueError: The URL has a parameter that libpq does not know, or hosts and ports that do not go together.
        MissingDependency: psycopg is not installed, or lacks its library.
    """
    try:
        from psycopg import pq  # SQLAlchemy would tell of it by a traceback
    except ImportError:
        raise MissingDependency("psycopg", extra="postgres") from None
    # psycopg takes more, but those are objects and no texts.
    if not url.query.keys() <= {option.keyword.decode() for option in pq.Conninfo.get_defaults()}:
        raise CatalogueError(f"the URL of {name_of(url)} has a parameter that PostgreSQL does not know")
    given = {"connect_timeout": _CONNECT, "application_name": "velatura"}
    options = {name: value for name, value in given.items() if name not in url.query}
    # A connection that the server has closed meanwhile is replaced, not handed out.
    try:
        engine = create_engine(url, connect_args={**options, "client_encoding": "utf8"}, pool_pre_ping=True)
    except ArgumentError as error:
        raise CatalogueError(f"{name_of(url)} cannot be reached: {_first_line(str(error))}") from error

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get("writes"):
            _begin_writing(connection)

    @event.listens_for(engine, "commit")
    def commit(connection: Connection) -> None:
        if connection.get_execution_options().get("writes"):
            _end_writing(connection)

    return engine


def identity(url: URL) -> Hashable:
    """Return None: a database that was replaced closes its connections itself."""
    return None


def is_foreign(connection: Connection) -> bool:
    """Return whether the schema holds another program's tables."""
    tables = connection.exec_driver_sql(
        "SELECT count(*), count(*) FILTER (WHERE relname = 'commit_stamp') FROM pg_class "
        "JOIN pg_namespace ON pg_namespace.oid = relnamespace "
        "WHERE nspname = current_schema() AND relkind IN ('r', 'p')"
    )
    every, ours = tables.one()
    return bool(every) and not ours


def make_ready(engine: Engine, name: str) -> None:
    """Look whether tables can be made, and every text kept.

    Raises:
        CatalogueError: They cannot.
    """
    with engine.begin() as connection:
        schema, encoding = connection.exec_driver_sql(
            "SELECT current_schema(), current_setting('server_encoding')"
        ).one()
    if schema is None:
        raise CatalogueError(f"{name} has no schema to keep a catalogue in; look at its search_path")
    if encoding != "UTF8":
        raise CatalogueError(f"{name} keeps texts as {encoding}; a catalogue needs a database with the encoding UTF8")


def mark(engine: Engine, url: URL) -> Hashable:
    """Return the stamp of the last transaction that wrote."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        stamp: Hashable = connection.exec_driver_sql("SELECT stamp FROM commit_stamp").scalar()
        return stamp


def last_numbers(connection: Connection) -> dict[str, int]:
    """Return the last number that was given in each of `COUNTED`."""
    rows = connection.exec_driver_sql("SELECT sequence, last FROM commit_number WHERE last IS NOT NULL")
    found = {sequence.removesuffix("_id_seq"): last for sequence, last in rows}
    return {name: last for name, last in found.items() if name in COUNTED}


def set_last_numbers(connection: Connection, numbers: Mapping[str, int]) -> None:
    """Let all numbers go on after the highest of their table, and after these."""
    for table in metadata.tables.values():
        if "id" in table.columns:
            highest = connection.exec_driver_sql(f"SELECT max(id) FROM {table.name}").scalar() or 0  # noqa: S608
            last = max(highest, numbers.get(table.name, 0))
            connection.exec_driver_sql(
                f"SELECT setval('{table.name}_id_seq', greatest(%s, 1), %s > 0)",
                (last, last),
            )


def explain(error: BaseException, name: str) -> str | None:
    """Return one sentence about an error of the driver, or None when it speaks of a fault in the program."""
    import psycopg

    if not isinstance(error, psycopg.Error):
        return None
    told = _first_line(str(error))
    state = error.sqlstate
    if state is None:  # it never came to a session, and libpq has words alone
        if re.search('database ".*" does not exist', str(error)):
            state = "3D000"
        elif isinstance(error, psycopg.OperationalError) or "bad value for connect_timeout" in str(error):
            state = "08"
        elif isinstance(error, psycopg.DataError):
            state = "22"
        else:
            return None
    for length in (5, 2):
        if meaning := _BY_STATE.get(state[:length]):
            return meaning.format(name=name, told=told)
    return None


def _begin_writing(connection: Connection) -> None:
    """Wait for other writers, and put back what sequences gave in a transaction that was not kept."""
    *_, has_tables = connection.exec_driver_sql(
        f"SELECT set_config('lock_timeout', '{round(WAIT * 1000)}', true), "
        f"set_config('idle_in_transaction_session_timeout', '{_SILENT * 1000}', true), "
        f"pg_advisory_xact_lock({_LOCK}, hashtext(current_schema())), to_regclass('commit_number') IS NOT NULL"
    ).one()
    if has_tables:
        connection.exec_driver_sql(
            "SELECT setval(sequence::regclass, coalesce(last, 1), last IS NOT NULL) FROM commit_number "
            "WHERE last IS DISTINCT FROM pg_sequence_last_value(sequence::regclass)"
        )


def _end_writing(connection: Connection) -> None:
    connection.exec_driver_sql(
        "WITH given AS (UPDATE commit_number SET last = pg_sequence_last_value(sequence::regclass) "
        "WHERE last IS DISTINCT FROM pg_sequence_last_value(sequence::regclass)) "
        "UPDATE commit_stamp SET stamp = gen_random_uuid()::text"
    )


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0].removeprefix("connection failed: ").rstrip(".") if lines else "no reason is told"
