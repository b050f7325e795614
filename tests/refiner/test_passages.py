"""Which texts of an adapter speak for it."""

from __future__ import annotations

from velatura.records import AdapterRecord, Example, RefinedAdapter, Refinement
from velatura.refiner.passages import digest, passages


def adapter(**fields: object) -> RefinedAdapter:
    return RefinedAdapter(id=1, record=AdapterRecord(source="folder", key="k", title="Ink", **fields))  # type: ignore[arg-type]


def test_card_comes_first_and_names_before_prose() -> None:
    made = passages(adapter(tags=("style",), triggers=(("inkstyle", "wash"),), description="wet brush"))
    assert made == [("card", "Ink\nstyle\ninkstyle, wash\nwet brush")]


def test_what_a_describer_says_stands_before_the_page_but_not_what_it_is_not_for() -> None:
    refinement = Refinement(
        description="black brush strokes",
        category="style",
        facets=(("medium", "ink"), ("mood", "calm")),
        avoid="photos",
    )
    plain = adapter(tags=("art",), description="wet brush")
    made = passages(RefinedAdapter(id=1, record=plain.record, refinement=refinement))
    assert made == [("card", "Ink\nart\nblack brush strokes\nstyle, ink, calm\nwet brush")]
    empty = RefinedAdapter(id=1, record=plain.record, refinement=Refinement(avoid="photos", writer="me"))
    assert passages(empty) == passages(plain)


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
