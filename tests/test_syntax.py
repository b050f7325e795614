"""The grammar of prompts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velatura.syntax import Pinned, phrases, pinned, plain_text, without_tags


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("<lora:fox:0.7>", Pinned("fox", 0.7)),
        ("<lora:fox>", Pinned("fox", 1.0)),
        ("<lyco:fox:0.5:0.9>", Pinned("fox", 0.9)),
        ("<lora:fox:te=0.1:unet=0.4>", Pinned("fox", 0.4)),
        ("<LORA:a folder/fox v2.1:-1>", Pinned("a folder/fox v2.1", -1.0)),
        ("<lora:fox:nan>", Pinned("fox", 1.0)),
    ],
)
def test_tag_pins_an_adapter(tag: str, expected: Pinned) -> None:
    assert pinned(f"a fox {tag}, snow") == (expected,)


def test_adapter_named_twice_is_pinned_once_at_its_first_weight() -> None:
    assert pinned("<lora:a:0.2> <lora:a:0.9>") == (Pinned("a", 0.2),)


@pytest.mark.parametrize("tag", ["<hypernet:x:1>", "<lora::1>", "<lora>", "lora:x:1"])
def test_other_tags_pin_nothing(tag: str) -> None:
    assert pinned(tag) == ()


def test_prompt_without_tags_is_left_as_it_is() -> None:
    assert without_tags("a  fox ,, (deep:1.2)  snow ") == "a  fox ,, (deep:1.2)  snow "


def test_emphasis_alternation_and_breaks_leave_the_words() -> None:
    assert plain_text("((red fox)), [deep] {snow}, (ink:-.5) BREAK at dawn") == "red fox, deep snow, ink, at dawn"


def test_ratio_in_text_is_no_emphasis() -> None:
    assert plain_text("a 16:9 picture of 12:30") == "a 16:9 picture of 12:30"


def test_phrases_split_at_every_script_s_commas() -> None:
    assert phrases("赤い狐、雪の中, морозная ночь; x") == ("赤い狐", "雪の中", "морозная ночь", "x")


@given(st.text(max_size=300))
def test_any_text_can_be_read(text: str) -> None:
    assert "<lora:" not in without_tags(text + "<lora:x:1>")[-9:]
    assert all(phrase in plain_text(text) for phrase in phrases(text))
    pinned(text)
