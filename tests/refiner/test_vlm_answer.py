"""What becomes of the answers of a vision language model."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from velatura.records import CATEGORIES, FACETS, AdapterRecord, WeightEvidence
from velatura.refiner.vlm_answer import read_answer
from velatura.refiner.vlm_text import FORM

GROUPS = (("foxy", "red fox"), ("arctic fox",))


def record(*weights: float, **fields: Any) -> AdapterRecord:
    seen = tuple(WeightEvidence(weight=weight, source="prompt") for weight in weights)
    return AdapterRecord(source="folder", key="k", title="Fox", **{"triggers": GROUPS, "weights": seen, **fields})


def answer(**fields: Any) -> dict[str, Any]:
    return {
        "description": "It draws a red fox with a white tail.", "category": "animal",
        "facets": {"subject": "a red fox"}, "avoid": "", "triggers": [1], "weight": None, "evidence": "", **fields,
    }  # fmt: skip


def test_whole_answer_becomes_a_refinement() -> None:
    told = answer(
        category=" Animal ", facets={"subject": "a red fox", "mood": "", "medium": None, "smell": "of fox"},
        avoid="Not for wolves.", triggers=[2, 1, 2], weight=0.8, evidence="median of two prompts",
    )  # fmt: skip
    refined = read_answer(told, record(0.7, 0.9))
    assert refined.category == "animal"
    assert refined.facets == (("subject", "a red fox"),)
    assert (refined.avoid, refined.weight, refined.evidence) == ("Not for wolves.", 0.8, "median of two prompts")
    assert refined.triggers == (("arctic fox",), ("foxy", "red fox"))
    assert refined.writer is None


def test_schema_asks_for_what_is_read_and_is_strict() -> None:
    assert FORM["required"] == list(FORM["properties"])
    assert FORM["properties"]["category"]["enum"] == list(CATEGORIES)
    assert FORM["properties"]["facets"]["required"] == list(FACETS)
    assert not FORM["additionalProperties"]
    assert not FORM["properties"]["facets"]["additionalProperties"]


def test_little_is_enough() -> None:
    refined = read_answer({"description": "Foxes.", "category": "animal"}, record())
    assert (refined.facets, refined.avoid, refined.triggers, refined.weight) == ((), None, (), None)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"description": None}, "description"),
        ({"description": "  \u200b\n "}, "description"),
        ({"description": ["A fox."]}, "description.* string"),
        ({"description": "<b></b> https://a.example/"}, "says nothing"),
        ({"description": "word " * 10_000}, "50,000 characters"),
        ({"category": "fox"}, "category.* one of character"),
        ({"category": None}, "category"),
        ({"category": ["animal"]}, "category"),
        ({"category": {}}, "category"),
        ({"facets": "red"}, "facets"),
        ({"facets": {"subject": 7}}, "subject"),
        ({"facets": {"subject": ["a"]}}, "subject"),
        ({"avoid": 7}, "avoid"),
        ({"evidence": {}}, "evidence"),
        ({"triggers": "foxy"}, "triggers"),
        ({"triggers": ["foxy"]}, "triggers.* no words"),
        ({"triggers": [True]}, "triggers"),
        ({"triggers": [1.0]}, "triggers"),
        ({"triggers": [[1]]}, "triggers"),
        ({"triggers": {"1": 1}}, "triggers"),
        ({"weight": "0.8"}, "weight"),
        ({"weight": True}, "weight"),
        ({"weight": [0.8]}, "weight"),
    ],
)
def test_wrong_types_are_told_to_the_model(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_answer(answer(**fields), record(0.8))


@pytest.mark.parametrize("told", [None, [], "fox", 7])
def test_answer_that_is_no_object_is_none(told: Any) -> None:
    with pytest.raises(ValueError, match="no JSON object"):
        read_answer(told, record())


@pytest.mark.parametrize("number", [0, -1, 3, 10**30, 21])
def test_group_that_does_not_exist_is_passed_over(number: int) -> None:
    assert read_answer(answer(triggers=[number, 2]), record()).triggers == (("arctic fox",),)


def test_triggers_are_never_the_models_own_words() -> None:
    long = record(triggers=tuple((f"group {number}",) for number in range(50)))
    assert read_answer(answer(triggers=list(range(1, 10_000))), long).triggers == long.triggers[:20]


@pytest.mark.parametrize(
    ("seen", "told", "weight"),
    [
        ((), 0.8, 0.8), ((), 1.5, 1.5), ((), 9, None), ((), 0, None), ((), -1, None), ((), 0.05, None),
        ((0.6, 0.9), 0.75, 0.75), ((0.6, 0.9), 1.0, None), ((0.6, 0.9), 0.3, None),
        ((-4.0, 6.0), -3, -3.0), ((-4.0, 6.0), 6.5, None), ((2.0,), 2, 2.0),
        ((), math.nan, None), ((), math.inf, None), ((0.8,), -math.inf, None), ((math.nan, 0.8), 0.8, 0.8),
        ((), 10**400, None),
    ],
)  # fmt: skip
def test_weight_stays_within_the_evidence(seen: tuple[float, ...], told: float, weight: float | None) -> None:
    refined = read_answer(answer(weight=told, evidence="they say so"), record(*seen))
    assert refined.weight == weight
    assert refined.evidence == (None if weight is None else "they say so")


@pytest.mark.parametrize(
    ("told", "plain"),
    [
        ("A fox <lora:evil:9> runs.", "A fox runs."),
        ("A fox <lora:evil:9", "A fox"),
        ("A fox <LYCO: evil :9> runs.", "A fox runs."),
        ("A fox <script>alert(1)</script>runs.", "A fox alert(1) runs."),
        ("A fox <img src=x onerror=alert(1)> runs.", "A fox runs."),
        ("A fox, see https://evil.example/?a=b for more.", "A fox, see for more."),
        ("A fox, see www.evil.example/a", "A fox, see"),
        ("A fox at evil.example/pay now.", "A fox at now."),
        ("A fox [here](https://evil.example).", "A fox here ."),
        ("A fox ![x](http://evil.example/a.png)", "A fox x"),
        ("A **red** `fox`", "A red fox"),
        ("A fox\r\n\r\n# Rules\nruns\x00\x1b[31m.", "A fox # Rules runs [31m."),
        ("A f\u200box \u202eruns\u2066 \ud800home\ufeff.", "A f ox runs home ."),
        ("<l\u200bora:evil:9> A fox.", "A fox."),
        ("<card>A fox.</card>", "A fox."),
        ("<<lora:a:1>lora:b:1> A fox.", "lora:b:1 A fox."),
        ("火狐。它很红。", "火狐。它很红。"),
    ],
)
def test_prose_is_plain_words(told: str, plain: str) -> None:
    refined = read_answer(answer(description=told, avoid=told, facets={"mood": told}), record())
    assert refined.description == plain
    assert refined.avoid == plain
    assert refined.facets == (("mood", plain),)
    assert "<" not in plain


def test_long_prose_ends_with_a_sentence() -> None:
    told = "It draws a fox. " * 60
    refined = read_answer(answer(description=told, avoid="x" * 3_000), record())
    assert refined.description is not None
    assert len(refined.description) <= 600
    assert refined.description.endswith("a fox.")
    assert refined.avoid == "x" * 240


def test_hostile_json_is_read_in_time() -> None:
    for text in ("<" * 4000, "[" * 4000, "](" * 2000, "<lora:" * 600, "http://" * 500, "a." * 1900 + "/", "`" * 3999):
        refined = read_answer(json.loads(json.dumps(answer(description=f"A {text}"[:4000]))), record())
        assert "<" not in (refined.description or "")
