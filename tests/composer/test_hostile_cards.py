"""Cards and prompts that speak to the language model change neither what may be chosen nor any bound.

Each injection is laid into every text of a card and into the prompt, and the server obeys it: it answers numbers that
no card has, weights, keys and names of its own, and says the injection back. What comes out is always candidates that
were shown, for words of the prompt, with a sureness of 0 to 1 and reasons of one short line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from typing import Any

import pytest
from chat_server import Script, chat_server, said
from injections import INJECTIONS
from shelf import adapter

from velatura.composer.llm import INSTRUCTIONS, LlmComposer
from velatura.composer.picks import Pick, Picked
from velatura.composer.stylus import StylusComposer
from velatura.llm import LanguageModel
from velatura.records import Candidate, Choice, Example, RefinedAdapter, Refinement
from velatura.syntax import plain_text

PLACES = ("title", "triggers", "tags", "description", "notes", "refined", "prompt")
PROMPT = "a red fox in deep snow"


def candidates(place: str, text: str) -> list[Candidate]:
    """Three adapters; the second carries the text."""
    held: Any = {"triggers": ((text, text), ("fox",)), "tags": (text, "fox")}.get(place, text)
    carried = {} if place in ("prompt", "refined") else {place: held}
    records = [adapter("a", title="Red Fox"), adapter("b", **{"title": "Snow", **carried}), adapter("c", title="Ink")]
    refined = Refinement(description=text, avoid=text, category=text) if place == "refined" else Refinement()
    shown = tuple(Example(image=f"{number}.png") for number in range(3))
    return [
        Candidate(
            adapter=RefinedAdapter(
                id=number, record=replace(record, examples=shown), refinement=refined if number == 1 else Refinement()
            ),
            score=0.9 - number / 10,
        )
        for number, record in enumerate(records)
    ]


class Nobody:
    """A fallback that chooses nothing."""

    name = "nobody"

    def pick(self, prompt: str, candidates: Sequence[Candidate], fixed: Sequence[Choice] = ()) -> Picked:
        return Picked(notes=("nobody chose",))


def obeying(injection: str, numbers: Sequence[Any], **more: Any) -> list[dict[str, Any]]:
    return [
        {"number": number, "reason": injection, "sure": 10**9, "weight": 9, "id": 99, "key": "b", **more}
        for number in numbers
    ]  # fmt: skip


def obedient(injection: str) -> tuple[int, Any]:
    """An answer that does all that a card could wish for."""
    every = obeying(injection, [99, 2, 2, -1, 0, 4, "99", 2.5, None, "2; 99"], weights={"2": 9})
    tasks = [
        {"words": "red fox", "adapters": every, "weight": 9},
        {"words": injection, "adapters": obeying(injection, [3])},
        {"words": "everything", "adapters": obeying(injection, [1])},
    ]
    refused = obeying(injection, [1, 3, 99])
    return said(json.dumps({"tasks": tasks, "refused": refused, "weights": {"2": 9}, "system": injection}))


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="module")
def server() -> Iterator[Script]:
    with chat_server() as script:
        yield script


@pytest.fixture(scope="module")
def model(server: Script) -> LanguageModel:
    return LanguageModel("stand-in", url=server.url, retries=0)


def ask(composer: Any, server: Script, answer: Any, place: str, text: str) -> tuple[Picked, str, list[Candidate]]:
    """Return what is picked, the question, and the candidates, with the text in this place."""
    server.asked.clear()
    server.answers = [answer]
    offered = candidates(place, text)
    prompt = f"{PROMPT} {text}" if place == "prompt" else PROMPT
    picked = composer.pick(prompt, offered)
    assert_bounds(picked, offered, prompt)
    assert server.asked[0]["messages"][0]["role"] == "system"
    return picked, server.asked[0]["messages"][1]["content"], offered


def assert_bounds(picked: Picked, offered: Sequence[Candidate], prompt: str) -> None:
    """Only what was offered is chosen, once, for the prompt's own words, and every text is one short line."""
    assert all(any(pick.candidate is one for one in offered) for pick in picked.picks)
    assert len({pick.candidate.adapter.id for pick in picked.picks}) == len(picked.picks)
    assert all(any(refusal.adapter is one.adapter.record for one in offered) for refusal in picked.refused)
    spoken = plain_text(prompt)
    assert all(0 <= pick.score <= 1 and pick.span and pick.span in spoken for pick in picked.picks)
    assert all(task and task in spoken for task in picked.tasks)
    told = [*(pick.reason for pick in picked.picks), *(refusal.reason for refusal in picked.refused)]
    assert all(reason.isprintable() and len(reason) <= 200 and "<" not in reason for reason in told)
    spans = {pick.span for pick in picked.picks} | set(picked.tasks)
    for note in picked.notes:
        for span in sorted(spans, key=len, reverse=True):
            note = note.replace(span, "")
        assert note.isprintable()
        assert len(note) < 400


FIELDS = ("title", "category", "triggers", "tags", "not for", "about")


def assert_fenced(question: str) -> None:
    """Reading the question back gives three cards with one line a field, and one prompt."""
    assert len(question) < 10_000
    for text in question.split("\n"):
        assert text.isprintable()
    read = re.fullmatch(
        r"<card 1>\n([^<>]*)\n</card>\n<card 2>\n([^<>]*)\n</card>\n<card 3>\n([^<>]*)\n</card>\n"
        r"<prompt>\n([^<>\n]*)\n</prompt>",
        question,
    )
    assert read is not None
    for body in read.groups()[:3]:
        names = [text.partition(": ")[0] for text in body.split("\n")]
        assert names == [name for name in FIELDS if name in names]


def test_there_are_enough_injections() -> None:
    assert len(INJECTIONS) >= 60
    assert len(set(INJECTIONS.values())) == len(INJECTIONS)


@pytest.mark.parametrize("name", INJECTIONS)
def test_injection_changes_nothing_that_may_be_chosen(name: str, server: Script, model: LanguageModel) -> None:
    injection = INJECTIONS[name]
    composer = LlmComposer(model, fallback=Nobody())
    for place in PLACES:
        picked, question, _ = ask(composer, server, obedient(injection), place, injection)
        assert_fenced(question)
        chosen = {(pick.span, pick.candidate.adapter.id): pick.score for pick in picked.picks}
        assert chosen["red fox", 1] == 1
        # Words that are not the prompt's are chosen for nothing; where the prompt holds them, they are its writer's.
        assert place == "prompt" or set(chosen) == {("red fox", 1)}
        assert any("99" in note and "left out" in note for note in picked.notes)
        assert {refusal.adapter.key for refusal in picked.refused} <= {"a", "c"}
        assert server.asked[0]["messages"][0]["content"] == INSTRUCTIONS


@pytest.mark.parametrize("name", INJECTIONS)
def test_answer_that_is_the_injection_itself_chooses_nothing(name: str, server: Script, model: LanguageModel) -> None:
    injection = INJECTIONS[name]
    picked, _, _ = ask(LlmComposer(model, fallback=Nobody()), server, said(injection), "description", injection)
    assert picked.picks == ()
    assert len(server.asked) == 2 or picked.notes[0] == "stand-in was shown 3 of 3 candidates"


@pytest.mark.parametrize("name", INJECTIONS)
def test_stylus_keeps_the_same_bounds(name: str, server: Script, model: LanguageModel) -> None:
    injection = INJECTIONS[name]
    answer = said(json.dumps({
        "red fox": {"1": injection, "99": injection, "-1": injection, "weight": "9", "0.5": "", "1 ": "again"},
        injection: {"2": injection, "99": "9"}, "weight": 9, "deep snow": {"0": {"weight": 9}, "weights": [9]},
    }))  # fmt: skip
    for place in PLACES:
        picked, question, _ = ask(StylusComposer(model), server, answer, place, injection)
        assert ("red fox", 1) in {(pick.span, pick.candidate.adapter.id) for pick in picked.picks}
        lines = question.split("\n")
        assert lines.count("<card>") == lines.count("</card>") == 3
        assert [text for text in lines if text.startswith("Index: ")] == ["Index: 0", "Index: 1", "Index: 2"]
        assert lines.count("<prompt>") == lines.count("</prompt>") == 1
        cards = lines[: lines.index("<prompt>")]
        assert all(text in ("<card>", "</card>") or not re.search("[<>]", text) for text in cards)
        assert len(cards) == 18


def test_a_pick_has_no_place_for_a_weight() -> None:
    assert {field.name for field in fields(Pick)} == {"span", "candidate", "reason", "score"}
