"""Trigger phrases, looked up as they stand: which adapters does this phrase of a prompt call?"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, select

from ..records import AdapterRecord
from ..words import words
from .connect import chunks
from .schema import trigger

_LONGEST, _LONGEST_UNSPACED = 8, 24
LONGEST = 600
"""Characters of a phrase that is kept; an index of PostgreSQL takes 2,700 bytes."""


def longest(cut: Sequence[str]) -> int:
    """Return how many words the longest phrase that is kept has; what is longer is somebody's whole prompt.

    In scripts without spaces each character is a word.
    """
    return _LONGEST if all(word.isascii() for word in cut) else _LONGEST_UNSPACED


def phrases(record: AdapterRecord) -> list[str]:
    """Return the distinct trigger phrases of an adapter, each as its words joined by spaces.

    >>> phrases(AdapterRecord(source="folder", key="a", title="A", triggers=(("Red_Fox", "fur"), ("red fox",))))
    ['red fox', 'fur']
    """
    cut = (words(phrase) for group in record.triggers for phrase in group)
    kept = dict.fromkeys(" ".join(parts) for parts in cut if 0 < len(parts) <= longest(parts))
    return [phrase for phrase in kept if len(phrase) <= LONGEST]


def write(connection: Connection, rows: Sequence[tuple[int, AdapterRecord]], *, new: bool) -> None:
    """Let adapters be called by the trigger phrases of their records; `new` ones had none before."""
    if not new:
        for chunk in chunks(number for number, _ in rows):
            connection.execute(delete(trigger).where(trigger.c.adapter_id.in_(chunk)))
    values = [{"phrase": phrase, "adapter_id": number} for number, record in rows for phrase in phrases(record)]
    if values:
        connection.execute(insert(trigger), values)


def every(connection: Connection, numbers: Sequence[int] | None) -> list[tuple[str, int]]:
    """Return (phrase, adapter) of these adapters, of all for None, missing ones too; phrases ascending."""
    chosen = select(trigger.c.phrase, trigger.c.adapter_id)
    if numbers is None:
        rows = connection.execute(chosen.order_by(trigger.c.phrase, trigger.c.adapter_id)).all()
    else:
        parts = (connection.execute(chosen.where(trigger.c.adapter_id.in_(chunk))).all() for chunk in chunks(numbers))
        rows = sorted(row for part in parts for row in part)
    return [(phrase, number) for phrase, number in rows]


def beginning(connection: Connection, start: str) -> list[tuple[str, int]]:
    """Return (phrase, adapter) of each trigger phrase that begins so, missing adapters too.

    The phrase itself comes first, then those that go on with another word, then those that go on within the word.
    """
    rows = connection.execute(
        select(trigger.c.phrase, trigger.c.adapter_id)
        # Nothing sorts after the last character, and the space sorts before every word.
        .where(trigger.c.phrase >= start, trigger.c.phrase < start + "\U0010ffff")
        .order_by(trigger.c.phrase, trigger.c.adapter_id)
    )
    return [(phrase, number) for phrase, number in rows]
