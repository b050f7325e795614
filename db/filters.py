"""Which adapters may be found at all, decided in the database."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, and_, case, not_, or_, select

from ..errors import InputError
from ..families import TITLES, UNKNOWN, wearable
from ..records import Filter
from .rows import RATINGS, USES
from .schema import adapter

_BLOCKED = "blocked"


def allowed(connection: Connection, wanted: Filter) -> NDArray[np.int64]:
    """Return the numbers of the adapters that pass, ascending."""
    numbers, verdicts, _ = _judge(connection, wanted)
    passing: NDArray[np.int64] = numbers[verdicts == 0]
    return passing


def of_source(connection: Connection, name: str) -> NDArray[np.int64]:
    """Return the numbers of the adapters of a source, ascending."""
    rows = connection.execute(select(adapter.c.id).where(adapter.c.source == name).order_by(adapter.c.id))
    return np.fromiter(rows.scalars(), dtype=np.int64)


def excluded(connection: Connection, wanted: Filter) -> dict[str, int]:
    """Return how many adapters each reason keeps out; one with several reasons counts under the first."""
    _, verdicts, reasons = _judge(connection, wanted)
    counts = np.bincount(verdicts, minlength=len(reasons) + 1)
    return {reason: int(count) for reason, count in zip(reasons, counts[1:], strict=True) if count}


def _judge(connection: Connection, wanted: Filter) -> tuple[NDArray[np.int64], NDArray[np.int64], list[str]]:
    """Return (all numbers, for each the place of its reason counted from 1 or 0 when it passes, the reasons)."""
    rules = _rules(wanted)
    reasons = [reason for reason, _ in rules]
    verdict = case(*((rule, place) for place, (_, rule) in enumerate(rules, start=1)), else_=0)
    # The driver's own rows, of which there may be a million.
    cursor: Any = connection.execute(select(adapter.c.id, verdict).order_by(adapter.c.id)).cursor
    table = np.fromiter(chain.from_iterable(cursor), dtype=np.int64).reshape(-1, 2)
    numbers, verdicts = table[:, 0], table[:, 1].copy()
    if wanted.blocked:
        # Here and not in SQL: a list of any length, and of any whole numbers.
        blocked = np.array([number for number in wanted.blocked if 0 < number < 2**63], dtype=np.int64)
        reasons.append(_BLOCKED)
        verdicts[(verdicts == 0) & np.isin(numbers, blocked)] = len(reasons)
    return numbers, verdicts, reasons


def _rules(wanted: Filter) -> list[tuple[str, ColumnElement[bool]]]:
    """Return (reason, what is kept out by it), the gravest first."""
    rules = [("missing", adapter.c.missing_since.is_not(None)), ("minor", _is_true(adapter.c.minor))]
    if wanted.installed:
        rules.append(("installed", adapter.c.path.is_(None)))
    if wanted.family is not None:
        rules.append(("family", not_(_worn_by(wanted.family, wanted))))
    if wanted.kinds:
        rules.append(("kinds", adapter.c.kind.not_in(wanted.kinds)))
    if wanted.nsfw is not None:
        forbidden = RATINGS & ~wanted.nsfw
        rules.append(("nsfw", or_(adapter.c.nsfw.is_(None), adapter.c.nsfw.bitwise_and(forbidden) != 0)))
    if wanted.commercial is not None:
        bit = USES.get(wanted.commercial.lower())
        if bit is None:
            raise InputError(f"{wanted.commercial!r} is no commercial use; the uses are {_listed(USES)}")
        rules.append(("commercial", or_(adapter.c.commercial.is_(None), adapter.c.commercial.bitwise_and(bit) == 0)))
    if not wanted.real_people:
        rules.append(("real_people", _is_true(adapter.c.real_person)))
    return rules


def _worn_by(family: str, wanted: Filter) -> ColumnElement[bool]:
    if family not in TITLES:
        raise InputError(f"{family!r} is no base family; the families are {_listed(TITLES)}")

    def worn(kind: str) -> list[str]:
        levels = wearable(family, kind=kind)
        names = [name for name, level in levels.items() if wanted.partial or level == "full"]
        return [*names, UNKNOWN] if wanted.unknown_family else names

    is_embedding = adapter.c.kind == "embedding"
    return or_(
        and_(is_embedding, adapter.c.family.in_(worn("embedding"))),
        and_(not_(is_embedding), adapter.c.family.in_(worn("lora"))),
    )


def _is_true(flag: ColumnElement[bool | None]) -> ColumnElement[bool]:
    return and_(flag.is_not(None), flag.is_(True))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
