"""Whatever a language model's server does, a question ends: with an answer, or with one sentence, in its time."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from chat_server import Reply, chat_server, each, refused, said

from velatura.errors import LanguageModelError, LanguageModelRefusal
from velatura.llm import LanguageModel
from velatura.records import Usage

FORM = {"type": "object", "properties": {"fox": {"type": "integer"}}}
GOOD = said('{"fox": 7}')


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-never-shown-0123456789")


def fox(answer: Any) -> int:
    if not isinstance(answer.get("fox"), int):
        raise ValueError('"fox" is no whole number')
    return answer["fox"]


def ask(model: LanguageModel, question: str = "Seven foxes.", **options: Any) -> int:
    return model.ask("Count foxes.", question, FORM, fox, **options)


def question_of(body: dict[str, Any]) -> str:
    return body["messages"][1]["content"]


@contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def busy(wait: str, status: int = 429) -> Reply:
    return Reply(*refused(status, "too many requests"), headers={"Retry-After": wait})


def test_wait_that_a_server_asks_for_is_kept() -> None:
    with chat_server(busy("0.4"), GOOD) as server:
        assert ask(LanguageModel("m", url=server.url)) == 7
    assert server.times[1] - server.times[0] >= 0.4


def test_wait_may_be_a_date() -> None:
    # HTTP dates have whole seconds.
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    with chat_server(busy(date, 503), GOOD) as server:
        assert ask(LanguageModel("m", url=server.url)) == 7
    assert 0.5 < server.times[1] - server.times[0] < 10


@pytest.mark.parametrize("wait", ["soon", "nan", "-7", "", "Thu, 99 Foo 2026", "0"])
def test_wait_that_is_none_stops_nothing(wait: str) -> None:
    with chat_server(busy(wait), GOOD) as server, within(10):
        assert ask(LanguageModel("m", url=server.url)) == 7


@pytest.mark.parametrize("wait", ["3600", "1e300", "inf", "99999999999999999999"])
def test_wait_beyond_the_deadline_ends_every_question_at_once(wait: str) -> None:
    with chat_server(busy(wait)) as server, within(10):
        model = LanguageModel("m", url=server.url, deadline=20)
        for _ in range(2):
            with pytest.raises(LanguageModelError, match=r"is full and asks to wait another 3[56]\d\d s"):
                ask(model)
    assert len(server.asked) == 1


def test_wait_holds_for_others_also_when_the_one_that_was_told_gives_up() -> None:
    with chat_server(busy("0.5"), GOOD) as server:
        model = LanguageModel("m", url=server.url, retries=0)
        with pytest.raises(LanguageModelError, match="too many requests"):
            ask(model)
        assert ask(model) == 7
    assert server.times[1] - server.times[0] >= 0.5


def test_while_one_is_told_to_wait_the_others_wait_too() -> None:
    with chat_server(busy("0.6"), GOOD) as server, ThreadPoolExecutor(16) as pool:
        model = LanguageModel("m", url=server.url)
        first = pool.submit(ask, model)
        while not server.asked:
            time.sleep(0.005)
        time.sleep(0.1)
        others = [pool.submit(ask, model, f"question {number}") for number in range(15)]
        assert [answer.result() for answer in (first, *others)] == [7] * 16
    assert len(server.asked) == 17
    assert min(server.times[1:]) - server.times[0] >= 0.6


def test_full_server_that_serves_others_is_asked_on() -> None:
    room = threading.Semaphore(2)

    def limited(_: dict[str, Any]) -> Any:
        if not room.acquire(blocking=False):
            return busy("0.2")
        threading.Timer(0.1, room.release).start()
        return GOOD

    with chat_server(limited) as server, ThreadPoolExecutor(32) as pool:
        model = LanguageModel("m", url=server.url, retries=1)
        assert list(pool.map(lambda number: ask(model, str(number)), range(32))) == [7] * 32
    tries = Counter(str(question["messages"]) for question in server.asked)
    assert max(tries.values()) > 2


def test_pauses_grow_where_none_is_asked_for() -> None:
    failed = Reply(*refused(500, "oh"), headers={})
    with chat_server(failed, failed, GOOD) as server:
        assert ask(LanguageModel("m", url=server.url)) == 7
    first, second = server.times[1] - server.times[0], server.times[2] - server.times[1]
    assert 0.35 < first < second < 6


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 529])
def test_server_that_stays_so_is_an_error_after_the_retries(status: int) -> None:
    with (
        chat_server(refused(status, "not now")) as server,
        pytest.raises(LanguageModelError, match=r"127\.0\.0\.1 does not answer after 3 tries: not now"),
    ):
        ask(LanguageModel("m", url=server.url, retries=2))
    assert len(server.asked) == 3


def test_account_without_money_is_not_asked_again() -> None:
    with (
        chat_server(refused(429, "You exceeded your current quota", "insufficient_quota")) as server,
        pytest.raises(LanguageModelError, match="exceeded your current quota"),
    ):
        ask(LanguageModel("m", url=server.url))
    assert len(server.asked) == 1


@pytest.mark.parametrize("cut", [0, 12, 80, 300])
def test_cut_connection_is_tried_again(cut: int) -> None:
    with chat_server(Reply(*GOOD, cut=cut), GOOD) as server:
        assert ask(LanguageModel("m", url=server.url)) == 7
    assert len(server.asked) == 2


def test_connection_that_is_always_cut_is_an_error() -> None:
    with chat_server(Reply(*GOOD, cut=0)) as server, pytest.raises(LanguageModelError, match="does not answer after 2"):
        ask(LanguageModel("m", url=server.url, retries=1))


def test_silence_is_tried_again() -> None:
    with chat_server(Reply(*GOOD, delay=40), GOOD) as server, within(15):
        assert ask(LanguageModel("m", url=server.url, timeout=0.3)) == 7
    assert len(server.asked) == 2


def test_silence_that_lasts_is_an_error() -> None:
    with chat_server(Reply(*GOOD, delay=40)) as server, within(15), pytest.raises(LanguageModelError, match="after 2"):
        ask(LanguageModel("m", url=server.url, timeout=0.2, retries=1))


@pytest.mark.parametrize(
    "slow",
    [
        Reply(*GOOD, delay=40),
        Reply(*GOOD, dribble=0.1),
        Reply(*GOOD, dribble=0.1, whole=0),
        Reply(200, {"choices": "x" * 10_000_000}, dribble=0.05),
    ],
    ids=["40 seconds", "body byte by byte", "head byte by byte", "huge"],
)
def test_slow_answer_ends_at_the_deadline(slow: Reply) -> None:
    with chat_server(slow, GOOD) as server:
        model = LanguageModel("m", url=server.url, deadline=0.7)
        with (
            within(10),
            pytest.raises(LanguageModelError, match=r"127\.0\.0\.1 gave no answer in the 0\.\d+ s left"),
        ):
            ask(model)
        assert ask(model, deadline=60) == 7
    assert len(server.asked) == 2


def test_deadline_holds_for_pauses_and_the_second_answer_too() -> None:
    slow = Reply(*said("Seven."), delay=0.4)
    with chat_server(slow) as server, within(10), pytest.raises(LanguageModelError, match="gave no answer in the"):
        ask(LanguageModel("m", url=server.url), deadline=0.6)
    assert len(server.asked) == 2
    failed = Reply(*refused(500, "oh dear"), headers={})
    with chat_server(failed) as server, within(10), pytest.raises(LanguageModelError, match="oh dear"):
        ask(LanguageModel("m", url=server.url, retries=100), deadline=1)


@pytest.mark.parametrize(
    "answer",
    [
        said(None, refusal="I cannot help with foxes."),
        said('{"fox": 7', finish="content_filter"),
        said(None, finish="content_filter"),
        refused(400, "flagged", "content_policy_violation"),
        refused(400, "The response was filtered", "content_filter"),
    ],
)
def test_refusal_is_told_apart_and_not_asked_again(answer: Any) -> None:
    with chat_server(answer) as server, pytest.raises(LanguageModelRefusal, match="refuse"):
        ask(LanguageModel("m", url=server.url))
    assert len(server.asked) == 1


def test_answer_that_was_cut_off_is_asked_for_more_briefly() -> None:
    with chat_server(said('{"fox": 7, "why": "because', finish="length"), GOOD) as server:
        assert ask(LanguageModel("m", url=server.url)) == 7
    assert "be briefer" in server.asked[1]["messages"][3]["content"]


def test_64_threads_get_their_own_answers_at_the_same_time() -> None:
    def echo(body: dict[str, Any]) -> Any:
        return Reply(*said(json.dumps({"fox": int(question_of(body).split()[0])})), delay=0.2)

    with chat_server(echo) as server, ThreadPoolExecutor(64) as pool:
        model = LanguageModel("m", url=server.url)
        ask(model, "0 foxes")
        with within(15):  # 51 s one after another
            answers = list(pool.map(lambda number: ask(model, f"{number} foxes"), range(256)))
    assert answers == list(range(256))
    assert model.usage == Usage(calls=257, read=257 * 700, cached=257 * 512, written=257 * 20)
    assert server.at_once > 8
    assert server.connections <= 64


def test_faults_of_one_question_leave_the_others_alone() -> None:
    answers = each(question_of, refused(503, "oh"), Reply(*GOOD, cut=0), said("Seven."), GOOD)
    with chat_server(answers) as server, ThreadPoolExecutor(16) as pool:
        model = LanguageModel("m", url=server.url)
        assert list(pool.map(lambda number: ask(model, str(number)), range(32))) == [7] * 32
    assert len(server.asked) == 32 * 4
    assert model.usage.calls == 32 * 2


def test_tokens_of_each_question_are_told_also_when_it_fails() -> None:
    with chat_server(each(question_of, said("Seven."), GOOD)) as server, ThreadPoolExecutor(8) as pool:
        model = LanguageModel("m", url=server.url)
        told = list(pool.map(lambda n: model.ask_counted("Count foxes.", str(n), FORM, fox), range(16)))
    assert told == [(7, Usage(calls=2, read=1400, cached=1024, written=40))] * 16
    spent: list[Usage] = []
    with chat_server(said("Seven.")) as server, pytest.raises(LanguageModelError):
        ask(LanguageModel("m", url=server.url), count=spent.append)
    assert [usage.calls for usage in spent] == [1, 1]
