"""What generated pictures are compared with, in every form it comes in."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tiny_networks import Counting, noise

from velatura.errors import InputError
from velatura.eval.cache import FeatureCache
from velatura.eval.moments import moments_of
from velatura.eval.references import open_references


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "cache")


@pytest.fixture
def folder(tmp_path):
    """Six pictures, one in a folder within, beside what is no picture."""
    found = tmp_path / "coco val|1"
    (found / "more").mkdir(parents=True)
    for place in range(6):
        noise(20, 16, seed=place).save((found / "more" if place == 5 else found) / f"{place}.png")
    (found / "notes.txt").write_text("no picture")
    (found / "._0.png").write_bytes(b"of another system")
    return found


def test_a_folder_is_read_with_the_folders_within(folder, cache):
    references = open_references(folder, cache)
    assert (references.name, references.n) == ("coco val|1", 6)
    assert references.features(Counting()).shape == (6, 3)
    assert references.signature == f"coco-val-1:{references.digest}"
    assert len(references.digest) == 8


def test_the_digest_is_of_what_the_pictures_hold(folder, cache, tmp_path):
    before = open_references(folder, cache).digest
    (folder / "0.png").rename(folder / "zero.png")
    assert open_references(folder, cache).digest == before
    noise(20, 16, seed=9).save(folder / "zero.png")
    assert open_references(folder, cache).digest != before


def test_moments_are_those_of_the_features_and_kept(folder, cache):
    references = open_references(folder, cache)
    found, wanted = references.moments(Counting()), moments_of(references.features(Counting()))
    assert found.n == 6
    assert np.allclose(found.mean, wanted.mean)
    assert np.allclose(found.covariance, wanted.covariance)
    again = Counting()
    kept = open_references(folder, FeatureCache(cache.folder)).moments(again)
    assert np.array_equal(kept.covariance, found.covariance)
    assert again.prepared == 0
    (path,) = (cache.folder / "moments").iterdir()
    path.write_bytes(b"damaged")
    assert np.array_equal(open_references(folder, cache).moments(Counting()).covariance, found.covariance)


def test_another_extractor_has_other_moments(folder, cache):
    references = open_references(folder, cache)
    references.moments(Counting())
    references.moments(Counting("mean", "mean-2"))
    assert len(list((cache.folder / "moments").iterdir())) == 2


def test_a_manifest_and_a_list_give_the_same_pictures(folder, cache):
    lines = [{"image": f"{place}.png", "prompt": "a fox", "index": place} for place in range(5)]
    (folder / "set.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    manifest = open_references(folder / "set.jsonl", cache)
    listed = open_references([folder / f"{place}.png" for place in (4, 3, 2, 1, 0, 0)], cache, name="mine")
    assert (manifest.name, listed.name) == ("set", "mine")
    assert manifest.digest == listed.digest
    assert manifest.n == listed.n == 5


def test_statistics_have_moments_and_no_features(folder, cache, tmp_path):
    open_references(folder, cache).moments(Counting()).save(tmp_path / "coco.npz")
    references = open_references(tmp_path / "coco.npz", cache)
    assert (references.name, references.n, len(references.digest)) == ("coco", 6, 8)
    assert references.moments(Counting()).width == 3
    with pytest.raises(InputError, match="KID, CMMD"):
        references.features(Counting())
    wide = Counting()
    wide.width = 2048
    with pytest.raises(InputError, match="statistics of 3 features"):
        references.moments(wide)


def test_a_picture_that_cannot_be_read_is_not_quietly_left_out(folder, cache):
    (folder / "1.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"1\.png is no PNG"):
        open_references(folder, cache).moments(Counting())


@pytest.mark.parametrize("name", ["nowhere", "nowhere.npz", "nowhere.jsonl", "empty", "notes.txt"])
def test_what_is_no_reference_is_refused_in_one_sentence(tmp_path, cache, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InputError) as caught:
        open_references(tmp_path / name, cache)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError):
        open_references([], cache)
