"""Painted pictures, kept in memory as the PNG files that they are, the oldest forgotten first."""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from typing import TYPE_CHECKING

from ..generation.story import image_name, png_bytes

if TYPE_CHECKING:
    from ..records import GeneratedImage


class PictureShelf:
    """Keeps the content of picture files within a number of bytes.

    Args:
        most: Bytes of all of them; the newest is kept however large it is.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[str, tuple[str, bytes]] = OrderedDict()
        self._lock = threading.Lock()
        self.size = 0
        """Bytes that are kept."""

    def keep(self, image: GeneratedImage) -> str:
        """Keep a picture with its story; return what it can be asked for by, which nobody can guess."""
        number, content = uuid.uuid4().hex, png_bytes(image)
        name = image_name(image.request, image.seed - image.request.seed)
        with self._lock:
            self._kept[number] = (name, content)
            self.size += len(content)
            while self.size > self._most and len(self._kept) > 1:
                _, (_, gone) = self._kept.popitem(last=False)
                self.size -= len(gone)
        return number

    def get(self, number: str) -> tuple[str, bytes] | None:
        """Return (file name, PNG) of a picture, or None where it is not kept any more."""
        with self._lock:
            return self._kept.get(number)

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._kept)
