"""Crops of large pictures at their own resolution, for distances that a resize to 299 pixels would blind.

DemoFusion (Du et al., CVPR 2024) tells FID and the Inception Score of crops beside those of the pictures, after
"anyres-GAN" (Chai et al., ECCV 2022).
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..records import Rejection
from .extract.pictures import read_picture_file
from .records import Sample
from .whole import write_whole

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Crops:
    """Crops of samples, as samples."""

    samples: tuple[Sample, ...]
    """Named by their files' full paths."""
    rejections: tuple[Rejection, ...]
    """Samples of which there are none."""


def make_crops(
    samples: Sequence[Sample],
    folder: str | Path,
    *,
    size: int,
    each: int,
    seed: int = 0,
    pictures: Path | None = None,
) -> Crops:
    """Cut squares out of each sample's picture, and write them as PNG.

    Where they are cut is drawn from the seed, the prompt and the index alone, so those of two methods are pairs.

    Args:
        samples: Whose pictures are cut; both sides of each must be at least `size` pixels.
        folder: Where the crops are written.
        size: Pixels of each side of a crop.
        each: Crops of a picture.
        seed: Another one draws other places.
        pictures: Where relative names of pictures begin; None takes the current folder.

    Returns:
        A sample for each crop: its `index` is the picture's times `each`, and its own place.

    Raises:
        InputError: the folder cannot be written.
        ValueError: `size` or `each` is not positive.
    """
    if size < 1 or each < 1:
        raise ValueError("crops must have pixels, and there must be some")
    found: list[Sample] = []
    rejections: list[Rejection] = []
    for sample in samples:
        try:
            path = Path(sample.image) if pictures is None else pictures / sample.image
            picture = read_picture_file(path, sample.sha256).decode()
            if min(picture.size) < size:
                raise InputError(f"{path} is {picture.width}x{picture.height}, too small for crops of {size} pixels")
        except InputError as error:
            rejections.append(Rejection(source="pictures", locator=sample.image, reason=str(error)))
            continue
        found += _cut(sample, picture, _places(sample, picture, size, each, seed), Path(folder), size)
    return Crops(samples=tuple(found), rejections=tuple(rejections))


def _places(sample: Sample, picture: Image, size: int, each: int, seed: int) -> list[tuple[int, int]]:
    """Return the upper left corners of a picture's crops."""
    drawn = np.random.default_rng(_digest(seed, *sample.pair))
    lefts = drawn.integers(0, picture.width - size + 1, each)
    uppers = drawn.integers(0, picture.height - size + 1, each)
    return [(int(left), int(upper)) for left, upper in zip(lefts, uppers, strict=True)]


def _cut(
    sample: Sample, picture: Image, places: Sequence[tuple[int, int]], folder: Path, size: int
) -> Iterable[Sample]:
    stem = f"{_digest(sample.method, sample.guidance, *sample.pair, sample.seed):032x}"
    for place, (left, upper) in enumerate(places):
        content = io.BytesIO()
        picture.crop((left, upper, left + size, upper + size)).save(content, "PNG", compress_level=1)
        path = folder / f"{stem}-{place}.png"
        write_whole(path, content.getvalue())
        sha256 = hashlib.sha256(content.getvalue()).hexdigest()
        yield replace(sample, image=str(path), sha256=sha256, index=sample.index * len(places) + place)


def _digest(*parts: object) -> int:
    told = json.dumps(parts).encode()
    return int.from_bytes(hashlib.blake2b(told, digest_size=16).digest(), "big")
