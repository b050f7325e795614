"""The eleven styles: each turns the layers of a picture into pixels in its own way."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

import numpy as np

from .layers import RGB, Layers, Mask, around, grown
from .palettes import INKS, flat_palette, luma, mixed, ramp, rgb
from .scenes import SIZE
from .sprites import BROWN, DARK, GLASS, GOLD, GREY, INK, LEAF, LIGHT, MAIN, NOTHING, SHADE, WARM, WHITE

_Y, _X = np.mgrid[:SIZE, :SIZE]
_EDGE: Final[Mask] = (np.minimum(_X, _Y) < 2) | (np.maximum(_X, _Y) > SIZE - 3)
_FROM_MIDDLE: Final = np.hypot(_X - 15.5, _Y - 15.5)
_DIAGONAL: Final[Mask] = (_X + _Y) % 4 < 2
_STROKES: Final[Mask] = (_X + _Y) % 4 == 0


def _over(layers: Layers, sprite: RGB, ground: RGB) -> RGB:
    """Put the sprite, coloured by its palette, on a painted ground."""
    return np.where((layers.parts != NOTHING)[..., None], sprite[layers.parts], ground)


def flat(layers: Layers) -> RGB:
    """The base model's own style."""
    return _over(layers, flat_palette(layers.colour), layers.scene.palette[layers.scene.cells])


@cache
def _greys(colour: str, *stops: str) -> RGB:
    return ramp(luma(flat_palette(colour)), *stops)


def sketch(layers: Layers) -> RGB:
    """Pencil on paper: outlines, hatched shades, no colour."""
    ground = np.where(layers.lines[..., None], rgb("#c2bcae"), rgb("#f5efdf"))
    palette = _greys("white", "#6f6a68", "#fffdf6").copy()
    palette[INK] = (52, 50, 56)
    palette[[MAIN, LIGHT, WHITE]] = (255, 253, 246)
    palette[SHADE] = (214, 208, 196)
    picture = _over(layers, palette, ground)
    picture[(layers.parts == MAIN) & _STROKES] = (192, 186, 174)
    picture[(layers.parts == SHADE) & _DIAGONAL] = (138, 132, 128)
    return picture


def neon(layers: Layers) -> RGB:
    """Glowing tubes in the dark."""
    glow = rgb(INKS[layers.colour][0])[0]
    tint = mixed(layers.scene.palette, rgb("#0c0618"), 0.6)[layers.scene.cells]
    ground = np.where(layers.lines[..., None], tint, rgb("#0c0618"))
    near = around(layers.parts)
    there = (layers.parts != NOTHING) | near
    far = grown(there) & ~there
    ground[far] = mixed(rgb("#0c0618"), glow, 0.28)
    ground[near] = mixed(rgb("#0c0618"), glow, 0.6)
    palette = mixed(flat_palette(layers.colour), rgb("#0c0618"), 0.55)
    palette[INK] = mixed(glow, rgb("#ffffff"), 0.45)
    palette[MAIN] = mixed(rgb("#0c0618"), glow, 0.16)
    palette[SHADE] = mixed(rgb("#0c0618"), glow, 0.3)
    palette[LIGHT] = mixed(rgb("#0c0618"), glow, 0.3)
    return _over(layers, palette, ground)


_GRID: Final[Mask] = (_X % 8 == 3) | (_Y % 8 == 3)


def blueprint(layers: Layers) -> RGB:
    """White lines on blue squared paper."""
    ground = np.where(_GRID[..., None], rgb("#3a6fc4"), rgb("#2457ab"))
    ground[layers.lines] = (128, 168, 226)
    palette = _greys("white", "#2a5cb0", "#c8dcff").copy()
    palette[INK] = (255, 255, 255)
    palette[[MAIN, SHADE, LIGHT]] = rgb("#1b4690", "#163a7a", "#3a6fc4")
    return _over(layers, palette, ground)


_GREENS: Final = ("#0f3020", "#356b3c", "#8bb04a", "#d6e69a")


def handheld(layers: Layers) -> RGB:
    """Four greens, as on an old handheld console."""
    greens = rgb(*_GREENS)
    dark = layers.scene.dark
    ground = greens[np.where(luma(layers.scene.palette) > (0.5 if dark else 0.7), 3, 1 if dark else 2)]
    tones = np.digitize(luma(flat_palette(layers.colour)), (0.2, 0.42, 0.75))
    palette = greens[np.maximum(tones, 2) if dark else tones]
    palette[INK] = greens[0]
    return _over(layers, palette, ground[layers.scene.cells])


_VIGNETTE: Final = np.digitize(_FROM_MIDDLE, (13, 15, 17)) * 0.13


def sepia(layers: Layers) -> RGB:
    """An old brown photograph with a white border."""
    tones = np.where(
        layers.parts != NOTHING,
        luma(flat_palette(layers.colour))[layers.parts],
        luma(layers.scene.palette)[layers.scene.cells] * 0.5 + 0.42 - _VIGNETTE,
    )
    picture = ramp(np.clip(tones, 0, 1), "#3a2110", "#a06a38", "#f3d9a4")
    picture[_EDGE] = (251, 245, 230)
    return picture


_COLDER: Final = np.zeros(13, np.intp)
_COLDER[[SHADE, WHITE, BROWN, LEAF, GOLD, WARM, GLASS, GREY, DARK]] = (1, 2, 2, 2, 1, 1, 3, 2, 3)


def thermal(layers: Layers) -> RGB:
    """A thermal camera: the subject hot, the scene cold."""
    cold = ramp(luma(layers.scene.palette), "#180850", "#5a1aa6")[layers.scene.cells]
    heat = np.zeros((SIZE, SIZE), np.intp)
    inside = layers.parts != NOTHING
    for _ in range(5):
        heat += inside
        inside = ~grown(~inside)
    heat = np.maximum(heat - _COLDER[layers.parts], 1)
    hot = rgb("#000000", "#b0208a", "#e8403c", "#fb8a1e", "#ffd23a", "#fff6b8")[heat]
    hot[layers.parts == INK] = (122, 18, 110)
    return np.where((layers.parts != NOTHING)[..., None], hot, cold)


_RAYS: Final[Mask] = np.floor(np.arctan2(_Y - 15.5, _X - 15.5) / np.pi * 8 + 0.5) % 2 == 0
_FRAME: Final[Mask] = ~_EDGE & ((np.minimum(_X, _Y) < 3) | (np.maximum(_X, _Y) > SIZE - 4))


def comic(layers: Layers) -> RGB:
    """A comic panel: thick outline, rays behind the subject, a frame that it may break."""
    paper = layers.scene.palette[layers.scene.cells]
    ground = np.where(_RAYS[..., None], mixed(paper, rgb("#ffffff"), 0.6), paper)
    ground[_EDGE] = (255, 255, 255)
    ground[_FRAME] = (12, 10, 14)
    picture = _over(layers, flat_palette(layers.colour), ground)
    picture[(layers.parts == INK) | around(layers.parts)] = (12, 10, 14)
    return picture


def chalkboard(layers: Layers) -> RGB:
    """Chalk on a school board in a wooden frame."""
    chalk = flat_palette(layers.colour)
    ground = np.where(layers.lines[..., None], rgb("#8aa396"), rgb("#2c4a40"))
    palette = mixed(chalk, rgb("#2c4a40"), 0.35)
    palette[INK] = mixed(chalk[LIGHT], rgb("#ffffff"), 0.6)
    picture = _over(layers, palette, ground)
    dusty = (layers.parts > INK) & _DIAGONAL
    picture[dusty] = mixed(picture[dusty], rgb("#2c4a40"), 0.6)
    picture[_EDGE] = (160, 104, 56)
    return picture


_LEAD: Final[Mask] = ((_X + _Y) % 12 == 7) | ((_X - _Y) % 12 == 0)
_PANE: Final[Mask] = ((_X + _Y - 7) // 12 + (_X - _Y) // 12) % 2 == 0
_ARCH: Final[Mask] = np.hypot(np.abs(_X - 15.5) + 8, np.minimum(_Y - 22, 0)) > 24.2


def glass(layers: Layers) -> RGB:
    """A stained glass window: leaded panes, lighter and darker by turns, under a pointed arch."""
    panes = mixed(layers.scene.palette, rgb("#4a62d8"), 0.45 if layers.scene.dark else 0.1)
    light = _over(
        layers,
        mixed(flat_palette(layers.colour), rgb("#ffffff"), 0.2),
        mixed(panes, rgb("#ffffff"), 0.3)[layers.scene.cells],
    )
    deep = _over(
        layers,
        mixed(flat_palette(layers.colour), rgb("#10083c"), 0.15),
        mixed(panes, rgb("#10083c"), 0.25)[layers.scene.cells],
    )
    picture = np.where(_PANE[..., None], light, deep)
    lead = (layers.parts == INK) | around(layers.parts) | (_LEAD & (layers.parts == NOTHING))
    picture[lead] = (20, 18, 22)
    picture[_ARCH & (layers.parts == NOTHING)] = (60, 56, 66)
    return picture


def linocut(layers: Layers) -> RGB:
    """Black and one other ink, cut in lino."""
    cream, black = rgb("#f2e6cc", "#1c181a")
    tones = luma(layers.scene.palette)
    dark = (tones < 0.5)[layers.scene.cells] | ((tones < 0.75)[layers.scene.cells] & (_Y % 4 < 2))
    ground = np.where(dark[..., None], black, cream)
    ground[around(layers.parts)] = cream
    palette = np.where((luma(flat_palette(layers.colour)) > 0.45)[:, None], cream, black)
    palette[MAIN] = rgb(INKS[layers.colour][0])[0]
    palette[[SHADE, LIGHT]] = black, palette[MAIN]
    return _over(layers, palette.astype(np.uint8), ground)


PAINTERS: Final[dict[str, Callable[[Layers], RGB]]] = {
    painter.__name__: painter
    for painter in (flat, sketch, neon, blueprint, handheld, sepia, thermal, comic, chalkboard, glass, linocut)
}
"""Name of the style -> what paints it."""
