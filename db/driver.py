"""Statements as they are, for what is asked so often, or of so many rows, that building them would cost more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection


def execute(connection: Connection, statement: str, values: Any = ()) -> Iterable[Any]:
    """Run a statement that both databases understand; return its rows.

    Args:
        connection: A transaction.
        statement: With `?` for each value.
        values: A tuple of values; or a list of tuples, to run it for each.
    """
    return connection.exec_driver_sql(spelled(statement, connection), values)


def spelled(statement: str, connection: Connection) -> str:
    """Return the statement with the driver's own sign for a value."""
    return statement if connection.dialect.paramstyle == "qmark" else _percent(statement)


def places(values: Sequence[object]) -> str:
    """Return a `?` for each value, for `IN (...)`."""
    return ", ".join("?" * len(values))


@lru_cache
def _percent(statement: str) -> str:
    return statement.replace("?", "%s")
