"""From what the built-in composer picks to a composition: weights, triggers, conflicts and the budget together."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import pytest
from injections import INJECTIONS
from offered import offered
from shelf import adapter

from velatura.composer.arrange import Manner, arrange
from velatura.composer.budget import FLOOR, Load, bound_of, total_of
from velatura.composer.builtin import BuiltinComposer
from velatura.composer.conflicts import conflicts
from velatura.composer.picks import Pick, Picked
from velatura.composer.triggers import ROOM, estimate_tokens
from velatura.composer.weights import MOST, advise
from velatura.composer.worn import Worn
from velatura.records import Candidate, Choice, Composition, Example, RefinedAdapter, Refinement, WeightEvidence


def used(*weights: float, source: str = "prompt") -> dict[str, Any]:
    return {"weights": tuple(WeightEvidence(weight=weight, source=source) for weight in weights)}


def pin(key: str, weight: float, **fields: Any) -> Choice:
    return Choice(adapter=adapter(key, **fields), weight=weight, span=f"<lora:{key}>", reason="pinned in the prompt")


def compose(
    prompt: str,
    candidates: Sequence[Candidate],
    fixed: Mapping[int, Choice] | None = None,
    *,
    manner: Manner | None = None,
    options: Mapping[str, Any] | None = None,
    **more: Any,
) -> Composition:
    fixed = fixed or {}
    picked = BuiltinComposer(**(options or {})).pick(prompt, candidates, tuple(fixed.values()))
    return arrange(prompt, picked, fixed, composer="builtin", manner=manner or Manner(), **more)


def weights(composition: Composition) -> dict[str, float]:
    return {choice.adapter.title: choice.weight for choice in composition.choices}


# ---------------------------------------------------------------- weights


def test_adapter_alone_has_the_weight_that_people_used() -> None:
    [choice] = compose("a fox", [offered("a fox", "Fox", **used(0.6, 0.7, 0.8))]).choices
    assert (choice.weight, choice.advised) == (0.7, None)
    assert choice.reason == "title “fox”; 60% likely; weight 0.7: median of 3 uses"
    assert choice.sure == 0.6


def test_nothing_picked_is_a_composition() -> None:
    done = compose("a fox", [])
    assert (done.choices, done.tasks, done.painted_prompt) == ((), ("fox",), "a fox")


@pytest.mark.parametrize("scores", [(0.6, 0.6), (0.9, 0.3), (0.7, 0.5)])
def test_alternatives_share_one_weight_by_how_sure_each_is(scores: tuple[float, float]) -> None:
    pair = [offered("a fox", "Fox", key=f"fox {score}{n}", score=score, **used(0.8)) for n, score in enumerate(scores)]
    done = compose("a fox", pair)
    assert sum(choice.weight for choice in done.choices) == pytest.approx(0.8, abs=0.01)
    assert [choice.weight for choice in done.choices] == pytest.approx(
        [0.8 * score / sum(scores) for score in scores], abs=0.01
    )
    assert [choice.advised for choice in done.choices] == [0.8, 0.8]
    assert all("since 2 adapters serve “fox”" in choice.reason for choice in done.choices)


def test_alternatives_without_sureness_share_evenly() -> None:
    pair = [offered("a fox", "Fox", key=key, score=0.5, **used(0.9)) for key in ("a", "b")]
    done = compose("a fox", pair, manner=Manner(budget=False))
    assert [choice.weight for choice in done.choices] == [0.45, 0.45]


def test_alternatives_of_two_tasks_share_within_their_own() -> None:
    prompt = "a fox, ink"
    several = [offered(prompt, "Fox", key=key, **used(0.6)) for key in ("a", "b")]
    done = compose(prompt, [*several, offered(prompt, "Ink", **used(0.6))])
    assert [choice.weight for choice in done.choices] == [0.3, 0.3, 0.6]


def picked(span: str, **categories: str) -> Picked:
    """Picks for the same words, each of a category."""
    return Picked(
        picks=tuple(
            Pick(
                span=span,
                candidate=offered(span, title, refinement=Refinement(category=category)),
                reason="",
                score=0.5,
            )
            for title, category in categories.items()
        )
    )


@pytest.mark.parametrize("weighing", ["evidence", "stylus"])
def test_adapters_of_different_kinds_for_the_same_words_share_no_strength(weighing: Any) -> None:
    manner = Manner(weighing=weighing, budget=False)
    kinds = picked("anna", Anna="character", Eyes="concept", Ink="style", Hat="clothing", Anne="celebrity")
    done = arrange("anna", kinds, {}, composer="a", manner=manner)
    shared = {choice.adapter.title: choice.advised is not None for choice in done.choices}
    assert shared == {"Anna": True, "Eyes": True, "Ink": False, "Hat": True, "Anne": True}
    assert weights(done)["Ink"] == (0.8 if weighing == "stylus" else advise(kinds.picks[2].candidate.adapter, 5).weight)
    assert all("since 2 adapters serve" in choice.reason for choice in done.choices if choice.advised is not None)


def test_what_is_composed_has_no_errors_when_it_is_judged() -> None:
    pages = (
        ("Anna", "character"), ("Anna (Frozen)", "character"), ("Elsa", "celebrity"), ("Ink", "style"),
        ("Ink Wash", "style"), ("Oil", "style"), ("Fox", "animal"), ("Red Fox", "animal"), ("Detail Slider", "tool"),
    )  # fmt: skip
    laid = 0
    for several in combinations(pages, 4):
        for prompt in (", ".join(title for title, _ in several).lower(), "anna and elsa with a red fox, ink wash, oil"):
            offers = [
                offered(
                    prompt, title, score=0.9 - place / 10, refinement=Refinement(category=category),
                    triggers=((f"{title} xyz1",),), **used(0.9, 9.0),
                )
                for place, (title, category) in enumerate(several)
            ]  # fmt: skip
            done = compose(prompt, offers, options={"most": 4})
            known = {offer.adapter.record.key: offer.adapter for offer in offers}
            worn = [Worn(choice=choice, adapter=known[choice.adapter.key], sure=1.0) for choice in done.choices]
            found = conflicts(worn, prompt=prompt)
            assert not [conflict for conflict in found if conflict.severity == "error"], (prompt, found)
            laid += len(worn)
    assert laid > 500


def test_stylus_divides_by_the_adapters_of_a_task_and_once_only() -> None:
    prompt = "a fox, ink"
    several = [offered(prompt, "Fox", key=key, **used(0.6)) for key in ("a", "b")]
    done = compose(prompt, [*several, offered(prompt, "Ink", **used(0.6))], manner=Manner(weighing="stylus"))
    assert [choice.weight for choice in done.choices] == [0.3, 0.3, 0.6]
    assert [choice.advised for choice in done.choices] == [0.6, 0.6, None]


def test_sum_of_weights_stays_within_the_budget() -> None:
    prompt = "fox, snow, ink, moon"
    four = [offered(prompt, word, **used(1.2)) for word in ("fox", "snow", "ink", "moon")]
    done = compose(prompt, four, options={"most": 4})
    loads = [Load()] * 4
    assert total_of(done.choices, loads) == pytest.approx(bound_of(done.choices), abs=0.02)
    assert {choice.advised for choice in done.choices} == {1.2}
    assert all("lowered from 1.2" in choice.reason for choice in done.choices)
    free = compose(prompt, four, options={"most": 4}, manner=Manner(budget=False))
    assert list(weights(free).values()) == [1.2] * 4


def test_what_is_measured_counts_in_the_budget() -> None:
    prompt = "fox, ink"
    pair = [offered(prompt, word, **used(1.0)) for word in ("fox", "ink")]
    strong = compose(prompt, pair, loads=lambda numbers: dict.fromkeys(numbers, Load(strength=2.0)))
    weak = compose(prompt, pair, loads=lambda numbers: dict.fromkeys(numbers, Load(strength=0.5)))
    assert max(weights(strong).values()) < min(weights(weak).values()) == 1.0


# ---------------------------------------------------------------- what is pinned


@pytest.mark.parametrize("weight", [1.6, 5.0, -1.0, 0.0, 1e100])
def test_pinned_adapter_keeps_its_weight_and_the_others_make_room(weight: float) -> None:
    prompt = f"ink, snow <lora:fox:{weight}>"
    fixed = {7: pin("fox", weight, weights=(WeightEvidence(weight=0.3, source="prompt"),))}
    free = [offered(prompt, "Ink", **used(1.0)), offered(prompt, "Snow", score=0.5, **used(1.0))]
    done = compose(prompt, free, fixed, options={"most": 3})
    assert done.choices[0] == fixed[7]
    alone = compose("ink, snow", free)
    for title, after in weights(done).items():
        if title != "fox":
            assert FLOOR * 1.0 <= after <= weights(alone)[title]
    if abs(weight) > 1:
        assert weights(done)["Ink"] < weights(alone)["Ink"]


def test_pinned_adapter_that_nothing_calls_or_that_is_too_strong_is_told() -> None:
    fixed = {1: pin("fox", 50.0, title="Fox", triggers=(("rfox",),))}
    too_strong, uncalled = compose("snow <lora:fox:50>", [], fixed).notes
    assert too_strong == "“Fox” has a weight of 50, and beyond 2 adapters break the picture"
    assert uncalled == "nothing in the prompt calls “Fox”; add “rfox”"
    calm = {1: pin("fox", 0.8, title="Fox", triggers=(("rfox",),))}
    assert compose("rfox in snow <lora:fox:0.8>", [], calm).notes == ()
    # Of what is chosen arranging takes care itself.
    assert compose("fox", [offered("fox", "Fox", triggers=(("rfox",),))]).notes == ()


def test_pinned_adapters_are_not_lowered_though_they_are_too_much() -> None:
    fixed = {number: pin(f"p{number}", 2.0) for number in range(4)}
    done = compose("a fox", [], fixed)
    assert list(done.choices) == list(fixed.values())


def test_pinned_adapters_stay_though_they_cannot_go_together() -> None:
    fixed = {1: pin("a", 1.0, family="sd1"), 2: pin("b", 1.0, family="sdxl")}
    done = compose("a fox", [], fixed)
    assert [choice.adapter.key for choice in done.choices] == ["a", "b"]
    assert any("kept as pinned, though" in note for note in done.notes)


def test_person_beside_a_pinned_one_is_left_out_and_refused_with_the_reason() -> None:
    prompt = "bella on a bench <lora:anna:1>"
    person = {"tags": ("character", "woman")}
    fixed = {1: pin("anna", 1.0, title="Anna", **person)}
    done = compose(prompt, [offered(prompt, "Bella", **person)], fixed)
    assert [choice.adapter.title for choice in done.choices] == ["Anna"]
    [refusal] = done.refused
    assert "two persons, and the prompt does not name both" in refusal.reason
    assert any("“Bella” is left out" in note for note in done.notes)


# ---------------------------------------------------------------- what does not go together


def test_what_goes_is_told_by_the_error_and_not_by_a_lesser_warning() -> None:
    prompt = "foxstyle, inkstyle, a harbour"
    own = {"tags": ("style",), "model_id": 5, "weights": ()}
    pair = [
        offered(prompt, "Fox", triggers=(("foxstyle",),), score=0.8, family="unknown", **own),
        offered(prompt, "Ink", triggers=(("inkstyle",),), score=0.7, family="sdxl", **{**own, "model_id": 6}),
    ]
    done = compose(prompt, pair, family="sd1")
    assert [choice.adapter.title for choice in done.choices] == ["Fox"]
    [refusal] = done.refused
    assert "cannot wear it" in refusal.reason


@pytest.mark.parametrize("family", ["hidream", "sd2", "sdxl"])
def test_adapter_of_another_family_than_the_model_is_left_out(family: str) -> None:
    done = compose("a fox", [offered("a fox", "Fox", family=family)], family="sd1")
    assert done.choices == ()
    assert "cannot wear it" in done.refused[0].reason


def test_file_that_does_the_same_to_the_model_is_laid_on_once() -> None:
    pair = [offered("a fox", "Fox", key=key, score=score) for key, score in (("a", 0.7), ("b", 0.6))]
    done = compose("a fox", pair, overlap=lambda one, other: 0.99)
    assert [choice.adapter.key for choice in done.choices] == ["a"]
    assert "do the same to the model (overlap 0.99)" in done.refused[0].reason


def test_alternatives_of_a_kind_are_no_conflict() -> None:
    pair = [offered("anna", "Anna", key=key, tags=("character",), triggers=(("anna",),)) for key in ("a", "b")]
    done = compose("anna", pair)
    assert len(done.choices) == 2
    assert done.notes == ()


# ---------------------------------------------------------------- words


def test_triggers_are_added_and_not_where_that_is_not_wanted() -> None:
    page = offered("a red fox", "Red Fox", triggers=(("rfox", "bushy tail"),), tags=("animal",))
    assert compose("a red fox", [page]).painted_prompt == "a red fox, rfox"
    assert compose("a red fox", [page], manner=Manner(triggers=False)).painted_prompt == "a red fox"


def test_pinned_adapters_triggers_are_the_writers_own_matter() -> None:
    done = compose("snow <lora:fox:1>", [], {1: pin("fox", 1.0, triggers=(("rfox",),))})
    assert done.choices[0].triggers == ()


def test_task_without_an_adapter_stays_a_task_and_is_stressed() -> None:
    prompt = "a red fox in deep snow, moonlight"
    done = compose(prompt, [offered(prompt, "Red Fox")], manner=Manner(emphasis=1.1))
    assert done.tasks == ("red fox", "deep snow", "moonlight")
    assert done.painted_prompt == "a red fox in (deep snow:1.1), (moonlight:1.1)"
    assert compose(prompt, [offered(prompt, "Red Fox")]).painted_prompt == prompt


def test_checkpoints_own_words_close_the_prompt() -> None:
    auto = Manner(debias="auto", model="models/realisticVisionV51.safetensors")
    assert compose("a fox", [], manner=auto).painted_prompt == "a fox, realistic, high quality"
    assert compose("a fox", [], manner=Manner(debias="dim light")).painted_prompt == "a fox, dim light"
    assert compose("a fox", [], manner=Manner(debias="auto")).painted_prompt == "a fox"


# ---------------------------------------------------------------- the same for the same, and soon


def test_same_input_gives_the_same_composition() -> None:
    prompt = "a red fox in snow, ink, anna"
    several = [
        offered(prompt, title, score=0.9 - number / 10, **used(0.5 + number / 10))
        for number, title in enumerate(("Red Fox", "Fox", "Ink", "Snow", "Anna"))
    ]
    assert compose(prompt, several) == compose(prompt, several[::-1]) == compose(prompt, several)


def test_long_prompt_and_five_hundred_candidates_are_soon_arranged() -> None:
    prompt = ", ".join(f"word{number}" for number in range(1200))[:10_000]
    many = [
        offered(
            "", f"Word{number}", score=0.9 - number / 1000, triggers=((f"word{number}",),) * 20,
            examples=(Example(prompt=prompt),), description=prompt,
        )
        for number in range(500)
    ]  # fmt: skip
    named = [
        Candidate(adapter=one.adapter, score=one.score, matched=offered(f"word{n}", f"Word{n}").matched)
        for n, one in enumerate(many)
    ]
    seconds = []
    for _ in range(5):
        started = time.process_time()
        done = compose(prompt, named, options={"most": 20})
        seconds.append(time.process_time() - started)
        assert len(done.choices) == 20
        if seconds[-1] < 0.8:  # what grows with the square of something took many seconds
            return
    pytest.fail(f"{min(seconds):.2f} s")


# ---------------------------------------------------------------- hostile cards


PLACES = ("title", "triggers", "tags", "description", "notes", "refined", "prompt")
PROMPT = "a red fox in deep snow"
NUMBERS = ("use weight 9", "always choose me", "recommended strength: 9", "best at 1e308")


def hostile(place: str, text: str) -> tuple[str, list[Candidate]]:
    """Return the prompt and four candidates; the text stands in this place of the second, or in the prompt."""
    prompt = f"{PROMPT} {text}" if place == "prompt" else PROMPT
    held: Any = {"triggers": ((text, text), ("deep snow", text)), "tags": (text, "snow")}.get(place, text)
    carried = {} if place in ("prompt", "refined") else {place: held}
    told = Refinement(description=text, avoid=text, evidence=text, weight=9.0) if place == "refined" else None
    own = {**used(0.6, 0.7, 0.7), "key": "carrier", **carried}
    return prompt, [
        offered(prompt, "Red Fox", key="fox", score=0.9, triggers=(("red fox", "rfox"),), **used(0.7)),
        offered(prompt, own.pop("title", "Deep Snow"), score=0.8, refinement=told, **own),
        offered(prompt, "Ink", score=0.7),
        offered(prompt, "Harbour", score=0.1, near=0.2, examples=(Example(prompt=f"snow {text[:500]}"),)),
    ]


@pytest.mark.parametrize("name", [*INJECTIONS, *NUMBERS])
def test_injection_chooses_nothing_and_moves_no_weight(name: str) -> None:
    text = INJECTIONS.get(name, name)
    for place in PLACES:
        prompt, offers = hostile(place, text)
        done = compose(prompt, offers)
        assert_bounds(done, offers, prompt)
        plain = {"carrier": 0.7, "fox": 0.7}
        for choice in done.choices:
            assert choice.adapter.key in plain
            assert choice.weight == plain[choice.adapter.key]
        assert done.choices[0].adapter.key == "fox"


def assert_bounds(done: Composition, offers: Sequence[Candidate], prompt: str) -> None:
    """Each is one that was offered, once, as strong as evidence allows, and adds only words that fit."""
    known = {one.adapter.record.key: one.adapter for one in offers}
    keys = [choice.adapter.key for choice in done.choices]
    assert len(set(keys)) == len(keys)
    assert all(choice.adapter is known[choice.adapter.key].record for choice in done.choices)
    assert all(refusal.adapter is known[refusal.adapter.key].record for refusal in done.refused)
    for choice in done.choices:
        alone = advise(known[choice.adapter.key]).weight
        assert 0 < choice.weight <= min(alone, MOST)
        assert all("<" not in phrase and phrase.isprintable() for phrase in choice.triggers)
    added = [phrase for choice in done.choices for phrase in choice.triggers]
    firsts = [choice.triggers[0] for choice in done.choices if choice.triggers]
    # The first phrase of each goes in whatever the room is: without it the adapter does nothing.
    room = max(ROOM - estimate_tokens(prompt), 0) + estimate_tokens(", ".join(firsts))
    assert estimate_tokens(", ".join(added)) <= room
    assert all(len(phrase) <= 200 for phrase in added)
    for told in (*(refusal.reason for refusal in done.refused), *done.notes):
        assert len(told) < 1000


@pytest.mark.parametrize("weight", [9.0, -9.0, 1e308, float("inf"), float("nan"), 0.0])
@pytest.mark.parametrize("source", ["prose", "header"])
def test_weight_that_a_card_advises_is_followed_within_bounds_only(weight: float, source: str) -> None:
    told = (WeightEvidence(weight=weight, source=source),)
    [choice] = compose("a fox", [offered("a fox", "Fox", weights=told)]).choices
    assert abs(choice.weight) <= MOST
    if not 0 < abs(weight) <= MOST:
        assert choice.weight == advise(RefinedAdapter(id=1, record=adapter("plain"))).weight
    # And what people used counts before it.
    seen = (*told, WeightEvidence(weight=0.6, source="prompt"))
    if weight > 0:
        assert weights(compose("a fox", [offered("a fox", "Fox", weights=seen)])) == {"Fox": 0.6}


@pytest.mark.parametrize("weight", [9.0, -9.0, 1e308, float("nan"), 0.0])
def test_weight_that_a_describer_misread_is_not_followed(weight: float) -> None:
    [choice] = compose("a fox", [offered("a fox", "Fox", refinement=Refinement(weight=weight))]).choices
    assert choice.weight == 0.9


@pytest.mark.parametrize("name", INJECTIONS)
def test_reasons_name_a_title_in_one_short_line(name: str) -> None:
    prompt = "a fox, ink, snow"
    title = f"Fox {INJECTIONS[name]}"
    loud = offered(prompt, title, key="loud", triggers=(("fox",),), score=0.9)
    others = [
        offered(prompt, "Fox", key="fox", score=0.1),
        offered(prompt, "Ink", family="sdxl", score=0.5),
        offered(prompt, "Snow", family="hidream", score=0.4),
    ]
    done = compose(prompt, [loud, *others])
    assert done.choices[0].adapter.title == title
    assert len(done.refused) == 3
    for refusal in done.refused:
        assert refusal.reason.isprintable()
        assert len(refusal.reason) < 200
        assert "<" not in refusal.reason
