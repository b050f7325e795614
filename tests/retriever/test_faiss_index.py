"""Nearest vectors: right, exact under a filter, and in a file that knows what it was built from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from velatura.retriever import faiss_index
from velatura.retriever.faiss_index import FaissIndex, read_stamp


def rows(count: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, 16)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(params=["flat", "inverted"])
def index(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> FaissIndex:
    if request.param == "inverted":
        monkeypatch.setattr(faiss_index, "FLAT_LIMIT", 100)
    return FaissIndex.build(rows(3000))


def test_a_row_is_nearest_to_itself(index: FaissIndex) -> None:
    scores, found = index.search(rows(3000)[:20], 3)
    assert found[:, 0].tolist() == list(range(20))
    assert scores[:, 0] == pytest.approx(np.ones(20), abs=1e-5)


def test_filter_is_exact(index: FaissIndex) -> None:
    allowed = np.arange(0, 3000, 41)
    scores, found = index.search(rows(5, seed=1), 10, allowed)
    true = -np.sort(-(rows(5, seed=1) @ rows(3000)[allowed].T), axis=1)[:, :10]
    assert np.isin(found, allowed).all()
    assert scores == pytest.approx(true, abs=1e-5)


def test_missing_places_are_marked(index: FaissIndex) -> None:
    scores, found = index.search(rows(1), 4, np.array([7]))
    assert found[0].tolist() == [7, -1, -1, -1]
    assert np.isneginf(scores[0, 1:]).all()


def test_file_gives_the_same_answers_and_its_stamp(index: FaissIndex, tmp_path: Path) -> None:
    path = tmp_path / "c.faiss"
    index.save(path, {"rows": 3000, "model": "m"})
    assert read_stamp(path) == {"rows": 3000, "model": "m"}
    assert (FaissIndex.load(path).search(rows(9, seed=2), 5)[1] == index.search(rows(9, seed=2), 5)[1]).all()
    grown = FaissIndex.load(path, growing=True)
    grown.add(rows(1, seed=3))
    assert grown.search(rows(1, seed=3), 1)[1].tolist() == [[3000]]
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("content", [b"", b"x", b"VELA", b"\xff\xff\xff\xffVELA", b"[1]\x03\x00\x00\x00VELA"])
def test_file_that_is_no_index_has_no_stamp(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c.faiss"
    path.write_bytes(content)
    assert read_stamp(path) is None
    assert read_stamp(tmp_path / "none") is None
