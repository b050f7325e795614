"""Pictures on their way to a server and back."""

from __future__ import annotations

import base64
import binascii
import io
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ...errors import BackendError, InputError
from ...records import Control, GenerationRequest, Picture, Start

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PIXELS: Final = 1 << 26
_FORMATS: Final = ("PNG", "JPEG", "WEBP")


def png(picture: Image) -> bytes:
    """Return a picture as the bytes of a PNG, the same for the same pixels."""
    stream = io.BytesIO()
    picture.save(stream, format="PNG")
    return stream.getvalue()


def base64_png(picture: Image) -> str:
    """Return a picture as a PNG in base64."""
    return base64.b64encode(png(picture)).decode("ascii")


def picture_of(content: bytes, title: str) -> Image:
    """Return the picture in RGB that a server sent, with nothing but its pixels.

    Args:
        content: What it sent.
        title: The server's name.

    Raises:
        BackendError: it is no PNG, JPEG or WebP, is damaged or incomplete, or has more than 67 million pixels.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of what is only large
            with Image.open(io.BytesIO(content), formats=_FORMATS) as opened:
                if opened.width * opened.height > MOST_PIXELS:
                    raise BackendError(f"{title} sent a picture of {opened.width}x{opened.height}, which is too large")
                opened.load()
                picture = opened.convert("RGB")
    except BackendError:
        raise
    except Exception as error:  # what a damaged picture raises depends on what is damaged
        raise BackendError(f"{title} sent a broken picture ({type(error).__name__}); ask for it again") from None
    picture.info = {}
    return picture


def picture_in(text: object, title: str) -> Image:
    """Return the picture that a server sent in base64, with or without `data:` before it.

    Raises:
        BackendError: it is no picture.
    """
    if not isinstance(text, str):
        raise BackendError(f"{title} sent no picture where one belongs")
    data = text.partition(",")[2] if text.startswith("data:") else text
    try:
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise BackendError(f"{title} sent a broken picture (it is no base64); ask for it again") from None
    return picture_of(content, title)


def with_pictures(request: GenerationRequest, strongest: float) -> GenerationRequest:
    """Check the pictures that are painted from, note their digests, and take their size where none is asked for.

    Where one side is asked for, the other follows; both are multiples of 8.

    Args:
        request: The request.
        strongest: The largest weight of a control.

    Raises:
        InputError: a picture is not there, or a number cannot be.
        UnreadableFile: a file is damaged.
    """
    controls = tuple(_control(control, strongest) for control in request.controls)
    if request.start is None:
        return replace(request, controls=controls)
    start, (wide, high) = _start(request.start)
    width, height = request.width, request.height
    scale = width / wide if width is not None else height / high if height is not None else 1.0
    return replace(
        request,
        controls=controls,
        start=start,
        width=int(wide * scale) // 8 * 8 if width is None else width,
        height=int(high * scale) // 8 * 8 if height is None else height,
    )


def _start(start: Start) -> tuple[Start, tuple[int, int]]:
    from ..pictures import read_mask, read_picture

    if not 0 < start.share <= 1:
        raise InputError(f"the strength must be above 0 and at most 1, not {start.share}")
    picture, digest = read_picture(start.picture)
    mask = start.mask
    if mask is not None:
        area, told = read_mask(mask)
        if area.size != picture.size:
            sizes = [f"{one.width}x{one.height}" for one in (area, picture)]
            raise InputError(f"the mask is {sizes[0]} and the picture {sizes[1]}: both must be of one size")
        mask = Picture(path=mask.path, sha256=told)
    read = Picture(path=start.picture.path, sha256=digest)
    return replace(start, picture=read, strength=start.share, mask=mask), picture.size


def _control(control: Control, strongest: float) -> Control:
    from ..pictures import read_picture

    if not 0 <= control.weight <= strongest:
        raise InputError(f"the weight of a control must be between 0 and {strongest:g}, not {control.weight}")
    if not 0 <= control.begin < control.end <= 1:
        raise InputError(f"a control must begin before it ends, between 0 and 1, not {control.begin} and {control.end}")
    _, digest = read_picture(control.picture)
    return replace(control, picture=Picture(path=control.picture.path, sha256=digest))


def map_of(control: Control, size: tuple[int, int]) -> Image:
    """Return the map that a control gives, of that size in pixels."""
    from ..canny import canny
    from ..pictures import fitted, read_picture

    picture = fitted(read_picture(control.picture)[0], *size)
    return canny(picture) if control.reading == "canny" else picture


def start_of(start: Start, size: tuple[int, int]) -> tuple[Image, Image | None]:
    """Return the picture that is painted from, and its mask, both of that size in pixels."""
    from ..pictures import fitted, read_mask, read_picture

    picture = fitted(read_picture(start.picture)[0], *size)
    return picture, None if start.mask is None else fitted(read_mask(start.mask)[0], *size)


def kept(start: Start | None, painted: Image, size: tuple[int, int]) -> Image:
    """Return a picture with the start's own pixels where its mask keeps them; `size` is what was asked for."""
    if start is None or start.mask is None or painted.size != size:
        return painted
    from ..pictures import pasted

    picture, mask = start_of(start, size)
    whole = pasted(painted, picture, mask) if mask is not None else painted
    whole.info = painted.info
    return whole
