"""Crops: which pixels, paired how, under which names."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from velatura.eval.crops import make_crops
from velatura.eval.records import Sample


@pytest.fixture
def samples(tmp_path):
    """Two methods with two pictures each, whose every pixel says where it is."""
    found = []
    y, x = np.mgrid[0:50, 0:70].astype(np.uint8)
    for number, method in enumerate(("base", "ours")):
        for index in range(2):
            path = tmp_path / f"{method}{index}.png"
            Image.fromarray(np.stack([x, y, np.full_like(x, 10 * number + index)], axis=-1)).save(path)
            found.append(Sample(prompt_id="p", prompt="fox", method=method, guidance=7.5, index=index, image=str(path)))
    return found


def places(crops):
    return [tuple(np.asarray(Image.open(one.image))[0, 0, :2].tolist()) for one in crops.samples]


def test_crops_are_squares_of_the_pictures_own_pixels(samples, tmp_path):
    crops = make_crops(samples, tmp_path / "crops", size=16, each=3)
    assert len(crops.samples) == 12
    for one in crops.samples:
        pixels = np.asarray(Image.open(one.image))
        assert pixels.shape == (16, 16, 3)
        assert np.array_equal(pixels[..., 0] - pixels[0, 0, 0], np.mgrid[0:16, 0:16][1])
        assert hashlib.sha256(Path(one.image).read_bytes()).hexdigest() == one.sha256


def test_crops_of_two_methods_are_pairs_cut_at_the_same_places(samples, tmp_path):
    crops = make_crops(samples, tmp_path / "crops", size=16, each=3)
    assert places(crops)[:6] == places(crops)[6:]
    assert [one.pair for one in crops.samples[:6]] == [("p", index) for index in range(6)]
    assert [one.pair for one in crops.samples[6:]] == [("p", index) for index in range(6)]
    assert len({one.image for one in crops.samples}) == 12
    assert {one.cell.method for one in crops.samples} == {"base", "ours"}
    assert len(set(places(crops)[:6])) > 3


def test_the_seed_decides_where(samples, tmp_path):
    first, again = (make_crops(samples, tmp_path / name, size=16, each=3, seed=1) for name in "ab")
    other = make_crops(samples, tmp_path / "c", size=16, each=3, seed=2)
    assert [one.sha256 for one in first.samples] == [one.sha256 for one in again.samples]
    assert places(first) != places(other)


def test_a_picture_of_the_very_size_is_taken_whole(samples, tmp_path):
    crops = make_crops(samples[:1], tmp_path / "crops", size=50, each=2)
    assert {upper for _, upper in places(crops)} == {0}


def test_what_cannot_be_cut_costs_itself_alone(samples, tmp_path):
    (tmp_path / "base1.png").write_bytes(b"no picture")
    odd = replace(samples[2], sha256="0" * 64)
    small = tmp_path / "small.png"
    Image.new("RGB", (15, 99)).save(small)
    asked = [samples[0], samples[1], odd, replace(samples[3], image=str(small))]
    crops = make_crops(asked, tmp_path / "crops", size=16, each=1)
    assert len(crops.samples) == 1
    assert [one.locator for one in crops.rejections] == [one.image for one in asked[1:]]
    assert "15x99, too small" in crops.rejections[2].reason


def test_hostile_names_do_not_become_paths(samples, tmp_path):
    odd = replace(samples[0], method="../../out", prompt_id="../\0\ud800")
    crops = make_crops([odd], tmp_path / "crops", size=16, each=1)
    assert Path(crops.samples[0].image).parent == tmp_path / "crops"


def test_nonsense_is_refused(samples, tmp_path):
    with pytest.raises(ValueError):
        make_crops(samples, tmp_path, size=0, each=1)
