"""Which adapters a describer is to be asked about, and what that would take."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from ..records import Filter, RefinedAdapter, Usage
from .pictures import local_pictures

if TYPE_CHECKING:
    from ..db import Store
    from ..protocols import Describer

_CHUNK: Final = 128
"""Adapters that are read at once: few, since each may carry a long page."""
_SCANNED: Final = 1024
"""Adapters whose pictures are looked up at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a run of `refine` would do."""

    adapters: int = 0
    """Adapters of which the describer has not said anything, or that are others than when it did."""
    reused: int = 0
    """Of these, those that cost nothing, for it has answered on them, or will on an equal one."""
    failed_before: int = 0
    """Of these, those that it failed at or refused."""
    to_ask: int = 0
    """Of these, those that it is to be asked about."""
    under_way: int = 0
    """Of these, those that are left out, since they are asked about elsewhere."""
    usage: Usage = Usage()  # noqa: RUF009 - frozen
    """What the answers would take, by the describer's own reckoning."""


def estimate(
    store: Store,
    describer: Describer,
    *,
    retry: bool = False,
    limit: int | None = None,
    under_way: Collection[str] = (),
    tokens: Callable[[RefinedAdapter], Usage] | None = None,
) -> Estimate:
    """Return what a run of `refine` would do; nothing is asked and nothing is written.

    Args:
        store: The catalogue.
        describer: Who would describe.
        retry: As `refine` takes it, like `limit` and `under_way`.
        limit: How many adapters are asked about at most.
        under_way: Origins on which an answer is under way elsewhere.
        tokens: Reckons what the answer on an adapter would take.
    """
    numbers = undescribed(store, describer)
    told = Estimate(adapters=len(numbers))
    asked: set[str] = set()
    under_way = frozenset(under_way)
    for start in range(0, len(numbers), _CHUNK):
        adapters = store.adapters(numbers[start : start + _CHUNK])
        origins = [describer.origin(adapter) for adapter in adapters]
        known = store.replies(describer.name, origins)
        for adapter, origin in zip(adapters, origins, strict=True):
            reply = known.get(origin)
            if origin in asked or (reply is not None and reply.refinement is not None):
                told = replace(told, reused=told.reused + 1)
            elif reply is not None and not retry:
                told = replace(told, failed_before=told.failed_before + 1)
            elif origin in under_way:
                told = replace(told, under_way=told.under_way + 1)
            elif limit is None or told.to_ask < limit:
                asked.add(origin)
                usage = tokens(adapter) if tokens is not None else Usage()
                told = replace(told, to_ask=told.to_ask + 1, usage=told.usage + usage)
    return told


def undescribed(store: Store, describer: Describer) -> list[int]:
    """Return the adapters whose refinement is out of date, ascending."""
    stale = set(store.stale_refinements(describer.name))
    return sorted({*stale, *_repictured(store, describer, stale)})


def _repictured(store: Store, describer: Describer, stale: set[int]) -> Iterator[int]:
    """Yield the adapters beside which lie pictures, and of which another thing would be read than was."""
    remaining = (number for number in store.select(Filter(installed=True)).tolist() if number not in stale)
    while numbers := list(islice(remaining, _SCANNED)):
        kept = store.refinements(numbers)
        for adapter in store.adapters(numbers):
            if local_pictures(adapter.record) and kept.get(adapter.id, (None, ""))[0] != describer.origin(adapter):
                yield adapter.id
