"""Full-text search with SQLite's FTS5: a table for each column of words.

One table each, because BM25 weighs a word by the length of the whole row: in a common table a long description would
bury the trigger words of its own adapter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import Connection

from ..words import words
from . import changes
from .connect import chunks
from .words import COLUMNS

_MOST_PHRASES = 512


def insert(connection: Connection, rows: Sequence[tuple[int, tuple[str, ...]]]) -> None:
    """Add adapters with the texts of their `COLUMNS`, as `velatura.db.words.texts` gives them."""
    for position, column in enumerate(COLUMNS):
        connection.exec_driver_sql(
            f"INSERT INTO words_{column} (rowid, text) VALUES (?, ?)",  # noqa: S608
            [(number, texts[position]) for number, texts in rows],
        )
    changes.note(connection, [number for number, _ in rows])


def delete(connection: Connection, numbers: Iterable[int]) -> None:
    """Take adapters out."""
    gone = list(numbers)
    _delete(connection, gone)
    changes.note(connection, gone)


def replace(connection: Connection, rows: Sequence[tuple[int, tuple[str, ...]]]) -> None:
    """Give adapters new texts."""
    _delete(connection, [number for number, _ in rows])
    insert(connection, rows)


def mentions(connection: Connection, phrase: str, most: int) -> set[int]:
    """Return the adapters in any of whose columns a phrase stands, but no more than `most` of each column."""
    cut = phrases([phrase])
    found: set[int] = set()
    cursor = connection.connection.cursor()
    for column in COLUMNS if cut else ():
        cursor.execute(
            f"SELECT rowid FROM words_{column} WHERE words_{column} MATCH ? LIMIT ?",  # noqa: S608
            (f'"{cut[0]}"', most),
        )
        found.update(number for (number,) in cursor.fetchall())
    cursor.close()
    return found


def texts(connection: Connection, numbers: Sequence[int] | None) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield (number, the words of each of its `COLUMNS`) of these adapters, of all for None; numbers ascending."""
    first, *others = (f"words_{column}" for column in COLUMNS)
    tables = " ".join([first, *(f"JOIN {table} ON {table}.rowid = {first}.rowid" for table in others)])
    statement = f"SELECT {first}.rowid, {', '.join(f'{table}.text' for table in (first, *others))} FROM {tables}"  # noqa: S608
    for chunk in [()] if numbers is None else chunks(sorted(set(numbers))):
        chosen = "" if numbers is None else f" WHERE {first}.rowid IN ({', '.join('?' * len(chunk))})"
        for number, *cut in connection.exec_driver_sql(f"{statement}{chosen} ORDER BY {first}.rowid", tuple(chunk)):
            yield number, tuple(cut)


def texts_of(connection: Connection, numbers: Sequence[int]) -> Iterator[tuple[int, str, str]]:
    """Yield (number, column, its words) of each of the adapters, column by column in the order of `COLUMNS`."""
    for column in COLUMNS:
        for chunk in chunks(numbers):
            places = ", ".join("?" * len(chunk))
            rows = connection.exec_driver_sql(
                f"SELECT rowid, text FROM words_{column} WHERE rowid IN ({places})",  # noqa: S608
                tuple(chunk),
            )
            for number, text in rows:
                yield number, column, text


def phrases(query: Sequence[str]) -> list[str]:
    """Return the distinct phrases of a query, each as its words joined by spaces; at most 512.

    Nothing that FTS5 would take for an operator survives.

    >>> phrases(["Red_Fox", 'NEAR("x")', "***", "red fox"])
    ['red fox', 'near x']
    """
    found = dict.fromkeys(" ".join(words(phrase)) for phrase in query)
    found.pop("", None)
    return list(found)[:_MOST_PHRASES]


def _delete(connection: Connection, numbers: Sequence[int]) -> None:
    rows = [(number,) for number in numbers]
    for column in COLUMNS:
        connection.exec_driver_sql(f"DELETE FROM words_{column} WHERE rowid = ?", rows)  # noqa: S608
