"""How a prompt speaks of a candidate."""

from __future__ import annotations

from typing import Any

import pytest
from offered import offered
from shelf import adapter

from velatura.composer.spans import Mention, mention, names_somebody, other_thing, read, served_by
from velatura.records import Example


def mentioned(prompt: str, title: str, **fields: Any) -> Mention:
    return mention(offered(prompt, title, **fields), read(prompt))


# ---------------------------------------------------------------- the user's own words


@pytest.mark.parametrize(
    ("prompt", "trigger", "span"),
    [
        ("A Red_Fox, snow", "red fox", "Red_Fox"),
        ("a red car, a red fox", "red fox", "red fox"),
        ("snow, (red fox:1.3)", "red fox", "red fox"),
        ("一幅水墨山水画", "水墨", "水墨"),
        ("雪の中の狐、夜", "雪の中", "雪の中"),
        ("눈 속의 여우", "여우", "여우"),
        ("Café at night", "cafe", "Café"),
        ("Ｆｏｘ in snow", "fox", "Ｆｏｘ"),
        ("РЫЖАЯ лиса", "рыжая лиса", "РЫЖАЯ лиса"),
    ],
)
def test_trigger_is_a_span_as_it_is_written(prompt: str, trigger: str, span: str) -> None:
    assert mentioned(prompt, "A", triggers=((trigger,),)).span == span


def test_span_of_a_title_lies_in_the_phrase_that_holds_most_of_it() -> None:
    prompt = "a harbour, an old wooden boat in the harbour town at night, boat"
    assert mentioned(prompt, "Old Boat Harbour").span == "old wooden boat in the harbour"


def test_first_of_equal_phrases_is_the_span() -> None:
    assert mentioned("a fox. The Fox sleeps", "Fox").span == "fox"


def test_title_in_chinese_has_the_span_as_written() -> None:
    assert mentioned("远山，一幅水墨山水画", "水墨山水").span == "水墨山水"


@pytest.mark.parametrize("prompt", ["", "   ", ",,,", "<lora:fox:1>", "((()))", "。"])
def test_prompt_without_words_speaks_of_nothing(prompt: str) -> None:
    one = mentioned(prompt, "Fox", triggers=(("fox", "…"), ("",), ()))
    assert (one.span, one.is_named, one.near) == ("", False, 0.0)


# ---------------------------------------------------------------- what names


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"title": "Old Boat"}, True),
        ({"title": "Boat style LoRA"}, True),
        ({"title": "Old Harbour Town Boat"}, True),
        ({"title": "Boat of the Harbour Town"}, False),
        ({"title": "A", "triggers": (("old boat",),)}, True),
        ({"title": "A", "triggers": (("old wooden boat",),)}, True),
        ({"title": "A", "triggers": (("boat in a harbour town",),)}, False),
        ({"title": "A", "tags": ("boat",)}, False),
        ({"title": "A", "file_name": "boat.safetensors"}, False),
        ({"title": "A", "description": "a boat"}, False),
        ({"title": "A", "examples": (Example(prompt="an old boat"),)}, False),
    ],
)
def test_title_and_trigger_name_and_what_only_shares_words_does_not(fields: dict[str, Any], named: bool) -> None:
    assert mentioned("an old boat", **fields).is_named is named


def test_trigger_that_everybody_has_names_nothing() -> None:
    assert not mentioned("bokeh, solo", "POV", triggers=(("bokeh", "solo"),), rarity=0.01).is_named
    assert mentioned("bokeh, solo", "POV", triggers=(("bokeh", "solo"),), rarity=0.2).is_named
    # Also where a catalogue is so small that it is rare there.
    assert not mentioned("1girl, solo, masterpiece", "POV", triggers=(("1girl", "solo"), ("masterpiece",))).is_named


def test_function_words_name_nothing() -> None:
    assert not mentioned("a cat in the snow", "Girl in the Hood").is_named


def test_scattered_characters_name_nothing() -> None:
    assert not mentioned("经书，山水画，大海", "山海经").is_named
    assert mentioned("一幅山海经的画", "山海经").is_named
    assert mentioned("猫, 雪", "猫").is_named


# ---------------------------------------------------------------- how near


def test_nearest_example_is_told_by_its_cosine() -> None:
    assert mentioned("a fox", "A", near=0.83).near == 0.83


def test_without_vectors_a_prompt_that_stands_in_the_examples_is_near() -> None:
    shown = (Example(prompt="rain on wet asphalt, neon signs, umbrella"),)
    assert mentioned("masterpiece, neon signs, rain, umbrella", "A", examples=shown).near == pytest.approx(0.7)
    assert mentioned("neon signs, rain, boat, moon", "A", examples=shown).near == 0
    assert mentioned("neon rain", "A", examples=shown).near == 0


# ---------------------------------------------------------------- who is named


def names(prompt: str, title: str, **fields: Any) -> bool:
    return names_somebody(mentioned(prompt, title, **fields), read(prompt))


@pytest.mark.parametrize(
    ("prompt", "title", "fields"),
    [
        ("hatsune miku on a stage", "Hatsune Miku", {}),
        ("hatsune miku on a stage", "Miku", {"triggers": (("hatsune miku", "twintails"),)}),
        ("suzume in the rain", "Suzume Iwato | Some Film", {"triggers": (("suzu_me",), ("suzume", "uniform"))}),
        ("suzu_me in the rain", "Some Film", {"triggers": (("suzu_me",),)}),
        ("kono subarashii aqua konosuba", "Konosuba Aqua", {}),
        ("Emma in the rain", "Emma (Some Game)", {}),
        ("emma watson", "Emma (Some Game)", {}),  # without capitals nobody can tell
        ("Emma Watson in the rain", "Emma Watson", {}),
        ("Emma, Watson", "Emma (Some Game)", {}),
        ("Emma Watson talks with Emma", "Emma (Some Game)", {}),
        ("初音未来在舞台上", "初音未来", {}),
    ],
)
def test_name_names_somebody(prompt: str, title: str, fields: dict[str, Any]) -> None:
    assert names(prompt, title, **fields)


@pytest.mark.parametrize(
    ("prompt", "title", "fields"),
    [
        ("a woman in the rain", "Woman (Anna)", {}),
        ("a man and a girl", "Girl | Man", {}),
        ("a woman in a red dress", "Anna - Woman in Red", {}),
        ("long black hair", "Anna, long black hair", {}),
        ("a railway crossing", "Animal Crossing", {}),
        ("a sailor hat", "Anna", {"triggers": (("anna", "sailor hat"),)}),
        ("Emma Watson in the rain", "Emma (Some Game)", {}),
        ("Emma Watson in the rain", "Emma (Some Game)", {"triggers": (("emma",),)}),
        ("Emma Watson, Emma Stone", "Emma (Some Game)", {}),
        ("1girl, solo", "Anna", {"triggers": (("1girl", "solo"),)}),
    ],
)
def test_looks_and_other_peoples_names_name_nobody(prompt: str, title: str, fields: dict[str, Any]) -> None:
    assert not names(prompt, title, **fields)


# ---------------------------------------------------------------- another thing


@pytest.mark.parametrize(
    ("prompt", "title", "fields", "task"),
    [
        ("a man on a jet ski", "Fighter Jet", {}, "jet ski"),
        ("a fighter jet", "Fighter Jet", {}, None),
        ("a jet", "Fighter Jet", {}, None),
        ("a man on a jet ski", "Jet", {}, None),
        ("a man on a jet ski", "Fighter Jet", {"description": "also a ski jump"}, None),
        ("a man on a jet ski", "Fighter Jet", {"triggers": (("jet",),)}, None),
    ],
)
def test_title_that_shares_a_word_may_mean_another_thing(
    prompt: str, title: str, fields: dict[str, Any], task: str | None
) -> None:
    assert other_thing(mentioned(prompt, title, **fields), read(prompt)) == task


# ---------------------------------------------------------------- what a pinned adapter serves


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"title": "Red Fox"}, "Red_Fox"),
        ({"title": "Red Fox - for SD 1.5"}, "Red_Fox"),
        ({"title": "A", "triggers": (("snow", "ink"),)}, "snow"),
        ({"title": "A", "triggers": (("tail", "snow"),)}, ""),
        ({"title": "1girl", "triggers": ((), ("1girl",), ("",), ("…",))}, ""),
    ],
)
def test_pinned_adapter_serves_the_words_that_name_it(fields: dict[str, Any], words: str) -> None:
    assert served_by(adapter("x", **fields), read("1girl, a Red_Fox in snow <lora:x:0.7>")) == words
    assert served_by(adapter("x", **fields), read("")) == ""
