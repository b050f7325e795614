"""Where words and phrases stand, in every script, whatever is asked."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from velatura.db import Store
from velatura.records import Example, Refinement


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


def found(store: Store, phrase: str) -> list[int]:
    return sorted(store.mentions([phrase], 99)[phrase])


def test_several_words_are_a_phrase(filled: Store):
    assert found(filled, "red fox") == [1, 5]
    assert found(filled, "fox red") == []


def test_every_script(filled: Store):
    assert found(filled, "调整") == [3]
    assert found(filled, "整调") == []
    assert found(filled, "ЛИСА") == [4]
    assert found(filled, "CAFE") == found(filled, "café") == [6]
    assert found(filled, "Add_Detail") == found(filled, "add detail") == [3]


@pytest.mark.parametrize(
    "query",
    ['"', "'", '"fox', "title:", "title : fox", "NEAR(fox red)", "fo*", "^fox", "-fox", "(", ")", "{title}", "\0",
     "a AND", "'; DROP TABLE words_title; --", "\ud800", "", " ", "***", "AND OR NOT"],
)  # fmt: skip
def test_nothing_is_taken_for_an_operator(filled: Store, query: str):
    found(filled, query)
    assert found(filled, "fox") == [1, 5]


def test_operators_are_words(filled: Store):
    assert found(filled, "NEAR OR") == [6]
    assert found(filled, "fox*") == [1, 5]
    assert found(filled, "fo*") == []


@given(query=st.lists(st.text(), max_size=5))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_text_can_be_asked(filled: Store, query: list[str]):
    filled.mentions(query, 5)
    filled.matched_words([1], query)


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


def test_trigger_phrases_and_words_are_those_of_the_present_record(filled: Store, make):
    assert filled.trigger_phrases() == [("bushy tail", 1), ("rfox", 1)]
    assert filled.trigger_phrases([2, 1]) == [("bushy tail", 1), ("rfox", 1)]
    assert dict(filled.word_texts([5, 2]))[2] == ("snow", "", "winter red", "deep snow", "", "2")
    offers = [make.entry("1", make.record("1", triggers=(("vixen",),)), stamp="2"), make.file("7")]
    filled.sync(make.source(offers))
    assert filled.trigger_phrases() == [("vixen", 1)]
    assert [number for number, _ in filled.word_texts()] == [1, 2, 3, 4, 5, 6, 7]


def test_a_long_trigger_of_a_script_without_spaces_is_kept(store: Store, make):
    store.sync(make.source([make.file("a", triggers=(("น้ำตกในป่า", "a b c d e f g h i"),))]))
    assert len(store.trigger_phrases()) == 1


def test_what_changed_since_a_state_is_told(filled: Store, make):
    before = filled.words_state()
    assert filled.words_changed(before) == []
    assert filled.words_changed((0, 0)) == [1, 2, 3, 4, 5, 6]
    filled.put_refinements([(4, Refinement(description="it paints moonlight", writer="test"), "o")])
    offers = [make.entry("1", make.record("1", title="Vixen"), stamp="2")]
    filled.sync(make.source([*offers, make.entry("8", make.record("8"))], complete=False))
    assert filled.words_changed(before) == [1, 4, 7]
    assert filled.words_changed((before[0], before[1] + 1)) is None, "a state of another catalogue"
    assert filled.words_changed((10**9, 1)) is None


def test_trigger_phrases_are_looked_up_by_their_beginning(store: Store, make):
    triggers = {"a": (("fox", "fox fur"),), "b": (("foxy", "red fox"),), "c": (("fox", "\U0010fffe"),)}
    store.sync(make.source([make.file(name, triggers=groups) for name, groups in triggers.items()]))
    assert store.triggers_beginning("fox") == [("fox", 1), ("fox", 3), ("fox fur", 1), ("foxy", 2)]
    assert store.triggers_beginning("fox f") == [("fox fur", 1)]
    assert store.triggers_beginning("%") == store.triggers_beginning("ox") == []
