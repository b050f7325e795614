"""The README's quick start runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from velatura.playground.demo import make_files

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def test_quick_start_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]
    assert len(code.strip().splitlines()) <= 11
    make_files(tmp_path / "demo")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    said = capsys.readouterr().out
    assert "Red Fox" in said
    assert "Ink Wash" in said
    assert list((tmp_path / "demo").glob("*.png"))
