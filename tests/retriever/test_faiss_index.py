"""Nearest vectors: right, and exact under a filter, however many there are."""

from __future__ import annotations

import numpy as np
import pytest

from velatura.retriever import faiss_index
from velatura.retriever.faiss_index import FaissIndex, Selection

COUNT = 6000


def rows(count: int, seed: int = 0, dimension: int = 32) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def best(vectors: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    return -np.sort(-(queries @ vectors.T), axis=1)[:, :k]


@pytest.fixture(params=["flat", "coded"])
def index(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> FaissIndex:
    if request.param == "coded":
        monkeypatch.setattr(faiss_index, "FLAT_LIMIT", 100)
    return FaissIndex.build(rows(COUNT))


def test_a_row_is_nearest_to_itself(index: FaissIndex) -> None:
    scores, found = index.search(rows(COUNT)[:20], 3)
    assert found[:, 0].tolist() == list(range(20))
    assert scores[:, 0] == pytest.approx(np.ones(20), abs=1e-3)


def test_nearest_are_found(index: FaissIndex) -> None:
    queries = rows(20, seed=1)
    scores, _ = index.search(queries, 50)
    # Directions at random are the hardest to tell apart by their codes.
    assert (abs(scores - best(rows(COUNT), queries, 50)) < 1e-3).mean() > 0.95


@pytest.mark.parametrize("step", [2, 41])
def test_filter_is_exact(index: FaissIndex, step: int) -> None:
    allowed = np.arange(0, COUNT, step)
    queries = rows(20, seed=1)
    scores, found = index.search(queries, 10, allowed)
    assert np.isin(found, allowed).all()
    assert scores == pytest.approx(best(rows(COUNT)[allowed], queries, 10), abs=1e-3)


@pytest.mark.parametrize("few", [0, 2000])
def test_filter_that_leaves_the_farthest_is_exact(index: FaissIndex, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss_index, "FEW", few)
    query = rows(1, seed=2)
    allowed = np.sort(np.argsort(rows(COUNT) @ query[0])[:30])
    scores, found = index.search(query, 40, allowed)
    assert sorted(found[0, :30].tolist()) == allowed.tolist()
    assert found[0, 30:].tolist() == [-1] * 10
    assert np.isneginf(scores[0, 30:]).all()


@pytest.mark.parametrize("few", [0, 2000])
def test_nothing_allowed_finds_nothing(index: FaissIndex, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss_index, "FEW", few)
    assert index.search(rows(1), 4, np.empty(0, dtype=np.int64))[1].tolist() == [[-1] * 4]


def test_one_selection_serves_several_searches(index: FaissIndex) -> None:
    selection = Selection(np.arange(COUNT) % 2 == 1)
    for seed in range(3):
        _, found = index.search(rows(2, seed=seed), 10, selection)
        assert (found % 2 == 1).all()


def test_order_is_that_of_single_precision_where_it_is_clear() -> None:
    vectors, queries = rows(COUNT), rows(50, seed=3)
    _, found = FaissIndex.build(vectors).search(queries, 10)
    cosines = np.take_along_axis(queries @ vectors.T, found, axis=1)
    assert (np.diff(cosines, axis=1) < 5e-4).all()


def test_parts_make_the_same_index(index: FaissIndex) -> None:
    again = FaissIndex.from_parts([part.copy() for part in index.parts()])
    queries = rows(9, seed=2)
    assert (again.search(queries, 5)[1] == index.search(queries, 5)[1]).all()
    assert (again.vectors() == index.vectors()).all()


def test_grown_index_has_both(index: FaissIndex) -> None:
    more = rows(300, seed=4)
    grown = FaissIndex.from_parts([part.copy() for part in index.parts()]).grown(more)
    assert len(grown) == COUNT + 300
    assert len(index) == COUNT
    assert grown.search(more, 1)[1][:, 0].tolist() == list(range(COUNT, COUNT + 300))
    scores, _ = grown.search(rows(5, seed=1), 20)
    assert scores == pytest.approx(best(np.concatenate([rows(COUNT), more]), rows(5, seed=1), 20), abs=1e-3)


def test_grown_index_outlives_what_it_grew_from(index: FaissIndex) -> None:
    parts = [part.copy() for part in index.parts()]
    grown = FaissIndex.from_parts(parts).grown(rows(3, seed=4))
    for part in parts:
        part[:] = 255
    assert grown.search(rows(COUNT)[:5], 1)[1][:, 0].tolist() == [0, 1, 2, 3, 4]


def test_index_that_outgrows_the_flat_limit_changes_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss_index, "FLAT_LIMIT", 1000)
    small = FaissIndex.build(rows(900))
    grown = small.grown(rows(900, seed=1))
    assert len(small.parts()) == 1
    assert len(grown.parts()) == 2
    assert grown.search(rows(900, seed=1)[:5], 1)[1][:, 0].tolist() == [900, 901, 902, 903, 904]


@pytest.mark.parametrize("dimension", [1, 3, 64])
def test_any_length_of_vectors(dimension: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss_index, "FLAT_LIMIT", 100)
    vectors = rows(500, dimension=dimension)
    scores, _ = FaissIndex.build(vectors).search(vectors[:5], 1)
    assert scores[:, 0] == pytest.approx(np.ones(5), abs=1e-3)


def test_damaged_parts_are_refused(index: FaissIndex) -> None:
    parts = [part.copy() for part in index.parts()]
    with pytest.raises((RuntimeError, ValueError)):
        FaissIndex.from_parts([parts[0][: len(parts[0]) // 2], *parts[1:]])
