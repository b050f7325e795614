"""The painted world: pictures of a few things in a few places, painted in a few styles, and their captions.

The pictures are pixel art of 32 x 32, made to be looked at enlarged. The base model learns the base subjects and
scenes in the flat style; the others exist only as adapters.
"""

from __future__ import annotations

from .captions import captions, held_out_caption, vocabulary, with_article
from .doodles import doodle
from .painter import paint
from .picture import (
    BASE_SCENES,
    BASE_SUBJECTS,
    COLOURS,
    NEW_SCENES,
    NEW_STYLES,
    NEW_SUBJECTS,
    SCENES,
    STYLES,
    SUBJECTS,
    VARIANTS,
    Picture,
    draw,
)
from .scenes import SIZE
from .sheets import enlarge, sheet

__all__ = [
    "BASE_SCENES",
    "BASE_SUBJECTS",
    "COLOURS",
    "NEW_SCENES",
    "NEW_STYLES",
    "NEW_SUBJECTS",
    "SCENES",
    "SIZE",
    "STYLES",
    "SUBJECTS",
    "VARIANTS",
    "Picture",
    "captions",
    "doodle",
    "draw",
    "enlarge",
    "held_out_caption",
    "paint",
    "sheet",
    "vocabulary",
    "with_article",
]
