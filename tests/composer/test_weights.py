"""A weight from what people used and advised."""

from __future__ import annotations

import math
import time

import pytest

from velatura.composer.weights import FARTHEST, MOST, STYLUS, Usual, advise, bears
from velatura.records import AdapterRecord, RefinedAdapter, Refinement, WeightEvidence


def adapter(
    *evidence: tuple[float, str], title: str = "A", tags: tuple[str, ...] = (), refinement: Refinement | None = None
) -> RefinedAdapter:
    weights = tuple(WeightEvidence(weight=weight, source=source) for weight, source in evidence)
    record = AdapterRecord(source="folder", key="a", title=title, weights=weights, tags=tags)
    return RefinedAdapter(id=1, record=record, refinement=refinement or Refinement())


def test_owner_s_own_weight_beats_what_others_used() -> None:
    advice = advise(adapter((1.0, "prompt"), (1.0, "resources"), (0.4, "preferred")))
    assert (advice.weight, advice.reason) == (0.4, "stored for this file")


def test_owner_s_own_negative_weight_stands_though_all_others_use_it_the_other_way() -> None:
    assert advise(adapter((1.0, "prompt"), (1.0, "prompt"), (-2.0, "preferred"))).weight == -2.0


def test_use_beats_advice() -> None:
    assert advise(adapter((0.6, "prompt"), (1.0, "prose"))).weight == 0.6


def test_one_use_is_followed_and_told() -> None:
    advice = advise(adapter((0.45, "civitaiResources")))
    assert (advice.weight, advice.reason) == (0.45, "used once at this weight")


def test_median_ignores_one_wild_use() -> None:
    advice = advise(adapter((0.7, "prompt"), (0.7, "prompt"), (0.8, "resources"), (9.0, "prompt"), (0.7, "prompt")))
    assert advice.weight == 0.7
    assert "4 uses" in advice.reason  # what breaks every picture is left out


def test_author_s_advice_is_better_than_nothing() -> None:
    assert advise(adapter((0.65, "prose"))).reason == "advised by its author"


def test_author_s_range_gives_its_middle_and_is_told() -> None:
    advice = advise(adapter((0.6, "prose"), (0.8, "prose")))
    assert (advice.weight, advice.reason) == (0.7, "advised by its author, 0.6 to 0.8")


def test_pictures_without_it_are_no_use_of_it() -> None:
    assert advise(adapter((0.0, "resources"), (0.0, "resources"), (0.8, "resources"))).weight == 0.8


def test_slider_shown_both_ways_is_not_laid_on_at_nearly_nothing() -> None:
    assert advise(adapter((-1.0, "prompt"), (1.0, "prompt"), (-0.5, "prompt"), (0.5, "prompt"))).weight == 0.75
    assert advise(adapter((-1.0, "prompt"), (-1.0, "prompt"), (0.5, "prose"), (1.0, "prose"))).weight == 0.75
    assert (
        advise(adapter((-6.0, "prompt"), (-4.0, "prompt"), (-6.0, "prose"), (3.0, "prose"), title="Age slider")).weight
        == -5.0
    )


def test_describer_is_asked_after_all_evidence() -> None:
    told = Refinement(weight=0.5, evidence="the card says\nhalf")
    assert advise(adapter((0.7, "prose"), refinement=told)).weight == 0.7
    advice = advise(adapter(refinement=told))
    assert (advice.weight, advice.reason) == (0.5, "told by its describer (the card says half)")


@pytest.mark.parametrize("wrong", [9.0, -100.0, math.inf, math.nan, 0.0])
def test_describer_that_was_talked_into_a_wild_weight_is_not_followed(wrong: float) -> None:
    assert advise(adapter(refinement=Refinement(weight=wrong))) == advise(adapter())


@pytest.mark.parametrize("wild", [FARTHEST * 1.01, -15.0, math.inf, math.nan])
def test_evidence_beyond_all_sliders_is_not_followed(wild: float) -> None:
    assert advise(adapter((wild, "prompt"), title="Age slider")) == advise(adapter())


@pytest.mark.parametrize("source", ["preferred", "tips", "civitaiResources", "resources", "prompt", "prose", "header"])
@pytest.mark.parametrize("wild", [MOST * 1.01, 9.0, -9.0])
def test_stranger_s_picture_moves_no_adapter_beyond_what_pictures_bear(wild: float, source: str) -> None:
    for title in ("Red Fox", "LCM 4 steps"):
        assert advise(adapter((wild, source), (wild, source), title=title)) == advise(adapter())
        assert advise(adapter((wild, source), (0.7, source), title=title)).weight == 0.7
    assert advise(adapter((wild, source), title="Age slider")).weight == round(wild, 2)


def test_adapter_bears_what_evidence_says_and_a_tool_bears_all() -> None:
    assert bears(adapter((1.6, "prompt"), (1.4, "prompt")).record) == 1.5
    assert bears(adapter((-1.5, "preferred")).record) == 1.5
    assert (
        bears(adapter((0.4, "prompt")).record) == bears(adapter((9.0, "prompt")).record) == bears(adapter().record) == 1
    )
    assert bears(adapter(title="Age slider").record) == math.inf


def test_nothing_known_is_what_is_usual() -> None:
    alone = advise(adapter())
    assert (alone.weight, alone.reason) == (Usual().alone, "usual weight, none is known")
    several = advise(adapter(), 3)
    assert (several.weight, several.reason) == (Usual().several, "usual weight of one of 3, none is known")


def test_category_has_its_own_usual_weight() -> None:
    usual = Usual(alone=1.0, several=0.8, categories=(("clothing", 0.7),))
    assert advise(adapter(tags=("clothing",)), usual=usual).weight == 0.7
    assert advise(adapter(tags=("clothing",)), 4, usual=usual).weight == 0.7
    assert advise(adapter(tags=("clothing",), refinement=Refinement(category="style")), usual=usual).weight == 1.0
    assert advise(adapter(refinement=Refinement(category="clothing")), usual=usual).weight == 0.7


def test_what_is_known_of_the_adapter_does_not_depend_on_how_many_there_are() -> None:
    assert advise(adapter((1.0, "prompt")), 4) == advise(adapter((1.0, "prompt")))


def test_stylus_s_rule_shares_the_recommended_weight_among_the_adapters_of_a_task() -> None:
    assert advise(adapter(), rule="stylus").weight == STYLUS
    assert advise(adapter((1.0, "prose")), 4, rule="stylus").weight == 0.25
    assert "over 4 adapters" in advise(adapter((1.0, "prose")), 4, rule="stylus").reason


def test_stylus_s_released_code_takes_four_fifths_twice() -> None:
    assert advise(adapter(), rule="stylus-released").weight == 0.64
    assert advise(adapter((1.0, "prose")), 2, rule="stylus-released").weight == 0.4


def test_constant_asks_nothing() -> None:
    assert advise(adapter((0.3, "preferred")), 5, rule="constant").weight == STYLUS


def test_sixty_uses_are_weighed_in_a_moment() -> None:
    page = adapter(*((0.5 + index % 7 / 10, "prompt") for index in range(60)))
    best = min(_seconds(page) for _ in range(20))
    assert best < 0.0003


def _seconds(page: RefinedAdapter) -> float:
    started = time.perf_counter()
    advise(page)
    return time.perf_counter() - started
