"""What all that is chosen from hangs on, as one short text."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from sqlalchemy import Connection

_READ: Final = (
    "SELECT id, digest, missing_since IS NULL FROM adapter ORDER BY id",
    "SELECT adapter_id, writer, json FROM refinement ORDER BY adapter_id",
    "SELECT adapter_id, family, fingerprint, json FROM probe ORDER BY adapter_id, family",
    "SELECT adapter_id, method, fingerprint, json FROM measure ORDER BY adapter_id",
    "SELECT model, revision, stamp FROM encoder ORDER BY model, revision",
    "SELECT value FROM meta WHERE name = 'passages'",
)
"""What is chosen from. Stamps of files are left out: a file that was only touched is the same."""
_ROWS: Final = 1000


def revision(connection: Connection) -> str:
    """Return a digest that is another one whenever adapters, or what is known of them, are others than before."""
    told = hashlib.sha256()
    for statement in _READ:
        told.update(statement.encode())
        cursor: Any = connection.exec_driver_sql(statement).cursor
        while rows := cursor.fetchmany(_ROWS):
            told.update(repr(rows).encode("utf-8", "backslashreplace"))
    return told.hexdigest()[:16]
