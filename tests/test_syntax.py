"""The grammar of prompts."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velatura.syntax import Pinned, phrases, pinned, plain_text, quoted, without_tags


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("<lora:fox:0.7>", Pinned("fox", 0.7)),
        ("<lora:fox>", Pinned("fox", 1.0)),
        ("<lyco:fox:0.5:0.9>", Pinned("fox", 0.9)),
        ("<lora:fox:te=0.1:unet=0.4>", Pinned("fox", 0.4)),
        ("<LORA:a folder/fox v2.1:-1>", Pinned("a folder/fox v2.1", -1.0)),
        ("<lora:fox:nan>", Pinned("fox", 1.0)),
        ("<lora: fox : 0.7 >", Pinned("fox", 0.7)),
        ("<lora:fox:0.5@0,1@1>", Pinned("fox", 1.0)),
        ("<lora:fox:1@0.2;0.4@1>", Pinned("fox", 1.0)),
        ("<lora:fox:-1@0,-0.2@1>", Pinned("fox", -1.0)),
        ("<lora:fox:1:0@5,0.6@6>", Pinned("fox", 0.6)),
        ("<lora:fox:te=0:unet=0@0,0.9@1>", Pinned("fox", 0.9)),
        ("<lora:fox:0@0,0.8@1;hr=1@0,0@1>", Pinned("fox", 0.8)),
        ("<lora:fox:x@0,@,0.3@y>", Pinned("fox", 0.3)),
        ("<lora:fox:1:0.5:te=0.2>", Pinned("fox", 0.5)),
        ("<lora:fox:te=0.2>", Pinned("fox", 0.2)),
        ("<lora:fox:0.9:te=0.2:dyn=128>", Pinned("fox", 0.2)),
        ("<lora:fox:0.8:OUT04-11>", Pinned("fox", 0.8)),
        ("<lora:fox:0.8:lbw=1,0,0,1:stop=12>", Pinned("fox", 0.8)),
        ("<lora:fox:0.8:1,0,0,1>", Pinned("fox", 0.8)),
        ("<lora:狐 V1:0.6>", Pinned("狐 V1", 0.6)),
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


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("((red fox)), [deep] {snow}, (ink:-.5) BREAK at dawn", "red fox, deep snow, ink, at dawn"),
        ("((x)) (((y))) [[z]] {{w}}", "x y z w"),
        ("(x:1.2), (x: -0.5), (x : 1.), [x:0.8], ((x:1.1):1.35)", "x, x, x, x, x"),
        ("(full moon:1.35:1.17)", "full moon"),
        ("(masterpiece:1.2, best quality)", "masterpiece, best quality"),
        ("a [fox:wolf:0.5] in snow", "a fox, wolf in snow"),
        ("a [fox::10] [:wolf: 0.5 ] [coat:20]", "a fox, wolf coat"),
        ("[a (red:1.2) fox:a {grey} wolf:5]", "a red fox, a grey wolf"),
        ("[red|grey|white] fox", "red, grey, white fox"),
        ("a {red|grey} fox, {2$$ink|oil}, {0.5::dawn|1::dusk}", "a red, grey fox, ink, oil, dawn, dusk"),
        ("1.5::red fox ::, -1::snow::", "red fox, snow"),
        ("a __animals__ in __places/cold_ones__, snow_field", "a animals in places/cold_ones, snow_field"),
        ("a fox AND a cat :1.2 AND (snow:0.9) :-0.5", "a fox, a cat, snow"),
        ("quiet ADDCOMM fox ADDCOL cat", "quiet, fox, cat"),
        (r"fox \(animal\) \[x\] (deep \(sea\):1.2)", "fox (animal) [x] deep (sea)"),
        ("((fox, [snow, ink)), sea]]", "fox, snow, ink, sea"),
        ("(fox [snow) sea|ink]", "fox snow sea|ink"),
        (")]}([{", ""),
        ("re:zero, (re:zero:1.1), 12:30", "re:zero, re:zero, 12:30"),
        ("🦊 a fox 🦊", "🦊 a fox 🦊"),
        ("(x:1.2", "x:1.2"),
    ],
)
def test_what_is_no_word_of_the_picture_goes(prompt: str, text: str) -> None:
    assert plain_text(prompt) == text


def test_ratio_in_text_is_no_emphasis() -> None:
    assert plain_text("a 16:9 picture of 12:30") == "a 16:9 picture of 12:30"


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("赤い狐、雪の中, морозная ночь; x", ("赤い狐", "雪の中", "морозная ночь", "x")),
        ("赛博朋克，城市；夜晚。雨！雾", ("赛博朋克", "城市", "夜晚", "雨", "雾")),
        ("مدينة، ليل؛ مطر؟ ضباب", ("مدينة", "ليل", "مطر؟", "ضباب")),
        ("一只[红|白]狐狸", ("一只红", "白狐狸")),
    ],
)
def test_phrases_split_at_every_script_s_commas(prompt: str, expected: tuple[str, ...]) -> None:
    assert phrases(prompt) == expected


@given(st.text(max_size=300))
def test_any_text_can_be_read(text: str) -> None:
    assert "<lora:" not in without_tags(text + "<lora:x:1>")[-9:]
    assert all(phrase in plain_text(text) for phrase in phrases(text))
    pinned(text)


@given(st.text(alphabet='()[]{}|:\\,1. <lora>@_$"xÄ狐\n', max_size=200))
def test_any_markup_can_be_read(text: str) -> None:
    words = plain_text(text)
    assert all(phrase in words for phrase in phrases(text))
    assert not pinned(words.replace("<", ""))
    quoted(text)


NASTY = [
    "(", "((x", "[", "[a:", "[a|", "{a|", "[(", "(x:1.2", ":1", ":", ": ", "1.2::", "$$", "1$$", "__", "__a", "<", "<a",
    "<lora:", "<lora:a:", "<lora:a:0.5@0> ,", '"', '"a', "\\", "\\(", ", ", " ", " ,", ".", ". ", "BREAK ",
    "a :1 AND ", "狐", "🦊", "e\u0301",
]  # fmt: skip
NASTY_ENDS = [
    (":", "1", "x)"), ("(", "(", ")" * 50_000), ("", ":1", ")"), ("<lora:x:", "1@1,", ">"), ("<lora:x", ":1", ">"),
    ("<lora:x", ";a=1", ">"), ("<lora:x:1>", " ", "x"), ("__", "a", ""), (":", " ", "x"),
]  # fmt: skip


@pytest.mark.parametrize("read", [pinned, without_tags, plain_text, phrases, quoted])
def test_hundred_thousand_characters_are_read_at_once(read: Callable[[str], object]) -> None:
    for start, middle, end in [*(("", piece, "") for piece in NASTY), *NASTY_ENDS]:
        prompt = start + middle * (100_000 // len(middle)) + end
        started = time.process_time()
        read(prompt)
        spent = time.process_time() - started
        assert spent < 4, f"{start}{middle}{middle}...{end[:5]} took {spent:.2f} s"
