"""Pictures that clients send: base64 alone, never a path or an address that the server would have to open."""

from __future__ import annotations

import base64
import binascii
import re
import shutil
import tempfile
import weakref
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from ..errors import InputError
from ..records import Picture
from ..refiner.picture_file import decode_picture

if TYPE_CHECKING:
    from types import TracebackType

    from PIL.Image import Image

    from .jobs import Job

MOST_PIXELS: Final = 32_000_000
"""Of a picture that is sent: many clients send at once, and each pixel takes three bytes when it is opened."""

_DATA: Final = re.compile(r"data:[\w.+/;=-]{0,100}?;base64,", re.IGNORECASE)
_SPACE: Final = str.maketrans("", "", " \t\r\n")


def content_of(text: str, name: str = "the picture") -> bytes:
    """Return the bytes of a picture file that stands in JSON: as base64, or as a data URL of it.

    Args:
        text: What the client sent.
        name: What an error calls it.

    Raises:
        InputError: it is neither; an address or a path is never opened.
    """
    head = _DATA.match(text)
    body = text[head.end() if head else 0 :].translate(_SPACE)
    try:
        # Some clients leave the padding out.
        content = base64.b64decode(body.rstrip("=") + "=" * (-len(body.rstrip("=")) % 4), validate=True)
    except (binascii.Error, ValueError):
        content = b""
    if not content:
        raise InputError(f"{name} must be sent as base64 or as a data URL; addresses and paths are not opened")
    return content


def checked(content: bytes, name: str = "the picture") -> Image:
    """Return the picture that bytes hold, in RGB and upright, no side longer than 1,024 pixels.

    Raises:
        UnreadableFile: it is no PNG, JPEG, WebP or GIF, is damaged, or has more than 32 million pixels.
    """
    return decode_picture(content, name, most_pixels=MOST_PIXELS)


def picture_of(text: str, name: str = "the picture") -> Image:
    """Return the picture that stands in JSON, as `checked`: for what only looks at it.

    Raises:
        InputError: it is neither base64 nor a data URL.
        UnreadableFile: as `checked`.
    """
    return checked(content_of(text, name), name)


class Uploads:
    """A private folder for the pictures of one request; it is gone when its job ends, or when nobody holds it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="velatura-"))  # readable by this user alone
        self._gone = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Without an error the job that was made of them has the pictures now; see `until`.
        if kind is not None:
            self.close()

    def add(self, content: bytes, name: str) -> Picture:
        """Write a picture file that a client sent, under a name of ours.

        Args:
            content: The file.
            name: One word of ours; it also stands in the picture's story.

        Raises:
            UnreadableFile: as `checked`.
        """
        checked(content, f"the {name}")
        path = self._path(name)
        path.write_bytes(content)
        return Picture(path=str(path))

    def add_text(self, text: str, name: str) -> Picture:
        """Write a picture that stands in JSON; see `content_of` and `add`."""
        return self.add(content_of(text, f"the {name}"), name)

    def draw(self, picture: Image, name: str) -> Picture:
        """Write a picture that was made here of those that the client sent."""
        path = self._path(name)
        picture.save(path, format="PNG")
        return Picture(path=str(path))

    def until(self, job: Job) -> None:
        """Delete the folder when a job has ended."""
        listening = ExitStack()

        def look() -> None:
            if job.ended:
                self.close()
                listening.close()

        listening.enter_context(job.heard(look))
        look()

    def close(self) -> None:
        """Delete the folder."""
        self._gone()

    def _path(self, name: str) -> Path:
        path = self.folder / f"{name}.png"
        number = 1
        while path.exists():
            number += 1
            path = self.folder / f"{name}-{number}.png"
        return path
