"""Measuring goes on where it stopped, and what is wrong with one file costs no other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from velatura.catalog import open_source
from velatura.db import Store, open_store
from velatura.errors import UnreadableFile
from velatura.records import BlockNorm, WeightMeasure
from velatura.refiner.weights import MeasureReport, measure, near_duplicates

HEADER = b'{"lora_unet_a.lora_up.weight":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]},'
HEADER += b'"lora_unet_a.lora_down.weight":{"dtype":"F32","shape":[1,1],"data_offsets":[4,8]}}'


class Measurer:
    """Reads a file's last byte as its seed; remembers what it read."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def __call__(self, path: str) -> WeightMeasure:
        self.read.append(Path(path).stem)
        seed = Path(path).read_bytes()[-1]
        if seed == 0:
            raise UnreadableFile(f"{Path(path).name} holds NaN")
        if seed == 1:
            raise ZeroDivisionError("a fault of ours")
        if seed == 2:
            raise KeyboardInterrupt
        sketch = np.random.default_rng(seed).standard_normal(16)
        unmeasured = (("DoRA", 1),) if seed == 9 else ()
        blocks = (BlockNorm(block="mid", norm=float(len(Path(path).stem)), values=1),)
        return WeightMeasure(method="1", blocks=blocks, sketch=tuple(sketch.tolist()), unmeasured=unmeasured)


def write(folder: Path, name: str, seed: int) -> Path:
    path = folder / f"{name}.safetensors"
    # Another name in the header is another fingerprint.
    header = HEADER.replace(b"lora_unet_a", f"lora_unet_{name}".encode())
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes([*range(7), seed]))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "loras"
    folder.mkdir()
    for place, name in enumerate(("a", "b", "c")):
        write(folder, name, 5 + place)
    return folder


@pytest.fixture
def store(tmp_path: Path, folder: Path) -> Iterator[Store]:
    with open_store(tmp_path / "catalogue.db") as store:
        yield store


def run(store: Store, folder: Path, measurer: Measurer, method: str = "1") -> MeasureReport:
    store.sync(open_source(folder))
    return measure(store, measurer, method)


def test_only_new_and_changed_files_are_measured(store: Store, folder: Path):
    measurer = Measurer()
    report = run(store, folder, measurer)
    assert (report.files, report.done, report.failed) == (3, 3, ())
    assert measurer.read == ["a", "b", "c"]
    assert run(store, folder, measurer).files == 0
    write(folder, "b", 99)
    write(folder, "d", 50)
    measurer.read.clear()
    assert run(store, folder, measurer).done == 2
    assert sorted(measurer.read) == ["b", "d"]


def test_a_change_that_no_fingerprint_shows_is_seen_by_its_time(store: Store, folder: Path):
    measurer = Measurer()
    run(store, folder, measurer)
    os.utime(folder / "a.safetensors", ns=(1, 1))
    measurer.read.clear()
    assert measure(store, measurer, "1").done == 1
    assert measurer.read == ["a"]


def test_a_moved_file_is_not_measured_again(store: Store, folder: Path):
    measurer = Measurer()
    run(store, folder, measurer)
    (folder / "deep").mkdir()
    (folder / "a.safetensors").rename(folder / "deep" / "other.safetensors")
    measurer.read.clear()
    assert run(store, folder, measurer).files == 0
    assert measurer.read == []


def test_another_method_measures_all_again(store: Store, folder: Path):
    measurer = Measurer()
    run(store, folder, measurer)
    assert run(store, folder, measurer, "2").done == 3


def test_a_damaged_file_costs_no_other_and_is_read_once(store: Store, folder: Path):
    write(folder, "b", 0)
    measurer = Measurer()
    report = run(store, folder, measurer)
    assert report.done == 3
    [failure] = report.failed
    assert failure.locator.endswith("b.safetensors")
    assert failure.reason == "b.safetensors holds NaN"
    assert store.measure(store.find("c.safetensors")[0]) is not None
    found = store.measure(store.find("b.safetensors")[0])
    assert found is not None
    assert found.failure == "b.safetensors holds NaN"
    assert run(store, folder, measurer).files == 0


def test_a_fault_of_ours_is_told_and_tried_again(store: Store, folder: Path):
    write(folder, "b", 1)
    measurer = Measurer()
    [failure] = run(store, folder, measurer).failed
    assert failure.reason == "it could not be measured: ZeroDivisionError (a fault of ours)"
    assert run(store, folder, measurer).files == 1


def test_a_file_that_has_gone_is_told_and_tried_again(store: Store, folder: Path):
    store.sync(open_source(folder))
    (folder / "b.safetensors").unlink()
    for _ in range(2):
        report = measure(store, Measurer(), "1")
        [failure] = report.failed
        assert "cannot be read: No such file" in failure.reason
    assert report.done == 1
    assert store.measure(store.find("c.safetensors")[0]) is not None


def test_stopped_in_the_middle_it_goes_on(store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("velatura.refiner.weights._BATCH", 1)
    write(folder, "b", 2)
    measurer = Measurer()
    with pytest.raises(KeyboardInterrupt):
        run(store, folder, measurer)
    assert measurer.read == ["a", "b"]
    write(folder, "b", 8)
    measurer.read.clear()
    run(store, folder, measurer)
    assert measurer.read == ["b", "c"]


def test_progress_is_told_file_by_file(store: Store, folder: Path):
    store.sync(open_source(folder))
    told: list[MeasureReport] = []
    measure(store, Measurer(), "1", progress=told.append)
    assert [(report.done, report.files) for report in told] == [(1, 3), (2, 3), (3, 3)]


# ---------------------------------------------------------------------------------- near-duplicates


def twins(store: Store, overlap: object, **options: float) -> list[tuple[str, ...]]:
    given = {"at_least": 0.95, "shortlist": 0.9} | options
    return near_duplicates(store, overlap, "1", **given)  # type: ignore[arg-type]


def test_pairs_on_the_shortlist_are_compared_exactly(store: Store, folder: Path):
    for name, seed in (("aa", 5), ("cc", 7)):
        write(folder, name, seed)
    run(store, folder, Measurer())
    asked: list[tuple[str, ...]] = []

    def overlap(*paths: str) -> float:
        asked.append(tuple(sorted(Path(path).stem for path in paths)))
        return 0.99 if asked[-1] == ("a", "aa") else 0.5

    [pair] = twins(store, overlap)
    assert sorted(asked) == [("a", "aa"), ("c", "cc")]
    assert [store.adapter(number).record.title for number in pair.adapters] == ["a", "aa"]
    assert (pair.overlap, pair.ratio, pair.is_exact, pair.is_partial) == (0.99, 2.0, True, False)


def test_a_crowd_of_the_same_is_a_pair_less_than_its_files(store: Store, folder: Path):
    for number in range(20):
        write(folder, f"copy{number}", 5)
    run(store, folder, Measurer())
    calls: list[int] = []
    pairs = twins(store, lambda *_: calls.append(1) or 1.0)
    assert len(pairs) == len(calls) == 20
    assert len({number for pair in pairs for number in pair.adapters}) == 21


def test_a_file_that_cannot_be_read_again_is_estimated(store: Store, folder: Path):
    write(folder, "aa", 5)
    run(store, folder, Measurer())

    def overlap(*_: str) -> float:
        raise UnreadableFile("gone")

    [pair] = twins(store, overlap)
    assert not pair.is_exact
    assert pair.overlap == pytest.approx(1, abs=1e-6)


def test_a_pair_of_which_a_part_needs_a_model_says_so(store: Store, folder: Path):
    for name in ("aa", "bb"):
        write(folder, name, 9)
    run(store, folder, Measurer())
    [pair] = twins(store, lambda *_: 1.0)
    assert pair.is_partial
