"""Edges are those of OpenCV, to the pixel."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from velatura.generation.canny import canny


def waves(height: int, width: int) -> Image.Image:
    """A picture whose channels change in their own directions, in whole numbers alone."""
    y, x = np.mgrid[:height, :width]
    channels = [(x * x + 3 * y * (k + 1)) * (5 + k) // 3 % 256 for k in range(3)]
    blocks = ((x // 7 + y // 5) % 3 * 90)[..., None]
    return Image.fromarray((np.stack(channels, axis=2) // 3 + blocks).astype(np.uint8))


# `cv2.Canny(numpy.asarray(waves(24, 32)), low, high)` of opencv-python-headless 5.0.0.93: each row of pixels one
# hexadecimal number, the leftmost pixel its highest bit.
EDGES = {
    (
        100,
        200,
    ): "01245489 0112a489 0125a889 0100a808 ff91f3c8 020a0d31 00ac0505 01a2490a 022a0902 00e48905 2111d25d 89044250 "
    "72240751 82048411 0cea03f7 b4340c91 01014808 02214851 01080849 fd4b7a4a 020282e9 60a82489 88a88883 08a8488a",
    (
        50,
        350,
    ): "01245408 0112a408 0125a808 0100a808 ff91f3c8 020a0d31 00ac0505 01a2090a 022a0902 00e48905 2111d25d 89044250 "
    "72040751 82040411 0cea03f7 b4340c91 01014808 02214851 01080849 fd4b7a4a 020282e9 60a80489 88a80883 08a8088a",
    (
        0,
        600,
    ): "01045408 0102a408 0105a808 0100a808 ff91f3c8 020a0d31 00ac0505 01a2090a 022a0902 00e48905 2111d25d 89044250 "
    "72040751 82040411 0cea03f7 b4340c91 01014808 02014851 01000849 fd037a4a 020282e9 00a80489 00a80883 00a8088a",
}


def rows(edges: Image.Image) -> str:
    flags = np.asarray(edges)[..., 0] > 0
    return " ".join(f"{int(''.join('01'[flag] for flag in row.tolist()), 2):08x}" for row in flags)


@pytest.mark.parametrize(("low", "high"), EDGES)
def test_edges_are_those_of_opencv(low: int, high: int) -> None:
    assert rows(canny(waves(24, 32), low=low, high=high)) == EDGES[low, high]


def test_a_weak_edge_stays_where_it_touches_a_strong_one() -> None:
    values = np.zeros((9, 30), dtype=np.uint8)
    values[:, 15:] = np.linspace(30, 60, 9, dtype=np.uint8)[:, None]  # from weak above to strong below
    edges = np.asarray(canny(Image.fromarray(values)))[..., 0] > 0
    assert edges[:, 13:17].any(axis=1).all()
    assert not edges[:, :13].any()
    assert not np.asarray(canny(Image.fromarray(values), high=300)).any()


def test_a_flat_picture_has_no_edges_however_small() -> None:
    for size in ((1, 1), (1, 9), (2, 2), (40, 30)):
        edges = canny(Image.new("RGB", size, "orange"))
        assert (edges.size, edges.mode, edges.getextrema()) == (size, "RGB", ((0, 0),) * 3)


def test_a_grey_picture_and_a_coloured_one_of_the_same_greys_have_the_same_edges() -> None:
    grey = waves(40, 40).convert("L")
    assert canny(grey).tobytes() == canny(grey.convert("RGB")).tobytes()


def test_a_long_edge_is_followed_to_its_end() -> None:
    values = np.zeros((20, 1000), dtype=np.uint8)
    values[10:] = 28
    assert not np.asarray(canny(Image.fromarray(values))).any()
    values[10:, :5] = 90
    edges = np.asarray(canny(Image.fromarray(values)))[..., 0] > 0
    assert edges[8:12].any(axis=0)[7:].all()
