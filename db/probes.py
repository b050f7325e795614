"""What adapters do to pictures, kept beside them for as long as their files stay what they are."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, get_args

import numpy as np
from sqlalchemy import Connection, delete, insert, select, tuple_

from ..errors import CatalogueError
from ..probe_rules import METHOD
from ..records import Probe, ProbedWeight, ProbeFlag
from . import codec
from .connect import chunks
from .schema import adapter, probe

_STORED = np.dtype("<f4")
_DAMAGED = "what the catalogue keeps of probes is damaged; probe again with another --db"
_TEXTS = ("method", "model", "clip", "told")
_FLAGS = get_args(ProbeFlag)

_IS_CURRENT = adapter.c.fingerprint.is_not_distinct_from(probe.c.fingerprint)


def put(connection: Connection, probed: Sequence[tuple[int, str, Probe]]) -> None:
    """Keep each (number, stamp, probe) in place of the one of its family; an adapter that is no more is left out."""
    given = {(number, found.family): (stamp, found) for number, stamp, found in probed}
    for chunk in chunks(given):
        numbers = {number for number, _ in chunk}
        rows = connection.execute(select(adapter.c.id, adapter.c.fingerprint).where(adapter.c.id.in_(numbers)))
        fingerprints = {row.id: row.fingerprint for row in rows}
        connection.execute(delete(probe).where(tuple_(probe.c.adapter_id, probe.c.family).in_(chunk)))
        values = [_row(key[0], fingerprints[key[0]], *given[key]) for key in chunk if key[0] in fingerprints]
        if values:
            connection.execute(insert(probe), values)


def get(connection: Connection, numbers: Sequence[int], family: str | None) -> dict[int, list[Probe]]:
    """Return the probes of those of the adapters that have any and are as they were then, by family.

    What an older or newer version of the method found is left out: its figures mean something else.

    Args:
        connection: A transaction.
        numbers: The adapters.
        family: Only what was probed on this base; None for all.

    Raises:
        CatalogueError: What is stored is damaged.
    """
    found: dict[int, list[Probe]] = {}
    for chunk in chunks(numbers):
        statement = select(probe).join(adapter).where(probe.c.adapter_id.in_(chunk), _IS_CURRENT)
        if family is not None:
            statement = statement.where(probe.c.family == family)
        for row in connection.execute(statement.order_by(probe.c.adapter_id, probe.c.family)):
            one = _load(row)
            if one.method == METHOD:
                found.setdefault(row.adapter_id, []).append(one)
    return found


def stamps(connection: Connection, numbers: Sequence[int], family: str) -> dict[int, str]:
    """Return the stamp of those of the adapters that were probed on a base and are as they were then."""
    found: dict[int, str] = {}
    for chunk in chunks(numbers):
        statement = (
            select(probe.c.adapter_id, probe.c.stamp)
            .join(adapter)
            .where(probe.c.adapter_id.in_(chunk), probe.c.family == family, _IS_CURRENT)
        )
        found.update((number, stamp) for number, stamp in connection.execute(statement))
    return found


def _row(number: int, fingerprint: str | None, stamp: str, found: Probe) -> dict[str, Any]:
    plain = asdict(found)
    del plain["direction"], plain["family"]
    plain |= {name: codec.storable(plain[name]) for name in _TEXTS}
    return {
        "adapter_id": number,
        "family": found.family,
        "fingerprint": fingerprint,
        "stamp": stamp,
        "json": json.dumps(plain, allow_nan=False),
        "direction": np.asarray(found.direction, _STORED).tobytes() if found.direction else None,
    }


def _load(row: Any) -> Probe:
    try:
        plain = json.loads(row.json)
        value, low, high = map(_number, plain["consistency"])
        if not all(flag in _FLAGS for flag in plain["flags"]):
            raise ValueError("no such flag")
        return Probe(
            family=row.family,
            **{name: str(plain[name]) for name in _TEXTS},
            prompts=int(plain["prompts"]),
            seeds=int(plain["seeds"]),
            weights=tuple(ProbedWeight(**{name: _number(one[name]) for name in one}) for one in plain["weights"]),
            at=_number(plain["at"]),
            direction=tuple(np.frombuffer(row.direction or b"", _STORED).tolist()),
            consistency=(value, low, high),
            alignment=_number(plain["alignment"]),
            best=None if plain["best"] is None else _number(plain["best"]),
            flags=tuple(plain["flags"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CatalogueError(_DAMAGED) from error


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("no number")
    return number
