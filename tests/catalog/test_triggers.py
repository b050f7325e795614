from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velatura.catalog.triggers import trigger_groups

Groups = tuple[tuple[str, ...], ...]


@pytest.mark.parametrize(
    ("words", "groups"),
    [
        (["yae miko, pink hair,", "  shrine maiden "], (("yae miko", "pink hair"), ("shrine maiden",))),
        (["shenelf", "henelf"], (("shenelf",), ("henelf",))),
        (["Foxy", "foxy", "FOXY "], (("Foxy",),)),
        (["foxy, Foxy, red"], (("foxy", "red"),)),
        (["<lora:foxy_v1:0.8>"], ()),
        (["foxy <lora:foxy_v1:0.8>, red <lyco:x:1"], (("foxy", "red"),)),
        ("male knight || female knight, dress", (("male knight",), ("female knight", "dress"))),
        (["(masterpiece:1.331), (best quality, ink:1.2)"], (("masterpiece", "best quality", "ink"),)),
        (["((wide smile)), [blurry], {bold}"], (("wide smile", "blurry", "bold"),)),
        ([r"celia \(walkure\)"], (("celia (walkure)",),)),
        (["takao (azur lane)"], (("takao (azur lane)",),)),
        (["（(hoodie:1.5))"], (("hoodie",),)),
        (["re:zero", "nier:2b"], (("re:zero",), ("nier:2b",))),
        (["hok style", "hok-100.safetensors", "https://x.y/z"], (("hok style",),)),
        (["", " , ,", "-", "...", "None", "n/a", "no trigger words needed"], ()),
        (["_kinako_", ">_<"], (("_kinako_",), (">_<",))),
        (["一个女孩，红色头发、蓝眼"], (("一个女孩", "红色头发", "蓝眼"),)),
        (["a cat\nin a hat BREAK ink"], (("a cat", "in a hat", "ink"),)),
        ([None, 5, True, ["x"], {"word": "x"}, "ok"], (("5",), ("ok",))),
        (None, ()),
        (7.5, (("7.5",),)),
        ({}, ()),
    ],
)
def test_trigger_lists_become_clean_alternative_groups(words: object, groups: Groups) -> None:
    assert trigger_groups(words) == groups


def test_ninety_characters_stay_ninety_alternatives() -> None:
    assert len(trigger_groups([f"character{number}" for number in range(90)])) == 90


def test_absurd_lists_are_capped_in_moments() -> None:
    started = time.process_time()
    for words in (["x" * 10**7], ["a," * 10**6], [str(n) for n in range(10**5)], "(" * 10**6, ["<lora:" * 10**5]):
        groups = trigger_groups(words)
        assert len(groups) <= 200
        assert all(len(group) <= 60 and all(len(phrase) <= 200 for phrase in group) for group in groups)
    assert time.process_time() - started < 5


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=20))
def test_any_value_gives_phrases_that_can_be_stored(words: object) -> None:
    for group in trigger_groups(words):
        assert group
        for phrase in group:
            assert phrase == phrase.strip()
            assert phrase
            phrase.encode("utf-8")
