"""A language model asked for JSON, whatever its server makes of that."""

from __future__ import annotations

import importlib.util
import re
from typing import Any

import pytest
from chat_server import chat_server, refused, said

from velatura.errors import InputError, LanguageModelError, LanguageModelRefusal, MissingDependency
from velatura.llm import LanguageModel, usage_of
from velatura.records import Usage

SECRET = "sk-never-shown-0123456789"
FORM = {"type": "object", "properties": {"fox": {"type": "integer"}}}
GOOD = '{"fox": 7}'


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)


def fox(answer: Any) -> int:
    if not isinstance(answer.get("fox"), int):
        raise ValueError('"fox" is no whole number')
    return answer["fox"]


def ask(url: str, **options: Any) -> tuple[int, LanguageModel]:
    model = LanguageModel("stand-in", url=url, **options)
    return model.ask("Count foxes.", "Seven foxes.", FORM, fox), model


def formats(asked: list[dict[str, Any]]) -> list[str | None]:
    return [call.get("response_format", {}).get("type") for call in asked]


def test_good_answer_is_read_and_its_tokens_are_counted() -> None:
    with chat_server(said(GOOD)) as server:
        count, model = ask(server.url)
        assert model.ask("Count foxes.", "Six.", FORM, fox) == count == 7
    assert model.usage == Usage(calls=2, read=1400, cached=1024, written=40)
    call = server.asked[0]
    assert (call["model"], call["temperature"]) == ("stand-in", 0)
    assert call["messages"] == [
        {"role": "system", "content": "Count foxes."},
        {"role": "user", "content": "Seven foxes."},
    ]
    assert call["response_format"]["json_schema"]["schema"] == FORM
    assert server.keys == [f"Bearer {SECRET}"] * 2


@pytest.mark.parametrize(
    "text",
    [
        f"Here you are:\n```json\n{GOOD}\n```\nAnything else?",
        f'<think>{{"fox": 1}}? no</think>{GOOD}',
        f"I would say {{roughly}} {GOOD}",
        f"{GOOD}{GOOD}",
        '{"fox": 7, "all": [1, 2, ], }',
        '{"fox": 7, "why": "</think>{\\"fox\\": 1}"}',
        '<think>it says </think>{"fox": 1} and lies</think>\n```json\n{"fox": 7, "why": "</think>{}"}\n```',
        '<think>it says </think>{"fox": 1} and lies</think>So: {"fox": 7}',
    ],
)
def test_prose_around_the_answer_is_passed_over(text: str) -> None:
    with chat_server(said(text)) as server:
        assert ask(server.url)[0] == 7
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"fox": 7', "no whole JSON object"),
        ("Seven.", "no whole JSON object"),
        ("", "no whole JSON object"),
        ('{"fox": "many"}', '"fox" is no whole number'),
        ("[" * 100_000, "no whole JSON object"),
        ('{"a":' * 100_000, "no whole JSON object"),
    ],
)
def test_useless_answer_is_sent_back_once_with_what_is_wrong(text: str, fault: str) -> None:
    with chat_server(said(text), said(GOOD)) as server:
        count, model = ask(server.url)
    assert (count, model.usage.calls) == (7, 2)
    first, again = server.asked
    assert again["messages"][:2] == first["messages"]
    assert again["messages"][2] == {"role": "assistant", "content": text}
    assert fault in again["messages"][3]["content"]


def test_second_useless_answer_is_an_error() -> None:
    with chat_server(said("Seven.")) as server, pytest.raises(LanguageModelError, match="stand-in gave no answer"):
        ask(server.url)
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    "answer",
    [
        said(None, refusal="I cannot\nhelp with foxes."),
        said(None),
        (200, {"choices": []}),
        (200, {"choices": None}),
        (200, {"choices": [{}]}),
        (200, [1]),
        (200, b"<html>log in first</html>"),
        (200, b""),
    ],
)
def test_no_answer_is_an_error_at_once(answer: tuple[int, Any]) -> None:
    with chat_server(answer) as server, pytest.raises(LanguageModelError) as told:
        ask(server.url)
    assert len(server.asked) == 1
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_full_server_is_asked_again(status: int) -> None:
    with chat_server(refused(status, "busy"), refused(status, "busy"), said(GOOD)) as server:
        count, model = ask(server.url)
    assert (count, len(server.asked), model.usage.calls) == (7, 3, 1)


def test_server_that_stays_full_is_an_error() -> None:
    with chat_server(refused(429, "busy")) as server, pytest.raises(LanguageModelError, match=r"127\.0\.0\.1 .* busy"):
        ask(server.url, retries=2)
    assert len(server.asked) == 3


def test_what_a_server_refuses_is_left_away_and_stays_so() -> None:
    script = [
        refused(400, "'response_format.type' must be 'json_object' or 'text'"),
        refused(400, "Unsupported parameter: 'max_tokens'; use 'max_completion_tokens'"),
        refused(422, "temperature: unsupported value 0"),
        refused(400, "response_format is not supported"),
        said(GOOD),
    ]
    with chat_server(*script) as server:
        _, model = ask(server.url)
        model.ask("Count foxes.", "Six.", FORM, fox)
    assert formats(server.asked) == ["json_schema", *["json_object"] * 3, None, None]
    assert "temperature" not in server.asked[-1]
    assert "max_tokens" not in server.asked[-1]
    assert server.asked[-1]["max_completion_tokens"] > 0


def test_server_with_less_room_than_the_longest_answer_gives_what_it_has() -> None:
    script = [refused(400, "'max_tokens' is too large: 8192. This model's maximum context length is 8192"), said(GOOD)]
    with chat_server(*script) as server:
        _, model = ask(server.url)
        model.ask("Count foxes.", "Six.", FORM, fox)
    assert len(server.asked) == 3
    assert not {"max_tokens", "max_completion_tokens"} & set(server.asked[-1])


def test_call_that_is_refused_in_every_form_is_an_error_and_the_next_begins_anew() -> None:
    script = [refused(400, "the context is too long")] * 3
    with chat_server(*script, said(GOOD)) as server:
        model = LanguageModel("stand-in", url=server.url)
        with pytest.raises(LanguageModelError, match="the context is too long"):
            model.ask("Count foxes.", "x" * 1000, FORM, fox)
        assert model.ask("Count foxes.", "Seven.", FORM, fox) == 7
    assert formats(server.asked) == ["json_schema", "json_object", None, "json_schema"]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_wrong_key_or_model_is_one_sentence_without_the_key(status: int) -> None:
    with (
        chat_server(refused(status, f"Bearer {SECRET}\nis no good")) as server,
        pytest.raises(InputError, match=r"does not give 'stand-in'.*Bearer \*\*\* is no good.*VELATURA_LLM") as told,
    ):
        ask(server.url)
    assert SECRET not in str(told.value)
    assert "\n" not in str(told.value)
    assert told.value.__suppress_context__


def test_no_error_and_no_object_shows_the_key() -> None:
    with chat_server(refused(500, f"{SECRET} overloaded us")) as server:
        model = LanguageModel("stand-in", url=server.url, retries=0)
        with pytest.raises(LanguageModelError, match=re.escape("*** overloaded us")):
            model.ask("Count foxes.", "Seven.", FORM, fox)
    assert SECRET not in repr(model) + repr(model.usage) + str(vars(model))


def test_server_that_is_not_there_is_an_error() -> None:
    with chat_server() as server:
        pass
    with pytest.raises(LanguageModelError, match=r"127\.0\.0\.1 does not answer"):
        ask(server.url, retries=0)


def test_own_server_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with chat_server(said(GOOD)) as server:
        assert ask(server.url)[0] == 7
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert LanguageModel("stand-in").ask("Count foxes.", "Seven.", FORM, fox) == 7
    assert server.keys == ["Bearer none"] * 2


def test_openai_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(InputError, match="set OPENAI_API_KEY"):
        LanguageModel("gpt")


@pytest.mark.parametrize("url", ["localhost:11434", "file:///etc/passwd", "http://", "http://[", "x"])
def test_address_that_is_none_is_told(url: str) -> None:
    with pytest.raises(InputError, match="must begin with http"):
        LanguageModel("stand-in", url=url)


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=re.escape("pip install 'velatura[llm]'")):
        LanguageModel("stand-in")


def test_half_characters_can_be_asked() -> None:
    with chat_server(said('{"fox": "\\ud800"}'), said(GOOD)) as server:
        model = LanguageModel("stand-in", url=server.url)
        assert model.ask("Count foxes.", "half \ud800", FORM, fox) == 7
    assert server.asked[0]["messages"][1]["content"] == "half ?"


JPEG, PNG = b"\xff\xd8\xff fox", b"\x89PNG\r\n\x1a\n fox"


def test_pictures_are_shown_behind_the_words() -> None:
    with chat_server(said(GOOD)) as server:
        model = LanguageModel("stand-in", url=server.url)
        assert model.ask("Count foxes.", "How many?", FORM, fox, pictures=[JPEG, PNG]) == 7
    words, *shown = server.asked[0]["messages"][1]["content"]
    assert words == {"type": "text", "text": "How many?"}
    urls = [part["image_url"]["url"] for part in shown]
    assert urls == ["data:image/jpeg;base64,/9j/IGZveA==", "data:image/png;base64,iVBORw0KGgogZm94"]


def test_picture_of_another_format_is_told() -> None:
    with chat_server(said(GOOD)) as server, pytest.raises(InputError, match="neither JPEG nor PNG"):
        LanguageModel("stand-in", url=server.url).ask("Count.", "How many?", FORM, fox, pictures=[b"GIF89a"])
    assert server.asked == []


def test_body_is_what_is_sent_and_its_reply_is_read_alike() -> None:
    reply = said(GOOD)
    with chat_server(refused(400, "max_tokens: use max_completion_tokens"), reply) as server:
        model = LanguageModel("stand-in", url=server.url, temperature=0.7)
        model.ask("Count foxes.", "How many?", FORM, fox, pictures=[JPEG])
        assert model.body("Count foxes.", "How many?", FORM, [JPEG]) == server.asked[1]
    assert model.read(reply[1], fox) == 7
    assert usage_of(reply[1]) == Usage(calls=1, read=700, cached=512, written=20) == model.usage


@pytest.mark.parametrize("reply", [None, [], "x", {}, {"choices": [None]}, {"choices": [{"message": 1}]}, said("x")[1]])
def test_reply_of_no_use_is_an_error(reply: Any) -> None:
    model = LanguageModel("stand-in", url="http://127.0.0.1:9/v1")
    with pytest.raises(LanguageModelError, match="stand-in gave no"):
        model.read(reply, fox)
    assert usage_of(reply).calls == 1


@pytest.mark.parametrize("usage", [None, 7, [], {"prompt_tokens": "many"}, {"prompt_tokens": -1, "x": 1e400}])
def test_tokens_that_are_told_wrongly_are_not_counted(usage: Any) -> None:
    assert usage_of({"usage": usage}) == Usage(calls=1)


def test_refusal_in_a_reply_is_told_apart() -> None:
    with pytest.raises(LanguageModelRefusal, match="refused: No foxes"):
        LanguageModel("stand-in", url="http://127.0.0.1:9/v1").read(said(None, refusal="No foxes.")[1], fox)


def test_only_the_answer_to_the_last_turn_counts() -> None:
    with chat_server(said("Seven?"), said(GOOD)) as server:
        model = LanguageModel("stand-in", url=server.url)
        assert model.ask("Count foxes.", "How many?", None, fox, then=["As JSON."]) == 7
    last = server.asked[1]
    assert [message["content"] for message in last["messages"]] == ["Count foxes.", "How many?", "Seven?", "As JSON."]
    assert last["response_format"] == {"type": "json_object"}


def test_temperature_of_a_question_goes_before_the_models_and_is_left_away_where_refused() -> None:
    with chat_server(said(GOOD), said(GOOD), refused(400, "temperature is not supported"), said(GOOD)) as server:
        model = LanguageModel("stand-in", url=server.url, temperature=0.3)
        for temperature in (None, 0.9, 0.9):
            model.ask("Count foxes.", "How many?", FORM, fox, temperature=temperature)
    assert [call.get("temperature") for call in server.asked] == [0.3, 0.9, 0.9, None]


def test_client_is_one_of_the_same_server() -> None:
    model = LanguageModel("stand-in", url="http://127.0.0.1:9/v1")
    assert str(model.client.base_url) == "http://127.0.0.1:9/v1/"
    assert model.client is model.client
    model.client.close()
