"""Where a setting's value comes from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from velatura.errors import InputError
from velatura.settings import default_settings, explain, home, load_settings


def write(text: str) -> None:
    (home() / "settings.toml").write_text(text)


def test_flag_beats_environment_beats_file_beats_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().steps is None
    write("steps = 3\nguidance = 2.5")
    assert (load_settings().steps, load_settings().guidance) == (3, 2.5)
    monkeypatch.setenv("VELATURA_STEPS", "4")
    assert load_settings().steps == 4
    assert load_settings(steps=5).steps == 5
    assert load_settings(steps=None).steps == 4


def test_catalogue_lies_in_the_home_folder() -> None:
    assert Path(load_settings().db) == Path(os.environ["VELATURA_HOME"]) / "catalogue.db"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("steps = 0", "setting steps: "), ("colour = 1", "setting colour: "), ("steps = ", "settings.toml is not TOML")],
)
def test_wrong_value_is_told_with_its_place(text: str, sentence: str) -> None:
    write(text)
    with pytest.raises(InputError, match=sentence) as told:
        load_settings()
    assert "settings.toml" in str(told.value)


def test_every_setting_says_where_it_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    write("steps = 3")
    monkeypatch.setenv("VELATURA_GUIDANCE", "2")
    origins = {setting.name: setting.origin for setting in explain()}
    assert origins["steps"].startswith("file, ")
    assert origins["guidance"] == "environment, VELATURA_GUIDANCE"
    assert origins["backend"] == "default"


def test_default_settings_ask_neither_environment_nor_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VELATURA_MOST", "1")
    (home() / "settings.toml").write_text("steps = 3\n")
    settings = default_settings(db="a.db")
    assert (settings.db, settings.most, settings.steps) == ("a.db", 3, None)
