"""A language model asked in words, with what its server can tell beside the answer."""

from __future__ import annotations

import pytest
from chat_server import chat_server, refused, said

from velatura.errors import LanguageModelError, LanguageModelRefusal
from velatura.llm import LanguageModel
from velatura.records import Usage

TELLING = {"logprobs": True, "top_logprobs": 20}


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def ask(model: LanguageModel) -> dict:
    return model.reply("Say yes or no.", "Is it a fox?", longest=4, telling=TELLING)


def test_question_in_words_asks_for_no_json_and_for_what_is_to_be_told() -> None:
    with chat_server(said("Yes")) as server:
        model = LanguageModel("stand-in", url=server.url)
        assert ask(model)["choices"][0]["message"]["content"] == "Yes"
    (call,) = server.asked
    assert "response_format" not in call
    assert {name: call[name] for name in TELLING} == TELLING
    assert (call["max_tokens"], call["temperature"]) == (4, 0)
    assert model.usage == Usage(calls=1, read=700, cached=512, written=20)


def test_limit_takes_its_other_name_and_later_questions_in_json_keep_their_form() -> None:
    answers = refused(400, "use max_completion_tokens"), said("Yes"), said('{"fox": 7}')
    with chat_server(*answers) as server:
        model = LanguageModel("stand-in", url=server.url)
        ask(model)
        assert model.ask("Count.", "?", {"type": "object"}, lambda answer: answer["fox"]) == 7
    _, second, third = server.asked
    assert second["max_completion_tokens"] == 4
    assert "max_tokens" not in second
    assert third["max_completion_tokens"] > 4
    assert third["response_format"]["type"] == "json_schema"


def test_what_the_server_refuses_stands_in_the_error() -> None:
    with chat_server(refused(400, "logprobs is not supported with this model")) as server:
        with pytest.raises(LanguageModelError, match="logprobs is not supported"):
            ask(LanguageModel("stand-in", url=server.url))
        assert len(server.asked) == 1


def test_refusal_to_answer_is_one() -> None:
    with chat_server(said(None, refusal="I can't")) as server, pytest.raises(LanguageModelRefusal, match="I can't"):
        ask(LanguageModel("stand-in", url=server.url))
