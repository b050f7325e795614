"""What can be in a picture of the painted world, and the record of one picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ...errors import InputError
from . import sprites_base, sprites_new

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

BASE_SUBJECTS: Final = tuple(sprites_base.SPRITES)
"""Subjects that the base model is trained on."""
NEW_SUBJECTS: Final = tuple(sprites_new.SPRITES)
"""Subjects that only an adapter can draw."""
SUBJECTS: Final = BASE_SUBJECTS + NEW_SUBJECTS

COLOURS: Final = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")

BASE_SCENES: Final = ("plain", "night", "meadow", "sea", "desert", "sunset")
"""Scenes that the base model is trained on."""
NEW_SCENES: Final = ("snow", "city", "space")
"""Scenes that only an adapter can draw."""
SCENES: Final = BASE_SCENES + NEW_SCENES

NEW_STYLES: Final = (
    "sketch",
    "neon",
    "blueprint",
    "handheld",
    "sepia",
    "thermal",
    "comic",
    "chalkboard",
    "glass",
    "linocut",
)
"""Styles that only an adapter can draw in."""
STYLES: Final = ("flat", *NEW_STYLES)
"""The base model's own style comes first."""

_SHIFTS: Final = (0, -2, 2)
VARIANTS: Final = len(_SHIFTS) ** 2 * 4
"""How many different pictures one subject, colour, scene and style have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture of the painted world, before it is painted.

    Raises:
        InputError: the world has no such subject, colour, scene or style.

    """

    subject: str
    colour: str
    scene: str
    style: str = "flat"
    variant: int = 0
    """Says where the subject stands and which way subject and scene face; 0 is the middle. Counts modulo `VARIANTS`."""

    def __post_init__(self) -> None:
        for kind, name, known in (
            ("subject", self.subject, SUBJECTS),
            ("colour", self.colour, COLOURS),
            ("scene", self.scene, SCENES),
            ("style", self.style, STYLES),
        ):
            if name not in known:
                raise InputError(f"the painted world has no {kind} {name!r}: choose one of {', '.join(known)}")

    @property
    def shift(self) -> tuple[int, int]:
        """Pixels to the right and down from the middle; even, so that cells of 2 x 2 stay whole."""
        return _SHIFTS[self.variant % 3], _SHIFTS[self.variant // 3 % 3]

    @property
    def mirrored(self) -> bool:
        """Whether the subject looks the other way."""
        return self.variant // 9 % 2 == 1

    @property
    def scene_mirrored(self) -> bool:
        """Whether the scene is seen the other way round."""
        return self.variant // 18 % 2 == 1


def draw(
    rng: random.Random,
    *,
    subjects: Sequence[str] = SUBJECTS,
    colours: Sequence[str] = COLOURS,
    scenes: Sequence[str] = SCENES,
    styles: Sequence[str] = STYLES,
) -> Picture:
    """Draw a picture by lot from the given vocabularies; each word is as likely as the others of its kind."""
    return Picture(
        subject=rng.choice(subjects),
        colour=rng.choice(colours),
        scene=rng.choice(scenes),
        style=rng.choice(styles),
        variant=rng.randrange(VARIANTS),
    )
