"""Reads adapters and rejections back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select

from ..records import Id, RefinedAdapter, Refinement, Rejection
from . import codec, refinements
from .connect import chunks
from .driver import execute, places
from .schema import adapter, rejection

_LONGEST_NUMBER = 19  # digits of an id that counts
_NONE = Refinement()


def adapters(connection: Connection, numbers: Sequence[int]) -> list[RefinedAdapter]:
    """Return the adapters with these numbers, in their order; numbers that no adapter has are left out."""
    found: dict[int, RefinedAdapter] = {}
    for chunk in chunks({int(number) for number in numbers if 0 < number < 2**63}):
        statement = (
            "SELECT record.adapter_id, record.json, refinement.json, refinement.writer FROM record "  # noqa: S608
            "LEFT JOIN refinement ON refinement.adapter_id = record.adapter_id "
            f"WHERE record.adapter_id IN ({places(chunk)})"
        )
        for number, text, refined, writer in execute(connection, statement, tuple(chunk)):
            refinement = None if refined is None else refinements.load(refined, writer)
            found[number] = RefinedAdapter(id=number, record=codec.load(text), refinement=refinement or _NONE)
    return [found[int(number)] for number in numbers if int(number) in found]


def rejections(connection: Connection, limit: int | None) -> list[Rejection]:
    """Return what could not become a record, in the order in which it was met."""
    rows = connection.execute(
        select(rejection.c.source, rejection.c.locator, rejection.c.reason).order_by(rejection.c.id).limit(limit)
    )
    return [Rejection(source=source, locator=locator, reason=reason) for source, locator, reason in rows]


def pages(connection: Connection) -> dict[int, Id]:
    """Return the page of each adapter: its site's model id, or its own number, negative, where it has none."""
    # The driver's own rows, of which there may be a million.
    rows: Any = connection.execute(select(adapter.c.id, adapter.c.model_id)).cursor
    return {
        number: -number if page is None else int(page) if page.isdecimal() and len(page) < _LONGEST_NUMBER else page
        for number, page in rows
    }
