"""Several servers of one language model: all are used, and none that fails, refuses or listens costs an answer."""

from __future__ import annotations

import json
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from chat_server import Answer, Reply, Script, chat_server, refused, said

from velatura.errors import InputError, LanguageModelUnavailable
from velatura.fleet import EndpointWarning
from velatura.llm import LanguageModel

SHARED, FIRST, SECOND = "sk-shared-key-0123456789", "sk-first-key-abcdefghij", "sk-second-key-klmnopqrst"
FORM = {"type": "object", "properties": {"fox": {"type": "integer"}}}
GOOD = said('{"fox": 7}')


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("OPENAI_API_KEY", SHARED)
    monkeypatch.delenv("VELATURA_LLM_KEYS", raising=False)


def ask(model: LanguageModel, question: str = "7") -> int:
    return model.ask("Count foxes.", question, FORM, lambda answer: int(answer["fox"]))


def ask_all(model: LanguageModel, count: int, workers: int = 32) -> list[int]:
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda number: ask(model, str(number)), range(count)))


def serve(stack: ExitStack, *answers: Answer) -> tuple[list[Script], str]:
    """Open a server for each answer; return them with their addresses."""
    servers = [stack.enter_context(chat_server(answer)) for answer in answers]
    return servers, ", ".join(server.url for server in servers)


def echo(body: dict[str, Any], seconds: float = 0.1) -> Reply:
    return Reply(*said(json.dumps({"fox": int(body["messages"][1]["content"])})), delay=seconds)


def limited(capacity: int, seconds: float) -> Callable[[dict[str, Any]], Reply]:
    """Answer so many at once, and turn others away."""
    room = threading.Semaphore(capacity)

    def answer(body: dict[str, Any]) -> Reply:
        if not room.acquire(blocking=False):
            return Reply(*refused(429, "too many requests"), headers={"Retry-After": "0.2"})
        time.sleep(seconds)
        room.release()
        return echo(body, 0)

    return answer


def test_servers_of_unequal_room_are_all_used_and_no_answer_is_lost() -> None:
    with ExitStack() as stack:
        servers, urls = serve(stack, limited(16, 0.1), limited(4, 0.1), limited(16, 0.1))
        model = LanguageModel("m", url=urls)
        assert ask_all(model, 200) == list(range(200))
    assert model.usage.calls == 200
    asked = [len(server.asked) for server in servers]
    assert min(asked[0], asked[2]) > asked[1] > 0


def test_server_that_dies_in_the_middle_costs_no_answer_and_nothing_is_answered_twice() -> None:
    answered: Counter[str] = Counter()

    def counted(body: dict[str, Any]) -> Reply:
        answered[body["messages"][1]["content"]] += 1
        return echo(body)

    def mortal(body: dict[str, Any]) -> Reply:
        if len(servers[0].asked) > 30:
            return Reply(*GOOD, cut=0)
        return counted(body)

    with ExitStack() as stack:
        servers, urls = serve(stack, mortal, counted, counted)
        model = LanguageModel("m", url=urls)
        assert ask_all(model, 300) == list(range(300))
    assert set(answered.values()) == {1}
    # Those that were under way when it died, and then one at a time, after growing pauses.
    assert 30 < len(servers[0].asked) < 30 + 32 + 8
    assert model.usage.calls == 300


def test_failing_server_is_left_alone_and_tried_again() -> None:
    with ExitStack() as stack:
        servers, urls = serve(stack, echo, echo)
        servers[0].answers[:] = [Reply(*refused(500, "oh"), headers={}), Reply(*refused(500, "oh"), headers={}), echo]
        model = LanguageModel("m", url=urls)
        began = time.monotonic()
        while len(servers[0].asked) < 4:
            assert ask(model) == 7
            assert time.monotonic() - began < 30
    pauses = [later - sooner for sooner, later in zip(servers[0].times, servers[0].times[1:], strict=False)]
    assert pauses[0] > 0.35
    assert pauses[1] > 0.7


def test_full_server_is_not_waited_for_while_another_has_room() -> None:
    full = Reply(*refused(429, "too many requests"), headers={"Retry-After": "3600"})
    with ExitStack() as stack:
        servers, urls = serve(stack, full, GOOD)
        model = LanguageModel("m", url=urls, deadline=20)
        assert [ask(model) for _ in range(4)] == [7] * 4
        servers[1].answers[:] = [full]
        with pytest.raises(
            LanguageModelUnavailable, match=r"127\.0\.0\.1:\d+ is full and asks to wait another 3\d\d\d"
        ):
            ask(model)
    assert len(servers[0].asked) == 1


def test_silent_server_costs_the_first_question_its_time_and_no_other() -> None:
    with ExitStack() as stack:
        servers, urls = serve(stack, Reply(*GOOD, delay=40), GOOD)
        model = LanguageModel("m", url=urls, deadline=1.0)
        with pytest.raises(LanguageModelUnavailable, match=r"gave no answer in the (1|0\.9\d?) s left"):
            ask(model)
        time.sleep(0.6)  # longer than its first pause: one of the next two tries it, and keeps half of its time
        for _ in range(2):
            assert model.ask("Count foxes.", "7", FORM, lambda answer: int(answer["fox"]), deadline=4) == 7
    assert len(servers[0].asked) == 2


def test_when_none_is_there_it_ends_with_one_sentence() -> None:
    with ExitStack() as stack:
        _, urls = serve(stack, GOOD, GOOD)
    with pytest.raises(LanguageModelUnavailable, match=r"127\.0\.0\.1:\d+ does not answer"):
        ask(LanguageModel("m", url=urls, retries=0))


def test_server_of_no_use_is_told_once_and_left_alone() -> None:
    with ExitStack() as stack:
        servers, urls = serve(stack, refused(401, f"{SHARED} is no good"), GOOD)
        model = LanguageModel("m", url=urls)
        with pytest.warns(EndpointWarning, match=r"does not give 'm': \*\*\* is no good; it is left alone for 5 min"):
            assert ask(model) == 7
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert ask(model) == 7
        servers[1].answers[:] = [refused(404, "no such model")]
        for _ in range(2):
            with pytest.raises(InputError, match="no such model; look at"):
                ask(model)
    assert len(servers[0].asked) == 1


def test_each_key_goes_to_its_own_server_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VELATURA_LLM_KEYS", f"{FIRST}, , {SECOND}")
    told = refused(500, f"{FIRST} or {SECOND} or {SHARED}?")
    with ExitStack() as stack:
        servers, urls = serve(stack, told, told, told)
        model = LanguageModel("m", url=urls, retries=0)
        with pytest.raises(LanguageModelUnavailable, match=r"\*\*\* or \*\*\* or \*\*\*") as error:
            ask(model)
    assert [server.keys for server in servers] == [[f"Bearer {FIRST}"], ["Bearer none"], [f"Bearer {SECOND}"]]
    for key in (FIRST, SECOND, SHARED):
        assert key not in str(error.value) + repr(model)


def test_as_many_keys_are_wanted_as_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VELATURA_LLM_KEYS", FIRST)
    with pytest.raises(InputError, match="VELATURA_LLM_KEYS has 1 keys for 2 addresses") as error:
        LanguageModel("m", url="http://127.0.0.1:8001/v1,http://127.0.0.1:8002/v1")
    assert FIRST not in str(error.value)


@pytest.mark.parametrize("urls", ["http://127.0.0.1:1/v1,", "http://127.0.0.1:1/v1,ftp://x", "http://127.0.0.1:77777/"])
def test_every_address_must_be_one(urls: str) -> None:
    with pytest.raises(InputError, match="must begin with http"):
        LanguageModel("m", url=urls)


def test_redirection_is_not_followed() -> None:
    with chat_server(GOOD) as elsewhere:
        away = Reply(307, {}, headers={"Location": f"{elsewhere.url}/chat/completions"})
        with chat_server(away) as server, pytest.raises(Exception, match="does not answer"):
            ask(LanguageModel("m", url=server.url))
    assert elsewhere.asked == []


def test_rate_is_kept_by_every_server() -> None:
    with ExitStack() as stack:
        servers, urls = serve(stack, GOOD, GOOD)
        began = time.monotonic()
        ask_all(LanguageModel("m", url=urls, rate=600), 40)
    for server in servers:
        count = len(server.asked)
        assert count >= 12
        assert server.times[-1] - began > (count - 11.5) / 10  # ten a second, and ten at once
    with chat_server(GOOD) as server:
        model = LanguageModel("m", url=server.url, tokens=720 * 60)
        began = time.monotonic()
        assert [ask(model) for _ in range(4)] == [7] * 4
        assert time.monotonic() - began > 1.5


def test_rate_that_lets_nothing_through_in_time_is_told() -> None:
    with chat_server(GOOD) as server:
        model = LanguageModel("m", url=server.url, rate=0.1)
        ask(model)
        with pytest.raises(LanguageModelUnavailable, match=r"may not be asked for another \d+ s, at the rate"):
            ask(model)
