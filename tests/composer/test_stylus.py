"""Stylus's composer, as its paper and its released code have it: two turns, topics, and what it leaves out."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from chat_server import Reply, Script, chat_server, refused, said
from shelf import adapter

from velatura.composer.picks import Picked
from velatura.composer.stylus import StylusComposer
from velatura.llm import LanguageModel
from velatura.records import Candidate, Choice, Example, RefinedAdapter, Refinement, Usage

PROMPT = "a black t-shirt with the (peace sign:1.2) on it"
SHOWN = tuple(Example(image=f"{number}.png") for number in range(3))


def candidate(title: str, score: float = 0.5, refinement: Refinement | None = None, **fields: Any) -> Candidate:
    record = adapter(title, **{"title": title, "examples": SHOWN, **fields})
    return Candidate(adapter=RefinedAdapter(id=1, record=record, refinement=refinement or Refinement()), score=score)


CANDIDATES = [candidate(title, 0.9 - n / 10) for n, title in enumerate(("T-shirt design", "T-shirt", "Peace", "Black"))]


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def pick(*answers: Any, candidates: Any = CANDIDATES, fixed: Any = (), **options: Any) -> tuple[Picked, Script]:
    with chat_server(*answers) as server:
        model = LanguageModel("stand-in", url=server.url, retries=0, deadline=20)
        return StylusComposer(model, **options).pick(PROMPT, candidates, fixed), server


def answer(topics: Any) -> tuple[int, Any]:
    return said(json.dumps(topics))


def chosen(picked: Picked) -> set[tuple[str, str]]:
    return {(pick.span, pick.candidate.adapter.record.title) for pick in picked.picks}


GOOD = answer({"t-shirt": {"0": "varies the design", "1": "of t-shirts"}, "peace sign": {"2": "a logo"}, "black": {}})
BOTH = {("t-shirt", "T-shirt design"), ("t-shirt", "T-shirt"), ("peace sign", "Peace")}


def test_second_answer_counts() -> None:
    picked, server = pick(answer({"t-shirt": {"3": "black"}}), GOOD)
    assert chosen(picked) == BOTH
    assert picked.failed is None
    assert picked.tasks == ("t-shirt", "peace sign", "black")
    assert picked.picks[0].reason == "varies the design"
    assert picked.usage == Usage(calls=2, read=1400, cached=1024, written=40)
    assert picked.notes == ("stand-in was shown 4 of 4 candidates",)
    first, second = server.asked
    assert first["temperature"] == 1
    assert second["messages"][:2] == first["messages"]
    assert second["messages"][3]["content"].startswith("Refine your answer")


def test_question_is_the_cards_the_prompt_and_the_rules() -> None:
    wordy = candidate("Wordy", tags=("a", "b"), description="long " * 1000)
    refined = candidate("Refined", refinement=Refinement(description="what it does"), description="what it says")
    _, server = pick(GOOD, candidates=[wordy, refined])
    text = server.asked[0]["messages"][1]["content"]
    first, second = re.findall(r"<card>\n(.*?)\n</card>", text, re.DOTALL)
    assert first.startswith("Index: 0\nTitle: Wordy\nTags: a, b\nDescription: long long")
    assert len(first.rpartition("Description: ")[2]) == 999
    assert second == "Index: 1\nTitle: Refined\nTags: \nDescription: what it does"
    assert "\n<prompt>\na black t-shirt with the peace sign on it\n</prompt>\n" in text
    assert "0 to 3 adapters" in text
    assert "{{" not in text
    assert text.index("</prompt>") < text.index("First, divide the prompt")


@pytest.mark.parametrize(
    "left_out",
    [
        candidate("Two pictures", examples=SHOWN[:2]),
        candidate("Detail Slider"),
        candidate("Maps for table RPG"),
        candidate("Somebody", tags=("Celebrity",)),
        candidate("Somebody", tags=("character",)),
        candidate("Somebody", refinement=Refinement(category="character")),
        candidate("Somebody", real_person=True),
    ],
)
def test_what_the_released_code_leaves_out_is_not_shown(left_out: Candidate) -> None:
    picked, server = pick(GOOD, candidates=[left_out, *CANDIDATES])
    assert left_out.adapter.record.title not in server.asked[0]["messages"][1]["content"]
    assert chosen(picked) == BOTH
    assert picked.notes == ("stand-in was shown 4 of 5 candidates",)


def test_characters_can_be_let_through() -> None:
    _, server = pick(GOOD, candidates=[candidate("Somebody", tags=("character",))], characters=True)
    assert "Title: Somebody" in server.asked[0]["messages"][1]["content"]


def test_150_candidates_are_shown() -> None:
    picked, server = pick(GOOD, candidates=[candidate(str(number)) for number in range(200)])
    assert server.asked[0]["messages"][1]["content"].count("Index: ") == 150
    assert picked.notes == ("stand-in was shown 150 of 200 candidates",)


@pytest.mark.parametrize(
    "told",
    [
        said('```json\n{"t-shirt": {"0": "a", "1": "b",}, "peace sign": {"2": "c"},}\n```'),
        answer({"t-shirt": [0, "1"], "peace sign": ["Index: 2"]}),
        answer({"T-Shirt": [{"index": 0, "reason": "a"}, {"number": 1}], "peace sign": [{"adapter": "2"}]}),
        answer({"prompt": {"3": "no topic"}, "t-shirt": {"0": None, "1": 7}, "peace sign": {"2": ""}, "black": None}),
        answer(
            {"t-shirt": {"0": "a", "1": "b"}, "peace sign": {"2": "c", "1": "again", "9": "none"}, "fox": {"3": ""}}
        ),
    ],
)
def test_answers_of_many_forms_are_read(told: Any) -> None:
    picked, server = pick(told)
    assert chosen(picked) == BOTH
    assert len(server.asked) == 2


def test_few_adapters_of_a_topic_are_taken() -> None:
    told = answer({"t-shirt": {str(number): "" for number in range(4)}})
    assert len(pick(told)[0].picks) == 3
    assert len(pick(told, per_topic=1)[0].picks) == 1


def test_least_sure_are_refused_where_fewer_are_wanted() -> None:
    picked, _ = pick(GOOD, most=2)
    assert chosen(picked) == {("t-shirt", "T-shirt design"), ("t-shirt", "T-shirt")}
    assert [(refusal.adapter.title, refusal.reason) for refusal in picked.refused] == [
        ("Peace", "2 adapters are the most for one prompt")
    ]
    none, server = pick(GOOD, most=0)
    assert (none.picks, none.notes) == ((), ("0 adapters are the most for one prompt, and 0 are fixed",))
    assert not server.asked


def test_what_is_left_out_is_told() -> None:
    picked, _ = pick(answer({"a fox": {"0": ""}, "t-shirt": {"1": "", "150": ""}, "black": {"1": ""}}))
    assert picked.notes[1:] == (
        "the task “a fox” does not stand in the prompt and is left out, with 1 adapter",
        "stand-in named adapters that it was not shown (150); they are left out",
        "stand-in named 1 adapter again that was taken already; each is taken once",
    )


def test_what_is_fixed_is_not_chosen_again() -> None:
    fixed = [Choice(adapter=CANDIDATES[0].adapter.record, weight=1.0, span="t-shirt")]
    assert chosen(pick(GOOD, fixed=fixed)[0]) == BOTH - {("t-shirt", "T-shirt design")}


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (refused(500, "crashed"), "does not answer: crashed"),
        (Reply(*GOOD, cut=0), "does not answer"),
        (said(None, refusal="no"), "stand-in refused: no"),
        (said("I like t-shirts."), "no whole JSON object"),
        (answer({"t-shirt": {"99": "none"}}), "they go from 0 to 3"),
        (answer({"t-shirt": "all"}), "no objects of indices"),
    ],
)
def test_where_the_model_fails_nothing_is_chosen_and_why_is_told(fault: Any, told: str) -> None:
    picked, _ = pick(fault)
    assert picked.picks == ()
    assert picked.notes[0].startswith("stylus 1: stand-in chose nothing: ")
    assert told in picked.notes[0]
    assert picked.failed == picked.notes[0]


def test_nothing_is_asked_about_nothing() -> None:
    picked, server = pick(GOOD, candidates=[candidate("x", examples=())])
    assert (picked, server.asked) == (Picked(), [])
