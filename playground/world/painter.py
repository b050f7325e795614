"""Paints a picture."""

from __future__ import annotations

from .layers import RGB, Codes, layers
from .picture import Picture
from .styles import PAINTERS


def paint(picture: Picture, drawing: Codes | None = None) -> RGB:
    """Paint a picture: the same record always gives the same pixels.

    Args:
        picture: What to paint.
        drawing: What stands in place of the subject, such as a `doodle`.

    Returns:
        RGB bytes, shape (`SIZE`, `SIZE`, 3).

    """
    return PAINTERS[picture.style](layers(picture, drawing))
