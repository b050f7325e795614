"""From ranked lists to one probability."""

from __future__ import annotations

from dataclasses import replace

import pytest

from velatura.retriever.fusion import FITTED, LISTS, Coefficients, Features, features, probability


def lists(**given: dict[int, float]) -> dict[str, dict[int, float]]:
    return {name: given.get(name, {}) for name in LISTS}


def test_first_of_a_list_counts_most_and_absence_counts_nothing() -> None:
    seen = features(lists(words={1: 9.0, 2: 4.5}, triggers={2: 0.5}, card={3: 0.4}))
    assert seen[1] == Features(words=1.0)
    assert seen[2] == Features(words=0.5, triggers=0.5)
    assert seen[3] == Features(card=1.0)


def test_equal_scores_share_the_better_rank() -> None:
    seen = features(lists(said={1: 2.0, 2: 2.0, 3: 1.0}))
    assert seen[1].said == seen[2].said == 1.0
    assert seen[3].said == pytest.approx(10 / 12)


def test_words_triggers_and_examples_speak_for_an_adapter() -> None:
    nothing = probability(Features())
    for name in ("words", "named", "triggers", "prompts"):
        assert probability(replace(Features(), **{name: 1.0})) > nothing, name
    assert FITTED.bias < -5


def test_probability_follows_the_coefficients() -> None:
    zero = dict.fromkeys(LISTS, 0.0)
    only = Coefficients(**{**zero, "said": 2.0}, bias=-2.0)
    assert probability(Features(said=1.0), only) == 0.5
