"""How texts are cut into words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velatura.db import full_text
from velatura.db.words import COLUMNS, LONGEST, texts
from velatura.records import AdapterRecord, Example
from velatura.words import words


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("", []),
        ("!!! ... ___", []),
        ("Add_Detail v1.0", ["add", "detail", "v1", "0"]),
        ("don't (best quality:1.2)", ["don", "t", "best", "quality", "1", "2"]),
        ("Naïve café Ångström e\u0301x", ["naive", "cafe", "angstrom", "ex"]),
        ("Straße İstanbul", ["strasse", "istanbul"]),
        ("Рыжий ёж", ["рыжии", "еж"]),
        ("ΚΌΣΜΟΣ", ["κοσμοσ"]),
        ("细节LoRA调整", ["细", "节", "lora", "调", "整"]),
        ("きつね 한국어", ["き", "つ", "ね", "한", "국", "어"]),
        ("हिन्दी", ["हिन्दी"]),
        ("ﬁne Ａ１ ①", ["fine", "a1", "1"]),
        ("a\0b\ud800c\u00a0d🦊e\u200bf", ["a", "b", "c", "d", "e", "f"]),
    ],
)
def test_words_of_every_script(text: str, cut: list[str]):
    assert words(text) == cut


@given(st.text())
def test_what_is_cut_is_cut_once_and_for_all(text: str):
    joined = " ".join(words(text))
    assert words(joined) == words(" ".join(words(joined)))
    joined.encode()
    assert '"' not in joined


def test_each_column_holds_its_words():
    record = AdapterRecord(
        source="civitai",
        key="1/2/3",
        title="Red Fox",
        version_name="v2",
        file_name="sub\\red_fox.safetensors",
        creator="Ann",
        triggers=(("rfox", "fur"), ("rfox2",)),
        tags=("animal",),
        training_tags=(("whiskers", 3),),
        description="A card.",
        notes="My note",
        examples=(
            Example(prompt="a fox <lora:kangel_v10:0.8>, (snow:1.3)"),
            Example(prompt=None),
            Example(prompt="a fox <lora:kangel_v10:0.8>, (snow:1.3)"),
        ),
    )
    assert dict(zip(COLUMNS, texts(record, "Written words"), strict=True)) == {
        "title": "red fox",
        "triggers": "rfox fur rfox2",
        "tags": "animal whiskers",
        "description": "a card my note written words",
        "prompts": "a fox snow",
        "names": "v2 red fox ann",
    }


def test_a_text_without_end_is_searchable_as_far_as_an_honest_one_goes():
    record = AdapterRecord(source="folder", key="a", title="x " * LONGEST)
    assert len(texts(record, None)[0]) <= LONGEST


def test_phrases_of_a_query_are_bounded():
    assert len(full_text.phrases([f"word{number}" for number in range(10_000)])) == 512
