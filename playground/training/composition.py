"""How adapters do on the base model, alone and together: what the evaluator sees in the pictures, and a sheet."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..world import BASE_SCENES, NEW_STYLES, NEW_SUBJECTS, Picture, held_out_caption, paint, sheet
from .adapters import style_file
from .base import load_base, paint_texts
from .checkpoint import write_whole
from .evaluator import load_evaluator, shares_right
from .lora import laid_on
from .pictures import BASE, Choices, to_bytes

if TYPE_CHECKING:
    from torch import Tensor

Adapters = Mapping[str, float]
"""Name of an adapter -> its weight."""


class Easel:
    """A saved base model, its adapters and the evaluator: paints and judges."""

    def __init__(self, base: Path, loras: Path, evaluator: Path) -> None:
        self.model, self.words, self.autoencoder = load_base(base)
        self.judge = load_evaluator(evaluator)
        self.loras = loras

    def paint(self, texts: Sequence[str], adapters: Adapters, *, seed: int, guidance: float = 2.0) -> Tensor:
        """Paint each text with the adapters laid on: images from -1 to 1, shape (texts, 3, height, width)."""
        files = {self.loras / f"{name}.safetensors": weight for name, weight in adapters.items()}
        changed = laid_on(self.model.unet, files)
        return paint_texts(
            self.model, self.words, self.autoencoder, texts, seed=seed, guidance=guidance, changed=changed
        )

    def measure(self, choices: Choices, adapters: Adapters, count: int, *, guidance: float = 2.0) -> dict[str, float]:
        """Paint pictures of a part of the world, and return for each part the share that shows what it should."""
        lot = random.Random(f"measured {choices}")  # noqa: S311
        pictures = choices.draw(lot, count)
        texts = [held_out_caption(picture, lot) for picture in pictures]
        return shares_right(
            self.judge, self.paint(texts, adapters, seed=lot.randrange(2**31), guidance=guidance), pictures
        )


def right_adapters(subject: str, style: str, weight: float = 1.0) -> dict[str, float]:
    """Return the adapters that a picture needs, each at the same weight."""
    subjects = {subject: weight} if subject in NEW_SUBJECTS else {}
    return subjects | ({style_file(style): weight} if style in NEW_STYLES else {})


def measure_pairs(easel: Easel, count: int, *, guidance: float = 2.0) -> dict[str, dict[str, float]]:
    """Paint every new subject in every new style, both adapters at a weight of one.

    Args:
        easel: What paints.
        count: Pictures of each pair.
        guidance: Of sampling.

    Returns:
        Shares right, as `Easel.measure` has them, for `all` pairs, for each style and for each subject.

    """
    pairs = [(subject, style) for style in NEW_STYLES for subject in NEW_SUBJECTS]
    rows = [
        easel.measure(
            Choices((subject,), BASE_SCENES, (style,)), right_adapters(subject, style), count, guidance=guidance
        )
        for subject, style in pairs
    ]
    shares = {"all": _mean(rows)}
    for name in (*NEW_STYLES, *NEW_SUBJECTS):
        shares[name] = _mean([row for row, pair in zip(rows, pairs, strict=True) if name in pair])
    return shares


def _mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {part: round(sum(row[part] for row in rows) / len(rows), 4) for part in rows[0]}


def _another(names: Sequence[str], name: str) -> str:
    return names[(names.index(name) + 1) % len(names)]


_ROWS: Final[dict[str, Callable[[Picture], dict[str, float]]]] = {
    "base alone": lambda _: {},
    "subject's adapter": lambda picture: right_adapters(picture.subject, "flat"),
    "style's adapter": lambda picture: right_adapters("", picture.style),
    "both": lambda picture: right_adapters(picture.subject, picture.style),
    "two wrong ones": lambda picture: right_adapters(
        _another(NEW_SUBJECTS, picture.subject), _another(NEW_STYLES, picture.style)
    ),
}
"""Rows of the sheet: which adapters are laid on for a picture."""


def show_composition(easel: Easel, file: Path, *, seed: int = 0, guidance: float = 2.0) -> None:
    """Write a sheet of new subjects in new styles: as they should be, and painted with and without adapters."""
    lot = random.Random(f"composition {seed}")  # noqa: S311
    pictures = [
        Picture(subject=subject, colour=drawn.colour, scene=drawn.scene, style=NEW_STYLES[place % len(NEW_STYLES)])
        for place, (subject, drawn) in enumerate(zip(NEW_SUBJECTS, BASE.draw(lot, len(NEW_SUBJECTS)), strict=True))
    ]
    texts = [held_out_caption(picture, lot) for picture in pictures]
    rows = [[paint(picture) for picture in pictures]]
    for adapters in _ROWS.values():
        painted = [
            easel.paint([text], adapters(picture), seed=seed * 100 + place, guidance=guidance)
            for place, (text, picture) in enumerate(zip(texts, pictures, strict=True))
        ]
        rows.append([to_bytes(image)[0] for image in painted])
    page = sheet(rows, row_labels=("as it should be", *_ROWS), column_labels=texts, factor=3, text=11)
    write_whole(file, lambda beside: page.save(beside, "PNG"))
