"""Cells made by hand, for tests of metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from PIL import Image

from velatura.eval.cells import Cell
from velatura.eval.records import CellName, Sample


def make_cell(
    counts: Mapping[str, int],
    *,
    features: Mapping[str, Any] | None = None,
    texts: Mapping[str, Any] | None = None,
    image: Callable[[Sample], Image.Image] | None = None,
    prompts: Mapping[str, str] | None = None,
) -> Cell:
    """A cell of so many samples of each prompt, in order."""
    samples = tuple(
        Sample(
            prompt_id=name,
            prompt=(prompts or {}).get(name, f"a {name}"),
            method="stand-in",
            image=f"{name}-{index}.png",
            index=index,
        )
        for name, count in sorted(counts.items())
        for index in range(count)
    )
    return Cell(
        name=CellName(method="stand-in", guidance=6.0),
        samples=samples,
        features={name: np.asarray(rows, np.float32) for name, rows in (features or {}).items()},
        texts={name: np.asarray(rows, np.float32) for name, rows in (texts or {}).items()},
        image=image,
    )


def noise_picture(side: int | tuple[int, int], *, seed: int, noise: float = 40.0) -> Image.Image:
    """A ramp of colours with noise on it."""
    width, height = (side, side) if isinstance(side, int) else side
    ramp = np.linspace(0, 255, width)[None, :, None] * np.array([1.0, 0.5, 0.8])
    pixels = ramp + np.random.default_rng(seed).normal(0, noise, (height, width, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
