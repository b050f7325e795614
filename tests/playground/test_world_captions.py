"""Captions of the painted world: varied, grammatical, and always naming what is seen."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import pytest

from velatura.playground.world import (
    NEW_STYLES,
    SUBJECTS,
    Picture,
    captions,
    draw,
    held_out_caption,
    vocabulary,
    with_article,
)

Says = Callable[[Picture, random.Random], str]
both = pytest.mark.parametrize("say", [captions, held_out_caption])


def said(say: Says, count: int = 4000, **given: tuple[str, ...]) -> list[tuple[Picture, str]]:
    rng = random.Random(11)
    pictures = [draw(rng, **given) for _ in range(count)]
    return [(picture, say(picture, rng)) for picture in pictures]


@both
def test_subject_colour_scene_and_style_are_named(say: Says) -> None:
    for picture, caption in said(say):
        words = re.findall("[a-z]+", caption)
        assert words.count(picture.subject) == 1, caption
        assert words.count(picture.colour) == 1, caption
        if picture.scene != "plain":
            assert picture.scene in words, caption
        if picture.style != "flat":
            assert picture.style in words, caption


@both
def test_nothing_is_named_that_is_not_there(say: Says) -> None:
    for picture, caption in said(say):
        words = set(re.findall("[a-z]+", caption))
        assert not words & (set(SUBJECTS) - {picture.subject}), caption
        assert not words & (set(NEW_STYLES) - {picture.style}), caption


@both
def test_a_plain_background_often_goes_without_saying(say: Says) -> None:
    named = ["background" in caption for _, caption in said(say, scenes=("plain",))]
    assert 0.3 < sum(named) / len(named) < 0.5


@both
def test_articles_fit_the_word_that_follows(say: Says) -> None:
    for _, caption in said(say):
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", caption), caption
        assert not re.search(r"\ba(n)? a(n)?\b|\bone an?\b", caption), caption


@both
def test_captions_are_tidy(say: Says) -> None:
    for _, caption in said(say):
        assert re.fullmatch(r"[a-z]+(?:[,:]? [a-z]+)*", caption), caption


@both
def test_the_same_generator_says_the_same(say: Says) -> None:
    assert said(say, 100) == said(say, 100)


def test_one_picture_is_said_in_many_ways() -> None:
    picture = Picture(subject="umbrella", colour="orange", scene="sunset", style="sepia")
    rng = random.Random(1)
    assert len({captions(picture, rng) for _ in range(2000)}) >= 80
    assert len({held_out_caption(picture, rng) for _ in range(200)}) >= 8


@pytest.mark.parametrize("style", ["flat", "neon", "glass"])
@pytest.mark.parametrize("scene", ["plain", "space"])
def test_held_out_wordings_are_never_trained_on(style: str, scene: str) -> None:
    picture = Picture(subject="cat", colour="blue", scene=scene, style=style)
    rng = random.Random(4)
    trained = {captions(picture, rng) for _ in range(8000)}
    assert not trained & {held_out_caption(picture, rng) for _ in range(500)}


def test_held_out_wordings_use_only_words_that_are_trained_on() -> None:
    trained = {
        word for _, caption in said(captions, 6000) for word in caption.replace(",", "").replace(":", "").split()
    }
    assert {word for _, caption in said(held_out_caption) for word in re.findall("[a-z]+", caption)} <= trained


@both
def test_the_vocabulary_holds_every_word(say: Says) -> None:
    known = set(vocabulary())
    assert {word for _, caption in said(say) for word in re.findall("[a-z]+", caption)} <= known


def test_the_vocabulary_holds_no_word_that_is_never_said() -> None:
    heard = {
        word for say in (captions, held_out_caption) for _, text in said(say) for word in re.findall("[a-z]+", text)
    }
    assert set(vocabulary()) == heard
    assert vocabulary() == tuple(sorted(set(vocabulary())))


def test_article_is_chosen_by_the_first_letter() -> None:
    assert with_article("orange cat") == "an orange cat"
    assert with_article("umbrella") == "an umbrella"
    assert with_article("key") == "a key"
