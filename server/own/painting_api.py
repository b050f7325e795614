"""Our own API: painting, the jobs that wait for it, and the pictures."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Query, Request
from starlette.responses import Response

from ...comparison import panels_of
from ...records import Start
from ..answers import answers_of
from ..errors_told import TOKEN, errors
from ..jobs import View
from ..json_answer import Json
from ..orders import SEEDS
from ..sent import composition_of
from ..stories import story_of
from ..studio import Refused, Studio, studio_of
from ..threads import awaited
from ..uploads import Uploads
from .answer_models import JobAnswer, JobsTold
from .job_answers import JobEvents, told
from .models import CompareAsked, GenerateAsked, PaintAsked

if TYPE_CHECKING:
    from ...records import Composition
    from ..jobs import Job

router = APIRouter(tags=["Paint"], dependencies=[TOKEN])

_STREAM: Final = "text/event-stream"
_LISTED: Final = 100
_EVENTS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The job's changes, at most about ten a second: `event: job`, and the job as JSON in `data`.",
        "content": {_STREAM: {"schema": {"type": "string"}}},
    }
}


@router.post(
    "/generate",
    summary="Paint pictures",
    status_code=202,
    response_model=JobAnswer,
    responses=errors(413, 422, 429, 501, 502) | _EVENTS,
)
async def generate(asked: GenerateAsked, request: Request) -> Response:
    """Put pictures in line. What is wrong with the request is told at once, before anything is painted.

    With `Accept: text/event-stream` the answer is the job's events, and the job ends when the client goes away.
    """
    studio, client = studio_of(request), request.state.client

    def submit(uploads: Uploads | None) -> Job:
        composition, fields = _asked(asked, studio, uploads)
        first = studio.request(composition, mask=asked.mask, **fields)
        requests = studio.several(first, asked.count, masks=asked.masks)
        return studio.jobs.submit(client, requests, composition=composition)

    return await _answered(request, lambda: _submitted(asked, submit))


@router.post(
    "/compare",
    summary="Paint what each adapter brings",
    status_code=202,
    response_model=JobAnswer,
    responses=errors(413, 422, 429, 501, 502) | _EVENTS,
)
async def compare(asked: CompareAsked, request: Request) -> Response:
    """Paint a prompt from the same noise without adapters, with all, with each alone, and over their weights.

    Each picture of the job has the `panel` in which it is compared and a `label`; one picture may stand in several.
    """
    studio, client = studio_of(request), request.state.client

    def submit(uploads: Uploads | None) -> Job:
        composition, fields = _asked(asked, studio, uploads)
        views, ways = _compared(composition, tuple(dict.fromkeys(asked.sweep or ())))
        most = studio.settings.most_pictures
        if len(ways) > most:
            raise Refused(
                f"that would be {len(ways)} pictures, and this server paints at most {most}; "
                "take fewer adapters or weights"
            )
        requests = [studio.request(way, **fields) for way in ways]
        return studio.jobs.submit(client, requests, views=views, composition=composition)

    return await _answered(request, lambda: _submitted(asked, submit))


def _compared(composition: Composition, sweep: tuple[float, ...]) -> tuple[list[View], list[Composition]]:
    """Return where each picture stands, and what is painted: each way once."""
    views, ways = [], []
    for panel in panels_of(composition, sweep):
        title = panel.title if panel.swept is None else f"{panel.title}: {panel.swept.adapter.title}"
        for column in panel.columns:
            if column.composition not in ways:
                ways.append(column.composition)
            label = column.label
            if label.startswith("alone"):
                [choice] = column.composition.choices
                label = f"{label} {choice.weight:g}" if panel.swept else f"{choice.adapter.title} alone"
            views.append(View(place=ways.index(column.composition), label=label, panel=title))
    return views, ways


def _submitted(asked: PaintAsked, submit: Callable[[Uploads | None], Job]) -> Job:
    """Submit a job; the pictures that it starts from are deleted when it ends, or when it cannot begin."""
    with Uploads() if asked.start is not None else nullcontext() as uploads:
        job = submit(uploads)
        if uploads is not None:
            uploads.until(job)
        return job


def _asked(asked: PaintAsked, studio: Studio, uploads: Uploads | None) -> tuple[Composition, dict[str, object]]:
    """Return what is painted, within the gates and what the checkpoint wears, and the fields of its request."""
    wishes = asked.filter.wishes()
    if asked.composition is not None:
        composition = composition_of(studio, asked.composition, wishes=wishes)
    else:
        wishes = studio.for_painting(wishes)
        composition = studio.compose(asked.prompt or "", wishes=wishes, locked=asked.locked)
    fields = asked.fields()
    fields["seed"] = secrets.randbelow(SEEDS) if asked.seed is None else asked.seed
    if asked.start is not None and uploads is not None:
        picture = uploads.add_text(asked.start.picture, "picture")
        mask = None if asked.start.mask is None else uploads.add_text(asked.start.mask, "mask")
        fields["start"] = Start(picture=picture, strength=asked.start.strength, mask=mask)
    return replace(composition, refused=()), fields


async def _answered(request: Request, submit: Callable[[], Job]) -> Response:
    """Submit a job, and answer with it, or with its events where these are asked for."""
    studio, answers = studio_of(request), answers_of(request)
    job = await awaited(submit)
    if _STREAM in request.headers.get("accept", ""):
        return JobEvents(job, lambda: told(job, studio, answers), gone=lambda: studio.jobs.cancel(job))
    plain = await awaited(lambda: told(job, studio, answers))
    return Json({"job": plain}, status_code=202, headers={"Location": f"/jobs/{job.id}"})


# -------------------------------------------------------------------------------------------------- jobs


@router.get("/jobs", summary="Your own jobs", response_model=JobsTold, responses=errors(422), tags=["Jobs"])
async def jobs(request: Request, limit: Annotated[int, Query(ge=1, le=1000)] = _LISTED) -> Response:
    """Return the client's own jobs, the newest first; `X-Velatura-Client` tells clients of one address apart."""
    studio, answers = studio_of(request), answers_of(request)
    mine = studio.jobs.all(request.state.client)[:limit]
    return Json(await awaited(lambda: {"jobs": [told(job, studio, answers, whole=False) for job in mine]}))


def _job(request: Request, number: str) -> Job:
    job = studio_of(request).jobs.get(number)
    if job is None:
        raise HTTPException(404, "there is no such job, or it ended long ago")
    return job


@router.get("/jobs/{number}", summary="A job", response_model=JobAnswer, responses=errors(404), tags=["Jobs"])
async def job(number: str, request: Request) -> Response:
    """Return how far a job is, and the pictures that it has so far."""
    found, studio, answers = _job(request, number), studio_of(request), answers_of(request)
    return Json(await awaited(lambda: {"job": told(found, studio, answers)}))


@router.delete("/jobs/{number}", summary="End a job", response_model=JobAnswer, responses=errors(404), tags=["Jobs"])
async def cancel(number: str, request: Request) -> Response:
    """End a job: at once if it is waiting, else before its next step. What was painted is kept."""
    found, studio, answers = _job(request, number), studio_of(request), answers_of(request)
    studio.jobs.cancel(found)
    return Json(await awaited(lambda: {"job": told(found, studio, answers)}))


@router.get(
    "/jobs/{number}/events",
    summary="A job's changes as they come",
    response_class=Response,
    responses=errors(404) | _EVENTS,
    tags=["Jobs"],
)
async def events(number: str, request: Request) -> Response:
    """Send the job as a server-sent event on each change, until it has ended. Going away does not end the job."""
    found, studio, answers = _job(request, number), studio_of(request), answers_of(request)
    return JobEvents(found, lambda: told(found, studio, answers))


# ---------------------------------------------------------------------------------------------- pictures


def _picture(request: Request, number: str) -> tuple[str, bytes]:
    found = studio_of(request).shelf.get(number)
    if found is None:
        raise HTTPException(404, "there is no such picture, or it is no longer kept")
    return found


@router.get(
    "/pictures/{number}.png",
    summary="A picture",
    response_class=Response,
    responses=errors(404) | {200: {"content": {"image/png": {}}}},
    tags=["Pictures"],
)
async def picture(number: str, request: Request) -> Response:
    """Return a PNG with its story inside: prompt, adapters, weights, seed, as `velatura show` and A1111 read it."""
    name, content = _picture(request, number)
    headers = {
        "Content-Disposition": f"inline; filename*=utf-8''{quote(name)}",
        "Cache-Control": "private, max-age=31536000, immutable",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(content, media_type="image/png", headers=headers)


@router.get(
    "/pictures/{number}/story", summary="Why a picture looks as it does", responses=errors(404), tags=["Pictures"]
)
async def story(number: str, request: Request) -> Response:
    """Return the request, the seed and the checkpoint's hash that made the picture."""
    _, content = _picture(request, number)
    return Json(story_of(content))
