"""Prompts in any script find what is named in it, by words alone, however the characters are encoded."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from shelf import Given, adapter

from velatura.db import Store, open_store
from velatura.records import Candidate
from velatura.retriever import Retriever

RECORDS = [
    adapter("zh", title="赛博朋克城市", triggers=(("赛博朋克",),), tags=("城市", "霓虹")),
    # Each decoy has characters or words of its neighbour, and is another thing.
    adapter("zh decoy", title="克苏鲁博物馆", triggers=(("博物馆",),), tags=("朋友", "赛马", "市场", "城墙")),
    adapter("ja", title="水墨画スタイル", triggers=(("すいぼくが",),), tags=("和風",)),
    adapter("ja decoy", title="画家のアトリエ", triggers=(("墨汁",),), tags=("水着", "ルーム", "スイカ", "タイヤ")),
    adapter("kana", title="ガンダム ロボット", triggers=(("ガンダム",),)),
    adapter("kana decoy", title="ダンスホール", triggers=(("ムード",),), tags=("ガラス", "ロボ")),
    adapter("ko", title="수묵화 스타일", triggers=(("수묵화풍",),), tags=("동양화",)),
    adapter("ko decoy", title="화수분 상자", triggers=(("묵은지",),), tags=("타일", "스키")),
    adapter("ru", title="Морозная ночь", triggers=(("ёлка в снегу",),), tags=("зима",)),
    adapter("ru decoy", title="Ночь в городе", triggers=(("белая ночь",),), tags=("фонари",)),
    adapter("th", title="ภาพสีน้ำ", triggers=(("สีน้ำ",),), tags=("ศิลปะ",)),
    adapter("th decoy", title="น้ำตก", triggers=(("น้ำตกในป่า",),), tags=("ภาพถ่าย",)),
    adapter("ar", title="مدينة المستقبل", triggers=(("مدينة مستقبلية",),), tags=("خيال علمي",)),
    adapter("ar decoy", title="مدينة قديمة", triggers=(("سوق قديم",),), tags=("تاريخ",)),
    adapter("de", title="Schöne grüne Hügel", triggers=(("grünehügel",),), tags=("Straße",)),
    adapter("de decoy", title="Schöne Stadt", triggers=(("altstadt",),), tags=("Häuser",)),
    adapter("wide", title="Ｎｅｏｎ　Ｔｏｋｙｏ", triggers=(("ｎｅｏｎｔｏｋｙｏ",),), tags=("夜景",)),
    adapter("wide decoy", title="Tokyo Tower", triggers=(("tokyotower",),), tags=("夜桜",)),
]

PROMPTS = [
    ("一座赛博朋克城市，夜晚", "zh"),
    ("赛博朋克，(霓虹:1.2)，高质量", "zh"),
    ("博物馆里的雕像", "zh decoy"),
    ("山の水墨画、霧", "ja"),
    ("すいぼくがの竹林", "ja"),
    ("画家のアトリエ、窓", "ja decoy"),
    ("ガンダムが空を飛ぶ", "kana"),
    ("ｶﾞﾝﾀﾞﾑ, sky", "kana"),
    ("ダンスホールの夜", "kana decoy"),
    ("산의 수묵화, 안개", "ko"),
    ("수묵화풍으로 그린 대나무", "ko"),
    ("묵은지 항아리", "ko decoy"),
    ("морозная ночь в лесу", "ru"),
    ("Елка в снегу, утро", "ru"),
    ("белая ночь, река", "ru decoy"),
    ("วาดแมวด้วยภาพสีน้ำ", "th"),
    ("สีน้ำ, แมว", "th"),
    ("น้ำตกในป่าใหญ่", "th decoy"),
    ("رسم مدينة المستقبل، ليل", "ar"),
    ("مَدِينَة المُسْتَقْبَل", "ar"),
    ("مدينة قديمة عند الفجر", "ar decoy"),
    ("schöne grüne Hügel im Nebel", "de"),
    ("SCHONE GRUNE HUGEL, STRASSE", "de"),
    ("schöne Stadt am Fluss", "de decoy"),
    ("neon tokyo at night", "wide"),
    ("ＮＥＯＮ　ＴＯＫＹＯ，雨", "wide"),
    ("ｎｅｏｎｔｏｋｙｏ", "wide"),
    ("tokyo tower at night", "wide decoy"),
]

SPELLINGS = ["NFC", "NFD", "NFKC", "NFKD"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(tmp_path_factory.mktemp("scripts") / "c.db") as store:
        store.sync(Given(RECORDS))
        yield store


@pytest.fixture(scope="module")
def retriever(store: Store) -> Retriever:
    return Retriever(store)


def first(retriever: Retriever, prompt: str) -> Candidate:
    return retriever.search(prompt)[0]


@pytest.mark.parametrize(("prompt", "key"), PROMPTS)
def test_prompt_finds_what_is_named_in_its_script(retriever: Retriever, prompt: str, key: str) -> None:
    found = first(retriever, prompt)
    assert found.adapter.record.key == key, [one.adapter.record.key for one in retriever.search(prompt)]
    assert found.because


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_encoding_of_the_prompt_makes_no_difference(retriever: Retriever, spelling: str) -> None:
    for prompt, _ in PROMPTS:
        plain = [(one.adapter.record.key, one.score) for one in retriever.search(prompt)]
        respelt = retriever.search(unicodedata.normalize(spelling, prompt))
        assert [(one.adapter.record.key, one.score) for one in respelt] == plain, prompt


def test_encoding_of_the_catalogue_makes_no_difference(tmp_path: Path) -> None:
    def respelt(text: str) -> str:
        return unicodedata.normalize("NFD", text)

    records = [
        adapter(
            record.key,
            title=respelt(record.title),
            triggers=tuple(tuple(map(respelt, group)) for group in record.triggers),
            tags=tuple(map(respelt, record.tags)),
        )
        for record in RECORDS
    ]
    with open_store(tmp_path / "c.db") as store:
        store.sync(Given(records))
        retriever = Retriever(store)
        assert [first(retriever, prompt).adapter.record.key for prompt, _ in PROMPTS] == [key for _, key in PROMPTS]


@pytest.mark.parametrize(
    ("prompt", "phrase"),
    [
        ("赛博朋克，夜晚", "赛 博 朋 克"),
        ("ｶﾞﾝﾀﾞﾑ, sky", "ガ ン ダ ム"),
        ("елка в снегу", "елка в снегу"),
        ("ｎｅｏｎｔｏｋｙｏ", "neontokyo"),
    ],
)
def test_trigger_in_any_script_calls(retriever: Retriever, prompt: str, phrase: str) -> None:
    assert [match.text for match in first(retriever, prompt).matched if match.by == "phrase"] == [phrase]


@pytest.mark.parametrize(
    ("prompt", "key"),
    [
        ('"赛博朋克"', "zh"),
        ('"水墨画"', "ja"),
        ('"수묵화"', "ko"),
        ('"Морозная ночь"', "ru"),
        ('"ｎｅｏｎ ｔｏｋｙｏ"', "wide"),
    ],
)
def test_quoted_phrase_in_any_script_must_stand_there(retriever: Retriever, prompt: str, key: str) -> None:
    found = retriever.search(prompt, quotes=True)
    assert [one.adapter.record.key for one in found] == [key]
