"""What adapters do to weights: kept while their files stay what they are, and compared by the thousand."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from velatura.db import Store, open_store
from velatura.db.alike import alike
from velatura.db.connect import open_database
from velatura.errors import CatalogueError
from velatura.records import BaseNorms, BlockNorm, WeightMeasure

WIDTH = 128


def measured(seed: int = 0, *, method: str = "1", **fields: object) -> WeightMeasure:
    sketch = np.random.default_rng(seed).standard_normal(WIDTH, dtype=np.float32)
    blocks = (BlockNorm(block="down.0", norm=0.5, values=100), BlockNorm(block="mid", norm=1.5 + seed, values=50))
    known = {"blocks": blocks, "unmeasured": (("DoRA", 3),), "sketch": tuple(sketch.tolist())}
    return WeightMeasure(method=method, **(known | fields))  # type: ignore[arg-type]


@pytest.fixture
def numbers(store: Store, make) -> dict[str, int]:
    """Three local files, one of a refused format, an embedding, and a page."""
    store.sync(
        make.source(
            [
                make.file("a.safetensors", "fa"),
                make.file("b.safetensors", "fb"),
                make.file("c.SAFETENSORS"),
                make.file("d.pt", "fd"),
                make.file("e.safetensors", "fe", kind="embedding"),
                make.file("f.safetensors", "ff", path=None),
            ]
        )
    )
    return {name: store.find(f"{name}.safetensors")[0] for name in "ab"} | {"c": store.find("c.SAFETENSORS")[0]}


def test_what_was_measured_comes_back(store: Store, numbers):
    given = measured(1)
    store.put_measures([(numbers["a"], "10-20", given)])
    assert store.measure(numbers["a"]) == given
    assert store.measure(numbers["b"]) is None
    again = measured(2, unmeasured=(), failure=None)
    store.put_measures([(numbers["a"], "10-21", again)])
    assert store.measure(numbers["a"]) == again


def test_a_failure_is_kept_with_its_reason(store: Store, numbers):
    store.put_measures([(numbers["a"], "1-1", WeightMeasure(method="1", failure="it holds \ud800 NaN"))])
    found = store.measure(numbers["a"])
    assert found is not None
    assert found.failure == "it holds \\ud800 NaN"
    assert found.blocks == found.sketch == ()
    assert store.alike("1", 0.1) == []


def test_only_local_files_that_may_hold_weights_are_listed(store: Store, numbers):
    store.put_measures([(numbers["b"], "5-6", measured())])
    assert [(file.number, file.stamp) for file in store.weight_files("1")] == [
        (numbers["a"], None),
        (numbers["b"], "5-6"),
        (numbers["c"], None),
    ]
    assert {file.stamp for file in store.weight_files("2")} == {None}
    assert store.weight_files("1")[0].path == "/adapters/a.safetensors"


def test_a_path_that_is_no_text_is_given_as_it_is(store: Store, make):
    odd = "/adapters/fox\udc80.safetensors"
    store.sync(make.source([make.file("odd", path=odd)]))
    assert [file.path for file in store.weight_files("1")] == [odd]


def test_another_fingerprint_makes_it_unmeasured(store: Store, make, numbers):
    store.put_measures([(number, "1-1", measured(place)) for place, number in enumerate(numbers.values())])
    store.sync(make.source([make.file("a.safetensors", "changed", stamp="2"), make.file("b.safetensors", "fb")]))
    assert store.measure(numbers["a"]) is None
    assert store.measure(numbers["b"]) is not None
    assert [(file.number, file.stamp) for file in store.weight_files("1")] == [
        (numbers["a"], None),
        (numbers["b"], "1-1"),
    ]
    store.put_measures([(numbers["a"], "2-2", measured(7))])
    assert store.measure(numbers["a"]) == measured(7)


def test_a_moved_file_stays_measured(store: Store, make, numbers):
    store.put_measures([(numbers["a"], "1-1", measured(3))])
    store.sync(make.source([make.file("new/a.safetensors", "fa"), make.file("b.safetensors", "fb")]))
    assert store.measure(numbers["a"]) == measured(3)
    assert store.weight_files("1")[0].path == "/adapters/new/a.safetensors"


def test_an_adapter_that_is_no_more_is_left_out(store: Store, numbers):
    store.put_measures([(10_000, "1-1", measured()), (numbers["a"], "1-1", measured())])
    assert store.measure(10_000) is None
    assert store.measure(numbers["a"]) is not None


def test_near_ones_are_found_among_a_thousand(store: Store, make):
    store.sync(make.source([make.file(f"{n:04}.safetensors", f"f{n}") for n in range(1000)]))
    numbers = [file.number for file in store.weight_files("1")]
    sketches = np.random.default_rng(1).standard_normal((1000, WIDTH), dtype=np.float32)
    sketches[700] = 3 * sketches[20] + 0.01 * sketches[21]
    sketches[800] = sketches[30] + 0.3 * sketches[31]
    sketches[900] = -sketches[40]
    store.put_measures(
        (number, "1-1", measured(sketch=tuple(sketch.tolist())))
        for number, sketch in zip(numbers, sketches, strict=True)
    )
    started = time.perf_counter()
    pairs = store.alike("1", 0.9)
    assert time.perf_counter() - started < 5
    assert [(one, other) for one, other, _ in pairs] == [(numbers[20], numbers[700]), (numbers[30], numbers[800])]
    assert pairs[0][2] == pytest.approx(1, abs=1e-4)
    expected = sketches[30] @ sketches[800] / np.linalg.norm(sketches[30]) / np.linalg.norm(sketches[800])
    assert pairs[1][2] == pytest.approx(expected, abs=1e-5)
    assert store.alike("2", 0.9) == []


def test_missing_files_and_copies_of_one_file_are_not_compared(store: Store, make):
    files = {"a": "same", "b": "same", "c": "fc", "gone": "fg"}
    store.sync(make.source([make.file(f"{name}.safetensors", mark) for name, mark in files.items()]))
    store.put_measures([(file.number, "1-1", measured(0)) for file in store.weight_files("1")])
    del files["gone"]
    store.sync(make.source([make.file(f"{name}.safetensors", mark) for name, mark in files.items()]))
    [(one, other, _)] = store.alike("1", 0.9)
    assert [store.adapter(number).record.key for number in (one, other)] == ["a.safetensors", "c.safetensors"]


def test_norms_of_a_checkpoint_are_kept_by_family(store: Store):
    assert store.base_norms() == {}
    sd1 = BaseNorms(family="sd1", model="dream.safetensors", blocks=(BlockNorm(block="mid", norm=60.0, values=9),))
    sdxl = BaseNorms(family="sdxl", model="xl", blocks=())
    store.put_base_norms(BaseNorms(family="sd1", model="older", blocks=()))
    store.put_base_norms(sdxl)
    store.put_base_norms(sd1)
    assert store.base_norms() == {"sd1": sd1, "sdxl": sdxl}


@pytest.mark.parametrize("sql", ["json = '{'", "json = '[]'", "json = '{\"blocks\": [1]}'", "sketch = x'0102'"])
def test_damage_is_one_sentence(store: Store, target: str | Path, numbers, sql: str, damage):
    store.put_measures([(numbers["a"], "1-1", measured())])
    damage(target, f"UPDATE measure SET {sql}")
    with pytest.raises(CatalogueError, match="damaged"):
        store.measure(numbers["a"])
    if "sketch" in sql:
        with pytest.raises(CatalogueError, match="damaged"):
            store.alike("1", 0.9)


def test_a_catalogue_of_before_is_brought_up_to_date(path: Path, make):
    with open_store(path) as store:
        store.sync(make.source([make.file("a.safetensors", "fa")]))
    tables = ("measure", "base_norm", "word_change", "picture", "refinement", "unrefined", "reply", "probe")
    with closing(open_database(path)) as database, database.writing() as connection:
        for table in tables:
            connection.exec_driver_sql(f"DROP TABLE {table}")
        for column in ("description", "writer"):
            connection.exec_driver_sql(f"ALTER TABLE record ADD COLUMN {column} TEXT")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    with open_store(path) as store:
        [file] = store.weight_files("1")
        store.put_measures([(file.number, "1-1", measured())])
        assert store.measure(file.number) == measured()
        assert store.words_changed((0, 0)) == [file.number]


# ---------------------------------------------------------------------------------- the search itself


def brute(vectors: np.ndarray, at_least: float) -> set[tuple[int, int]]:
    unit = vectors / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    cosines = unit @ unit.T
    return {(int(a), int(b)) for a, b in zip(*np.where(np.triu(cosines, 1) >= at_least), strict=True)}


@pytest.mark.parametrize("count", [0, 1, 2, 900, 1024, 1025, 4500])
def test_every_pair_is_found_across_blocks(count: int):
    chance = np.random.default_rng(count)
    vectors = chance.standard_normal((count, 12)).astype(np.float32)
    pairs = alike(np.arange(count), vectors, 0.85)
    assert len({(one, other) for one, other, _ in pairs}) == len(pairs)
    assert {(one, other) for one, other, _ in pairs} == brute(vectors, 0.85)
    assert [cosine for _, _, cosine in pairs] == sorted((cosine for _, _, cosine in pairs), reverse=True)


def test_a_crowd_keeps_the_closest_of_each_and_stays_connected():
    chance = np.random.default_rng(0)
    vectors = (1 + 0.01 * chance.standard_normal((3000, 16))).astype(np.float32)
    vectors[::3] = 1
    pairs = alike(np.arange(3000), vectors, 0.9)
    groups = list(range(3000))

    def root(place: int) -> int:
        while groups[place] != place:
            groups[place] = place = groups[groups[place]]
        return place

    for one, other, cosine in pairs:
        assert one < other
        assert 0.9 <= cosine <= 1
        groups[root(one)] = root(other)
    assert len({root(place) for place in range(3000)}) == 1
    assert max(np.bincount([one for one, _, _ in pairs])) == 64


def test_sketches_of_some_adapters_come_with_their_method(store: Store, numbers):
    store.put_measures(
        [(numbers["a"], "1-1", measured(1)), (numbers["b"], "1-1", measured(2, sketch=(), failure="no"))]
    )
    found = store.sketches_of([numbers["a"], numbers["b"], 99])
    assert list(found) == [numbers["a"]]
    method, sketch = found[numbers["a"]]
    assert (method, tuple(sketch.tolist())) == ("1", measured(1).sketch)
