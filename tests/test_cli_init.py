"""The command that finds what is here, asks, and writes the settings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import requests
from command_line import Done
from command_line import velatura as command

from velatura.catalog import installs
from velatura.playground.library import weights_folder
from velatura.settings import load_settings

OLLAMA = "http://127.0.0.1:11434/v1"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's home with a ComfyUI in it; its settings lie in `home/own`."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setattr(installs, "_usual_places", lambda home: [home])
    for name in ("INVOKEAI_ROOT", "COMFYUI_PATH", "SD_MODELSDIR", "APPDATA", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "own").mkdir()
    monkeypatch.setenv("VELATURA_HOME", str(tmp_path / "own"))
    comfy = tmp_path / "ComfyUI"
    for name in ("models/loras", "models/checkpoints"):
        (comfy / name).mkdir(parents=True)
    (comfy / "folder_paths.py").write_text("")
    shutil.copy(weights_folder() / "loras" / "cactus.safetensors", comfy / "models" / "loras")
    (comfy / "models" / "checkpoints" / "dream.safetensors").write_bytes(b"x")
    return tmp_path


def init(home: Path, *arguments: object, answers: tuple[str, ...] = (), **environment: str) -> Done:
    stdin = "".join(f"{answer}\n" for answer in answers)
    return command("init", *arguments, home=home, stdin=stdin, **{"VELATURA_HOME": str(home / "own"), **environment})


def loras(home: Path) -> str:
    return str(home / "ComfyUI" / "models" / "loras")


def state(home: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted((home / "ComfyUI").rglob("*")) if path.is_file()}


def test_found_folders_are_taken_without_a_question(home: Path) -> None:
    before = state(home)
    done = init(home, "--yes", "--json")
    assert done.json["written"] == {"folders": [loras(home)]}
    assert done.json["installations"][0]["program"] == "ComfyUI"
    assert load_settings().folders == (loras(home),)
    assert load_settings().model is None
    assert state(home) == before
    assert [line.split()[:2] for line in done.stderr.splitlines()[-3:]] == [
        ["velatura", "index"],
        ["velatura", "search"],
        ["velatura", "compose"],
    ]
    indexed = command("index", "--no-embed", "--json", home=home / "own").json
    assert indexed["indexed"][0]["added"] == 1


def test_answers_become_settings(home: Path) -> None:
    done = init(home, answers=("1", "1", "pg13", "sell", "http://gpu:8000/v1", "qwen", "n"))
    assert done.returncode == 0, done.stderr
    settings = load_settings()
    assert settings.folders == (loras(home),)
    assert settings.model == str(home / "ComfyUI" / "models" / "checkpoints" / "dream.safetensors")
    assert (settings.nsfw, settings.commercial) == (3, "sell")
    assert (settings.llm, settings.llm_url) == ("qwen", "http://gpu:8000/v1")
    assert done.stdout == ""
    assert "1 files" in done.stderr


def test_returns_take_the_defaults_and_index(home: Path) -> None:
    done = init(home, "--json", answers=("",) * 6)
    assert done.json["written"] == {"folders": [loras(home)]}
    assert done.json["indexed"][0]["added"] == 1
    assert "velatura watch" in done.stderr
    assert command("stats", "--json", home=home / "own").json["files"] == 1


def test_checkpoint_is_found_from_every_folder(home: Path) -> None:
    (home / "mine").mkdir()
    done = init(home, answers=("none", "/nowhere/x.safetensors", "mine", "", "", ""))
    assert done.returncode == 0, done.stderr
    assert "there is nothing at /nowhere/x.safetensors" in done.stderr
    assert load_settings().model == str(home / "mine")
    init(home, answers=("none", "nobody/a-model-of-the-hub", "", "", "", "y"))
    assert load_settings().model == "nobody/a-model-of-the-hub"


def test_wrong_answers_are_asked_again(home: Path) -> None:
    (home / "a,b").mkdir()
    answers = ("7", "~/nowhere", f"{home / 'a,b'}", "none", "mild", "all", "never", "none", "ftp://x")
    done = init(home, answers=(*answers, "http://me:secret@host/v1", "http://h/v1?key=1", "none", "n"))
    assert done.returncode == 0, done.stderr
    assert load_settings().folders == (str(home / "a,b"),)
    for sentence in ("does not exist", "'mild'", "never is none of", "begins with http", "with a password"):
        assert sentence.strip("'") in done.stderr
    assert "secret" not in (home / "own" / "settings.toml").read_text()


def test_end_of_the_answers_writes_nothing(home: Path) -> None:
    done = init(home, answers=("all", "none"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "nothing was written" in done.stderr
    assert not (home / "own" / "settings.toml").exists()


def test_own_settings_and_comments_survive(home: Path) -> None:
    path = home / "own" / "settings.toml"
    own = '# mine\nsteps = 12  # enough\nfolders = ["/old"]\nllm = "gpt"\nnsfw = 5\n'
    path.write_text(own)
    done = init(home, answers=("2", "", "", "", "n"))
    assert done.returncode == 1
    assert path.read_text() == own
    done = init(home, answers=("2", "", "", "", "y", "n"))
    assert done.returncode == 0, done.stderr
    assert path.read_text() == own.replace('["/old"]', f'[\n  "{loras(home)}",\n]')
    assert (home / "own" / "settings.toml.bak").read_text() == own
    assert "nsfw = 5" in done.stderr
    assert (load_settings().steps, load_settings().llm) == (12, "gpt")


def test_named_folders_are_the_only_ones(home: Path) -> None:
    (home / "mine").mkdir()
    done = init(home, "--folder", home / "mine", "--yes", "--json", VELATURA_FOLDERS="[]")
    assert done.json["written"] == {"folders": [str(home / "mine")]}
    assert "VELATURA_FOLDERS in the environment goes before" in done.stderr
    done = init(home, "--folder", home / "nowhere", "--yes")
    assert done.returncode == 1
    assert "does not exist" in done.stderr


def test_nothing_found_is_told(home: Path) -> None:
    shutil.rmtree(home / "ComfyUI")
    done = init(home, "--yes")
    assert done.returncode == 1
    assert "--folder" in done.stderr
    assert not (home / "own" / "settings.toml").exists()


def test_broken_settings_are_told_before_a_question(home: Path) -> None:
    (home / "own" / "settings.toml").write_text("steps = ")
    done = init(home)
    assert done.returncode == 1
    assert "not TOML" in done.stderr
    assert "LoRAs" not in done.stderr


class Answer:
    def __init__(self, body: Any) -> None:
        self._body = body

    def json(self) -> Any:
        return json.loads(json.dumps(self._body))


@pytest.mark.parametrize(
    ("body", "answers", "llm"),
    [
        ({"data": [{"id": "llama"}, {"id": "q\x1b[2Jx"}, 3, {"id": "qwen"}]}, ("qwen",), None),
        ({"data": [{"id": "llama"}, {"id": "q\x1b[2Jx"}, {"id": "qwen"}]}, ("other", "qwen"), "qwen"),
        ({"data": None}, (), None),
        ([], (), None),
    ],
)
def test_ollama_is_asked_only_when_it_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch, body: Any, answers: tuple[str, ...], llm: str | None
) -> None:
    asked: list[str] = []

    def get(url: str, **options: Any) -> Answer:
        asked.append(url)
        assert options == {"timeout": 3, "allow_redirects": False}
        return Answer(body)

    monkeypatch.setattr(requests, "get", get)
    assert init(home, answers=("", "", "", "", "none", "n")).returncode == 0
    assert asked == []
    done = init(home, answers=("", "", "", "", "ollama", *answers, "y", "n"))
    assert asked == [f"{OLLAMA}/models"]
    assert "\x1b" not in done.stderr
    assert (load_settings().llm, load_settings().llm_url) == ((llm, OLLAMA) if llm else (None, None))
