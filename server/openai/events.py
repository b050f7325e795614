"""Pictures as OpenAI's clients read them while they are painted: on the way, and whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, Literal

from starlette.responses import StreamingResponse

from ...errors import Cancelled, VelaturaError
from ..failures import status_of
from ..following import follow
from ..json_answer import dumped
from ..orders import pictures_of
from ..threads import awaited
from .pictures import drawn, encoded, reasons, size_of, usage_of

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from ..answers import Answers
    from ..jobs import Job
    from ..studio import Studio
    from .models import PicturesAsked


class PictureEvents(StreamingResponse):
    """A job's pictures as server-sent events; the job ends when the client goes away.

    Args:
        job: The job.
        studio: Where it is painted.
        answers: Tells its adapters.
        asked: The request.
        kind: What the events' types begin with.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        job: Job,
        studio: Studio,
        answers: Answers,
        *,
        asked: PicturesAsked,
        kind: Literal["image_generation", "image_edit"],
    ) -> None:
        self._job, self._studio, self._answers, self._asked, self._kind = job, studio, answers, asked, kind
        self._sent: set[int] = set()
        self._partial = [0] * len(job.requests)
        self._is_told = False  # that it went wrong
        super().__init__(self._events(), headers={"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            if not self._job.ended:
                self._studio.jobs.cancel(self._job)

    async def _events(self) -> AsyncIterator[bytes]:
        async for _ in follow(self._job):
            for event in await awaited(lambda: list(self._now())):
                yield event
            if self._is_told:
                return

    def _now(self) -> Iterator[bytes]:
        """Yield what is new."""
        job = self._job
        ended = job.ended
        preview = job.preview
        if preview is not None and not ended and self._due(preview[0]):
            place, picture = preview
            size = (job.requests[place].width or 0, job.requests[place].height or 0)
            told = {"b64_json": drawn(picture, size, self._asked), "partial_image_index": self._partial[place]}
            self._partial[place] += 1
            yield self._event("partial_image", told)
        try:
            for made, content in pictures_of(self._studio, job, without=self._sent):
                self._sent.add(made.place)
                told = {"b64_json": encoded(content, self._asked), "usage": usage_of(job.asked)}
                yield self._event("completed", told | reasons(made, job, self._answers))
            if ended and job.state == "cancelled":
                raise Cancelled("the job was cancelled")
        except VelaturaError as error:
            told = {"message": self._answers.sentence(error), "type": status_of(error)[1], "param": None, "code": None}
            yield _written("error", {"error": told})
            self._is_told = True

    def _due(self, place: int) -> bool:
        """Whether a picture on the way is to be sent now: so many as are asked for, spread over its steps."""
        wanted, done = self._asked.partial_images or 0, self._partial[place]
        share = self._job.progress * len(self._job.requests) - len(self._job.made)
        return done < wanted and share >= (done + 1) / (wanted + 2)

    def _event(self, what: str, told: dict[str, Any]) -> bytes:
        kind = f"{self._kind}.{what}"
        common = {
            "type": kind,
            "created_at": int(self._job.asked_at),
            "size": size_of(self._job),
            "quality": "auto",
            "background": "opaque",
            "output_format": self._asked.form,
        }
        return _written(kind, common | told)


def _written(event: str, told: dict[str, Any]) -> bytes:
    return f"event: {event}\ndata: ".encode() + dumped(told) + b"\n\n"
