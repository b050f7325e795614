"""Full-text search: a table for each column of words, of SQLite's FTS5 or with a `tsvector` of PostgreSQL's.

One table each, because BM25 weighs a word by the length of the whole row: in a common table a long description would
bury the trigger words of its own adapter. A tsvector holds the words as they were cut here, without their places: it
finds where all words of a phrase stand, and the text says whether they stand together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import Connection

from ..words import words
from . import changes
from .connect import chunks
from .driver import execute, places, spelled
from .words import COLUMNS

_MOST_PHRASES = 512
_LEXEME = 255
"""Characters of a word in a tsvector, which takes 2,046 bytes of it; a longer one is told by its beginning."""

_STANDS = {
    "sqlite": "words_{column} MATCH ?",
    "postgresql": "lexemes @@ ?::tsquery AND strpos(' ' || text || ' ', ?) > 0",
}


def insert(connection: Connection, rows: Sequence[tuple[int, tuple[str, ...]]]) -> None:
    """Add adapters with the texts of their `COLUMNS`, as `velatura.db.words.texts` gives them."""
    for position, column in enumerate(COLUMNS):
        execute(
            connection,
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
    name = connection.dialect.name
    cursor = connection.connection.cursor()
    for column in COLUMNS if cut else ():
        stands = _STANDS[name].format(column=column)
        statement = f"SELECT rowid FROM words_{column} WHERE {stands} ORDER BY rowid LIMIT ?"  # noqa: S608
        cursor.execute(spelled(statement, connection), (*_asked(cut[0], name), most))
        found.update(number for (number,) in cursor.fetchall())
    cursor.close()
    return found


def texts(connection: Connection, numbers: Sequence[int] | None) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield (number, the words of each of its `COLUMNS`) of these adapters, of all for None; numbers ascending."""
    first, *others = (f"words_{column}" for column in COLUMNS)
    tables = " ".join([first, *(f"JOIN {table} ON {table}.rowid = {first}.rowid" for table in others)])
    statement = f"SELECT {first}.rowid, {', '.join(f'{table}.text' for table in (first, *others))} FROM {tables}"  # noqa: S608
    for chunk in [()] if numbers is None else chunks(sorted(set(numbers))):
        chosen = "" if numbers is None else f" WHERE {first}.rowid IN ({places(chunk)})"
        for number, *cut in execute(connection, f"{statement}{chosen} ORDER BY {first}.rowid", tuple(chunk)):
            yield number, tuple(cut)


def texts_of(connection: Connection, numbers: Sequence[int]) -> Iterator[tuple[int, str, str]]:
    """Yield (number, column, its words) of each of the adapters, column by column in the order of `COLUMNS`."""
    for column in COLUMNS:
        for chunk in chunks(numbers):
            statement = f"SELECT rowid, text FROM words_{column} WHERE rowid IN ({places(chunk)})"  # noqa: S608
            for number, text in execute(connection, statement, tuple(chunk)):
                yield number, column, text


def phrases(query: Sequence[str]) -> list[str]:
    """Return the distinct phrases of a query, each as its words joined by spaces; at most 512.

    Nothing that a full-text search would take for an operator survives.

    >>> phrases(["Red_Fox", 'NEAR("x")', "***", "red fox"])
    ['red fox', 'near x']
    """
    found = dict.fromkeys(" ".join(words(phrase)) for phrase in query)
    found.pop("", None)
    return list(found)[:_MOST_PHRASES]


def _delete(connection: Connection, numbers: Sequence[int]) -> None:
    rows = [(number,) for number in numbers]
    if not rows:
        return
    for column in COLUMNS:
        execute(connection, f"DELETE FROM words_{column} WHERE rowid = ?", rows)  # noqa: S608


def _asked(phrase: str, name: str) -> tuple[str, ...]:
    """Return what `_STANDS` asks for; words hold letters and figures alone, and so need no escaping."""
    if name == "sqlite":
        return (f'"{phrase}"',)
    lexemes = " & ".join(f"'{word[:_LEXEME]}'" for word in dict.fromkeys(phrase.split(" ")))
    return lexemes, f" {phrase} "
