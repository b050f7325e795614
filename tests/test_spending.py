"""Money for a language model: what is spent, what is under way, and nothing beyond."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from chat_server import Reply, chat_server, said
from shelf import Given, adapter

from velatura import wiring
from velatura.composer import BuiltinComposer, LlmComposer
from velatura.db import open_store
from velatura.errors import InputError, LanguageModelSpent
from velatura.llm import LanguageModel
from velatura.records import Candidate, RefinedAdapter, Usage
from velatura.refiner.refine import refine
from velatura.refiner.vlm import VlmDescriber
from velatura.settings import default_settings
from velatura.spending import Purse

ANSWER = Reply(*said('{"fox": 7}'), delay=0.1)
"""It reads 700 tokens and writes 20."""


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("OPENAI_API_KEY", "none")


def ask(model: LanguageModel, question: str = "Seven foxes.") -> int:
    return model.ask("Count foxes.", question, {"type": "object"}, lambda answer: answer["fox"])


def test_what_is_under_way_counts_before_it_is_known() -> None:
    purse = Purse(1.0, read=1e6, written=0)
    first = purse.begin(1)
    with pytest.raises(LanguageModelSpent, match=r"spent: 0 of 1, and 1 more are under way; VELATURA_LLM_SPEND"):
        purse.begin(1)
    purse.end(first, None)
    purse.end(purse.begin(0), Usage(calls=1, read=1))
    with pytest.raises(LanguageModelSpent, match="spent: 1 of 1; "):
        purse.begin(0)
    assert purse.spent == 1.0


def test_many_at_once_stop_where_the_money_does() -> None:
    with chat_server(ANSWER) as server, ThreadPoolExecutor(32) as pool:
        purse = Purse(7200, read=1e6, written=1e6)  # ten answers
        model = LanguageModel("m", url=server.url, purse=purse)
        long = "fox " * 680  # about as many tokens as the server says that it read
        asked = [pool.submit(ask, model, long) for _ in range(64)]
        ended = [future.exception() for future in asked]
    answered = ended.count(None)
    assert {type(error) for error in ended if error} == {LanguageModelSpent}
    assert 7 <= answered == len(server.asked) <= 11
    assert purse.spent == answered * 720


def test_server_that_does_not_tell_is_paid_by_what_was_sent() -> None:
    silent = 200, {**said('{"fox": 7}')[1], "usage": None}
    with chat_server(silent) as server:
        purse = Purse(1e9, read=1e6, written=0)
        ask(LanguageModel("m", url=server.url, purse=purse), "x" * 4000)
    assert 1000 <= purse.spent < 1010


def test_server_that_tells_of_more_tokens_than_there_are_is_paid_and_not_asked_again() -> None:
    told = {"prompt_tokens": 10**400, "completion_tokens": 20}
    with chat_server((200, {**said('{"fox": 7}')[1], "usage": told})) as server:
        model = LanguageModel("m", url=server.url, purse=Purse(1.0, read=1e6, written=0), tokens=1e12)
        assert ask(model) == 7
        assert model.usage.read == 10**9
        with pytest.raises(LanguageModelSpent):
            ask(model)


def test_refining_stops_with_one_sentence_and_keeps_what_was_done(tmp_path: Path) -> None:
    described: dict[str, Any] = {
        "description": "It draws a fox.", "category": "animal", "facets": {}, "avoid": "", "triggers": [],
        "weight": None, "evidence": "",
    }  # fmt: skip
    with chat_server(said(json.dumps(described))) as server, open_store(tmp_path / "c.db") as store:
        store.sync(Given([adapter(f"Fox {number}") for number in range(12)]))
        model = LanguageModel("eye", url=server.url, purse=Purse(3000, read=1e6, written=0))
        report = refine(store, VlmDescriber(model))
        assert report.stopped is not None
        assert report.stopped.startswith("the money for the language model is spent: 3500 of 3000")
        assert (report.asked, len(server.asked)) == (5, 5)
        assert len(store.stale_refinements("vlm 1 eye")) == 7


def test_composing_goes_on_by_rules_and_says_so() -> None:
    red = RefinedAdapter(id=1, record=adapter("Red Fox", triggers=(("red fox",),)))
    with chat_server(ANSWER) as server:
        model = LanguageModel("m", url=server.url, purse=Purse(0, read=1, written=1))
        picked = LlmComposer(model, fallback=BuiltinComposer(among=1)).pick(
            "a red fox", [Candidate(adapter=red, score=0.9)]
        )
    assert picked.failed is not None
    assert "chose instead: the money for the language model is spent: 0 of 0" in picked.notes[0]
    assert server.asked == []


def test_money_is_the_processes_and_wants_prices() -> None:
    given = {"llm": "m", "llm_url": "http://127.0.0.1:9/v1", "llm_spend": 0.5}
    with pytest.raises(InputError, match="set VELATURA_PRICE_READ and VELATURA_PRICE_WRITTEN"):
        wiring.open_language_model(default_settings(**given, price_read=1.0))
    assert wiring._purse(0.5, 1.0, 2.0) is wiring._purse(0.5, 1.0, 2.0)
    model = wiring.open_language_model(default_settings(**{**given, "llm_spend": 0.0}, price_read=1.0, price_written=1))
    with pytest.raises(LanguageModelSpent, match="spent: 0 of 0"):
        ask(model)
