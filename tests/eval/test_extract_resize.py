"""The clean resize against clean-fid's own."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from velatura.eval.extract.pictures import read_picture_file
from velatura.eval.extract.resize import Squared, clean_resize, torch_resize

GOLDEN = {
    (512, 512): "8035fbd10fe6775f814d4b783ef24caee95d53e10578db68fbaf05573b1ffeaf",
    (640, 427): "7fec8442cb59b16a6ce3e6c5e25ff0c841ad52662d8022ba1e86e1758ed139ad",
    (33, 80): "28b412ae59f96255dd3b7c892b21cbe09ce7360e6f315e7c59d61c7d5935fb1e",
}
"""SHA-256 of what clean-fid 0.1.35 makes of `pattern(width, height)`: float32, shape (299, 299, 3)."""


def pattern(width: int, height: int) -> np.ndarray:
    """Edges and slopes, from whole numbers alone."""
    y, x = np.mgrid[0:height, 0:width]
    planes = (x * 7 + y * 13 + (x * y) % 97, (x // 5 + y // 3) % 2 * 255, (x * x + 3 * y * y) // 11)
    return np.stack(planes, axis=-1).astype(np.int64).__mod__(256).astype(np.uint8)


@pytest.fixture(scope="module")
def clean_fid():
    """clean-fid's own resize; the package's other modules need torchvision."""
    pytest.importorskip("torch")
    found = importlib.util.find_spec("cleanfid")
    if found is None or found.origin is None:
        pytest.skip("clean-fid is not installed")
    spec = importlib.util.spec_from_file_location("cleanfid_resize", Path(found.origin).with_name("resize.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.build_resizer("clean")


@pytest.mark.parametrize("size", GOLDEN)
def test_the_pixels_are_those_that_clean_fid_gave(size):
    mine = clean_resize(Image.fromarray(pattern(*size))).transpose(1, 2, 0)
    assert hashlib.sha256(np.ascontiguousarray(mine).tobytes()).hexdigest() == GOLDEN[size]


@pytest.mark.parametrize("size", [*GOLDEN, (299, 299), (1, 1), (2000, 3)])
def test_the_pixels_are_clean_fids_to_the_bit(clean_fid, size):
    pixels = pattern(*size)
    mine = clean_resize(Image.fromarray(pixels)).transpose(1, 2, 0)
    theirs = clean_fid(pixels)
    assert mine.dtype == theirs.dtype == np.float32
    assert np.array_equal(mine, theirs)


@pytest.mark.real_data
def test_photos_are_resized_as_by_clean_fid(clean_fid, real_data):
    photos = [path for kind in ("coco", "flowers") for path in sorted((real_data / "images" / kind).rglob("*.jpg"))[:6]]
    assert len(photos) == 12
    for path in photos:
        picture = read_picture_file(path).decode()
        assert np.array_equal(clean_resize(picture).transpose(1, 2, 0), clean_fid(np.asarray(picture)))
        assert np.abs(torch_resize(np.asarray(picture)[None])[0] - clean_resize(picture)).max() < 0.001


@pytest.mark.parametrize("size", [*GOLDEN, (100, 333), (31, 32)])
def test_torch_is_less_than_a_thousandth_of_a_level_apart(size):
    pixels = np.random.default_rng(0).integers(0, 256, (2, size[1], size[0], 3), dtype=np.uint8)
    both = torch_resize(pixels)
    assert both.shape == (2, 3, 299, 299)
    assert both.dtype == np.float32
    for mine, picture in zip(both, pixels, strict=True):
        assert np.abs(mine - clean_resize(Image.fromarray(picture))).max() < 0.001


def test_the_middle_is_cut_out_only_where_that_is_asked_for():
    wide = np.zeros((60, 180, 3), np.uint8)
    wide[:, 60:120] = 200
    picture = Image.fromarray(wide)
    assert np.all(Squared(crop="centre").prepare(picture) == 200)
    assert Squared().prepare(picture).min() == 0
    assert Squared().signature == "resize=clean"
    assert Squared(crop="centre").signature == "resize=clean|crop=centre"
    assert Squared(resize="torch").signature == "resize=clean-torch"


def test_torch_prepares_what_pillow_does():
    picture = Image.fromarray(pattern(90, 70))
    assert np.allclose(Squared(resize="torch").prepare(picture), Squared().prepare(picture), atol=0.001)
