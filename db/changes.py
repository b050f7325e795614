"""The order in which adapters got other words, so that an index made of them reads again only what has changed."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from sqlalchemy import Connection, select

from .driver import execute
from .schema import word_change

State = tuple[int, int]
"""The last change and its stamp. Stamps are random, so that a copy put back and then changed repeats no state."""

NEVER: State = (0, 0)


def note(connection: Connection, numbers: Sequence[int]) -> None:
    """Note that adapters have other words, or none any more."""
    if not numbers:
        return
    stamp = secrets.randbits(62)
    rows = [(number, stamp) for number in numbers]
    execute(connection, "INSERT INTO word_change (adapter_id, stamp) VALUES (?, ?)", rows)


def state(connection: Connection) -> State:
    """Return the present state."""
    last = connection.execute(
        select(word_change.c.id, word_change.c.stamp).order_by(word_change.c.id.desc()).limit(1)
    ).first()
    return NEVER if last is None else (last.id, last.stamp)


def since(connection: Connection, then: State) -> list[int] | None:
    """Return the adapters that changed since a state, ascending; None when this catalogue never was in it."""
    stamp = connection.execute(select(word_change.c.stamp).where(word_change.c.id == then[0])).scalar()
    if then != NEVER and stamp != then[1]:
        return None
    changed = select(word_change.c.adapter_id).where(word_change.c.id > then[0]).distinct()
    return sorted(connection.execute(changed).scalars())
