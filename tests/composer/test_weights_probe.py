"""A weight from what an adapter was found to do, and none for one that does nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from offered import offered
from shelf import adapter

from velatura.composer.arrange import arrange
from velatura.composer.builtin import BuiltinComposer
from velatura.composer.probed import NO_EFFECT, effective
from velatura.composer.weights import Advice, advise
from velatura.records import Candidate, Choice, Probe, ProbedWeight, RefinedAdapter, Refinement, WeightEvidence

ROW = ProbedWeight(weight=1.0, change=1.0, consistency=0.3, gain=0.2, collapse=0.0)
LOST = tuple(
    replace(ROW, weight=weight, collapse=collapse) for weight, collapse in ((0.25, 0.0), (0.5, 0.1), (1.0, 0.5))
)
GOOD = Probe(
    method="1",
    family="sd1",
    model="m",
    clip="c",
    told="a fox",
    prompts=4,
    seeds=2,
    weights=(ROW,),
    at=1.0,
    best=0.55,
)
STRONG = replace(GOOD, weights=LOST, best=0.4, flags=("too strong",))
IDLE = replace(GOOD, best=None, flags=("no effect",))


def fox(*weights: float, source: str = "prompt", **fields: object) -> RefinedAdapter:
    evidence = tuple(WeightEvidence(weight=weight, source=source) for weight in weights)
    return RefinedAdapter(id=1, record=adapter("fox", title="Fox", weights=evidence), **fields)  # type: ignore[arg-type]


def numbered(number: int, score: float) -> Candidate:
    candidate = offered("a fox", "Fox", key=str(number), score=score)
    return replace(candidate, adapter=replace(candidate.adapter, id=number))


@pytest.mark.parametrize("source", ["preferred", "tips"])
@pytest.mark.parametrize("probe", [GOOD, STRONG])
def test_owner_s_own_weight_wins_over_a_probe(source: str, probe: Probe) -> None:
    advice = advise(fox(0.8, source=source), probe=probe)
    assert (advice.weight, advice.reason) == (0.8, "stored for this file")


@pytest.mark.parametrize("known", [fox(), fox(refinement=Refinement(weight=0.9, evidence="its card"))])
def test_probe_is_surer_than_describers_and_what_is_usual(known: RefinedAdapter) -> None:
    assert advise(known).weight == 0.9
    advice = advise(known, probe=GOOD)
    assert (advice.weight, advice.reason) == (0.55, "its probe on m: does most of what it can there")


@pytest.mark.parametrize("known", [fox(0.8), fox(0.8, 0.9, source="prose")])
def test_people_are_surer_than_a_probe_which_caps_what_is_too_strong(known: RefinedAdapter) -> None:
    assert advise(known, probe=GOOD) == advise(known)
    advice = advise(known, probe=STRONG)
    assert advice.weight == 0.5
    told = advise(known)
    assert advice.reason == (
        f"{told.weight:g} ({told.reason}), too strong at 1 by its probe on m: no more than the last that keeps their "
        "variety"
    )


def test_cap_raises_nothing_and_leaves_the_other_side_alone() -> None:
    assert advise(fox(0.3), probe=STRONG) == advise(fox(0.3))
    assert advise(fox(-0.9), probe=STRONG) == advise(fox(-0.9))
    assert advise(fox(), probe=STRONG).weight == 0.4


@pytest.mark.parametrize("known", [fox(), fox(0.7), fox(refinement=Refinement(weight=0.9))])
def test_too_strong_without_a_best_weight_is_laid_on_as_lightly_as_was_tried(known: RefinedAdapter) -> None:
    for rows in (LOST, tuple(replace(one, collapse=0.9) for one in LOST)):
        advice = advise(known, probe=replace(STRONG, best=None, weights=rows))
        assert advice.weight == 0.25
        assert advice.reason.endswith("too strong at 1 by its probe on m: no more than the least weight that was tried")


@pytest.mark.parametrize("best", [None, 0.0, 9.0])
def test_probe_without_a_weight_that_pictures_bear_changes_nothing(best: float | None) -> None:
    assert advise(fox(0.7), probe=replace(GOOD, best=best)) == advise(fox(0.7))
    assert advise(fox(), probe=replace(GOOD, best=best)) == advise(fox())


def test_no_effect_is_told_beside_the_weight_with_the_checkpoint() -> None:
    found = replace(IDLE, model="/models/dream shaper_8.safetensors")
    advice = advise(fox(0.7), probe=found)
    assert advice == Advice(
        weight=0.7, reason="used once at this weight; its probe on dream shaper_8.safetensors: no effect"
    )


def test_probe_counts_by_evidence_alone() -> None:
    for rule in ("stylus", "stylus-released", "constant"):
        assert advise(fox(0.7), rule=rule, probe=GOOD) == advise(fox(0.7), rule=rule)


def test_what_does_nothing_is_no_candidate_and_a_likely_one_is_told() -> None:
    found = [numbered(n, score) for n, score in enumerate((0.9, 0.5, 0.01), 1)]
    kept, refused = effective(found, {1: IDLE, 2: GOOD, 3: IDLE})
    assert [candidate.adapter.id for candidate in kept] == [2]
    assert [(refusal.adapter.key, refusal.reason) for refusal in refused] == [("1", NO_EFFECT)]
    assert effective(found, {}) == (found, ())


def test_composition_tells_the_probe_and_a_pinned_weight_stays() -> None:
    candidate = offered("a fox in snow", "Fox")
    picked = BuiltinComposer().pick("a fox in snow", [candidate])
    number = candidate.adapter.id
    [choice] = arrange("a fox in snow", picked, {}, composer="b", probes={number: GOOD}).choices
    assert choice.weight == 0.55
    assert choice.reason.endswith("weight 0.55: its probe on m: does most of what it can there")
    pin = Choice(adapter=adapter("owl", title="Owl"), weight=1.7, span="<lora:owl>")
    none = BuiltinComposer().pick("snow", [], [pin])
    assert arrange("snow", none, {7: pin}, composer="b", probes={7: STRONG}).choices == (pin,)


def test_candidates_keep_their_order() -> None:
    found = [numbered(n, 0.5) for n in (3, 1, 2)]
    assert effective(found, {1: GOOD})[0] == found
