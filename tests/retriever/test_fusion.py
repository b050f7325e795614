"""From ranked lists to one probability."""

from __future__ import annotations

import pytest

from velatura.retriever.fusion import FITTED, Coefficients, Features, features, probability


def test_first_of_a_list_counts_most_and_absence_counts_nothing() -> None:
    seen = features({1: 9.0, 2: 4.5}, {2: 3.0}, {}, {3: 0.4})
    assert seen[1] == Features(words_share=1.0, words=1.0)
    assert seen[2] == Features(words_share=0.5, words=pytest.approx(10 / 11), triggers=1.0)
    assert seen[3] == Features(card=1.0)


def test_equal_scores_share_the_better_rank() -> None:
    seen = features({1: 2.0, 2: 2.0, 3: 1.0}, {}, {}, {})
    assert seen[1].words == seen[2].words == 1.0
    assert seen[3].words == pytest.approx(10 / 12)


def test_every_list_speaks_for_an_adapter() -> None:
    nothing = probability(Features())
    for name in ("words_share", "words", "triggers", "prompts", "card"):
        assert probability(Features(**{name: 1.0})) >= nothing, name
    assert all(getattr(FITTED, name) > 0 for name in ("words", "triggers", "prompts"))


def test_probability_follows_the_coefficients() -> None:
    only = Coefficients(words_share=0, words=2, triggers=0, prompts=0, card=0, bias=-2)
    assert probability(Features(words=1.0), only) == 0.5
