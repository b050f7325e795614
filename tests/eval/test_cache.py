"""What is kept of features and scores, when processes are killed, write at once, or disks lie."""

from __future__ import annotations

import hashlib
import multiprocessing
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import numpy as np
import pytest

from velatura.errors import InputError
from velatura.eval.cache import FeatureCache, ScoreCache
from velatura.eval.estimates import Estimate
from velatura.eval.records import Sample
from velatura.whole_file import whole_file

NET = "0123abcd"


def sha(place: int) -> str:
    return hashlib.sha256(str(place).encode()).hexdigest()


def row(place: int, width: int = 4) -> np.ndarray:
    return np.arange(width, dtype=np.float32) + place


def fill(cache: FeatureCache, places, width: int = 4) -> None:
    cache.put(NET, [sha(place) for place in places], np.stack([row(place, width) for place in places]))


def shards(cache: FeatureCache):
    return sorted((cache.folder / NET).glob("*.safetensors"))


def test_rows_come_back_in_the_order_asked_for_with_what_is_missing(tmp_path):
    fill(FeatureCache(tmp_path), range(5))
    cache = FeatureCache(tmp_path)
    rows, missing = cache.get(NET, [sha(3), sha(9), sha(0), sha(3).upper()])
    assert np.array_equal(rows, np.stack([row(3), row(0), row(3)]))
    assert missing == (sha(9),)
    assert cache.has(NET, [sha(4), sha(5)]) == [True, False]
    assert cache.get("other", [sha(3)]) == (pytest.approx(np.empty((0, 0))), (sha(3),))


def test_what_another_process_writes_is_found(tmp_path):
    first, second = FeatureCache(tmp_path), FeatureCache(tmp_path)
    assert first.get(NET, [sha(1)])[1] == (sha(1),)
    fill(second, [1])
    assert first.get(NET, [sha(1)])[1] == ()


def test_a_row_is_kept_once(tmp_path):
    cache = FeatureCache(tmp_path)
    fill(cache, [1, 2])
    fill(cache, [2, 1])
    assert len(shards(cache)) == 1
    fill(cache, [2, 3, 3])
    assert FeatureCache(tmp_path).get(NET, [sha(3)])[0].tolist() == [row(3).tolist()]


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text", "other"])
def test_a_damaged_shard_costs_its_own_rows_alone(tmp_path, damage):
    cache = FeatureCache(tmp_path)
    fill(cache, range(3))
    (hurt,) = shards(cache)
    fill(cache, range(3, 6))
    content = bytearray(hurt.read_bytes())
    if damage == "flipped":
        content[-1] ^= 1
    elif damage == "other":
        content = bytearray(shards(cache)[0].read_bytes().replace(b"keys", b"kays"))
    else:
        content = {"cut": content[:-5], "empty": b"", "text": b"not a shard at all"}[damage]
    hurt.write_bytes(content)
    cache = FeatureCache(tmp_path)
    rows, missing = cache.get(NET, [sha(place) for place in range(6)])
    assert np.array_equal(rows, np.stack([row(place) for place in range(3, 6)]))
    assert missing == tuple(sha(place) for place in range(3))
    fill(cache, range(3))
    for reader in (cache, FeatureCache(tmp_path)):
        rows, missing = reader.get(NET, [sha(place) for place in range(6)])
        assert (rows.tolist(), missing) == ([row(place).tolist() for place in range(6)], ())


def test_a_shard_of_another_width_costs_itself(tmp_path):
    cache = FeatureCache(tmp_path)
    fill(cache, [1], width=4)
    fill(cache, [2], width=6)
    rows, missing = FeatureCache(tmp_path).get(NET, [sha(1), sha(2)])
    assert (len(rows), len(missing)) == (1, 1)


def test_small_shards_become_one_and_lose_nothing(tmp_path):
    cache, reader = FeatureCache(tmp_path), FeatureCache(tmp_path)
    for place in range(20):
        fill(cache, [place])
    assert reader.has(NET, [sha(0)]) == [True]
    shards(cache)[0].write_bytes(b"damaged")
    lost = 20 - len(FeatureCache(tmp_path).get(NET, [sha(place) for place in range(20)])[0])
    cache.compact(NET)
    assert lost == 1
    assert len(shards(cache)) == 2
    for one in (cache, reader, FeatureCache(tmp_path)):
        rows, missing = one.get(NET, [sha(place) for place in range(20)])
        assert (len(rows), len(missing)) == (19, 1)


def test_unfinished_files_of_the_dead_go_and_those_of_the_living_stay(tmp_path):
    cache = FeatureCache(tmp_path)
    fill(cache, [1])
    dead = tmp_path / NET / f".{'0' * 32}.part"
    dead.write_bytes(b"half")
    with whole_file(tmp_path / NET / "living") as living:
        cache.compact(NET)
        assert (dead.exists(), living.exists()) == (False, True)


@pytest.mark.parametrize("rows", [np.ones((2, 3), np.float32), np.full((1, 3), np.nan), np.ones(3)])
def test_what_is_no_row_for_each_is_refused(tmp_path, rows):
    with pytest.raises(ValueError):
        FeatureCache(tmp_path).put(NET, [sha(1)], rows)


@pytest.mark.parametrize("name", ["../out", "", "a/b", ".hidden"])
def test_a_fingerprint_cannot_climb_out(tmp_path, name):
    with pytest.raises(ValueError):
        FeatureCache(tmp_path).put(name, [sha(1)], np.ones((1, 3), np.float32))


def test_a_digest_must_be_one(tmp_path):
    with pytest.raises(ValueError):
        FeatureCache(tmp_path).has(NET, ["abc"])


def test_a_folder_that_cannot_be_written_is_told_in_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        fill(FeatureCache(tmp_path / "file"), [1])


def _write(folder, start):
    cache = FeatureCache(folder)
    for place in range(start, start + 40, 4):
        fill(cache, range(place, place + 4))
        cache.compact(NET)


def test_processes_that_write_and_compact_at_once_lose_nothing(tmp_path):
    context = multiprocessing.get_context("fork")
    both = [context.Process(target=_write, args=(tmp_path, start)) for start in (0, 20)]
    for process in both:
        process.start()
    for process in both:
        process.join()
        assert process.exitcode == 0
    rows, missing = FeatureCache(tmp_path).get(NET, [sha(place) for place in range(60)])
    assert missing == ()
    assert np.array_equal(rows, np.stack([row(place) for place in range(60)]))


def test_a_killed_writer_leaves_whole_shards_alone(tmp_path):
    code = """
        import sys, numpy as np, hashlib
        from velatura.eval.cache import FeatureCache
        cache = FeatureCache(sys.argv[1])
        for place in range(10**6):
            cache.put("0123abcd", [hashlib.sha256(str(place).encode()).hexdigest()], np.full((1, 50_000), place, "f4"))
            print(place, flush=True)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        for _ in range(5):
            writer.stdout.readline()
        time.sleep(0.02)
        writer.send_signal(signal.SIGKILL)
        told = 5 + len(writer.stdout.read().splitlines())
    rows, _ = FeatureCache(tmp_path).get(NET, [sha(place) for place in range(told)])
    assert rows[:, 0].tolist() == list(range(told))


def test_ten_thousand_rows_are_read_in_well_under_a_second(tmp_path):
    cache = FeatureCache(tmp_path)
    rows = np.random.default_rng(0).standard_normal((10_000, 256), np.float32)
    names = [sha(place) for place in range(10_000)]
    for start in range(0, 10_000, 500):
        cache.put(NET, names[start : start + 500], rows[start : start + 500])
    cache = FeatureCache(tmp_path)
    began = time.process_time()
    found, _ = cache.get(NET, names)
    assert time.process_time() - began < 4
    assert np.array_equal(found, rows)


# ---------------------------------------------------------------------------------- scores

SAMPLES = tuple(
    Sample(prompt_id=f"p{n}", prompt=f"fox {n}", method="m", image=f"{n}.png", sha256=sha(n)) for n in range(3)
)


@pytest.mark.parametrize("pulls", [np.array([0.1, 1 / 3, -0.2]), None])
def test_an_estimate_comes_back_to_the_last_digit(tmp_path, pulls):
    estimate = Estimate(
        value=1 / 3, prompts=("a", "b", "c\ud800"), pulls=pulls, n=7, comparable=False, notes=("few", "schöne")
    )
    ScoreCache(tmp_path).put("abcdef", estimate)
    found = ScoreCache(tmp_path).get("abcdef")
    assert (found.value, found.prompts, found.n, found.comparable, found.notes) == (
        estimate.value, estimate.prompts, 7, False, ("few", "schöne"))  # fmt: skip
    assert found.pulls is None if pulls is None else np.array_equal(found.pulls, pulls)


def test_the_key_changes_with_all_that_the_value_depends_on(tmp_path):
    scores = ScoreCache(tmp_path)
    key = scores.key("CLIP|x", SAMPLES)
    assert scores.key("CLIP|x", tuple(SAMPLES)) == key
    assert scores.key("CLIP|y", SAMPLES) != key
    assert scores.key("CLIP|x", SAMPLES[:2]) != key
    for change in ({"sha256": sha(9)}, {"prompt": "cat"}, {"prompt_id": "q"}, {"category": "Animals"}):
        assert scores.key("CLIP|x", (replace(SAMPLES[0], **change), *SAMPLES[1:])) != key
    assert scores.key("CLIP|x", (replace(SAMPLES[0], image="elsewhere.png"), *SAMPLES[1:])) == key


def test_samples_without_a_digest_have_no_key(tmp_path):
    with pytest.raises(InputError, match="has no SHA-256"):
        ScoreCache(tmp_path).key("CLIP", (replace(SAMPLES[0], sha256=None),))


@pytest.mark.parametrize("damage", ["gone", "cut", "text", "short"])
def test_a_damaged_score_is_measured_again(tmp_path, damage):
    scores = ScoreCache(tmp_path)
    scores.put("abcdef", Estimate(value=1.0, prompts=("a", "b"), pulls=np.zeros(2), n=2))
    (path,) = tmp_path.rglob("*.safetensors")
    if damage == "gone":
        path.unlink()
    else:
        content = path.read_bytes()
        path.write_bytes(
            {"cut": content[:-3], "text": b"{}", "short": content.replace(b'[\\"a\\", ', b'[\\"a\\"  ')}[damage]
        )
    assert scores.get("abcdef") is None
