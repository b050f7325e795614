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


def every_command(group: Any, before: str = "") -> dict[str, Any]:
    """Return the commands by the words that call them, those of groups within among them."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        words = f"{before}{name}"
        found |= every_command(command, f"{words} ") if hasattr(command, "commands") else {words: command}
    return found


COMMANDS = every_command(typer.main.get_command(app))


def test_commands_within_commands_are_seen() -> None:
    assert {"search", "demo", "playground measure", "playground train"} <= set(COMMANDS)
    assert "playground" not in COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_in_readme_and_reference(name: str) -> None:
    assert re.search(rf"`velatura {name}[ `]", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert f"## velatura {name}\n" in (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def name_of(argument: Any) -> str:
    """Return an argument as the reference has it."""
    return str(argument.name).upper()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_in_the_reference_and_has_help(name: str) -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    section = text.split(f"## velatura {name}\n")[1].split("\n## ")[0]
    for parameter in COMMANDS[name].params:
        if parameter.name == "help":
            continue
        assert getattr(parameter, "help", None), f"{name}: {parameter.name} has no help"
        longest = max(parameter.opts, key=len)
        assert f"`{longest}`" in section if longest.startswith("-") else f"`{name_of(parameter)}`" in section


@pytest.mark.parametrize("name", COMMANDS)
def test_command_shows_its_help(name: str) -> None:
    done = CliRunner().invoke(app, [*name.split(), "--help"])
    assert done.exit_code == 0
    assert (COMMANDS[name].help or "").split(".")[0].split("\n")[0][:40] in re.sub(r"\s+", " ", done.output)


@pytest.mark.parametrize("name", COMMANDS)
def test_command_speaks_json(name: str) -> None:
    assert "--json" in {option for parameter in COMMANDS[name].params for option in parameter.opts}


def test_documents_link_to_files_that_exist() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
