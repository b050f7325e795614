"""A job as our own API tells it, now or while it changes."""

from __future__ import annotations

import asyncio
import base64
import io
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import StreamingResponse

from ...errors import VelaturaError
from ..following import follow
from ..json_answer import dumped
from ..threads import awaited

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from ...records import GenerationRequest
    from ..answers import Answers
    from ..jobs import Job, Made
    from ..studio import Studio

_APART: Final = 0.1
"""Seconds between two events of a job, but for its last."""
_LOOK: Final = 1.0
"""Seconds after which a job is looked at though it says nothing: those ahead of it say nothing to it."""
_HEARTBEAT: Final = 10.0
"""Seconds after which a comment tells the client, and what is between, that the connection lives."""


def told(job: Job, studio: Studio, answers: Answers, *, whole: bool = True) -> dict[str, Any]:
    """Return a job.

    Args:
        job: The job.
        studio: Where it is painted.
        answers: Tells its adapters.
        whole: Also its composition and its preview.
    """
    # Its state first: what is read after it is at least as new.
    state, error, made = job.state, job.error, list(job.made)
    plain: dict[str, Any] = {
        "id": job.id,
        "state": state,
        "ahead": studio.jobs.ahead(job) if state == "waiting" else 0,
        "progress": job.progress,
        "pictures": [entry for one in made for entry in _pictures(one, job, studio, answers)],
        "count": len(job.views) or len(job.requests),
        "error": None if error is None else answers.sentence(error),
        "prompt": job.asked.prompt,
        "asked_at": job.asked_at,
        "started_at": job.started_at,
        "ended_at": job.ended_at,
    }
    if whole:
        preview = job.preview
        shown = None if preview is None else {"place": preview[0], "picture": _data_url(preview[1])}
        plain |= {"preview": shown, "composition": answers.composition(job.asked)}
    return plain


def _pictures(made: Made, job: Job, studio: Studio, answers: Answers) -> list[dict[str, Any]]:
    """Return a picture, once for each place in which it is compared."""
    request = job.requests[made.place]
    plain = {
        "place": made.place,
        "seed": made.seed,
        "url": f"/pictures/{made.picture}.png",
        "is_kept": studio.shelf.get(made.picture) is not None,
        "choices": _choices(request, answers),
        "prompt": request.prompt,
        "label": None,
        "panel": None,
    }
    views = [view for view in job.views if view.place == made.place]
    return [plain | {"label": view.label, "panel": view.panel} for view in views] or [plain]


def _choices(request: GenerationRequest, answers: Answers) -> list[dict[str, Any]]:
    return [
        {"id": answers.number(choice.adapter), "title": choice.adapter.title, "weight": choice.weight}
        for choice in request.choices
    ]


def _data_url(picture: Any) -> str:
    stream = io.BytesIO()
    picture.save(stream, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


class JobEvents(StreamingResponse):
    """The changes of a job as server-sent events, each the job as JSON, until it has ended.

    Args:
        job: The job.
        tell: Returns it as JSON has it; called in a thread.
        gone: Called where the client went away before the job had ended.
    """

    media_type = "text/event-stream"

    def __init__(self, job: Job, tell: Callable[[], dict[str, Any]], *, gone: Callable[[], None] | None = None) -> None:
        super().__init__(
            _events(job, tell), headers={"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
        )
        self._job, self._gone = job, gone

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self._gone is not None and not self._job.ended:
                self._gone()


async def _events(job: Job, tell: Callable[[], dict[str, Any]]) -> AsyncIterator[bytes]:
    last, before = 0.0, b""
    async for _ in follow(job, every=_LOOK):
        early = last + _APART - time.monotonic()
        if early > 0 and not job.ended:
            await asyncio.sleep(early)
        try:
            now = dumped(await awaited(tell))
        except VelaturaError:  # the catalogue cannot be read; whoever asks again is told so
            return
        if now != before:
            before, last = now, time.monotonic()
            yield b"event: job\ndata: " + now + b"\n\n"
        elif time.monotonic() - last >= _HEARTBEAT:
            last = time.monotonic()
            yield b": still here\n\n"
