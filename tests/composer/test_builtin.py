"""The built-in composer: what it lays on, and what it leaves."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from velatura.composer.builtin import BuiltinComposer
from velatura.records import AdapterRecord, Candidate, Choice, Composition, Match, RefinedAdapter, WeightEvidence


def candidate(title: str, *matched: Match, score: float = 0.6, number: int = 1, **fields: object) -> Candidate:
    record = AdapterRecord(source="folder", key=title, title=title, **{"family": "sd1", **fields})  # type: ignore[arg-type]
    return Candidate(adapter=RefinedAdapter(id=number, record=record), score=score, matched=matched)


def trigger(text: str) -> Match:
    return Match(by="phrase", text=text, score=1.0)


def title(text: str) -> Match:
    return Match(by="title", text=text, score=float(len(text.split(", "))))


def compose(prompt: str, candidates: Sequence[Candidate], **options: object) -> Composition:
    return BuiltinComposer(**options).compose(prompt, candidates)  # type: ignore[arg-type]


def titles(composition: Composition) -> list[str]:
    return [choice.adapter.title for choice in composition.choices]


def reasons(composition: Composition) -> dict[str, str]:
    return {refusal.adapter.title: refusal.reason for refusal in composition.refused}


def test_two_adapters_serve_two_phrases() -> None:
    done = compose(
        "a red fox in snow, inkwash style",
        [candidate("Ink", trigger("inkwash style"), score=0.8), candidate("Fox", trigger("red fox"), score=0.7)],
    )
    assert [(choice.adapter.title, choice.span) for choice in done.choices] == [
        ("Ink", "inkwash style"),
        ("Fox", "red fox"),
    ]
    assert "trigger “red fox”" in done.choices[1].reason


def test_span_is_spelt_as_the_user_wrote_it() -> None:
    done = compose("A Red_Fox, snow", [candidate("Fox", trigger("red fox"))])
    assert done.choices[0].span == "Red_Fox"


def test_same_words_are_served_once() -> None:
    done = compose("a fox", [candidate("Fox A", title("fox"), score=0.7), candidate("Fox B", title("fox"), score=0.6)])
    assert titles(done) == ["Fox A"]
    assert reasons(done) == {"Fox B": "“fox” is served by Fox A"}


def test_nothing_fits_and_nothing_is_picked() -> None:
    done = compose("a fox", [candidate("Fox", title("fox"), score=0.05), candidate("B", score=0.9)])
    assert titles(done) == []
    assert reasons(done) == {
        "Fox": "too unlikely to be meant (5%)",
        "B": "no words of the prompt ask for it",
    }


def test_hopeless_candidates_are_not_even_refused() -> None:
    assert compose("a fox", [candidate("A", title("fox"), score=0.001)]).refused == ()


@pytest.mark.parametrize("name", ["Detail Tweaker", "LCM", "Hyper-SD", "SDXL Lightning", "Age slider"])
def test_tool_is_taken_only_when_it_is_named(name: str) -> None:
    topical = Match(by="prompts", text="street, market", score=2.0)
    assert titles(compose("a market street", [candidate(name, topical)])) == []
    assert titles(compose("a market street, fine", [candidate(name, topical, trigger("fine"))])) == [name]


@pytest.mark.parametrize(
    "fields",
    [{"real_person": True, "tags": ("woman",)}, {"tags": ("Celebrity", "woman")}, {"tags": ("character", "woman")}],
)
def test_certain_person_is_not_laid_on_for_a_generic_word(fields: dict[str, object]) -> None:
    generic = candidate("Anna", Match(by="tags", text="woman", score=1.0), **fields)
    done = compose("a woman in the rain", [generic])
    assert titles(done) == []
    assert "certain person" in reasons(done)["Anna"]
    assert titles(compose("anna in the rain", [candidate("Anna", trigger("anna"), **fields)])) == ["Anna"]


def test_adapters_of_two_architectures_are_never_mixed() -> None:
    done = compose(
        "a fox, ink",
        [candidate("Fox", title("fox"), score=0.8), candidate("Ink", title("ink"), score=0.7, family="sdxl")],
    )
    assert titles(done) == ["Fox"]
    assert reasons(done)["Ink"] == "made for SDXL, and Fox for SD 1.x"


def test_most_is_kept() -> None:
    words = ["fox", "snow", "ink", "moon"]
    done = compose("fox, snow, ink, moon", [candidate(word, title(word)) for word in words], most=2)
    assert len(done.choices) == 2
    assert all("2 adapters are the most" in reason for reason in reasons(done).values())


def test_weights_together_stay_within_the_budget() -> None:
    strong = (WeightEvidence(weight=1.0, source="prompt"),)
    words = ["fox", "snow", "ink"]
    done = compose("fox, snow, ink", [candidate(word, title(word), weights=strong) for word in words])
    assert sum(choice.weight for choice in done.choices) == pytest.approx(1.6, abs=0.02)
    assert "scaled down" in done.choices[0].reason


@pytest.mark.parametrize(
    ("matched", "fields"),
    [
        (Match(by="prompts", text="boat, sunset", score=2.0), {}),
        (Match(by="description", text="boat", score=1.0), {}),
        (Match(by="tags", text="boat", score=1.0), {"tags": ("boat house keeper",)}),
        (Match(by="triggers", text="boat", score=1.0), {"triggers": (("a boat in an old harbour town",),)}),
        (Match(by="title", text="boat", score=1.0), {}),
    ],
)
def test_what_only_shares_words_is_not_laid_on(matched: Match, fields: dict[str, object]) -> None:
    """Its examples show boats, or it speaks of one: that does not make it an adapter of boats."""
    done = compose("a blue boat at sunset", [candidate("Old Harbour Town", matched, **fields)])
    assert titles(done) == []
    assert "share words" in reasons(done)["Old Harbour Town"]


@pytest.mark.parametrize(
    "fields",
    [{"tags": ("boat",)}, {"triggers": (("old boat",),)}, {"triggers": (("a wooden boat of the harbour", "boat"),)}],
)
def test_whole_tag_or_most_of_a_trigger_names_an_adapter(fields: dict[str, object]) -> None:
    matched = [Match(by=by, text="old, boat", score=2.0) for by in ("tags", "triggers")]
    assert titles(compose("an old boat", [candidate("Harbour Town", *matched, **fields)])) == ["Harbour Town"]


def test_order_of_candidates_does_not_matter() -> None:
    pair = [candidate("Fox A", title("fox"), score=0.7), candidate("Fox B", title("fox"), score=0.6)]
    assert compose("a fox", pair) == compose("a fox", pair[::-1])


@pytest.mark.parametrize(
    ("prompt", "phrase", "span"),
    [("一幅水墨山水画", "水 墨", "水墨"), ("Café at night", "cafe", "Café"), ("Ｆｏｘ in snow", "fox", "Ｆｏｘ")],
)
def test_span_is_found_in_every_script(prompt: str, phrase: str, span: str) -> None:
    done = compose(prompt, [candidate("A", trigger(phrase))])
    assert [choice.span for choice in done.choices] == [span]


def test_function_words_ask_for_nothing() -> None:
    done = compose("a cat in the snow", [candidate("Girl in the Hood", title("in, the"), tags=("character",))])
    assert titles(done) == []
    assert "no words" in reasons(done)["Girl in the Hood"]


def test_generic_trigger_asks_for_nothing() -> None:
    generic = Match(by="phrase", text="1girl", score=0.001)
    done = compose("1girl, solo", [candidate("POV", generic, Match(by="triggers", text="1girl", score=1.0))])
    assert titles(done) == []


def test_fixed_choices_stay_and_leave_less_room() -> None:
    pinned = Choice(adapter=candidate("Fox").adapter.record, weight=1.2, span="<lora:fox>")
    strong = (WeightEvidence(weight=1.0, source="prompt"),)
    free = [candidate("Ink", title("ink"), weights=strong), candidate("XL", title("snow"), family="sdxl")]
    done = BuiltinComposer(most=2).compose("ink, snow", free, (pinned,))
    assert done.choices[0] == pinned
    assert (done.choices[1].adapter.title, done.choices[1].weight) == ("Ink", 0.4)
    assert titles(done) == ["Fox", "Ink"]
