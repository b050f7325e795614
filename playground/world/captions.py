"""Says what a picture shows, in many wordings; some wordings are kept for evaluation alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from .picture import COLOURS, SUBJECTS

if TYPE_CHECKING:
    import random

    from .picture import Picture

_WHERE: Final = {
    "plain": ("on a plain background", "in front of a plain background"),
    "night": ("at night", "in the night"),
    "meadow": ("in a meadow", "in the meadow"),
    "sea": ("by the sea", "at the sea"),
    "desert": ("in the desert", "in a desert"),
    "sunset": ("at sunset", "in front of a sunset"),
    "snow": ("in the snow", "in deep snow"),
    "city": ("in the city", "in a big city"),
    "space": ("in space", "in outer space"),
}

_LOOKS: Final = {
    "flat": ("flat", "a flat picture"),
    "sketch": ("pencil sketch", "a pencil sketch"),
    "neon": ("neon", "a neon sign"),
    "blueprint": ("blueprint", "a blueprint"),
    "handheld": ("handheld game", "a handheld game screen"),
    "sepia": ("sepia", "a sepia photo"),
    "thermal": ("thermal camera", "a thermal camera image"),
    "comic": ("comic", "a comic panel"),
    "chalkboard": ("chalkboard", "a chalkboard drawing"),
    "glass": ("stained glass", "a stained glass window"),
    "linocut": ("linocut", "a linocut print"),
}
"""Name of the style -> what stands before the word style, and what such a picture is called."""

_THINGS: Final = ("{a_thing}", "{a_thing}", "{a_thing}", "one {thing}", "{a_subject} that is {colour}")
_PLACED: Final = (
    "{it} {where}",
    "{it} {where}",
    "{it}, {where}",
    "{where}, {it}",
    "there is {it} {where}",
    "a picture of {it} {where}",
    "an image of {it}, {where}",
    "{thing} {where}",
    "{thing}, {where}",
    "{a_subject}, {colour}, {where}",
)
_BARE: Final = (
    "{it}",
    "{it}",
    "there is {it}",
    "a picture of {it}",
    "an image of {it}",
    "just {it}",
    "{thing}",
    "{a_subject}, {colour}",
)
_STYLED: Final = (
    "{scene}, {look} style",
    "{scene}, {look} style",
    "{scene} in {look} style",
    "{look} style, {scene}",
    "{scene}, {medium}",
    "{scene} as {medium}",
)
_MEDIUM: Final = ("{medium} of {scene}", "{medium} of {scene}", "{medium} showing {scene}", "{medium}: {scene}")

_HELD_OUT: Final[dict[tuple[bool, bool], tuple[str, ...]]] = {
    (False, False): (
        "{where} there is {a_thing}",
        "an image showing {a_thing} {where}",
        "just {a_thing} {where}",
        "{where}: {a_thing}",
    ),
    (False, True): ("an image showing {a_thing}", "an image, just {a_thing}", "a picture: {a_thing}"),
    (True, False): (
        "{a_thing} in {look} style {where}",
        "{look} style: {a_thing}, {where}",
        "{where}, {medium} of {a_thing}",
        "{medium} showing {a_subject} that is {colour}, {where}",
        "{a_thing}: {medium}, {where}",
    ),
    (True, True): ("{look} style: {a_thing}", "{a_thing}: {medium}", "{medium}, just {a_thing}"),
}
"""Whether the style is named, and whether the scene is left out -> wordings for evaluation."""


def with_article(noun: str) -> str:
    """Put the article before a noun that begins as it is spoken.

    >>> with_article("orange cat"), with_article("cat")
    ('an orange cat', 'a cat')
    """
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def captions(picture: Picture, rng: random.Random) -> str:
    """Say what a picture shows, in one of the wordings to train on.

    The words for subject, colour, scene and style are always there, but a plain background and the flat style
    often go without saying.
    """
    fields = _fields(picture, rng)
    fields["it"] = rng.choice(_THINGS).format(**fields)
    bare = picture.scene == "plain" and rng.random() < 0.6
    unnamed = picture.style == "flat" and rng.random() < 0.85
    if not unnamed and rng.random() < 0.4:
        fields["scene"] = fields["it"] if bare else f"{fields['it']} {fields['where']}"
        return rng.choice(_MEDIUM).format(**fields)
    fields["scene"] = rng.choice(_BARE if bare else _PLACED).format(**fields)
    return fields["scene"] if unnamed else rng.choice(_STYLED).format(**fields)


def held_out_caption(picture: Picture, rng: random.Random) -> str:
    """Say what a picture shows in a wording that `captions` never gives, made of the same words."""
    bare = picture.scene == "plain" and rng.random() < 0.6
    templates = _HELD_OUT[picture.style != "flat", bare]
    return rng.choice(templates).format(**_fields(picture, rng))


def _fields(picture: Picture, rng: random.Random) -> dict[str, str]:
    look, medium = _LOOKS[picture.style]
    return {
        "thing": f"{picture.colour} {picture.subject}",
        "a_thing": with_article(f"{picture.colour} {picture.subject}"),
        "a_subject": with_article(picture.subject),
        "colour": picture.colour,
        "where": rng.choice(_WHERE[picture.scene]),
        "look": look,
        "medium": medium,
    }


def vocabulary() -> tuple[str, ...]:
    """Return every word that a caption can hold, sorted."""
    templates = [*_THINGS, *_PLACED, *_BARE, *_STYLED, *_MEDIUM]
    templates += [template for wordings in _HELD_OUT.values() for template in wordings]
    texts = [re.sub(r"\{\w+\}", " ", template) for template in templates]
    texts += [phrase for phrases in (*_WHERE.values(), *_LOOKS.values()) for phrase in phrases]
    return tuple(
        sorted({word for text in (*texts, *SUBJECTS, *COLOURS, "a an") for word in re.findall("[a-z]+", text)})
    )
