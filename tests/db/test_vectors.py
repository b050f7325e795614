"""Passages, vectors, and when an index built from them is out of date."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from velatura.db import Store, open_store
from velatura.errors import CatalogueError, InputError
from velatura.records import Refinement


@pytest.fixture
def filled(store: Store, make) -> Store:
    store.sync(make.source([make.file("a"), make.file("b"), make.file("c")]))
    return store


def vector(*numbers: float) -> np.ndarray:
    return np.array(numbers, dtype=np.float32)


def test_passages_are_stale_until_they_are_made(filled: Store):
    assert filled.stale_passages("1") == [1, 2, 3]
    filled.set_passages([(1, [("card", "x")]), (2, [])], "1")
    assert filled.stale_passages("1") == [3]
    assert filled.stale_passages("2") == [1, 2, 3]


def test_a_changed_record_or_description_makes_them_stale_and_keeps_them(filled: Store, make):
    filled.set_passages([(number, [("card", f"{number}")]) for number in (1, 2, 3)], "1")
    filled.put_vectors("m", "r", {f"{number}": vector(number) for number in (1, 2, 3)})
    filled.sync(make.source([make.file("a", stamp="2", title="Renamed"), make.file("b"), make.file("c", stamp="2")]))
    assert filled.stale_passages("1") == [1]
    filled.put_refinements([(2, Refinement(description="new words", writer="me"), "o")])
    assert filled.stale_passages("1") == [1, 2]
    assert filled.load_vectors("m", "r").tolist() == [[1], [2], [3]]
    filled.sync(make.source([make.file("c", stamp="2")]))
    assert filled.stale_passages("1") == []


def test_passages_made_from_an_older_record_are_stale(target: str | Path, filled: Store, make):
    assert 1 in filled.stale_passages("1")
    with open_store(target) as other:
        other.sync(make.source([make.file("a", stamp="2", title="Renamed"), make.file("b"), make.file("c")]))
    filled.set_passages([(1, [("card", "made from the old title")])], "1")
    assert 1 in filled.stale_passages("1")
    filled.set_passages([(1, [("card", "made from the new title")])], "1")
    assert 1 not in filled.stale_passages("1")


def test_a_passage_that_stays_keeps_its_number(filled: Store):
    digests = {digest: vector(1, 2) for digest in "xyz"}
    filled.put_vectors("m", "r", digests)
    filled.set_passages([(1, [("card", "x"), ("prompt", "y")])], "1")
    filled.set_passages([(2, [("card", "x")])], "1")
    assert [ids.tolist() for ids in filled.vector_rows("m", "r")] == [[1, 2, 3], [1, 1, 2], ["card", "prompt", "card"]]
    filled.set_passages([(1, [("card", "x"), ("prompt", "z")])], "2")
    assert [ids.tolist() for ids in filled.vector_rows("m", "r")] == [[1, 3, 4], [1, 2, 1], ["card", "card", "prompt"]]


def test_adapters_that_do_not_exist_are_passed_over(filled: Store):
    filled.set_passages([(99, [("card", "x")]), (1, [("card", "x")])], "1")
    filled.put_vectors("m", "r", {"x": vector(1)})
    assert filled.vector_rows("m", "r")[1].tolist() == [1]


def test_thousands_of_passages_are_kept_exactly(store: Store, make):
    count = 1201
    store.sync(make.source([make.file(f"{n}") for n in range(count)]))
    matrix = np.random.default_rng(0).standard_normal((count, 8)).astype(np.float32)
    digests = [f"d{n}" for n in range(count)]
    assert store.missing_vectors("m", "r", digests) == set(digests)
    store.put_vectors("m", "r", dict(zip(digests, matrix, strict=True)))
    assert store.missing_vectors("m", "r", [*digests, "new"]) == {"new"}
    assert store.missing_vectors("m", "other", digests[:2]) == {"d0", "d1"}
    store.set_passages((((n + 1), [("card", digests[n])]) for n in range(count)), "1")
    passages, adapters, fields = store.vector_rows("m", "r")
    np.testing.assert_array_equal(adapters, np.arange(1, count + 1))
    assert passages.dtype == adapters.dtype == np.int64
    assert set(fields.tolist()) == {"card"}
    loaded = store.load_vectors("m", "r")
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded, matrix)
    np.testing.assert_array_equal(store.load_vectors("m", "r", after=int(passages[1199])), matrix[1200:])


def test_what_has_no_vector_or_no_adapter_is_left_out(filled: Store, make):
    filled.set_passages([(1, [("card", "x")]), (2, [("card", "x")]), (3, [("card", "y")])], "1")
    assert not filled.has_vectors()
    assert filled.load_vectors("m", "r").shape == (0, 0)
    assert [len(ids) for ids in filled.vector_rows("m", "r")] == [0, 0, 0]
    filled.put_vectors("m", "r", {"x": vector(1, 2)})
    assert filled.has_vectors()
    assert filled.unembedded("1", "m", "r") == [3]
    assert filled.unembedded("1", "other", "r") == [1, 2, 3]
    assert filled.vector_rows("m", "r")[1].tolist() == [1, 2]
    filled.sync(make.source([make.file("b"), make.file("c")]))
    assert filled.vector_rows("m", "r")[1].tolist() == [2]
    assert filled.load_vectors("m", "r").shape == (1, 2)


def test_the_first_vector_of_a_text_stays(filled: Store):
    filled.set_passages([(1, [("card", "x")])], "1")
    filled.put_vectors("m", "r", {"x": vector(1, 2)})
    filled.put_vectors("m", "r", {"x": vector(3, 4)})
    assert filled.load_vectors("m", "r").tolist() == [[1, 2]]


@pytest.mark.parametrize("bad", [vector(1, 2, 3), vector(), vector(1, np.nan), np.ones((1, 2)), 5.0])
def test_a_vector_that_does_not_fit_is_refused(filled: Store, bad: object):
    filled.put_vectors("m", "r", {"x": vector(1, 2)})
    with pytest.raises(InputError, match="m gave a vector"):
        filled.put_vectors("m", "r", {"good": vector(1, 2), "bad": bad})
    assert filled.missing_vectors("m", "r", ["good", "bad"]) == {"good", "bad"}


def test_a_damaged_vector_is_told(target: str | Path, filled: Store, damage):
    filled.set_passages([(1, [("card", "x")])], "1")
    filled.put_vectors("m", "r", {"x": vector(1, 2)})
    damage(target, "UPDATE embedding SET vector = x'00'")
    with pytest.raises(CatalogueError, match="damaged"):
        filled.load_vectors("m", "r")


def test_the_state_changes_exactly_when_the_vectors_do(filled: Store, make):
    states = [filled.vector_state("m", "r")]

    def is_changed() -> bool:
        state = filled.vector_state("m", "r")
        if state == states[-1]:
            return False
        assert state not in states
        states.append(state)
        return True

    filled.set_passages([(1, [("card", "x")]), (2, [("card", "y")])], "1")
    assert is_changed()
    filled.set_passages([(1, [("card", "x")])], "2")
    assert not is_changed()
    filled.put_vectors("m", "r", {"x": vector(1), "y": vector(2)})
    assert is_changed()
    filled.put_vectors("m", "r", {"x": vector(1)})
    filled.put_vectors("m", "other revision", {"x": vector(1)})
    assert not is_changed()
    filled.sync(make.source([make.file("a", stamp="2", title="Renamed"), make.file("b"), make.file("c")]))
    assert not is_changed()
    filled.sync(make.source([make.file("b"), make.file("c")]))
    assert is_changed()
    filled.sync(make.source([make.file("a", stamp="2", title="Renamed"), make.file("b"), make.file("c")]))
    assert is_changed()
    assert not is_changed()
    filled.set_passages([(1, [])], "2")
    assert is_changed()


def test_vectors_of_finished_batches_outlive_a_failure(filled: Store):
    def fail_late(count: int) -> dict[str, object]:
        return {f"d{n}": vector(n) if n < count - 1 else vector(np.inf) for n in range(count)}

    with pytest.raises(InputError):
        filled.put_vectors("m", "r", fail_late(1100))
    assert len(filled.missing_vectors("m", "r", [f"d{n}" for n in range(1100)])) == 100


def test_vectors_of_some_adapters_come_by_field(filled: Store):
    filled.set_passages([(1, [("card", "x"), ("prompt", "y"), ("prompt", "z")]), (2, [("card", "x")]), (3, [])], "1")
    filled.put_vectors("m", "r", {"x": vector(1, 0), "y": vector(0, 1), "z": vector(2, 2)})
    found = filled.vectors_of("m", "r", [1, 2, 3, 99])
    assert {number: {field: rows.tolist() for field, rows in fields.items()} for number, fields in found.items()} == {
        1: {"card": [[1, 0]], "prompt": [[0, 1], [2, 2]]},
        2: {"card": [[1, 0]]},
    }
    assert filled.vectors_of("m", "another", [1, 2]) == {}
