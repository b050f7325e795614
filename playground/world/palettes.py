"""The colours of sprites and scenes in the flat style, and the tones made of them."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from .sprites import LIGHT, MAIN, SHADE, WHITE

RGB = npt.NDArray[np.uint8]

INKS: Final = {
    "red": ("#e0313a", "#a01c33", "#ff7a6e"),
    "orange": ("#f78a1d", "#c25a12", "#ffb75e"),
    "yellow": ("#ffd92e", "#d6a011", "#fff08a"),
    "green": ("#3fae49", "#237a3d", "#83d96b"),
    "blue": ("#3568e0", "#2243a0", "#78a4ff"),
    "purple": ("#8a41c9", "#5e2796", "#bd84f0"),
    "pink": ("#fb7fb6", "#d1548f", "#ffb8d8"),
    "white": ("#f4f4f2", "#b9bfcc", "#ffffff"),
}
"""Each colour of a caption with its shade and its light."""

_FIXED: Final = (
    *("#000000", "#241c2c", "#000000", "#000000", "#000000"),
    *("#ffffff", "#8a5a34", "#3c9a46", "#ffce3a", "#ee5a42", "#a8e4ff", "#b4bac8", "#4a4a5c"),
)


def rgb(*colours: str) -> RGB:
    """Return hexadecimal colours as an array of shape (colours, 3)."""
    return np.array([tuple(bytes.fromhex(colour[1:])) for colour in colours], np.uint8)


@cache
def flat_palette(colour: str) -> RGB:
    """Return the colours of the sprite's codes, shape (13, 3)."""
    palette = rgb(*_FIXED)
    palette[[MAIN, SHADE, LIGHT]] = rgb(*INKS[colour])
    if colour == "white":
        palette[WHITE] = rgb("#c9cdd8")  # else the pattern of a white thing would be lost
    return palette


def luma(palette: RGB) -> npt.NDArray[np.float64]:
    """Return how light each colour is, from 0 to 1."""
    return np.asarray(palette @ np.array([0.299, 0.587, 0.114]) / 255)


def ramp(values: npt.NDArray[np.float64], *stops: str) -> RGB:
    """Return colours for values from 0 to 1 along the stops, evenly spaced."""
    colours = rgb(*stops).astype(np.float64)
    places = np.linspace(0, 1, len(stops))
    return (
        np.stack([np.interp(values, places, colours[:, channel]) for channel in range(3)], -1).round().astype(np.uint8)
    )


def mixed(under: RGB, over: RGB, share: float) -> RGB:
    """Return `under` with that share of `over` in it."""
    return (under + (over.astype(np.float64) - under) * share).round().astype(np.uint8)
