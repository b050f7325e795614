"""Lays the sprite over the scene and keeps them apart, so that a style can treat each part in its own way."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from .picture import Picture
from .scenes import SIZE, Scene, scene
from .sprites import FRAME, NOTHING, sprite

Codes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
RGB = npt.NDArray[np.uint8]

_MARGIN: Final = (SIZE - FRAME) // 2


@dataclass(frozen=True, slots=True)
class Layers:
    """What a style paints: which part each pixel shows, not yet in which colour."""

    parts: Codes
    """Codes of `sprites`, `NOTHING` where the scene is seen; shape (`SIZE`, `SIZE`)."""
    scene: Scene
    lines: Mask
    """Where one cell of the scene ends and the next begins."""
    colour: str


def layers(picture: Picture, drawing: Codes | None = None) -> Layers:
    """Lay out a picture, with a drawing in place of its subject if one is given."""
    parts = np.zeros((SIZE, SIZE), np.uint8)
    right, down = picture.shift
    top, left = _MARGIN + down, _MARGIN + right
    parts[top : top + FRAME, left : left + FRAME] = (
        sprite(picture.subject, picture.mirrored) if drawing is None else drawing
    )
    return Layers(
        parts=parts,
        scene=scene(picture.scene, picture.scene_mirrored),
        lines=_borders(picture.scene, picture.scene_mirrored),
        colour=picture.colour,
    )


@cache
def _borders(name: str, mirrored: bool) -> Mask:
    cells = scene(name, mirrored).cells
    lines = np.zeros((SIZE, SIZE), np.bool_)
    lines[1:] |= cells[1:] != cells[:-1]
    lines[:, 1:] |= cells[:, 1:] != cells[:, :-1]
    return lines


def grown(mask: Mask) -> Mask:
    """Return the mask and its four neighbours on each pixel."""
    wide = mask.copy()
    wide[1:] |= mask[:-1]
    wide[:-1] |= mask[1:]
    wide[:, 1:] |= mask[:, :-1]
    wide[:, :-1] |= mask[:, 1:]
    return wide


def around(parts: Codes) -> Mask:
    """Return the ring of one pixel about the subject."""
    ring: Mask = grown(parts != NOTHING) & (parts == NOTHING)
    return ring
