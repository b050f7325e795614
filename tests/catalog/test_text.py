from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velatura.catalog.text import TEXT_LIMIT, clean_html, clean_line, clean_text


def test_a_description_becomes_lines_of_plain_text() -> None:
    html = (
        "<h1>Ink Wash</h1><p>A <strong>brush</strong>&nbsp;style.</p><p></p><p></p>"
        "<ul><li><p>use <code>&lt;lora:ink:0.8&gt;</code></p></li>"
        '<li>see <a href="https://x.y/z">the guide</a></li></ul>'
        "<p>one<br/>two</p>"
    )
    assert clean_html(html) == "Ink Wash\nA brush style.\nuse <lora:ink:0.8>\nsee the guide\none\ntwo"


def test_what_is_not_for_reading_goes_with_its_contents() -> None:
    html = "a<script>alert(1)</script>b<style>p{color:red}</style>c<!-- secret -->d<iframe src='x'>e</iframe>f"
    assert clean_html(html) == "abcdf"


def test_a_stray_comment_does_not_cost_the_rest() -> None:
    assert "still here" in (clean_html("<p>start</p><!-- <p>still here</p>") or "")


def test_plain_text_passes_and_a_lower_than_sign_is_no_tag() -> None:
    assert clean_html("weight < 0.5 and > 0.3") == "weight < 0.5 and > 0.3"
    assert clean_html("<p></p> <p> </p>") is None
    assert clean_html(None) is None
    assert clean_html(7) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "line",
    [
        "If you like my work, buy me a coffee!",
        "Support me on Patreon",
        "https://ko-fi.com/somebody",
        "My commissions are open: send a message",
        "Commissions open on my page",
        "Join our Discord for previews",
        "Discord: somebody#1234",
        "https://discord.gg/abcdef",
        "🐦 Twitter 🐦",
        "Follow me for more",
        "Every donation helps",
        "请我喝杯奶茶",
        "QQ群: 816567536",
        "Early access on my page",
    ],
)
def test_advertisements_are_removed(line: str) -> None:
    assert clean_html(f"<p>A fox style.</p><p>{line}</p>") == "A fox style."


@pytest.mark.parametrize(
    "line",
    [
        "Discord, the spirit of chaos from My Little Pony",
        "A painting that looks like a commission of the 1800s",
        "This model supports negative weights",
        "Twitter emoji style, flat and round",
        "Use the following prompts for a coffee cup",
        "Instagram风格的照片",
        "A youtuber with a microphone",
    ],
)
def test_what_only_sounds_like_an_advertisement_stays(line: str) -> None:
    assert clean_html(f"<p>{line}</p>") == line


def test_only_the_advertising_sentence_of_a_line_goes() -> None:
    assert (
        clean_html("Weight 0.8 is best. Support me on Patreon. Trigger: foxy.") == "Weight 0.8 is best. Trigger: foxy."
    )
    assert clean_html("驾驭火焰。触发词:fire。加入QQ群12345。") == "驾驭火焰。 触发词:fire。"


def test_a_sentence_that_tells_the_trigger_stays_without_its_link() -> None:
    text = clean_html("thanks to my QQ group friend, the trigger word is: khorosho, https://t.me/abc")
    assert text is not None
    assert "khorosho" in text
    assert "https" not in text


def test_foreign_values_become_bounded_text_or_nothing() -> None:
    assert clean_text("e\u0301" * 3, 3) == "ééé"
    assert clean_text("a\x00b\u200bc\ud800d\ufeff", 9) == "abcd"
    assert clean_text("one\r\ntwo\rthree\u2028four", 99) == "one\ntwo\nthree\nfour"
    assert clean_text(7, 9) == "7"
    assert clean_text(0.5, 9) == "0.5"
    for nothing in (None, True, [], {}, b"x", float("nan"), float("inf"), 10**5000, "", " \u200b\n"):
        assert clean_text(nothing, 9) is None
    assert clean_line("a\n b\t c", 99) == "a b c"


@given(st.one_of(st.text(), st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape"))), st.integers(1, 50))
def test_cleaned_text_can_be_stored_and_keeps_its_bound(value: str, limit: int) -> None:
    text = clean_text(value, limit)
    if text is not None:
        assert 0 < len(text) <= limit
        assert text == text.strip()
        text.encode("utf-8")
        assert clean_text(text, limit) == text


@pytest.mark.parametrize(
    "hostile",
    [
        "x" * 5_000_000,
        "<" * 200_000,
        "<p" * 100_000,
        "<a href='" * 30_000,
        "<script>" * 30_000,
        "<!--" * 60_000,
        "<iframe></iframe>" * 12_000,
        "&" * 200_000,
        "&#1114111;" * 20_000,
        "a\u0315\u0300" * 60_000,
        "\u0300" * 200_000,
        "commission " * 20_000,
        "buy me a " * 22_000,
        " \n" * 100_000,
        "open commission" * 13_000,
    ],
    ids=range(15),
)
def test_hostile_markup_takes_no_more_than_moments(hostile: str) -> None:
    started = time.process_time()
    text = clean_html(hostile)
    assert time.process_time() - started < 5
    assert text is None or len(text) <= TEXT_LIMIT


def test_parting_sentences_does_not_pass_the_bound() -> None:
    told = clean_html("Join my discord! " + "七。" * TEXT_LIMIT)
    assert told is not None
    assert len(told) <= TEXT_LIMIT
