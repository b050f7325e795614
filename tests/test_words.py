"""How texts of any script are cut into words and terms."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velatura.words import places, terms, with_pairs, words

SPELT_ALIKE = [
    ("café", "CAFE\u0301"),
    ("ＣＹＢＥＲ　ｃｉｔｙ", "cyber city"),
    ("ガンダム", "ｶﾞﾝﾀﾞﾑ"),
    ("がく", unicodedata.normalize("NFD", "がく")),
    ("한국", unicodedata.normalize("NFD", "한국")),
    ("Ёлка", "елка"),
    ("Straße", "STRASSE"),
    ("المُسْتَقْبَل", "المستقبل"),
    ("ســـماء", "سماء"),
    ("שָׁלוֹם", "שלום"),
]


@pytest.mark.parametrize(("one", "other"), SPELT_ALIKE)
def test_spellings_of_one_word_are_one(one: str, other: str) -> None:
    assert words(one) == words(other)
    assert terms(one) == terms(other)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("赛博朋克", ["赛", "博", "朋", "克", "赛博", "博朋", "朋克"]),
        ("赛", ["赛"]),
        ("赛博 朋克", ["赛", "博", "赛博", "朋", "克", "朋克"]),
        ("赛、博-朋_克", ["赛", "博", "朋", "克"]),
        ("赛博city水墨x", ["赛", "博", "赛博", "city", "水", "墨", "水墨", "x"]),
        ("я、、я 1、2", ["я", "я", "1", "2"]),
        ("수묵화의", ["수", "묵", "화", "의", "수묵", "묵화", "화의"]),
        ("ｶﾞﾑ", ["ガ", "ム", "ガム"]),
        ("", []),
        ("🦊 ،،", []),
    ],
)
def test_neighbours_of_unspaced_scripts_are_terms_too(text: str, expected: list[str]) -> None:
    assert terms(text) == expected


@given(st.text(max_size=80))
def test_terms_are_the_words_and_pairs_of_them(text: str) -> None:
    cut, asked = words(text), terms(text)
    pairs = {before + after for before, after in pairwise(cut)}
    remaining = list(asked)
    for word in cut:
        remaining.remove(word)
    assert set(remaining) <= pairs
    if text.isascii():
        assert asked == cut


@given(st.text(alphabet="ab я赛博かก、é", max_size=60))
def test_pairs_of_kept_words_hold_all_terms(text: str) -> None:
    kept = with_pairs(" ".join(words(text)).split())
    assert kept[: len(words(text))] == words(text)
    assert set(terms(text)) <= set(kept)
    assert len(kept) < 2 * max(1, len(words(text)))


@given(st.text(alphabet="ab1_ -,.é赛博я🦊、ก", max_size=60))
def test_places_are_those_of_the_words(text: str) -> None:
    found = places(text)
    assert [word for word, _, _ in found] == words(text)
    assert all(words(text[start:end]) == [word] for word, start, end in found)


@pytest.mark.parametrize(
    ("text", "word", "written"),
    [
        ("in Cafe\u0301s", "cafes", "Cafe\u0301s"),
        ("赛博city", "city", "city"),
        ("か\u3099く", "が", "か\u3099"),
        ("ภาพสีน้ำ", "สี", "สี"),
    ],
)
def test_what_matched_is_shown_as_it_was_written(text: str, word: str, written: str) -> None:
    found = places(text)
    wanted = words(word)
    cut = [each for each, _, _ in found]
    at = next(at for at in range(len(cut)) if cut[at : at + len(wanted)] == wanted)
    assert text[found[at][1] : found[at + len(wanted) - 1][2]] == written


@pytest.mark.parametrize("cut", [words, terms, places])
def test_hundred_thousand_characters_are_cut_at_once(cut: Callable[[str], object]) -> None:
    for piece in ("fox ", "赛", "赛a", "、", "ก้", "か\u3099", "\u0301", "🦊", "한", "_"):
        text = piece * (100_000 // len(piece))
        started = time.process_time()
        cut(text)
        assert time.process_time() - started < 1.0, piece
