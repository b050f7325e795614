"""Whatever is the same in two questions of a kind stands before all that is not, so that servers read it once."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from chat_server import chat_server, refused
from PIL import Image
from shelf import adapter

from velatura.composer import BuiltinComposer, LlmComposer, StylusComposer
from velatura.errors import LanguageModelError
from velatura.eval.judge.judges import LlmJudge
from velatura.eval.judge.records import Exhibit
from velatura.llm import LanguageModel
from velatura.records import Candidate, Example, RefinedAdapter
from velatura.refiner.interrogate_llm import LlmInterrogator
from velatura.refiner.vlm import VlmDescriber
from velatura.retriever.llm_rerank import LlmReranker

EXAMPLES = tuple(Example(prompt=f"prompt {number}") for number in range(3))


def refined(title: str) -> RefinedAdapter:
    return RefinedAdapter(id=1, record=adapter(title, title=title, description=f"about {title}", examples=EXAMPLES))


def candidates(*titles: str) -> list[Candidate]:
    return [Candidate(adapter=refined(title), score=0.9) for title in titles]


def exhibits(colour: str) -> list[Exhibit]:
    return [Exhibit(digest=colour, open=lambda: Image.new("RGB", (8, 8), colour))]


def composer(model: LanguageModel) -> None:
    made = LlmComposer(model, fallback=BuiltinComposer(among=10))
    made.pick("a red fox", candidates("fox", "snow"))
    made.pick("two grey wolves at night", candidates("wolf", "night", "moon"))


def stylus(model: LanguageModel) -> None:
    StylusComposer(model).pick("a red fox", candidates("fox", "snow"))
    StylusComposer(model).pick("two grey wolves", candidates("wolf"))


def reranker(model: LanguageModel) -> None:
    LlmReranker(model).score("a red fox", [refined("fox"), refined("snow")])
    LlmReranker(model).score("two grey wolves", [refined("wolf")])


def describer(model: LanguageModel) -> None:
    for title in ("fox", "wolf"):
        with pytest.raises(LanguageModelError):
            VlmDescriber(model).describe(refined(title))


def judge(model: LanguageModel) -> None:
    for prompt, one, other in (("a red fox", "red", "white"), ("two grey wolves", "grey", "black")):
        with pytest.raises(LanguageModelError):
            LlmJudge(model).choose("alignment", prompt, exhibits(one), exhibits(other))


def interrogator(model: LanguageModel) -> None:
    for colour in ("red", "grey"):
        with pytest.raises(LanguageModelError):
            LlmInterrogator(model).interrogate(Image.new("RGB", (8, 8), colour))


def rendered(body: dict[str, Any]) -> str:
    """Return the messages as a server's template puts them together: one after the other."""
    texts = []
    for message in body["messages"]:
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        texts += [f"<|{message['role']}|>", *(part.get("text") or part["image_url"]["url"] for part in parts)]
    return "".join(texts)


@pytest.mark.filterwarnings("ignore::velatura.retriever.llm_rerank.RerankingWarning")
@pytest.mark.parametrize(
    ("task", "opening"),
    [
        (composer, "<card 1>\n"),
        (reranker, '<card number="1">\n'),
        (describer, "<card>\ntitle: "),
        (judge, "<prompt>\n"),
        (interrogator, "Which prompt would paint this picture?data:image/"),
        (stylus, "<card>\nIndex: 0\nTitle: "),
    ],
)
def test_two_questions_differ_only_behind_what_they_share(task: Callable[[LanguageModel], None], opening: str) -> None:
    with chat_server(refused(418, "no")) as server:
        task(LanguageModel("m", url=server.url))
    first, second = server.asked
    shared = f"<|system|>{first['messages'][0]['content']}<|user|>{opening}"
    assert rendered(first) != rendered(second)
    assert rendered(first).startswith(shared)
    assert rendered(second).startswith(shared)
    # The schema is compiled once where it is the same to the byte.
    kept = [{name: value for name, value in body.items() if name != "messages"} for body in (first, second)]
    assert json.dumps(kept[0]) == json.dumps(kept[1])
