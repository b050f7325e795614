"""Which texts of an adapter speak for it."""

from __future__ import annotations

from velatura.records import AdapterRecord, Example, RefinedAdapter
from velatura.refiner.passages import digest, passages


def adapter(**fields: object) -> RefinedAdapter:
    return RefinedAdapter(id=1, record=AdapterRecord(source="folder", key="k", title="Ink", **fields))  # type: ignore[arg-type]


def test_card_comes_first_and_names_before_prose() -> None:
    made = passages(adapter(tags=("style",), triggers=(("inkstyle", "wash"),), description="wet brush"))
    assert made == [("card", "Ink\nstyle\ninkstyle, wash\nwet brush")]


def test_prompts_are_plain_words_each_once() -> None:
    examples = tuple(Example(prompt=text) for text in ("(fox:1.2) <lora:x:1>", "fox", "[owl]"))
    assert [text for field, text in passages(adapter(examples=examples)) if field == "prompt"] == ["fox", "owl"]


def test_long_texts_and_many_prompts_are_bounded() -> None:
    examples = tuple(Example(prompt=f"{number} " + "word " * 1000) for number in range(100))
    made = passages(adapter(description="x" * 100_000, examples=examples))
    assert len(made) == 9
    assert max(len(text) for _, text in made) <= 1200


def test_digest_takes_any_text() -> None:
    assert digest("\ud800") != digest("?")
    assert len(digest("")) == 32
