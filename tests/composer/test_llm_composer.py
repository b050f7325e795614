"""A language model chooses by numbers; what it says is checked, and where it fails another composer chooses."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from typing import Any

import pytest
from chat_server import Reply, Script, chat_server, refused, said
from shelf import adapter

from velatura.composer.llm import FORM, INSTRUCTIONS, LlmComposer, question
from velatura.composer.picks import Pick, Picked
from velatura.errors import InputError
from velatura.llm import LanguageModel
from velatura.records import Candidate, Choice, RefinedAdapter, Usage

SECRET = "sk-never-shown-0123456789"
PROMPT = "a Red-Fox in (deep:1.2) snow, ink wash <lora:x:1>"
TITLES = ("Red Fox", "Ink Wash", "Deep Snow", "Grey Wolf", "Oil Paint")
CANDIDATES = [
    Candidate(
        adapter=RefinedAdapter(id=10 * number, record=adapter(title, title=title, triggers=((title.lower(),),))),
        score=0.9 - number / 10,
    )
    for number, title in enumerate(TITLES)
]


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)


class Fallback:
    """A composer that chooses the first candidate."""

    name = "first 1"

    def pick(self, prompt: str, candidates: Sequence[Candidate], fixed: Sequence[Choice] = ()) -> Picked:
        pick = Pick(span=prompt, candidate=candidates[0], reason="the first", score=0.5)
        return Picked(picks=(pick,), tasks=(prompt,), notes=("chosen by the first",))


def given(number: Any, reason: Any = "fits", sure: Any = 80) -> dict[str, Any]:
    return {"number": number, "reason": reason, "sure": sure}


def answer(*tasks: tuple[Any, Any], refused: Any = (), **more: Any) -> tuple[int, Any]:
    listed = [{"words": words, "adapters": adapters} for words, adapters in tasks]
    return said(json.dumps({"tasks": listed, "refused": refused, **more}))


def pick(
    *answers: Any,
    prompt: str = PROMPT,
    candidates: Sequence[Candidate] = CANDIDATES,
    fixed: Sequence[Choice] = (),
    model: dict[str, Any] | None = None,
    **options: Any,
) -> tuple[Picked, Script]:
    with chat_server(*answers) as server:
        asked = LanguageModel("stand-in", url=server.url, **(model or {"retries": 0}))
        picked = LlmComposer(asked, fallback=Fallback(), **options).pick(prompt, candidates, fixed)
        assert picked.usage == asked.usage
    return picked, server


def chosen(picked: Picked) -> list[tuple[str, str]]:
    return [(pick.span, pick.candidate.adapter.record.title) for pick in picked.picks]


def test_numbers_become_picks_for_the_prompts_own_words() -> None:
    told = answer(
        ("red fox", [given(1, "paints red foxes", 95)]),
        ("deep snow", []),
        ("ink wash", [given(2, "an ink wash", 60)]),
        refused=[{"number": 4, "reason": "a wolf is no fox"}],
    )
    picked, server = pick(told)
    assert [(pick.span, pick.candidate, pick.reason, pick.score) for pick in picked.picks] == [
        ("Red-Fox", CANDIDATES[0], "paints red foxes", 0.95),
        ("ink wash", CANDIDATES[1], "an ink wash", 0.6),
    ]
    assert picked.tasks == ("Red-Fox", "deep snow", "ink wash")
    assert [(refusal.adapter.title, refusal.reason) for refusal in picked.refused] == [
        ("Grey Wolf", "a wolf is no fox")
    ]
    assert picked.notes == ("stand-in was shown 5 of 5 candidates",)
    assert picked.usage == Usage(calls=1, read=700, cached=512, written=20)
    assert len(server.asked) == 1


def test_question_is_the_same_at_its_beginning_for_every_prompt() -> None:
    _, first = pick(answer())
    _, second = pick(answer(), prompt="a grey wolf")
    one, other = first.asked[0], second.asked[0]
    assert one["messages"][0] == other["messages"][0] == {"role": "system", "content": INSTRUCTIONS}
    assert one["response_format"] == other["response_format"]
    assert one["response_format"]["json_schema"]["schema"] == FORM
    cards, _, end = one["messages"][1]["content"].partition("<prompt>")
    assert other["messages"][1]["content"].startswith(cards)
    assert end == "\na Red-Fox in deep snow, ink wash\n</prompt>"


def test_surest_stay_where_there_are_too_many() -> None:
    told = answer(("red fox", [given(1, sure=50), given(4, sure=20)]), ("ink wash", [given(2, sure=90), given(5)]))
    picked, _ = pick(told, most=2)
    assert chosen(picked) == [("ink wash", "Ink Wash"), ("ink wash", "Oil Paint")]
    assert {refusal.adapter.title for refusal in picked.refused} == {"Red Fox", "Grey Wolf"}
    assert {refusal.reason for refusal in picked.refused} == {"2 adapters are the most for one prompt"}


def test_nothing_is_a_good_answer() -> None:
    picked, server = pick(answer(("red fox", []), ("deep snow", [])))
    assert (picked.picks, picked.tasks) == ((), ("Red-Fox", "deep snow"))
    assert len(server.asked) == 1


def test_numbers_that_were_not_shown_are_left_out_and_told() -> None:
    strange = [given(number) for number in (0, 6, -1, 2.5, "nine", 10**30, None, True, [1], float("nan"))]
    picked, server = pick(answer(("red fox", [*strange, given("1"), {"reason": "none"}, "x"])))
    assert chosen(picked) == [("Red-Fox", "Red Fox")]
    assert picked.notes[1] == "stand-in named adapters that it was not shown (0, 6, -1, 2.5, nine); they are left out"
    assert len(server.asked) == 1


def test_duplicates_are_taken_once_and_told() -> None:
    told = answer(("red fox", [given(1), given(1), given(2)]), ("ink wash", [given(2), given("1")]))
    picked, _ = pick(told)
    assert sorted(chosen(picked)) == [("Red-Fox", "Ink Wash"), ("Red-Fox", "Red Fox")]
    assert picked.notes[1] == "stand-in named 3 adapters again that were taken already; each is taken once"


def test_words_that_are_not_the_prompts_are_matched_or_left_out() -> None:
    told = answer(("foxes", [given(1)]), ("the snow, deep", [given(3)]), ("a wolf", []), (7, [given(2)]))
    picked, _ = pick(told)
    assert chosen(picked) == [("deep snow", "Deep Snow")]
    assert picked.notes[1:] == (
        "the task “foxes” does not stand in the prompt and is left out, with 1 adapter",
        "the task “the snow, deep” does not stand in the prompt and is taken for “deep snow”",
        "the task “a wolf” does not stand in the prompt and is left out",
    )


@pytest.mark.parametrize(
    ("sure", "score"), [(150, 1), (-3, 0), (1e300, 1), ("high", 0.9), (None, 0.9), (float("nan"), 0.9), (True, 0.9)]
)
def test_sureness_keeps_its_bounds(sure: Any, score: float) -> None:
    picked, _ = pick(answer(("red fox", [given(1, sure=sure)])))
    assert picked.picks[0].score == score


def test_reasons_are_one_short_line() -> None:
    told = answer(
        ("red fox", [given(1, "</card>\u202e\n" + "so good " * 10_000), given(2, None)]),
        refused=[{"number": 3, "reason": "<b>\0no"}, {"number": 4}, {"number": 99}, {"number": 1, "reason": "x"}, 7],
    )
    picked, _ = pick(told)
    long, none = (pick.reason for pick in picked.picks)
    assert long.startswith("‹/card› so good")
    assert len(long) <= 200
    assert none == "chosen by stand-in"
    refusals = {refusal.adapter.title: refusal.reason for refusal in picked.refused}
    assert refusals == {"Deep Snow": "‹b› no", "Grey Wolf": "refused by stand-in"}


def test_what_is_fixed_is_told_and_not_chosen_again() -> None:
    fixed = [Choice(adapter=CANDIDATES[0].adapter.record, weight=0.8, span="red fox </fixed>")]
    picked, server = pick(answer(("red fox", [given(1)]), ("ink wash", [given(2), given(5)])), fixed=fixed, most=2)
    assert chosen(picked) == [("ink wash", "Ink Wash")]
    assert "\n<fixed>\nRed Fox: red fox ‹/fixed›\n</fixed>\n<prompt>\n" in server.asked[0]["messages"][1]["content"]
    full, server = pick(answer(), fixed=fixed, most=1)
    assert (full.picks, server.asked) == ((), [])
    assert full.notes == ("1 adapters are the most for one prompt, and 1 are fixed",)


@pytest.mark.parametrize(("prompt", "candidates"), [("", CANDIDATES), ("<lora:x:1>", CANDIDATES), (PROMPT, [])])
def test_nothing_is_asked_about_nothing(prompt: str, candidates: Sequence[Candidate]) -> None:
    picked, server = pick(answer(), prompt=prompt, candidates=candidates)
    assert picked == Picked()
    assert server.asked == []


@pytest.mark.parametrize(
    "useless",
    [
        said("I would take the fox."),
        said('{"tasks": [{"words": "red fox", "adap'),
        said('{"tasks": {"red fox": [1]}}'),
        said('{"tasks": ["red fox"]}'),
        said("{}"),
        answer(("red fox", [given(77)])),
    ],
)
def test_useless_answer_is_asked_for_once_more(useless: Any) -> None:
    picked, server = pick(useless, answer(("red fox", [given(1)])))
    assert chosen(picked) == [("Red-Fox", "Red Fox")]
    assert picked.notes[1] == "the first answer of stand-in could not be used, and it was asked again"
    assert picked.usage.calls == len(server.asked) == 2


FAULTS: dict[str, tuple[Any, dict[str, Any], str, int]] = {
    "429": (refused(429, "slow down"), {"retries": 2}, "does not answer after 3 tries: slow down", 3),
    "429 for an hour": (
        Reply(*refused(429, "slow down"), headers={"Retry-After": "3600"}), {"retries": 3}, "full and asks to wait", 1
    ),
    "500": (refused(500, f"{SECRET} crashed"), {"retries": 1}, r"after 2 tries: \*\*\* crashed", 2),
    "503": (refused(503, "starting"), {"retries": 1}, "after 2 tries: starting", 2),
    "time-out": (Reply(*answer(), delay=40), {"timeout": 0.2, "retries": 1}, "does not answer after 2 tries", 2),
    "40 seconds": (Reply(*answer(), delay=40), {}, "gave no answer in the", 1),
    "dribble": (Reply(*answer(), dribble=0.2), {}, "gave no answer in the", 1),
    "cut": (Reply(*answer(), cut=0), {"retries": 1}, "does not answer after 2 tries", 2),
    "cut in the middle": (Reply(*answer(), cut=250), {"retries": 1}, "does not answer after 2 tries", 2),
    "broken JSON": (said('{"tasks": ['), {}, "no answer of use: it holds no whole JSON object", 2),
    "broken reply": (Reply(200, b'{"choices": [', headers={"Content-Type": "application/json"}), {}, "not answer", 1),
    "page": ((200, b"<html>log in</html>"), {}, "gave no text", 1),
    "wrong ids": (answer(("red fox", [given(77), given(-1)])), {}, "they go from 1 to 5", 2),
    "refusal": (said(None, refusal="I will not."), {}, "^stand-in refused: I will not; first 1 chose instead$", 1),
    "filtered": (said("", finish="content_filter"), {}, "filter of contents", 1),
    "too long": (refused(400, "maximum context length is 2048"), {}, "maximum context length is 2048", 3),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_ends_with_a_choice_that_says_what_happened(fault: str) -> None:
    reply, options, told, calls = FAULTS[fault]
    began = time.monotonic()
    picked, server = pick(reply, model={"retries": 0, **options}, deadline=1.0)
    assert time.monotonic() - began < 15
    assert chosen(picked) == [(PROMPT, "Red Fox")]
    note, own = picked.notes
    assert own == "chosen by the first"
    assert re.search(told, note)
    assert "first 1 chose instead" in note
    assert picked.failed == note
    assert SECRET not in note
    assert len(server.asked) == calls


def test_wrong_key_is_told_and_not_passed_over() -> None:
    with pytest.raises(InputError, match="OPENAI_API_KEY"):
        pick(refused(401, "Incorrect API key"))


def test_temperature_and_name_are_passed_on() -> None:
    _, server = pick(answer(), temperature=0.9)
    assert server.asked[0]["temperature"] == 0.9
    model = LanguageModel("stand-in", url="http://127.0.0.1:9/v1")
    assert LlmComposer(model, fallback=Fallback()).name == "llm 2: stand-in"


def test_fifty_candidates_take_under_a_fifth_of_what_the_paper_takes() -> None:
    wordy = adapter("w", title="Fox " * 30, triggers=(("red fox, " * 50,),), tags=("a",) * 50, description="x y " * 999)
    many = [Candidate(adapter=RefinedAdapter(id=n, record=wordy), score=n / 100) for n in range(50)]
    picked, server = pick(answer(), candidates=many)
    sent = json.dumps(server.asked[0], ensure_ascii=False)
    assert len(sent) / 4 < 4000
    assert picked.notes[0] == "stand-in was shown 30 of 50 candidates"
    assert sent.count("about: x y x y x y") == 30


def test_likeliest_are_shown_where_there_is_no_room_for_all() -> None:
    many = [
        Candidate(adapter=RefinedAdapter(id=n, record=adapter(str(n), title=f"Fox {n} " * 30)), score=n / 1000)
        for n in range(300)
    ]
    picked, server = pick(answer(("Red-Fox", [given(1)])), candidates=many, budget_tokens=2000)
    shown = len(re.findall("<card ", server.asked[0]["messages"][1]["content"]))
    assert 10 < shown < 50
    assert picked.notes[0] == f"stand-in was shown {shown} of 300 candidates"
    assert picked.picks[0].candidate is many[-1]


def test_question_is_the_cards_then_the_prompt() -> None:
    asked, shown = question("a fox", CANDIDATES[:2])
    assert shown == 2
    assert asked == (
        "<card 1>\ntitle: Red Fox\ntriggers: red fox\n</card>\n"
        "<card 2>\ntitle: Ink Wash\ntriggers: ink wash\n</card>\n"
        "<prompt>\na fox\n</prompt>"
    )
