"""Small pictures of adapters, made of what lies beside their files; nothing is fetched from anywhere."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from ...errors import InputError
from ...refiner.picture_file import read_picture_file
from ...refiner.pictures import local_pictures

if TYPE_CHECKING:
    from ...records import AdapterRecord

SIDE: Final = 320
"""Pixels of the longer side."""
_MOST: Final = 16 << 20
"""Bytes that are kept."""
_QUALITY: Final = 80


class Thumbnails:
    """Makes thumbnails, and keeps the last ones; several threads may ask."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def of(self, record: AdapterRecord) -> bytes | None:
        """Return a WebP of the first picture beside an adapter's file that can be read; None where there is none."""
        for path in local_pictures(record):
            try:
                found = path.stat()
                key = (str(path), found.st_mtime_ns, found.st_size)
                with self._lock:
                    if key in self._kept:
                        self._kept.move_to_end(key)
                        return self._kept[key]
                picture = read_picture_file(path).decode()
            except (InputError, OSError, ValueError):  # a name with a NUL is a ValueError
                continue
            picture.thumbnail((SIDE, SIDE))
            stream = io.BytesIO()
            picture.save(stream, format="WEBP", quality=_QUALITY)
            self._keep(key, stream.getvalue())
            return stream.getvalue()
        return None

    def _keep(self, key: tuple[str, int, int], content: bytes) -> None:
        with self._lock:
            self._size += len(content) - len(self._kept.pop(key, b""))
            self._kept[key] = content
            while self._size > _MOST and len(self._kept) > 1:
                self._size -= len(self._kept.popitem(last=False)[1])
