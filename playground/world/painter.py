"""Paints a picture."""

from __future__ import annotations

from .layers import RGB, layers
from .picture import Picture
from .styles import PAINTERS


def paint(picture: Picture) -> RGB:
    """Paint a picture: the same record always gives the same pixels.

    Returns:
        RGB bytes, shape (`SIZE`, `SIZE`, 3).

    """
    return PAINTERS[picture.style](layers(picture))
