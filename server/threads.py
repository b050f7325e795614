"""Where blocking work goes: a few threads for what computes, many for what waits for somebody else."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from anyio import CapacityLimiter, to_thread

if TYPE_CHECKING:
    from starlette.requests import Request

T = TypeVar("T")

AT_ONCE: Final = os.cpu_count() or 1
"""Searches, and whatever else computes, at once: more of them only slow each other down (`benchmarks/serve_search.py`;
with eight clients on two cores, eight at once answer half as many a second as two)."""


def open_threads() -> CapacityLimiter:
    """Return what bounds the computing of one application; to be called in its event loop."""
    return CapacityLimiter(AT_ONCE)


async def computed(request: Request, work: Callable[[], T]) -> T:
    """Return what work gives that is done by this process's own cores."""
    limiter: CapacityLimiter = request.app.state.threads
    return await to_thread.run_sync(work, limiter=limiter)


async def awaited(work: Callable[[], T]) -> T:
    """Return what work gives that mostly waits: for a model to be loaded, or a language model to answer."""
    return await to_thread.run_sync(work)
