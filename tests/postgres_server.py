"""The PostgreSQL server that tests may use: VELATURA_TEST_POSTGRES is its URL, of a role that may make databases."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import create_engine, make_url

from velatura.db import connect

# Read at once: what a person has set in the environment is kept away from the tests themselves.
SERVER = os.environ.get("VELATURA_TEST_POSTGRES")
needs_postgres = pytest.mark.skipif(
    not SERVER, reason="no PostgreSQL: VELATURA_TEST_POSTGRES names no server (see .ci/postgres)"
)


@contextmanager
def database(template: str = "template0") -> Iterator[str]:
    """Make a database, and lend its URL."""
    name = f"velatura_{secrets.token_hex(6)}"
    _run(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    try:
        yield make_url(SERVER or "").set(database=name).render_as_string(hide_password=False)
    finally:
        _run(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def catalogues() -> Iterator[str]:
    """Lend the name of a template: a database with an empty catalogue that took every step of the schema."""
    with database() as url:
        connect.open_database(url).close()
        yield str(make_url(url).database)


def _run(statement: str) -> None:
    engine = create_engine(connect.url_of(SERVER or ""), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()
