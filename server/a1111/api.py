"""The API of A1111's web UI: its clients paint here unchanged."""

from __future__ import annotations

import base64
import io
import time
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from ...generation.file_names import bare
from ..answers import answers_of
from ..errors_told import TOKEN
from ..failures import WrongField
from ..following import GONE, finished
from ..json_answer import Json
from ..orders import as_written, ordered, pictures_of
from ..studio import studio_of
from ..threads import awaited
from ..uploads import Uploads
from . import extras, lists
from .info import info_of
from .models import OptionsAsked, PictureAsked, TextAsked
from .pictures import start_of
from .samplers import scheduler_of

if TYPE_CHECKING:
    from ..jobs import Job
    from ..studio import Studio

router = APIRouter(prefix="/sdapi/v1", tags=["A1111"], dependencies=[TOKEN])
router.include_router(lists.router)
router.include_router(extras.router)

_LONGEST: Final = 1000
"""Characters of a text that is told back."""


# -------------------------------------------------------------------------------------------------- pictures


@router.post("/txt2img", summary="Paint pictures")
async def txt2img(asked: TextAsked, request: Request) -> Response:
    """Paint pictures. A prompt with `<lora:name:weight>` wears these; for one without, adapters are chosen."""
    return await _painted(asked, request)


@router.post("/img2img", summary="Paint a picture anew")
async def img2img(asked: PictureAsked, request: Request) -> Response:
    """Paint a picture anew, where a mask is given its white parts; adapters as with `txt2img`."""
    return await _painted(asked, request)


async def _painted(asked: TextAsked, request: Request) -> Response:
    studio, answers = studio_of(request), answers_of(request)
    asked.check()
    _check_model(asked.checkpoint, studio, "override_settings.sd_model_checkpoint")
    job = await awaited(lambda: _ordered(asked, studio, request.state.client))
    if not await finished(job, studio.jobs, request):
        return Response(status_code=GONE)

    def told() -> dict[str, Any]:
        made = pictures_of(studio, job)
        images = [base64.b64encode(content).decode() for _, content in made] if asked.send_images is not False else []
        return {"images": images, "parameters": _echo(asked), "info": info_of(job, made, asked, answers)}

    return Json(await awaited(told))


def _ordered(asked: TextAsked, studio: Studio, client: str) -> Job:
    fields: dict[str, object] = {
        "negative": asked.negative_prompt,
        "steps": asked.steps,
        "guidance": asked.cfg_scale,
        "width": asked.width,
        "height": asked.height,
        "scheduler": scheduler_of(asked.sampler_name or asked.sampler_index, asked.scheduler),
        "clip_skip": asked.clip_skip,
    }
    with Uploads() as uploads:
        if isinstance(asked, PictureAsked):
            fields["start"] = start_of(asked, uploads, largest=studio.settings.largest_side)
        composition = as_written(studio, asked.prompt)
        seed = None if asked.seed in (None, -1) else asked.seed
        return ordered(studio, client, composition, count=asked.count, seed=seed, fields=fields, uploads=uploads)


def _echo(asked: TextAsked) -> dict[str, Any]:
    """Return what was asked for, without the pictures."""
    told = asked.model_dump(exclude={"init_images", "mask", "alwayson_scripts"})
    if isinstance(asked, PictureAsked):
        told |= {"init_images": None, "mask": None}
    return {name: value[:_LONGEST] if isinstance(value, str) else value for name, value in told.items()}


# -------------------------------------------------------------------------------------------------- progress


@router.get("/progress", summary="How far your own pictures are")
async def progress(request: Request, skip_current_image: bool = False) -> Response:
    """Return how far the client's own job is; what others paint is not told."""
    studio, job = studio_of(request), _current(request)
    return Json(await awaited(lambda: _progress(job, studio, shown=not skip_current_image)))


def _current(request: Request) -> Job | None:
    """Return the client's own job that is being painted, else the one that waits the longest."""
    jobs = studio_of(request).jobs
    mine = [job for job in reversed(jobs.all(request.state.client)) if not job.ended]
    return next((job for job in mine if job.state == "painting"), next(iter(mine), None))


def _progress(job: Job | None, studio: Studio, *, shown: bool) -> dict[str, Any]:
    state: dict[str, Any] = {
        "skipped": False,
        "interrupted": False,
        "stopping_generation": False,
        "job": "",
        "job_count": 0,
        "job_timestamp": "0",
        "job_no": 0,
        "sampling_step": 0,
        "sampling_steps": 0,
    }
    told: dict[str, Any] = {"progress": 0.0, "eta_relative": 0.0, "state": state, "current_image": None}
    if job is None:
        return told | {"textinfo": None}
    count, steps, share, made = len(job.requests), job.requests[0].steps or 0, job.progress, len(job.made)
    state |= {
        "interrupted": job.stopped,
        "stopping_generation": job.stopped,
        "job": job.id,
        "job_count": count,
        "job_timestamp": time.strftime("%Y%m%d%H%M%S", time.localtime(job.asked_at)),
        "job_no": made,
        "sampling_step": min(steps, max(0, round(share * count * steps) - made * steps)),
        "sampling_steps": steps,
    }
    told["progress"] = share
    if share > 0 and job.started_at is not None:
        told["eta_relative"] = max(0.0, time.time() - job.started_at) * (1 - share) / share
    preview = job.preview
    if shown and preview is not None:
        stream = io.BytesIO()
        preview[1].save(stream, format="PNG")
        told["current_image"] = base64.b64encode(stream.getvalue()).decode()
    waits = f"{studio.jobs.ahead(job)} ahead" if job.state == "waiting" else None
    return told | {"textinfo": waits}


@router.post("/interrupt", summary="End your own job")
def interrupt(request: Request) -> Response:
    """End the client's own job, as `progress` tells it; what was painted is answered. Others' go on."""
    job = _current(request)
    if job is not None:
        studio_of(request).jobs.cancel(job)
    return Json({})


@router.post("/skip", summary="End your own job's last picture")
def skip(request: Request) -> Response:
    """End the picture that is being painted, where it is the last of the client's own job."""
    job = _current(request)
    if job is not None:
        if len(job.requests) - len(job.made) > 1:
            raise WrongField("pictures of a job cannot be skipped one by one; interrupt it", "skip")
        studio_of(request).jobs.cancel(job)
    return Json({})


# --------------------------------------------------------------------------------------------------- options


@router.get("/options", summary="The settings that A1111's clients look at")
def options(request: Request) -> Response:
    """Return the checkpoint, and what else clients look at."""
    name = lists.checkpoint(studio_of(request))
    told = {"sd_model_checkpoint": name, "sd_checkpoint_hash": "", "sd_vae": "Automatic"}
    return Json({**told, "samples_format": "png", "CLIP_stop_at_last_layers": 1, "sd_lora": "None"})


@router.post("/options", summary="Confirm the checkpoint")
def set_options(asked: OptionsAsked, request: Request) -> Response:
    """Take the checkpoint that is loaded anyway; the server's settings are not changed from outside."""
    _check_model(asked.sd_model_checkpoint, studio_of(request), "sd_model_checkpoint")
    others = sorted(asked.model_extra or {})
    if others:
        raise WrongField(f"the setting {others[0][:60]!r} cannot be changed from outside", others[0])
    return Json(None)


def _check_model(name: object, studio: Studio, field: str) -> None:
    mine = lists.checkpoint(studio)
    if name in (None, ""):
        return
    if mine is None or not isinstance(name, str) or _plain(name) != _plain(mine):
        paints = "paints with none" if mine is None else f"paints with {mine}"
        raise WrongField(f"there is no checkpoint {str(name)[:60]!r} here; this server {paints}", field)


def _plain(name: str) -> str:
    """Return a checkpoint's name without folders, ending and hash."""
    return bare(name.partition(" [")[0]).casefold().removesuffix(".safetensors")
