"""CLIP score: cosines of pictures and prompts, averaged prompt by prompt."""

from __future__ import annotations

import numpy as np
import pytest
from handmade_cells import make_cell

from velatura.errors import InputError
from velatura.eval.alignment import PREFIX, ClipS, ClipScore

PICTURES = [[3.0, 0.0], [0.0, 2.0], [5.0, 5.0]]
TEXTS = [[1.0, 0.0], [1.0, 0.0], [-7.0, 0.0]]


def test_value_is_the_mean_over_prompts_of_a_hundred_cosines() -> None:
    cell = make_cell({"a": 2, "b": 1}, features={"clip": PICTURES}, texts={"clip": TEXTS})
    estimate = ClipScore().estimate(cell)
    assert estimate.value == pytest.approx((50 - 100 / np.sqrt(2)) / 2)
    assert (estimate.prompts, estimate.n, estimate.notes) == (("a", "b"), 3, ())
    assert estimate.pulls is not None
    assert estimate.pulls.sum() == pytest.approx(0)


def test_lengths_of_features_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    pictures, texts = rng.normal(size=(2, 6, 8))
    values = [
        ClipScore().estimate(make_cell({"a": 3, "b": 3}, features={"clip": pictures * by}, texts={"clip": texts})).value
        for by in (1, 17.0)
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-6)


def test_two_long_prompts_that_differ_score_differently() -> None:
    texts = np.array([[1.0, 0.1], [0.2, 1.0]])
    values = [
        ClipScore().estimate(make_cell({"a": 1}, features={"clip": [[1.0, 0.0]]}, texts={"clip": [text]})).value
        for text in texts
    ]
    assert values[0] > values[1] + 50


def test_prompts_that_are_cut_are_counted_once_each() -> None:
    def truncated(texts: list[str]) -> int:
        return sum(len(text.split()) > 3 for text in texts)

    long = {"a": "a fox in the snow", "b": "a cat"}
    cell = make_cell({"a": 2, "b": 1}, features={"clip": PICTURES}, texts={"clip": TEXTS}, prompts=long)
    (note,) = ClipScore(truncated=truncated).estimate(cell).notes
    assert note.startswith("1 of 2 prompts")


def test_clip_s_reads_texts_behind_its_prefix_and_never_falls_below_0() -> None:
    asked: list[str] = []

    def read(texts: list[str]) -> np.ndarray:
        asked.extend(texts)
        return np.array([[1.0, 0.0] if text.endswith("a a") else [-1.0, -1.0] for text in texts], np.float32)

    cell = make_cell({"a": 2, "b": 1}, features={"clip": PICTURES})
    estimate = ClipS(read=read).estimate(cell)
    assert asked == [f"{PREFIX}a a", f"{PREFIX}a b"]
    assert estimate.value == pytest.approx((2.5 + 0) / 2 / 2)


def test_signatures_tell_scale_text_and_model() -> None:
    plain = ClipScore(extractor_signature="clip=vit-l-14:1234").signature
    assert plain == "clip|scale=100|text=prompt|clip=vit-l-14:1234"
    hessel = ClipS(read=lambda texts: np.zeros((len(texts), 2)), extractor_signature="clip=vit-b-32").signature
    assert hessel.startswith("clip-s|scale=2.5|")
    assert PREFIX in hessel


@pytest.mark.parametrize(
    ("features", "texts", "told"),
    [
        ({}, {"clip": TEXTS}, "no clip features of pictures"),
        ({"clip": PICTURES}, {}, "no clip features of texts"),
        ({"clip": PICTURES[:2]}, {"clip": TEXTS}, "3 pictures"),
        ({"clip": [[1, 0], [np.nan, 0], [0, 1]]}, {"clip": TEXTS}, r"first for a-1\.png"),
        ({"clip": [[1, 0], [0, 1], [0, 0]]}, {"clip": TEXTS}, r"b-0\.png are all 0"),
    ],
)
def test_features_of_no_use_are_refused(features: dict, texts: dict, told: str) -> None:
    with pytest.raises(InputError, match=told):
        ClipScore().estimate(make_cell({"a": 2, "b": 1}, features=features, texts=texts))


def test_no_pictures_are_refused() -> None:
    with pytest.raises(InputError, match="no pictures"):
        ClipScore().estimate(make_cell({}, features={"clip": np.zeros((0, 2))}))
