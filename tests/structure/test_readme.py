"""The examples in Python that README and documents show run as they stand there."""

from __future__ import annotations

import json
import re
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from velatura.playground import library
from velatura.playground.library import find_weights, make_library

ROOT = Path(__file__).resolve().parents[2]


def examples(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


def run(code: str, page: str) -> None:
    exec(compile(code, page, "exec"), {})


@pytest.fixture
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which a person runs an example."""
    monkeypatch.setattr(library, "STEPS", 2)
    monkeypatch.setenv("VELATURA_STEPS", "2")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_quick_start_runs(person: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = examples("README.md")
    assert len(code.strip().splitlines()) <= 11
    make_library(find_weights() / "loras", person / "demo")
    run(code, "README.md")
    said = capsys.readouterr().out
    assert "Gothic Architecture" in said
    assert "rocket" in said
    assert list((person / "demo").glob("*.png"))


def test_example_of_painting_runs(person: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_library(find_weights() / "loras", person / "demo")
    run(examples("README.md")[0], "README.md")
    capsys.readouterr()
    (code,) = examples("docs/painting.md")
    run(code, "docs/painting.md")
    lines = capsys.readouterr().out.splitlines()
    assert sorted(line.split()[:2] for line in lines) == [[str(n), str(7 + n)] for n in range(4)]
    assert len({line.split(maxsplit=2)[2] for line in lines}) > 1


def test_examples_of_the_playground_run(person: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for code in examples("docs/playground.md"):
        run(code, "docs/playground.md")
    assert "stained glass" in capsys.readouterr().out
    assert len(list((person / "borrowed").glob("*.png"))) == 4
    with Image.open(person / "rocket.png") as picture:
        assert picture.size == (256, 256)


def test_example_of_evaluation_runs(person: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = person / "pictures"
    folder.mkdir()
    lines = []
    for method, number in product(("base", "ours"), range(6)):
        name = f"{method}-{number}.png"
        pixels = np.random.default_rng(number + 100 * (method == "ours")).integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(folder / name)
        lines.append(
            json.dumps({"image": name, "prompt": f"a {['red', 'blue', 'green'][number // 2]} ball", "method": method})
        )
    (folder / "manifest.jsonl").write_text("\n".join(lines))
    shutil.copytree(find_weights() / "evaluator", person / "clip-model")
    (code,) = examples("docs/evaluation.md")
    run(code, "docs/evaluation.md")
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in said[:2]] == [["clip", "base"], ["clip", "ours"]]
    assert said[-1].startswith("ours dfid:clip")
