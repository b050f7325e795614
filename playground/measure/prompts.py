"""What the measure asks for: every new subject, style and scene, pairs of them, and what needs no adapter at all."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from ..world import (
    BASE_SCENES,
    BASE_SUBJECTS,
    NEW_SCENES,
    NEW_STYLES,
    NEW_SUBJECTS,
    VARIANTS,
    Picture,
    draw,
    held_out_caption,
)

Kind = Literal["subject", "style", "pair", "scene", "none"]
KINDS: Final[tuple[Kind, ...]] = ("subject", "style", "pair", "scene", "none")
"""What a prompt needs adapters for."""

ROUNDS: Final[dict[Kind, int]] = {"subject": 2, "style": 3, "pair": 3, "scene": 2, "none": 24}
"""How often each new subject, style, subject with a style, and scene is asked for; prompts without need in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One prompt, and what a picture of it must show."""

    number: int
    kind: Kind
    prompt: str
    """In a wording that no adapter was trained on."""
    picture: Picture

    @property
    def needs(self) -> tuple[tuple[str, str], ...]:
        """The parts that the base model does not know: `(("subject", "cat"), ("style", "neon"))`."""
        parts = (
            ("subject", self.picture.subject, NEW_SUBJECTS),
            ("style", self.picture.style, NEW_STYLES),
            ("scene", self.picture.scene, NEW_SCENES),
        )
        return tuple((part, name) for part, name, new in parts if name in new)

    @property
    def seed(self) -> int:
        """The seed of its first picture; every condition paints it with the same ones."""
        return random.Random(f"seed {self.number}").randrange(2**31)  # noqa: S311

    @property
    def variants(self) -> list[Picture]:
        """Every picture of the painted world that the prompt can mean."""
        return [
            Picture(
                subject=self.picture.subject,
                colour=self.picture.colour,
                scene=self.picture.scene,
                style=self.picture.style,
                variant=variant,
            )
            for variant in range(VARIANTS)
        ]


def every_ask(every: int = 1) -> list[Ask]:
    """Return the prompts, the same each time.

    Args:
        every: Keep one in this many of each kind, chosen by lot.
    """
    lot = random.Random("measure")  # noqa: S311
    asks: list[Ask] = []
    for kind in KINDS:
        pictures = list(_pictures(kind, lot))
        prompts = [held_out_caption(picture, lot) for picture in pictures]
        kept = set(random.Random(kind).sample(range(len(pictures)), -(-len(pictures) // every)))  # noqa: S311
        asks += [
            Ask(number=1000 * KINDS.index(kind) + place, kind=kind, prompt=prompt, picture=picture)
            for place, (prompt, picture) in enumerate(zip(prompts, pictures, strict=True))
            if place in kept
        ]
    return asks


def _pictures(kind: Kind, lot: random.Random) -> Iterator[Picture]:
    for turn in range(ROUNDS[kind]):
        if kind == "subject":
            yield from (_drawn(lot, subjects=(subject,)) for subject in NEW_SUBJECTS)
        elif kind == "style":
            yield from (_drawn(lot, styles=(style,)) for style in NEW_STYLES)
        elif kind == "scene":
            yield from (_drawn(lot, scenes=(scene,)) for scene in NEW_SCENES)
        elif kind == "pair":
            # Fourteen subjects against ten styles: another shift each turn meets each style four times and more.
            for place, subject in enumerate(NEW_SUBJECTS):
                style = NEW_STYLES[(place + 3 * turn) % len(NEW_STYLES)]
                yield _drawn(lot, subjects=(subject,), styles=(style,))
        else:
            yield _drawn(lot)


def _drawn(
    lot: random.Random,
    *,
    subjects: Sequence[str] = BASE_SUBJECTS,
    scenes: Sequence[str] = BASE_SCENES,
    styles: Sequence[str] = ("flat",),
) -> Picture:
    return draw(lot, subjects=subjects, scenes=scenes, styles=styles)
