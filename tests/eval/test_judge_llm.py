"""A language model as judge, over HTTP; and its answers, kept so that they are paid for once."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from chat_server import Reply, chat_server, refused, said
from injections import INJECTIONS
from judges import StandIn, bright, paint
from PIL import Image

from velatura.errors import InputError
from velatura.eval.judge import LlmJudge, ReplayJudge, Transcripts, hear, pair_up, reach_verdicts
from velatura.eval.judge.records import Answer, Criterion, Hearing
from velatura.eval.judge.templates import FORM, INSTRUCTIONS, question, read_answer
from velatura.eval.records import Sample
from velatura.llm import LanguageModel
from velatura.records import Usage

QUALITY: list[Criterion] = ["quality"]


def told(winner: str, first: int = 2, second: int = 1, **fields: Any) -> tuple[int, Any]:
    return said(json.dumps({"reason": "sharper", "first": first, "second": second, "winner": winner, **fields}))


def brighter(body: dict[str, Any]) -> tuple[int, Any]:
    """Look at the two pictures, as a model would."""
    light = [shown(body, place).getpixel((0, 0))[0] for place in (0, 1)]
    return told("first", 2, 0) if light[0] > light[1] else told("second", 0, 2)


def shown(body: dict[str, Any], place: int) -> Image.Image:
    parts = [part for part in body["messages"][1]["content"] if part["type"] == "image_url"]
    assert len(parts) == 2
    kind, _, data = parts[place]["image_url"]["url"].partition(";base64,")
    assert kind == "data:image/png"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def judged(url: str, folder: Path, samples: tuple[Sample, ...], **options: Any) -> Hearing:
    model = LanguageModel("gpt-4o", url=url, retries=0)
    criteria = options.pop("criteria", QUALITY)
    return hear(LlmJudge(model), pair_up(samples, "stylus", "base", criteria=criteria), folder, **options)


def test_model_is_shown_both_sides_without_names_at_temperature_0(tmp_path: Path) -> None:
    samples = paint(tmp_path, 3)
    with chat_server(brighter) as server:
        hearing = judged(server.url, tmp_path, samples)
    (found,) = reach_verdicts(hearing)
    assert found.pairs.win == 3
    assert found.scores == (2, 0)
    assert hearing.judge in ("llm 1: gpt-4o", "llm 1: gpt-4o at 127.0.0.1")
    assert hearing.usage == Usage(calls=6, read=4200, cached=3072, written=120)
    for body in server.asked:
        assert body["temperature"] == 0
        assert body["response_format"]["json_schema"]["schema"] == FORM
        assert body["messages"][0]["content"] == INSTRUCTIONS["quality"]
        text = json.dumps(body)
        assert not any(word in text for word in ("stylus", "base-", "png-", "p0"))
        assert shown(body, 0).size == shown(body, 1).size == (8, 8)


def test_diversity_is_shown_as_a_sheet_a_side(tmp_path: Path) -> None:
    with chat_server(told("first")) as server:
        judged(server.url, tmp_path, paint(tmp_path, 1, each=5, size=64), criteria=["diversity"])
    (first, second) = (shown(server.asked[0], place) for place in (0, 1))
    assert first.size == second.size == (3 * 64 + 16, 2 * 64 + 8)
    assert "contact sheets" in server.asked[0]["messages"][0]["content"]


@pytest.mark.parametrize(
    "answer",
    [
        told("refused"),
        said(None, refusal="I cannot assist with that"),
        said(None, finish="content_filter"),
        refused(400, "flagged", "content_policy_violation"),
    ],
)
def test_every_way_to_refuse_is_counted_as_a_refusal(tmp_path: Path, answer: Any) -> None:
    with chat_server(answer) as server:
        (found,) = reach_verdicts(judged(server.url, tmp_path, paint(tmp_path, 2)))
    assert found.pairs.refused == 2
    assert found.is_hollow


@pytest.mark.parametrize(
    "text",
    [
        "I think the first is better.",
        "{}",
        '{"winner": "stylus", "first": 1, "second": 2, "reason": ""}',
        '{"winner": ["first"], "first": 1, "second": 2, "reason": ""}',
        '{"winner": "first", "first": 9, "second": 2, "reason": ""}',
        '{"winner": "first", "first": true, "second": 2, "reason": ""}',
        '{"winner": "first", "first": NaN, "second": 2, "reason": ""}',
        '{"winner": "first"',
        "[" * 5000,
        "",
    ],
)
def test_useless_answer_is_asked_for_once_more_and_then_counted(tmp_path: Path, text: str) -> None:
    with chat_server(said(text)) as server:
        hearing = judged(server.url, tmp_path, paint(tmp_path, 1))
    (found,) = reach_verdicts(hearing)
    assert (found.pairs.unusable, found.pairs.asked) == (1, 1)
    assert len(server.asked) == hearing.usage.calls == 4


def test_repaired_answer_counts(tmp_path: Path) -> None:
    with chat_server(said("hm"), told("first"), said("hm"), told("second")) as server:
        (found,) = reach_verdicts(judged(server.url, tmp_path, paint(tmp_path, 1)))
    assert found.pairs.unusable == 0
    assert found.pairs.asked == 1


def test_wrong_key_ends_it_at_once(tmp_path: Path) -> None:
    with chat_server(refused(401, "wrong key")) as server, pytest.raises(InputError):
        judged(server.url, tmp_path, paint(tmp_path, 5))
    assert len(server.asked) == 1


def test_server_that_fails_leaves_pairs_unasked_and_a_later_run_goes_on(tmp_path: Path) -> None:
    samples = paint(tmp_path, 6)
    kept = Transcripts(tmp_path / "judge.jsonl")
    with chat_server(*[brighter] * 4, Reply(503, {})) as server:
        first = judged(server.url, tmp_path, samples, transcripts=kept)
    assert (len(first.trials), len(first.skipped)) == (2, 4)
    assert all(skip.is_unasked for skip in first.skipped)
    with chat_server(brighter) as server:
        second = judged(server.url, tmp_path, samples, transcripts=Transcripts(kept.path))
    assert (len(second.trials), second.kept, second.asked) == (6, 4, 8)


# ---------------------------------------------------------- injections


def test_prompt_of_a_stranger_stays_within_its_fence() -> None:
    for name, prompt in INJECTIONS.items():
        head, body, end, last = question("alignment", prompt).split("\n")
        assert (head, end) == ("<prompt>", "</prompt>"), name
        assert last == "The first picture and the second picture follow.", name
        assert not {"<", ">"} & set(body), name
        assert len(body) <= 2000, name
        assert body.isprintable(), name


def test_what_an_answer_says_can_steer_nothing_but_its_choice() -> None:
    for name, text in INJECTIONS.items():
        with pytest.raises(ValueError, match="winner"):
            read_answer({"reason": "", "first": 1, "second": 1, "winner": text})
        answer = read_answer({"reason": text, "first": 1, "second": 2, "winner": "second", "usage": text})
        assert (answer.choice, answer.scores, answer.usage) == ("second", (1, 2), Usage()), name
        assert len(answer.reason) <= 400, name
        assert answer.reason.isprintable(), name


# ---------------------------------------------------------- transcripts


def test_answers_are_paid_for_once_and_replayed_without_anybody(tmp_path: Path) -> None:
    samples = paint(tmp_path, 5, win=0.6)
    path = tmp_path / "answers" / "judge.jsonl"
    pairings = pair_up(samples, "stylus", "base", criteria=QUALITY)
    first = hear(bright(), pairings, tmp_path, transcripts=Transcripts(path))
    judge = bright()
    second = hear(judge, pairings, tmp_path, transcripts=Transcripts(path))
    assert judge.asked == []
    assert (second.asked, second.kept, second.usage) == (0, 10, Usage())
    kept = Transcripts(path)
    replayed = hear(ReplayJudge(kept), pairings, tmp_path, transcripts=kept, most_calls=0)
    assert replayed.judge == "bright"
    assert reach_verdicts(first) == reach_verdicts(second) == reach_verdicts(replayed)


@pytest.mark.parametrize("change", ["judge", "prompt", "picture", "criterion"])
def test_answers_count_for_the_same_question_alone(tmp_path: Path, change: str) -> None:
    samples = paint(tmp_path, 1)
    kept = Transcripts()
    hear(bright(), pair_up(samples, "stylus", "base", criteria=QUALITY), tmp_path, transcripts=kept)
    judge = StandIn(bright().answers, name="another" if change == "judge" else "bright")
    if change == "prompt":
        samples = tuple(Sample(prompt_id="p0", prompt="a cat", method=s.method, image=s.image) for s in samples)
    if change == "picture":
        Image.new("RGB", (8, 8), "red").save(tmp_path / samples[0].image)
        samples = tuple(Sample(prompt_id="p0", prompt=s.prompt, method=s.method, image=s.image) for s in samples)
    criteria: list[Criterion] = ["alignment"] if change == "criterion" else QUALITY
    hear(judge, pair_up(samples, "stylus", "base", criteria=criteria), tmp_path, transcripts=kept)
    assert len(judge.asked) == 2


def test_useless_answer_is_kept_for_replay_and_asked_for_again_by_a_judge(tmp_path: Path) -> None:
    kept = Transcripts()
    pairings = pair_up(paint(tmp_path, 1), "stylus", "base", criteria=QUALITY)
    hear(StandIn(lambda *_: "unusable", name="bright"), pairings, tmp_path, transcripts=kept)
    replayed = hear(ReplayJudge(kept), pairings, tmp_path, transcripts=kept)
    assert [trial.outcome for trial in replayed.trials] == ["unusable"]
    judge = bright()
    assert hear(judge, pairings, tmp_path, transcripts=kept).trials[0].outcome == "win"
    assert len(judge.asked) == 2


def test_damaged_lines_cost_their_own_answers_alone(tmp_path: Path) -> None:
    path = tmp_path / "judge.jsonl"
    kept = Transcripts(path)
    for key in ("a", "b"):
        kept.keep(key, "bright", "quality", "a fox \udc80", Answer(choice="first", reason="half \udc80", scores=(2, 0)))
    whole = path.read_bytes()
    path.write_bytes(
        b'{"key": 1, "judge": "x", "choice": "first"}\n[]\nnull\n' + b"[" * 3000 + b"\n" + whole
        + b'{"key": "c", "judge": "x", "choice": "both"}\n\xff\xfe\n' + whole[: len(whole) // 3]
    )  # fmt: skip
    found = Transcripts(path)
    assert len(found) == 2
    assert found.damaged == 7
    assert found.find("a") == Answer(choice="first", reason="half \udc80", scores=(2, 0))
    found.keep("d", "bright", "quality", "", Answer(choice="tie"))  # behind a line that a killed process left
    assert Transcripts(path).find("d") == Answer(choice="tie")
    assert len(Transcripts(path)) == 3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scores", [3, 0]),
        ("scores", [-1, 2]),
        ("scores", [10**400, 0]),
        ("usage", {"calls": -1}),
        ("usage", {"calls": 1, "read": -5}),
        ("usage", {"calls": 1, "written": 10**400}),
    ],
)
def test_lines_of_numbers_that_no_judge_gives_are_damaged(tmp_path: Path, field: str, value: object) -> None:
    path = tmp_path / "judge.jsonl"
    kept = Transcripts(path)
    pairings = pair_up(paint(tmp_path, 2), "stylus", "base", criteria=QUALITY)
    hear(bright(), pairings, tmp_path, transcripts=kept)
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[0] = json.dumps(json.loads(lines[0]) | {"scores": [1, 1], field: value})
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = Transcripts(path)
    assert (len(found), found.damaged) == (3, 1)
    (verdict,) = reach_verdicts(hear(ReplayJudge(found), pairings, tmp_path, transcripts=found))
    assert (verdict.pairs.win, verdict.unasked) == (1, 1)


def test_answers_of_another_server_are_not_taken_for_those_of_this_one() -> None:
    @dataclass
    class Model:
        model: str
        host: str

    names = {LlmJudge(Model("gpt-4o", host)).name for host in ("OpenAI", "127.0.0.1")}  # type: ignore[arg-type]
    assert names == {"llm 1: gpt-4o at OpenAI", "llm 1: gpt-4o at 127.0.0.1"}


def test_file_that_holds_something_else_is_refused_and_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("my notes\n")
    with pytest.raises(InputError, match="holds no transcripts"):
        Transcripts(path)
    assert path.read_text() == "my notes\n"
    with pytest.raises(InputError, match="cannot be read"):
        Transcripts(tmp_path)


def test_transcripts_of_several_judges_are_replayed_by_name(tmp_path: Path) -> None:
    kept = Transcripts()
    with pytest.raises(InputError, match="of nobody"):
        ReplayJudge(kept)
    for judge in ("one", "other"):
        kept.keep(judge, judge, "quality", "", Answer(choice="tie"))
    with pytest.raises(InputError, match="of one, other"):
        ReplayJudge(kept)
    pairings = pair_up(paint(tmp_path, 1), "stylus", "base", criteria=QUALITY)
    hearing = hear(ReplayJudge(kept, "other"), pairings, tmp_path, transcripts=kept)
    assert hearing.skipped[0].is_unasked


def test_killed_run_has_kept_what_was_answered(tmp_path: Path) -> None:
    def dying(after: int) -> Callable[..., Any]:
        sees, count = bright(), iter(range(100))

        def answer(*asked: Any) -> Any:
            if next(count) == after:
                raise KeyboardInterrupt
            return sees.answers(*asked)

        return answer

    path = tmp_path / "judge.jsonl"
    pairings = pair_up(paint(tmp_path, 5), "stylus", "base", criteria=QUALITY)
    with pytest.raises(KeyboardInterrupt):
        hear(StandIn(dying(5), name="bright"), pairings, tmp_path, transcripts=Transcripts(path))
    again = hear(bright(), pairings, tmp_path, transcripts=Transcripts(path))
    assert (again.kept, again.asked) == (5, 5)
