"""The commands of docs/server.md run as they stand there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "server.md"
LACKING = [tool for tool in ("bash", "curl", "jq") if shutil.which(tool) is None]


@pytest.mark.skipif(bool(LACKING), reason=f"not installed: {', '.join(LACKING)}")
def test_the_commands_of_the_page_run(served: Any, tmp_path: Path) -> None:
    commands = re.findall(r"<!-- run -->\n```\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(commands) >= 6
    said = []
    for command in commands:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command.replace("http://127.0.0.1:7870", served.url)],
            cwd=tmp_path, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert '"error":{' not in done.stdout
        said.append(done.stdout)
    assert "rocket-retro" in said[0]
    assert "<lora:" in said[2]
    assert json.loads((tmp_path / "composition.json").read_text())["choices"]
    assert json.loads((tmp_path / "done.json").read_text())["state"] == "done"
    [picture] = tmp_path.glob("*.png")
    with Image.open(picture) as opened:
        assert opened.size == (32, 32)
    assert "velatura_pictures_total" in said[-1]


def test_the_limits_of_the_page_are_the_settings_own() -> None:
    from velatura.settings import default_settings

    settings = default_settings()
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == 6
    for name, value in rows:
        assert getattr(settings, name) == int(value)
