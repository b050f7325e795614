"""What A1111's clients do with pictures beside painting: enlarge them, read their story, put them into words."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Request
from PIL import Image, ImageOps
from starlette.responses import Response

from ...generation.picture_text import read_texts
from ...generation.pictures import read_picture
from ...parameters import parse_parameters
from ..failures import WrongField
from ..json_answer import Json
from ..studio import studio_of
from ..threads import computed
from ..uploads import Uploads, picture_of
from .models import EnlargementAsked, Looked, OneEnlarged, SeveralEnlarged

if TYPE_CHECKING:
    from ...settings import Settings

router = APIRouter()

_FILTERS: Final = {
    "None": Image.Resampling.LANCZOS,
    "Lanczos": Image.Resampling.LANCZOS,
    "Nearest": Image.Resampling.NEAREST,
}


@router.post("/extra-single-image", summary="Enlarge a picture")
async def enlarge(asked: OneEnlarged, request: Request) -> Response:
    """Enlarge a picture by interpolation."""
    settings = studio_of(request).settings
    return Json(await computed(request, lambda: {"html_info": "", "image": _enlarged(asked.image, asked, settings)}))


@router.post("/extra-batch-images", summary="Enlarge pictures")
async def enlarge_all(asked: SeveralEnlarged, request: Request) -> Response:
    """Enlarge pictures by interpolation."""
    settings, most = studio_of(request).settings, studio_of(request).settings.most_pictures
    if len(asked.imageList) > most:
        raise WrongField(f"{len(asked.imageList)} pictures are sent, and this server takes at most {most}", "imageList")

    def work() -> dict[str, Any]:
        return {"html_info": "", "images": [_enlarged(one.data, asked, settings) for one in asked.imageList]}

    return Json(await computed(request, work))


def _enlarged(sent: str, asked: EnlargementAsked, settings: Settings) -> str:
    if asked.upscaler_1 not in _FILTERS:
        raise WrongField(f"the upscaler {asked.upscaler_1[:60]!r} is none of {', '.join(_FILTERS)}", "upscaler_1")
    second = asked.extras_upscaler_2_visibility and asked.upscaler_2 != "None"
    if second or asked.gfpgan_visibility or asked.codeformer_visibility:
        raise WrongField("a second upscaler and face restoration are not offered here", "upscaler_2")
    resample = _FILTERS[asked.upscaler_1]
    with Uploads() as uploads:
        try:
            picture, _ = read_picture(uploads.add_text(sent, "picture"))
        finally:
            uploads.close()
    if asked.resize_mode:
        size = (asked.upscaling_resize_w, asked.upscaling_resize_h)
    else:
        size = (
            max(1, round(picture.width * asked.upscaling_resize)),
            max(1, round(picture.height * asked.upscaling_resize)),
        )
    if max(size) > settings.largest_side:
        told = f"{size[0]}x{size[1]}"
        raise WrongField(f"that would be {told}, and this server makes at most {settings.largest_side}", "image")
    if asked.resize_mode and asked.upscaling_crop:
        large = ImageOps.fit(picture, size, resample)
    elif asked.resize_mode:
        large = ImageOps.contain(picture, size, resample)
    else:
        large = picture.resize(size, resample)
    if not (large.width and large.height):
        raise WrongField(f"a picture of {picture.width}x{picture.height} has no pixels left at that size", "image")
    stream = io.BytesIO()
    large.save(stream, format="PNG")
    return base64.b64encode(stream.getvalue()).decode()


@router.post("/png-info", summary="Read a picture's story")
async def png_info(asked: Looked, request: Request) -> Response:
    """Return the `parameters` text of a picture, and what it says."""
    return Json(await computed(request, lambda: _story(asked.image)))


def _story(sent: str) -> dict[str, Any]:
    with Uploads() as uploads:
        try:
            text = read_texts(Path(uploads.add_text(sent, "picture").path), ("parameters",)).get("parameters", "")
        finally:
            uploads.close()
    parsed = parse_parameters(text) if text else None
    told = {"Prompt": parsed["prompt"], "Negative prompt": parsed["negative"], **parsed["settings"]} if parsed else {}
    return {"info": text, "items": {"parameters": text} if text else {}, "parameters": told}


@router.post("/interrogate", summary="Put a picture into words")
async def interrogate(asked: Looked, request: Request) -> Response:
    """Return a prompt for a picture, where the server has a picture model."""
    if asked.model != "clip":
        raise WrongField("pictures are put into words by `clip` here", "model")
    velatura = studio_of(request).velatura
    return Json(
        await computed(request, lambda: {"caption": velatura.interrogate(picture_of(asked.image), by="clip").prompt})
    )
