"""Search by words, in every script, whatever is asked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from velatura.db import COLUMNS, Store
from velatura.errors import InputError
from velatura.records import Example


@pytest.fixture
def filled(store: Store, make) -> Store:
    cards = [
        {"title": "Red Fox", "triggers": (("rfox", "bushy tail"),), "description": "a fox in the snow " * 40},
        {"title": "Snow", "tags": ("winter", "red"), "description": "deep snow"},
        {"title": "细节调整 Detail Tweaker", "file_name": "add_detail.safetensors"},
        {"title": "Рыжая лиса", "creator": "Анна"},
        {"title": "Fox hunt", "examples": (Example(prompt="a red fox, (masterpiece:1.2) <lora:rfox:1>"),)},
        {"title": "Café NEAR OR AND NOT", "tags": ("title", "prompts")},
    ]
    offers = [make.entry(f"{n}", make.record(f"{n}", **card)) for n, card in enumerate(cards, start=1)]
    store.sync(make.source(offers))
    return store


def found(store: Store, *query: str, columns: tuple[str, ...] = COLUMNS) -> list[int]:
    return [number for number, _ in store.search_words(query, columns, 99)]


def test_scores_are_positive_and_fall(filled: Store):
    hits = filled.search_words(["fox", "red", "snow"], COLUMNS, 99)
    scores = [score for _, score in hits]
    assert {number for number, _ in hits} == {1, 2, 5}
    assert scores == sorted(scores, reverse=True)
    assert min(scores) > 0


def test_only_the_columns_asked_for_count(filled: Store):
    assert found(filled, "snow", columns=("title",)) == [2]
    assert set(found(filled, "snow", columns=("title", "description"))) == {1, 2}
    assert found(filled, "anna", columns=("names",)) == []
    assert found(filled, "анна", columns=("names",)) == [4]
    assert found(filled, "fox", columns=()) == []
    with pytest.raises(InputError, match="no column 'text'"):
        found(filled, "fox", columns=("text",))


def test_a_long_description_does_not_bury_the_trigger(filled: Store):
    assert found(filled, "rfox", columns=("triggers",)) == [1]


def test_several_words_are_a_phrase(filled: Store):
    assert set(found(filled, "red fox", columns=("title", "prompts"))) == {1, 5}
    assert found(filled, "fox red") == []
    assert set(found(filled, "fox", "red")) == {1, 2, 5}


def test_accents_underscores_and_case_do_not_matter(filled: Store):
    assert found(filled, "CAFE") == found(filled, "café") == [6]
    assert found(filled, "Add_Detail") == found(filled, "add detail") == [3]


def test_every_script(filled: Store):
    assert found(filled, "调整") == [3]
    assert found(filled, "整调") == []
    assert found(filled, "ЛИСА") == [4]


@pytest.mark.parametrize(
    "query",
    ['"', "'", '"fox', "title:", "title : fox", "NEAR(fox red)", "fo*", "^fox", "-fox", "(", ")", "{title}", "\0",
     "a AND", "'; DROP TABLE words_title; --", "\ud800", "", " ", "***", "AND OR NOT"],
)  # fmt: skip
def test_nothing_is_taken_for_an_operator(filled: Store, query: str):
    filled.search_words([query], COLUMNS, 99)
    filled.search_words([query, "fox"], COLUMNS, 99)
    assert found(filled, "fox", columns=("title",)) == [1, 5]


def test_operators_are_words(filled: Store):
    assert found(filled, "NEAR", "OR", columns=("title",)) == [6]
    assert found(filled, "fox*", columns=("title",)) == [1, 5]
    assert found(filled, "fo*", columns=("title",)) == []


@given(query=st.lists(st.text(), max_size=5))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_text_can_be_asked(filled: Store, query: list[str]):
    filled.search_words(query, COLUMNS, 5)
    filled.matched_words([1], query)


def test_only_what_is_allowed_is_found_whatever_its_rank(store: Store, make):
    offers = [make.file(f"{n}", title="fox " * (1 + n % 7)) for n in range(300)]
    store.sync(make.source(offers))
    everything = store.search_words(["fox"], ["title"], 999)
    assert len(everything) == 300
    allowed = np.array([3, 7, 290, 9999], dtype=np.int64)
    assert store.search_words(["fox"], ["title"], 999, allowed) == [hit for hit in everything if hit[0] in {3, 7, 290}]
    assert store.search_words(["fox"], ["title"], 2, allowed) == store.search_words(["fox"], ["title"], 9, allowed)[:2]
    assert store.search_words(["fox"], ["title"], 9, np.array([], dtype=np.int64)) == []
    assert store.search_words(["fox"], ["title"], 0) == []


def test_equal_scores_come_in_the_order_of_their_numbers(store: Store, make):
    store.sync(make.source([make.file(f"{n}", title="fox") for n in range(9)]))
    assert found(store, "fox", columns=("title",)) == list(range(1, 10))


def test_the_words_that_matched_are_told(filled: Store):
    assert filled.matched_words([4, 1, 99], ["Red", "bushy tail", "tail bushy", "snow", "ox", "", "fox"]) == {
        1: {"title": ("Red", "fox"), "triggers": ("bushy tail",), "description": ("snow", "fox")}
    }
    assert filled.matched_words([3], ["细节", "Add_Detail"]) == {3: {"title": ("细节",), "names": ("Add_Detail",)}}


def test_mentions_of_a_phrase_stand_anywhere(filled: Store):
    assert filled.mentions(["red fox", "rfox", "nobody", "***"], 100) == {
        "red fox": {1, 5},
        "rfox": {1},
        "nobody": set(),
        "***": set(),
    }


def test_trigger_phrases_are_looked_up_as_they_stand(filled: Store, make):
    assert filled.triggered(["rfox", "bushy tail", "tail", "bushy", "fox"]) == {"rfox": [1], "bushy tail": [1]}
    offers = [make.entry("1", make.record("1", triggers=(("vixen",),)), stamp="2"), make.file("7")]
    filled.sync(make.source(offers))
    assert filled.triggered(["rfox", "vixen"]) == {"vixen": [1]}


def test_trigger_phrases_are_looked_up_by_their_beginning(store: Store, make):
    triggers = {"a": (("fox", "fox fur"),), "b": (("foxy", "red fox"),), "c": (("fox", "\U0010fffe"),)}
    store.sync(make.source([make.file(name, triggers=groups) for name, groups in triggers.items()]))
    assert store.triggers_beginning("fox") == [("fox", 1), ("fox", 3), ("fox fur", 1), ("foxy", 2)]
    assert store.triggers_beginning("fox f") == [("fox fur", 1)]
    assert store.triggers_beginning("%") == store.triggers_beginning("ox") == []
