"""The PostgreSQL server that tests may use: VELATURA_TEST_POSTGRES is its URL, of a role that may make databases."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from sqlalchemy import create_engine, make_url

from velatura.db import COLUMNS, connect
from velatura.db.schema import metadata

# Read at once: what a person has set in the environment is kept away from the tests themselves.
SERVER = os.environ.get("VELATURA_TEST_POSTGRES", "")
needs_postgres = pytest.mark.skipif(
    not SERVER, reason="no PostgreSQL: VELATURA_TEST_POSTGRES names no server (see .ci/postgres)"
)

_SORTED = " LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C.UTF-8'"


@contextmanager
def database(encoding: str = "UTF8") -> Iterator[str]:
    """Make a database with nothing in it, and lend its URL; texts sort there as people sort them, not by bytes."""
    name = f"velatura_{secrets.token_hex(6)}"
    _run(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING {encoding}" + (_SORTED if encoding == "UTF8" else ""))
    try:
        yield make_url(SERVER).set(database=name).render_as_string(hide_password=False)
    finally:
        _run(f"DROP DATABASE {name} WITH (FORCE)")


def clear(url: str) -> None:
    """Make a catalogue as it was when it was new; a hundred times faster than to make another one."""
    tables = [table.name for table in reversed(metadata.sorted_tables)] + [f"words_{column}" for column in COLUMNS]
    with closing(connect.open_database(url)) as catalogue, catalogue.writing() as connection:
        for table in tables:
            connection.exec_driver_sql(f"DELETE FROM {table}")
    with closing(connect.open_database(url)) as catalogue, catalogue.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE commit_number SET last = NULL")


def _run(statement: str) -> None:
    engine = create_engine(connect.url_of(SERVER), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()
