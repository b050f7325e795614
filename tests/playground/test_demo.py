"""The demonstration picks, paints with and without, and shows both; its page holds everything and trusts nothing."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from PIL import Image

from velatura.errors import InputError
from velatura.pipeline import Velatura
from velatura.playground import demo, library
from velatura.playground.demo import PROMPTS, Shown, show
from velatura.playground.page import Section, page
from velatura.records import AdapterRecord, Choice, Composition, Refusal
from velatura.words import words


class Reader(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    return reader


class HashedWords:
    """Embeds a text as the words that it holds, which takes no time."""

    model, revision = "hashed words", "1"

    def embed(self, texts: list[str]) -> np.ndarray:
        rows = np.full((len(texts), 256), 1e-3, np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in words(text):
                row[crc32(word.encode()) % 256] += 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "STEPS", 2)
        patch.setattr(Velatura, "embedder", HashedWords())
        return show(tmp_path_factory.mktemp("demo"), lambda _: None)


def test_prompts_are_a_subject_a_subject_in_a_style_and_nothing_new(shown: Shown) -> None:
    assert tuple(composition.prompt for composition in shown.compositions) == PROMPTS
    picked = [{choice.adapter.file_name for choice in composition.choices} for composition in shown.compositions]
    assert "rubber_duck_v2.safetensors" in picked[0]
    assert {"rocket-retro.safetensors", "cathedral_window.safetensors"} <= picked[1]


def test_sheet_shows_each_prompt_alone_with_its_picks_and_with_others(shown: Shown) -> None:
    with Image.open(shown.sheet) as sheet:
        assert sheet.format == "PNG"
        assert sheet.width > 3 * 192
        assert sheet.height > 3 * 192


def test_page_needs_nothing_beside_it(shown: Shown) -> None:
    reader = read(shown.page.read_text(encoding="utf-8"))
    assert reader.tags.count("img") == 9
    assert reader.sources
    assert all(source.startswith("data:image/png;base64,") for source in reader.sources)
    assert not {"script", "link", "iframe"} & set(reader.tags)
    for composition in shown.compositions:
        assert composition.prompt in reader.text
        for choice in composition.choices:
            assert choice.reason in reader.text


def test_picks_change_the_picture(shown: Shown) -> None:
    alone, picked, _ = re.findall(r"base64,([^\"]+)", shown.page.read_text(encoding="utf-8"))[:3]
    assert alone != picked


def test_another_prompts_picks_are_those_of_the_next_that_has_any() -> None:
    def composed(prompt: str, *names: str) -> Composition:
        choices = tuple(
            Choice(adapter=AdapterRecord(source="folder", key=name, title=name), weight=1, span=name) for name in names
        )
        return Composition(prompt=prompt, choices=choices)

    every = [composed("a", "duck"), composed("b", "rocket"), composed("c")]
    worn = [[choice.span for choice in demo._worn(place, every)[2].choices] for place in range(3)]
    assert worn == [["rocket"], ["duck"], ["duck"]]


def test_demo_without_trained_weights_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "weights_folder", lambda: None)
    with pytest.raises(InputError, match="playground train"):
        show(tmp_path, lambda _: None)


def test_page_escapes_what_strangers_wrote() -> None:
    hostile = '<script>alert(1)</script><img src=x onerror="x">\ud800'
    record = AdapterRecord(source="folder", key="k", title=hostile)
    composition = Composition(
        prompt=hostile,
        choices=(Choice(adapter=record, weight=0.5, span=hostile, triggers=(hostile,), reason=hostile),),
        refused=(Refusal(adapter=record, reason=hostile),),
    )
    picture = Image.new("RGB", (2, 2))
    html = page("t", hostile, [Section(composition=composition, pictures=[(hostile, picture)])])
    reader = read(html)
    assert "script" not in reader.tags
    assert reader.tags.count("img") == 1
    assert reader.text.count("<script>alert(1)</script>") == 9
    html.encode("utf-8")
