"""Rows are parted into batches by what must be alike, set by set where sets lie on the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from velatura.generation.adapters.choice import Way
from velatura.generation.batches import Row, batches
from velatura.records import Composition, GenerationRequest

SETS: dict[str, Any] = {"a": {"a": 1.0}, "b": {"b": 1.0}}


def rows(sets: str, heights: Sequence[int] = ()) -> list[Row]:
    return [
        Row(
            place=place,
            request=GenerationRequest(
                composition=Composition(prompt=f"prompt {place}"), model="m", height=heights[place] if heights else 64
            ),
            seed=place,
            laying=SETS[name],
        )
        for place, name in enumerate(sets)
    ]


def parted(given: list[Row], size: int, way: str = "weights") -> list[tuple[list[int], str]]:
    found = batches(given, size=size, alike=lambda row: None, way=lambda rows: cast("Way", way))
    return [([row.place for row in batch.rows], batch.way) for batch in found]


@pytest.mark.parametrize(
    ("size", "way", "expected"),
    [
        (1, "weights", [[0], [2], [3], [1]]),
        (2, "weights", [[0, 2], [3], [1]]),
        (2, "beside", [[0, 1], [2, 3]]),
        (1, "beside", [[0], [2], [3], [1]]),
    ],
)
def test_sets_are_drawn_after_each_other_or_together(size: int, way: str, expected: list[list[int]]) -> None:
    assert parted(rows("abaa"), size, way) == [(places, way) for places in expected]


def test_rows_of_one_size_alone_are_drawn_together() -> None:
    assert [places for places, _ in parted(rows("aaaa", [64, 72, 64, 72]), 4)] == [[0, 2], [1, 3]]


def test_what_a_backend_tells_apart_is_drawn_apart() -> None:
    found = batches(rows("aaa"), size=4, alike=lambda row: row.place == 1, way=lambda rows: "weights")
    assert [[row.place for row in batch.rows] for batch in found] == [[0, 2], [1]]
