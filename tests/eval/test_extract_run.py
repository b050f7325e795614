"""One decode for all, each file once, and nothing lost to what cannot be read."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from tiny_networks import Counting, clip_folder, inception_file, noise

from velatura.errors import InputError
from velatura.eval.cache import FeatureCache
from velatura.eval.extract import CachedFeatures, CachedTexts, extract, open_extractors, pictures
from velatura.eval.extract import run as run_module
from velatura.eval.records import Sample


@pytest.fixture
def files(tmp_path):
    """Seven pictures, of which the last is the first's twin."""
    found = [tmp_path / "pictures" / f"{place}.png" for place in range(7)]
    found[0].parent.mkdir()
    for place, path in enumerate(found):
        noise(20 + place % 6, 16, seed=place % 6).save(path)
    return found


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "cache")


@pytest.fixture
def decodes(monkeypatch):
    """The names of what was decoded."""
    found = []
    decode = pictures.decode_picture
    monkeypatch.setattr(pictures, "decode_picture", lambda content, name: found.append(name) or decode(content, name))
    return found


def samples_of(files):
    return [Sample(prompt_id=f"p{n}", prompt=f"fox {n}", method="m", image=str(path)) for n, path in enumerate(files)]


def test_one_decode_feeds_all_and_twins_are_looked_at_once(files, cache, decodes):
    first, second = Counting("first"), Counting("second")
    found = extract(files, [first, second], cache, batch=4, workers=1)
    assert len(decodes) == 6
    assert (first.batches, second.batches) == ([4, 2], [4, 2])
    assert found.looked_at == 6
    assert list(found.digests) == [str(path) for path in files]
    assert found.digests[str(files[0])] == found.digests[str(files[6])]
    assert found.rejections == ()


def test_what_is_there_is_not_looked_at_again(files, cache, decodes):
    extract(files[:4], [Counting("first")], cache)
    decodes.clear()
    first, second = Counting("first"), Counting("second")
    assert extract(files, [first], FeatureCache(cache.folder)).looked_at == 2
    assert (first.prepared, len(decodes)) == (2, 2)
    extract(files, [first, second], FeatureCache(cache.folder))
    assert (first.prepared, second.prepared) == (2, 6)
    assert extract(files, [first, second], FeatureCache(cache.folder)).looked_at == 0


def test_files_that_were_not_touched_are_not_even_read(files, cache, monkeypatch):
    known = extract(files, [Counting()], cache).digests
    monkeypatch.setattr(run_module, "read_picture_file", lambda *_: pytest.fail("it was read"))
    assert extract(files, [Counting()], FeatureCache(cache.folder)).digests == known
    told = extract([replace(one, sha256=known[one.image]) for one in samples_of(files)], [Counting()], cache)
    assert told.digests == known


def test_what_a_manifest_tells_is_not_believed_of_a_file_that_was_replaced_or_deleted(files, cache):
    known = extract(files, [Counting()], cache).digests
    samples = [replace(one, sha256=known[one.image]) for one in samples_of(files)]
    shutil.copyfile(files[1], files[0])
    files[2].unlink()
    os.utime(files[3], ns=(1, 1))  # touched, and still the same
    again = Counting()
    found = extract(samples, [again], FeatureCache(cache.folder))
    assert [rejection.locator for rejection in found.rejections] == [str(files[0]), str(files[2])]
    assert "not the picture that the manifest tells of" in found.rejections[0].reason
    assert found.digests == {str(path): known[str(path)] for path in (files[1], *files[3:])}
    assert again.prepared == 0


def test_a_copied_picture_with_kept_features_is_read_once_and_not_decoded(files, cache, tmp_path, decodes):
    known = extract(files, [Counting()], cache).digests
    copy = tmp_path / "copy"
    shutil.copytree(files[0].parent, copy)
    samples = [replace(one, sha256=known[one.image], image=str(copy / f"{n}.png"))
               for n, one in enumerate(samples_of(files))]  # fmt: skip
    decodes.clear()
    reads, read = [], run_module.read_picture_file
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "read_picture_file", lambda *asked: reads.append(asked) or read(*asked))
        for _ in range(2):
            assert list(extract(samples, [Counting()], FeatureCache(cache.folder)).digests.values()) == list(
                known.values()
            )
    assert (len(reads), decodes) == (7, [])


def test_twins_that_are_known_take_two_rounds_however_many_they_are(files, cache, monkeypatch):
    twins = [files[0].parent / f"twin-{n}.png" for n in range(20)]
    for path in twins:
        shutil.copyfile(files[0], path)
    extract(twins, [Counting()], cache)
    rounds, look = [], run_module._Run.look
    monkeypatch.setattr(
        run_module._Run, "look", lambda self, now, *others: rounds.append(len(now)) or look(self, now, *others)
    )
    found = extract(twins, [Counting("other")], FeatureCache(cache.folder))
    assert (rounds, len(found.digests)) == ([1, 0], 20)


def test_a_file_that_was_touched_is_read_again(files, cache):
    before = extract(files[:1], [Counting()], cache).digests
    noise(20, 16, seed=9).save(files[0])
    os.utime(files[0], ns=(1, 1))
    assert extract(files[:1], [Counting()], cache).digests != before


def test_what_cannot_be_read_costs_itself_alone(files, cache):
    files[1].write_bytes(b"no picture")
    files[2].unlink()
    samples = samples_of(files)
    samples[3] = replace(samples[3], sha256="0" * 64)
    found = extract(samples, [Counting()], cache)
    assert [rejection.locator for rejection in found.rejections] == [str(path) for path in files[1:4]]
    assert all(rejection.reason.count("\n") == 0 for rejection in found.rejections)
    assert len(found.digests) == 4
    readable = found.readable(samples)
    assert [one.image for one in readable] == [str(files[place]) for place in (0, 4, 5, 6)]
    assert all(one.sha256 for one in readable)


def test_a_twin_takes_the_place_of_one_that_is_gone(files, cache):
    told = extract(files, [Counting()], cache).digests[str(files[0])]
    samples = [replace(samples_of(files)[place], sha256=told) for place in (0, 6)]
    files[0].unlink()
    found = extract(samples, [Counting("other")], cache)
    assert [rejection.locator for rejection in found.rejections] == [str(files[0])]
    assert list(found.digests) == [str(files[6])]
    assert cache.has("other-1", [told]) == [True]


def test_a_picture_without_finite_features_is_rejected_with_its_twins(files, cache):
    class Overflowing(Counting):
        def extract(self, prepared):
            rows = super().extract(prepared)
            rows[0] = np.inf
            return rows

    found = extract(files, [Overflowing(), Counting("other")], cache, workers=1)
    assert [rejection.locator for rejection in found.rejections] == [str(files[0]), str(files[6])]
    assert "no finite features" in found.rejections[0].reason
    assert len(cache.get("mean-1", list(found.digests.values()))[0]) == 5


def test_a_run_that_was_stopped_goes_on(files, cache):
    class Stopping(Counting):
        def extract(self, prepared):
            if len(self.batches) == 2:
                raise KeyboardInterrupt
            return super().extract(prepared)

    with pytest.raises(KeyboardInterrupt):
        extract(files, [Stopping()], cache, batch=2, workers=1)
    again = Counting()
    extract(files, [again], FeatureCache(cache.folder), batch=2)
    assert again.prepared == 2


def test_progress_goes_from_nothing_to_all_and_never_back(files, cache):
    told = []
    files[1].write_bytes(b"no picture")
    extract(files, [Counting()], cache, progress=lambda done, of: told.append((done, of)))
    assert told[0] == (0, 7)
    assert told[-1] == (7, 7)
    assert told == sorted(told)


def test_names_begin_in_the_folder(files, cache):
    found = extract([path.name for path in files], [Counting()], cache, folder=files[0].parent)
    assert list(found.digests) == [path.name for path in files]


def test_the_result_does_not_depend_on_how_many_threads_there_are(files, tmp_path):
    rows = []
    for workers in (1, 4):
        cache = FeatureCache(tmp_path / str(workers))
        found = extract(files, [Counting()], cache, workers=workers, batch=3)
        rows.append(cache.get("mean-1", [found.digests[str(path)] for path in files])[0])
    assert np.array_equal(*rows)
    assert np.allclose(rows[0][0], 2 * np.asarray(noise(20, 16), np.float32).mean((0, 1)))


def test_outputs_of_one_network_are_had_from_one_preparation(files, cache, tmp_path):
    file = inception_file(tmp_path / "net.pt")
    extractors = open_extractors([f"inception:{file}", f"inception-logits:{file}"], trusted=True)
    network = extractors[0].network
    looked, look = [], network._look
    network._look = lambda batch: looked.append(len(batch)) or look(batch)
    extract(files, extractors, cache, batch=3)
    assert looked == [3, 3]


# ---------------------------------------------------------------------------------- a cell's features


def test_rows_are_extracted_when_they_are_asked_for(files, cache):
    network = Counting()
    features = CachedFeatures(samples_of(files), [network], cache)
    assert network.prepared == 0
    assert features["mean"].shape == (7, 3)
    assert np.array_equal(features["mean"][0], features["mean"][6])
    assert network.prepared == 6
    assert (list(features), len(features)) == (["mean"], 1)
    with pytest.raises(KeyError):
        features["other"]


def test_rows_come_in_the_samples_order(files, cache):
    samples = samples_of(files)
    rows = CachedFeatures(samples, [Counting()], cache)["mean"]
    assert np.array_equal(CachedFeatures(samples[::-1], [Counting()], cache)["mean"], rows[::-1])


def test_a_cell_with_a_picture_that_cannot_be_read_says_which(files, cache):
    files[1].write_bytes(b"no picture")
    files[2].write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"1\.png is no PNG, JPEG or WebP picture \(and 1 more\)"):
        CachedFeatures(samples_of(files), [Counting()], cache)["mean"]


def test_damaged_features_are_extracted_again(files, cache):
    samples = extract(files, [Counting()], cache).readable(samples_of(files))
    rows = CachedFeatures(samples, [Counting()], cache)["mean"]
    (shard,) = (cache.folder / "mean-1").iterdir()
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    again = Counting()
    assert np.array_equal(CachedFeatures(samples, [again], FeatureCache(cache.folder))["mean"], rows)
    assert again.prepared == 6


def test_no_samples_have_no_rows(cache):
    assert CachedFeatures([], [Counting()], cache)["mean"].shape == (0, 3)
    assert CachedTexts([], [Counting()], cache)["mean"].shape == (0, 3)


def test_texts_are_read_once(files, cache, tmp_path):
    (clip,) = open_extractors([f"clip:{clip_folder(tmp_path / 'clip')}"])
    samples = [*samples_of(files), replace(samples_of(files)[0], prompt="a \ud83d fox")]
    rows = CachedTexts(samples, [clip], cache)["clip"]
    assert rows.shape == (8, 8)
    assert np.allclose(rows, clip.read([one.prompt for one in samples]), atol=1e-5)
    clip.read = lambda _: pytest.fail("it was read again")
    assert np.array_equal(CachedTexts(samples, [clip], FeatureCache(cache.folder))["clip"], rows)
