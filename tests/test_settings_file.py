"""Settings are put into a file that its owner also writes in."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from velatura.errors import InputError
from velatura.settings_file import merge_settings, read_settings_file, write_settings_file

OWN = """\
# mine
steps = 20  # "enough" # really

blocked = [  # these
  "a", # one
  "b # c",
]
llm = "x#y" # a name
"output" = '''
there
'''

[table]
steps = 5
"""


def test_everything_else_stays_as_it_was() -> None:
    merged = merge_settings(OWN, {"steps": 30, "folders": ("/a b", 'c"d\\e'), "llm": None, "blocked": ()})
    assert merged == OWN.replace("steps = 20 ", "steps = 30 ").replace('llm = "x#y" # a name\n', "").replace(
        'blocked = [  # these\n  "a", # one\n  "b # c",\n]\n', "blocked = []\n"
    ).replace("[table]", 'folders = [\n  "/a b",\n  "c\\"d\\\\e",\n]\n[table]')
    assert merge_settings(OWN, {}) == OWN


@pytest.mark.parametrize(
    "text", ["", "steps = 1", "steps = 1\r\n# b\r\nllm = 'a'\r\n", "# a\u2028b = 1\n\n\nllm = 'u\u0085v'\n"]
)
def test_values_are_read_back(text: str) -> None:
    values = {"folders": ("ä \u2603", "\x7f\x01", "new\nline"), "nsfw": 3, "real_people": False, "guidance": 7.5}
    read = tomllib.loads(merge_settings(text, values))
    assert {**read, "folders": tuple(read["folders"])} == {**tomllib.loads(text), **values}


def test_file_that_is_written_in_another_way_is_left_alone() -> None:
    with pytest.raises(InputError, match="by hand"):
        merge_settings("[llm]\na = 1\n", {"llm": "x"})
    with pytest.raises(InputError, match="not TOML"):
        merge_settings("steps = ", {"steps": 1})


def test_file_is_replaced_whole_and_its_copies_stay(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "settings.toml"
    assert write_settings_file(path, "a = 1\n") is None
    assert write_settings_file(path, "a = 1\n") is None
    path.chmod(0o640)
    assert write_settings_file(path, "a = 2\n") == path.with_name("settings.toml.bak")
    assert write_settings_file(path, "a = 3\n") == path.with_name("settings.toml.bak2")
    assert path.stat().st_mode & 0o777 == 0o640
    texts = {one.name: one.read_text() for one in path.parent.iterdir()}
    assert texts == {"settings.toml": "a = 3\n", "settings.toml.bak": "a = 1\n", "settings.toml.bak2": "a = 2\n"}


def test_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "dotfiles").write_text("a = 1\n")
    (tmp_path / "settings.toml").symlink_to(tmp_path / "dotfiles")
    write_settings_file(tmp_path / "settings.toml", "a = 2\n")
    assert (tmp_path / "settings.toml").is_symlink()
    assert (tmp_path / "dotfiles").read_text() == "a = 2\n"


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("a = 1\n")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("velatura.settings_file.os.fsync", refuse)
    with pytest.raises(InputError, match="No space left"):
        write_settings_file(path, "a = 2\n")
    assert path.read_text() == "a = 1\n"
    assert {one.name for one in tmp_path.iterdir()} == {"settings.toml", "settings.toml.bak"}


def test_what_is_no_settings_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    assert read_settings_file(path) == ""
    path.write_bytes(b"\xff")
    with pytest.raises(InputError, match="UTF-8"):
        read_settings_file(path)
    path.write_text("#" * 200_000)
    with pytest.raises(InputError, match="too large"):
        read_settings_file(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        read_settings_file(path)
