"""Files that are used where they are mapped: how they lie, and whether they are whole."""

from __future__ import annotations

import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

ALIGNED: Final = 64
"""Arrays begin at multiples of so many bytes."""
_CHECKED: Final = 64 * 1024 * 1024
"""Bytes that are checked each time; to read a larger file whole would cost what mapping it saves."""


def checksum(content: NDArray[np.uint8]) -> int:
    """Return the CRC-32 of a file's bytes; 0 of a large file's, which is told by its structure alone."""
    return zlib.crc32(content.data) if len(content) <= _CHECKED else 0
