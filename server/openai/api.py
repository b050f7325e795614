"""OpenAI's API for pictures: its clients paint here unchanged, and adapters are chosen for them."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from PIL import Image, ImageOps
from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.responses import Response

from ...errors import Cancelled, MissingDependency
from ...generation.file_names import bare
from ...records import Start
from ..answers import answers_of
from ..errors_told import TOKEN, errors
from ..failures import WrongField
from ..following import GONE, finished
from ..json_answer import Json
from ..orders import chosen, ordered
from ..studio import studio_of
from ..threads import awaited
from ..uploads import Uploads, checked
from .events import PictureEvents
from .models import PicturesAsked
from .pictures import answer_of

if TYPE_CHECKING:
    from ..jobs import Job
    from ..studio import Studio

router = APIRouter(prefix="/v1", tags=["OpenAI"], dependencies=[TOKEN])

_SINCE: Final = int(time.time())
"""When the model was made, as far as this server knows."""
_MOST_FILES: Final = 4
_MOST_FIELDS: Final = 100
_TELLING: Final = ("RGBA", "LA", "PA")
"""Pillow's modes with transparency."""


# -------------------------------------------------------------------------------------------------- models


@router.get("/models", summary="The checkpoint", responses=errors())
def models(request: Request) -> Response:
    """Return the one model that this server paints with."""
    name = _model(studio_of(request))
    return Json({"object": "list", "data": [] if name is None else [_told(name)]})


@router.get("/models/{name:path}", summary="The checkpoint", responses=errors(404))
def model(name: str, request: Request) -> Response:
    """Return the model that this server paints with; there is no other."""
    _check_model(name, studio_of(request))
    return Json(_told(name))


def _model(studio: Studio) -> str | None:
    return None if studio.settings.model is None else bare(studio.settings.model)


def _told(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _SINCE, "owned_by": "velatura"}


def _check_model(name: str | None, studio: Studio) -> None:
    mine = _model(studio)
    if name is not None and name != mine:
        paints = "paints with none" if mine is None else f"paints with {mine}"
        raise HTTPException(404, f"there is no model {name[:60]!r} here; this server {paints}")


# -------------------------------------------------------------------------------------------------- pictures


@router.post("/images/generations", summary="Paint pictures", responses=errors(404, 413, 422, 429, 501, 502))
async def generations(asked: PicturesAsked, request: Request) -> Response:
    """Paint pictures of a prompt, with the adapters that serve it.

    Each picture also has `velatura`: which adapters, at which weights, and why. `seed`, `steps`, `guidance` and
    `negative` may be given too.
    """
    return await _painted(asked, request, {})


@router.post("/images/edits", summary="Paint a picture anew", responses=errors(404, 413, 422, 429, 501, 502))
async def edits(request: Request) -> Response:
    """Paint a picture anew, as a form with `image`, `prompt`, and perhaps a `mask` that is transparent where to paint.

    `strength`, 0 to 1, may say how far it is painted anew; without it 0.75.
    """
    try:
        import python_multipart  # noqa: F401
    except ModuleNotFoundError:
        raise MissingDependency("python-multipart", extra="server") from None
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise WrongField("an edit must be sent as a form (multipart/form-data)", "image")
    async with request.form(max_files=_MOST_FILES, max_fields=_MOST_FIELDS) as form:
        words = {name: value for name, value in form.items() if isinstance(value, str)}
        pictures = [one for name in ("image", "image[]") for one in form.getlist(name) if isinstance(one, UploadFile)]
        masks = [one for one in form.getlist("mask") if isinstance(one, UploadFile)]
        if len(pictures) != 1 or len(masks) > 1:
            raise WrongField(f"an edit begins with one picture, not {len(pictures)}", "image")
        sent = {"image": await pictures[0].read()}
        if masks:
            sent["mask"] = await masks[0].read()
    try:
        asked = PicturesAsked.model_validate(words)
    except ValidationError as error:
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in error.errors()]) from None
    return await _painted(asked, request, sent)


async def _painted(asked: PicturesAsked, request: Request, sent: Mapping[str, bytes]) -> Response:
    studio, answers = studio_of(request), answers_of(request)
    _check_model(asked.model, studio)
    asked.check()
    job = await awaited(lambda: _ordered(asked, studio, request.state.client, sent))
    if asked.stream:
        return PictureEvents(job, studio, answers, asked=asked, kind="image_edit" if sent else "image_generation")
    if not await finished(job, studio.jobs, request):
        return Response(status_code=GONE)
    if job.state == "cancelled":
        raise Cancelled("the job was cancelled")
    address = str(request.base_url) if asked.response_format == "url" else None
    return Json(await awaited(lambda: answer_of(job, studio, answers, asked=asked, address=address)))


def _ordered(asked: PicturesAsked, studio: Studio, client: str, sent: Mapping[str, bytes]) -> Job:
    width, height = asked.sides()
    fields: dict[str, object] = {
        "width": width,
        "height": height,
        "steps": asked.steps,
        "guidance": asked.guidance,
        "negative": asked.negative,
    }
    with Uploads() as uploads:
        if sent:
            picture = uploads.add(sent["image"], "image")
            mask = uploads.draw(_mask(sent["mask"]), "mask") if "mask" in sent else None
            fields["start"] = Start(picture=picture, strength=asked.strength, mask=mask)
        composition = chosen(studio, asked.prompt)
        return ordered(studio, client, composition, count=asked.n or 1, seed=asked.seed, fields=fields, uploads=uploads)


def _mask(content: bytes) -> Image.Image:
    """Return a mask as painting reads it, white where it is painted, of OpenAI's, which is transparent there.

    Raises:
        UnreadableFile: it is no picture.
        WrongField: nothing of it is transparent.
    """
    checked(content, "the mask")
    with Image.open(io.BytesIO(content)) as mask:
        if mask.mode not in _TELLING and "transparency" not in mask.info:
            raise WrongField("the mask must be transparent where the picture is to be painted anew", "mask")
        return ImageOps.invert(mask.convert("RGBA").getchannel("A"))
