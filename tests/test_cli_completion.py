"""Shells complete commands, options and the names that options take."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import velatura as command


def complete(line: str, home: Path) -> set[str]:
    """Return what bash is offered for the last word of a line."""
    words = line.split(" ")
    done = command(home=home, _VELATURA_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1))
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("velatura wat", {"watch"}),
        ("velatura playground lib", {"library"}),
        ("velatura watch --set", {"--settle"}),
        ("velatura compose --fam", {"--family"}),
        ("velatura compose --family pon", {"pony"}),
        ("velatura search --commercial rent", {"rentcivit", "rent"}),
        ("velatura export --to lora", {"lora-manager", "lora-manager-text"}),
        ("velatura generate --backend demo", {"demofusion"}),
        ("velatura generate --dtype b", {"bfloat16"}),
    ],
)
def test_names_are_offered(tmp_path: Path, line: str, offered: set[str]) -> None:
    assert complete(line, tmp_path) == offered


def test_known_checkpoints_are_offered(tmp_path: Path) -> None:
    listed = command("checkpoints", "--json", home=tmp_path).json
    names = {one["name"] for one in listed}
    first = sorted(names)[0]
    assert complete(f"velatura generate --model {first[:2]}", tmp_path) == {
        name for name in names if name.startswith(first[:2])
    }
    assert complete("velatura generate --model ./nothing-of-that", tmp_path) == set()


@pytest.mark.parametrize(
    ("shell", "environment"),
    [
        ("zsh", {"_TYPER_COMPLETE_ARGS": "velatura dup"}),
        ("fish", {"_TYPER_COMPLETE_ARGS": "velatura dup", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
        ("powershell", {"_TYPER_COMPLETE_ARGS": "velatura dup", "_TYPER_COMPLETE_WORD_TO_COMPLETE": "dup"}),
    ],
)
def test_other_shells_are_answered(tmp_path: Path, shell: str, environment: dict[str, str]) -> None:
    done = command(home=tmp_path, _VELATURA_COMPLETE=f"complete_{shell}", **environment)
    assert done.returncode == 0
    assert "duplicates" in done.stdout
    script = command(home=tmp_path, _VELATURA_COMPLETE=f"source_{shell}")
    assert f"complete_{shell}" in script.stdout


def test_bash_completes_and_loads_no_torch(tmp_path: Path) -> None:
    script = command(home=tmp_path, _VELATURA_COMPLETE="source_bash").stdout
    program = tmp_path / "velatura"
    program.write_text(
        f"#!{sys.executable}\nimport atexit, sys\n"
        "atexit.register(lambda: print('torch' in sys.modules, file=open('torch', 'w')))\n"
        "from velatura.cli import main\nmain()\n"
    )
    program.chmod(0o755)
    lines = [
        script,
        "COMP_WORDS=(velatura generate --model sdx) COMP_CWORD=3",
        "_velatura_completion velatura",
        'printf "%s\\n" "${COMPREPLY[@]}"',
    ]
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "VELATURA_HOME": str(tmp_path)}
    done = subprocess.run(
        ["bash", "--norc", "-c", "\n".join(lines)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert all(name.startswith("sdx") for name in done.stdout.split())
    assert done.stdout.split()
    assert (tmp_path / "torch").read_text() == "False\n"
