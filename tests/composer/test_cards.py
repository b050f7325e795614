"""Cards for a language model keep to a budget: first they are shortened alike, then the last are left out."""

from __future__ import annotations

import re

import pytest
from shelf import adapter

from velatura.composer.cards import estimated_tokens, numbered_cards
from velatura.fenced import card
from velatura.records import RefinedAdapter, Refinement

LONG = [
    RefinedAdapter(id=number, record=adapter(str(number), title=f"Fox {number}", description="a fox in snow " * 100))
    for number in range(50)
]
SHORT = RefinedAdapter(id=99, record=adapter("s", title="Owl"))


def test_cards_are_numbered_and_whole_where_there_is_room() -> None:
    cards = numbered_cards([SHORT, LONG[7]], 10_000)
    assert cards[0] == "<card 1>\ntitle: Owl\n</card>"
    assert cards[1].startswith("<card 2>\ntitle: Fox 7\nabout: a fox in snow a fox")
    assert len(cards[1]) < 620


@pytest.mark.parametrize("budget", [4800, 6000, 8000])
def test_all_are_shortened_alike_before_one_is_left_out(budget: int) -> None:
    cards = numbered_cards([*LONG, SHORT], budget)
    assert len(cards) == 51
    lengths = [len(card) for card in cards[:-1]]
    assert max(lengths) - min(lengths) < 8
    assert cards[-1].endswith("title: Owl\n</card>")
    assert 0.9 * budget < estimated_tokens("\n".join(cards)) <= budget


@pytest.mark.parametrize("budget", [-100, 0, 30, 100, 700])
def test_the_last_are_left_out_where_shortening_is_not_enough(budget: int) -> None:
    cards = numbered_cards(LONG, budget)
    assert cards[0].startswith("<card 1>\ntitle: Fox 0")
    assert 1 <= len(cards) < 50
    assert len(cards) == 1 or estimated_tokens("\n".join(cards)) <= budget


def test_what_is_written_has_room_beside_long_titles_triggers_and_tags() -> None:
    record = adapter(
        "w",
        title="Fox " * 50,
        triggers=(("red fox, " * 50,),),
        tags=("animal",) * 50,
        description="a fox in snow " * 99,
    )
    said = Refinement(category="animal", avoid="wolves and dogs", description="paints red foxes in deep snow " * 9)
    many = [RefinedAdapter(id=number, record=record, refinement=said) for number in range(50)]
    cards = numbered_cards(many, 2400)
    assert 25 <= len(cards) < 40
    for told in cards:
        about = re.search("^about: (.*)$", told, re.MULTILINE)
        assert about is not None
        assert len(about[1]) >= 80
        assert "\nnot for: wolves and dogs\nabout: paints red foxes in deep snow" in told


def test_what_is_written_takes_the_room_that_others_leave() -> None:
    assert card(LONG[0], 120).endswith("\nabout: " + "a fox in snow " * 7 + "a")
    tagged = RefinedAdapter(id=1, record=adapter("t", title="Fox", tags=("animal",), description="a fox in snow " * 99))
    assert re.fullmatch(r"title: Fox\nabout: a fox in [a-z ]{70,}\ntags: animal", card(tagged, 120))


def test_thousands_are_cut_down() -> None:
    assert 1 < len(numbered_cards(LONG * 100, 3000)) < 100
    assert numbered_cards([], 3000) == []


def test_tokens_of_other_scripts_are_counted_by_the_character() -> None:
    assert estimated_tokens("山" * 100) == 100
    assert estimated_tokens("a fox in deep snow " * 10) < 100
