"""Whether the server works, and how it does: for whoever watches over it."""

from __future__ import annotations

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from .. import __version__
from ..generation.file_names import bare
from .answers import answers_of
from .errors_told import TOKEN, errors
from .guard import METRICS
from .json_answer import Json
from .metrics import Metrics
from .own.answer_models import HealthTold
from .studio import studio_of
from .threads import computed

router = APIRouter(tags=["Health"])


@router.get("/health", summary="Whether the server works", response_model=HealthTold, responses=errors(503))
async def health(request: Request) -> Response:
    """Return `ok` where the catalogue can be read, how large it is, and how much is waiting. Needs no token."""
    studio, answers = studio_of(request), answers_of(request)
    # Computed, as all that waits may be waiting for the checkpoint.
    adapters = await computed(request, lambda: answers.count(studio.filter()))
    model = studio.settings.model
    return Json(
        {
            "status": "ok",
            "version": __version__,
            "adapters": adapters,
            "model": None if model is None else bare(model),
            "waiting": studio.jobs.waiting,
            "painting": len(studio.jobs.at_work),
        }
    )


@router.get(
    METRICS,
    summary="Counts and times for Prometheus",
    response_class=Response,
    responses=errors() | {200: {"content": {"text/plain": {}}}},
    dependencies=[TOKEN],
)
async def metrics(request: Request) -> Response:
    """Return requests by route and status with their times, jobs, pictures, memory, and the process's own metrics."""
    told: Metrics = request.app.state.metrics
    content = await computed(request, lambda: generate_latest(told.registry))
    return Response(content, media_type=CONTENT_TYPE_LATEST)
