"""Pictures on their way to a server and back."""

from __future__ import annotations

import base64
import binascii
import io
import warnings
from typing import TYPE_CHECKING, Final

from ..errors import BackendError

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
    _, comma, data = text.partition(",") if text.startswith("data:") else ("", "", text)
    try:
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise BackendError(f"{title} sent a broken picture (it is no base64); ask for it again") from None
    return picture_of(content, title)
