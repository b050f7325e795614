"""The examples in Python of the pages for people who build on it run as they stand there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from velatura import Velatura
from velatura.eval.metrics import METRICS
from velatura.playground.library import find_weights, make_library

DOCS = Path(__file__).resolve().parents[2] / "docs"


def examples(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with an indexed library, where words alone find: no sentence model need be read."""
    folder = tmp_path_factory.mktemp("person")
    make_library(find_weights() / "loras", folder / "lib")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("VELATURA_HOME", str(folder))
        patch.setenv("VELATURA_EMBEDDER", str(folder / "none"))
        with Velatura.open(db="lib/catalogue.db") as velatura:
            velatura.index("lib/loras")
        yield folder


@pytest.fixture(scope="module")
def said(person: Path) -> dict[str, list[str]]:
    """What each example of the page on extending printed, by the heading that it stands under."""
    told: dict[str, list[str]] = {}
    names: dict[str, object] = {}
    text = (DOCS / "extending.md").read_text(encoding="utf-8")
    for heading, code in re.findall(r"\n## An? (.*?)\n.*?```python\n(.*?)```", text, re.DOTALL):
        lines = told.setdefault(heading, [])
        names["print"] = lambda *words, lines=lines: lines.append(" ".join(map(str, words)))
        exec(compile(code, f"extending.md, {heading}", "exec"), names)
    METRICS.pop("brightness")  # a row that an example added
    return told


def test_there_is_an_example_for_every_seam(said: dict[str, list[str]]) -> None:
    text = (DOCS / "extending.md").read_text(encoding="utf-8")
    assert list(said) == re.findall(r"^\| \[(.+?)\]\(#an?-", text, re.MULTILINE)
    assert len(said) == len(examples("extending.md")) == 9


@pytest.mark.parametrize(
    ("seam", "lines"),
    [
        ("source", ["1 added", "0 added by the second run", "Paper Lantern"]),
        ("describer", ["34 described", "Something called rocket-retro."]),
        ("text embedder", ["34 embedded", "rocket-retro"]),
        ("index", ["the same rows: True the same scores: True"]),
        ("reranker", ["rubber_duck_v2.safetensors"]),
        ("composer", ["rocket-retro 0.8 the likeliest; weight 0.8: stored for this file"]),
        ("backend", ["swatches/a-rocket-7.png (3, 157, 69)", "swatches/a-rocket-8.png (40, 216, 152)"]),
        ("metric", ["better"]),
        ("judge", ["quality 4 won, 0 lost"]),
    ],
)
def test_example_of_a_seam_says_what_it_should(seam: str, lines: list[str], said: dict[str, list[str]]) -> None:
    assert said[seam] == lines


@pytest.mark.parametrize("page", ["howto/service.md", "api/python.md"])
def test_example_of_a_page_finds_the_rocket(page: str, person: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for code in examples(page):
        exec(compile(code, page, "exec"), {})
    assert "rocket-retro" in capsys.readouterr().out
