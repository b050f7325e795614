"""Painted pictures as OpenAI's clients read them."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any, Final

from PIL import Image

from ...syntax import without_tags
from ..orders import pictures_of, why
from ..stories import story_of

if TYPE_CHECKING:
    from ...records import Composition
    from ..answers import Answers
    from ..jobs import Job, Made
    from ..studio import Studio
    from .models import PicturesAsked

_EXIF: Final = 0x8769
_COMMENT: Final = 0x9286
_QUALITY: Final = 95


def answer_of(
    job: Job, studio: Studio, answers: Answers, *, asked: PicturesAsked, address: str | None
) -> dict[str, Any]:
    """Return the answer to a request for pictures.

    Args:
        job: It has ended.
        studio: Where it was painted.
        answers: Tells its adapters.
        asked: The request.
        address: Where pictures are fetched, with a slash at the end; None sends them in the answer.

    Raises:
        VelaturaError: the job failed, or its pictures were forgotten already.
    """
    data = []
    for made, content in pictures_of(studio, job):
        if address is None:
            shown = {"b64_json": encoded(content, asked)}
        else:
            shown = {"url": f"{address}pictures/{made.picture}.png"}
        data.append(shown | reasons(made, job, answers))
    return {
        "created": int(job.asked_at),
        "data": data,
        "background": "opaque",
        "output_format": asked.form,
        "size": size_of(job),
        "usage": usage_of(job.asked),
    }


def reasons(made: Made, job: Job, answers: Answers) -> dict[str, Any]:
    """Return what the model read of a picture's prompt, and why the picture looks as it does."""
    request = job.requests[made.place]
    return {
        "revised_prompt": without_tags(request.prompt),
        "velatura": why(request, job.asked, made.seed, answers),
    }


def size_of(job: Job) -> str:
    """Return how large the pictures of a job are."""
    return f"{job.requests[0].width}x{job.requests[0].height}"


def usage_of(composition: Composition) -> dict[str, Any]:
    """Return the tokens that a language model read and wrote for the choice; painting takes none."""
    usage = composition.usage
    details = {"text_tokens": usage.read, "image_tokens": 0}
    return {
        "input_tokens": usage.read,
        "input_tokens_details": details,
        "output_tokens": usage.written,
        "total_tokens": usage.read + usage.written,
    }


def encoded(content: bytes, asked: PicturesAsked) -> str:
    """Return one of our PNG files in base64, as it is or in the form that is asked for, A1111's text with it."""
    if asked.form == "png":
        return base64.b64encode(content).decode()
    with Image.open(io.BytesIO(content), formats=("PNG",)) as picture:
        return _saved(picture.convert("RGB"), asked, story_of(content)["parameters_text"])


def drawn(picture: Image.Image, size: tuple[int, int], asked: PicturesAsked) -> str:
    """Return a picture on the way in base64, as large as it will be, in the form that is asked for."""
    return _saved(picture.convert("RGB").resize(size, Image.Resampling.BICUBIC), asked, "")


def _saved(picture: Image.Image, asked: PicturesAsked, text: str) -> str:
    stream = io.BytesIO()
    options: dict[str, Any] = {}
    if asked.form != "png":
        exif = Image.Exif()
        exif.get_ifd(_EXIF)[_COMMENT] = b"UNICODE\0" + text.encode("utf-16-be", "replace")
        quality = _QUALITY if asked.output_compression is None else asked.output_compression
        options = {"quality": quality} | ({"exif": exif} if text else {})
    picture.save(stream, format=asked.form, **options)
    return base64.b64encode(stream.getvalue()).decode()
