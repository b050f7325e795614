"""Waiting for a job without holding a thread: its changes as they come, and its end when the client goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fastapi import Request

    from .jobs import Job, Jobs

GONE: Final = 499
"""The status of an answer to a client that went away, as proxies log it."""
_LOOK: Final = 0.5
"""Seconds between two looks at whether a client is still there."""


async def follow(job: Job, *, every: float = 10.0) -> AsyncIterator[None]:
    """Yield at once, then after each change, at least so often in seconds, until the job has ended; then once more."""
    loop, changed = asyncio.get_running_loop(), asyncio.Event()

    def hear() -> None:
        with suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(changed.set)

    with job.heard(hear):
        while True:
            changed.clear()
            ended = job.ended
            yield
            if ended:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), every)


async def finished(job: Job, jobs: Jobs, request: Request) -> bool:
    """Wait until a job has ended; where its client goes away meanwhile, end it.

    Returns:
        Whether somebody is still there to be answered.
    """
    try:
        async for _ in follow(job, every=_LOOK):
            if not job.ended and await request.is_disconnected():
                jobs.cancel(job)
                return False
    except asyncio.CancelledError:
        jobs.cancel(job)
        raise
    return True
