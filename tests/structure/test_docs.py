"""Every command is in the documents, has help, and speaks JSON."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from velatura.cli import app

ROOT = Path(__file__).resolve().parents[2]
COMMANDS: dict[str, Any] = dict(typer.main.get_command(app).commands)


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_in_readme_and_reference(name: str) -> None:
    assert f"`velatura {name}" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"## velatura {name}\n" in (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_in_the_reference_and_has_help(name: str) -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    section = text.split(f"## velatura {name}\n")[1].split("\n## ")[0]
    for parameter in COMMANDS[name].params:
        if parameter.name == "help":
            continue
        assert getattr(parameter, "help", None), f"{name}: {parameter.name} has no help"
        longest = max(parameter.opts, key=len)
        assert (longest if longest.startswith("-") else str(parameter.name).upper()) in section


@pytest.mark.parametrize("name", COMMANDS)
def test_command_shows_its_help(name: str) -> None:
    done = CliRunner().invoke(app, [name, "--help"])
    assert done.exit_code == 0
    assert (COMMANDS[name].help or "").split(".")[0].split("\n")[0][:40] in re.sub(r"\s+", " ", done.output)


@pytest.mark.parametrize("name", COMMANDS)
def test_command_speaks_json(name: str) -> None:
    assert "--json" in {option for parameter in COMMANDS[name].params for option in parameter.opts}


def test_documents_link_to_files_that_exist() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
