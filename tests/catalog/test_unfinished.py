"""Files that are still being written are told from those that are whole."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from velatura.catalog import unfinished
from velatura.catalog.settled import Offered, SettledFolder
from velatura.catalog.unfinished import GIVEN_UP, Unfinished, is_partial, lacks_bytes
from velatura.protocols import Entry

OLD = GIVEN_UP + 10


@pytest.fixture
def whole(tmp_path: Path, make_bytes: Callable[..., bytes], sd1: dict[str, Sequence[int]]) -> Path:
    path = tmp_path / "fox.safetensors"
    path.write_bytes(make_bytes(sd1))
    return path


def age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


@pytest.mark.parametrize(("seconds", "is_unfinished"), [(0, True), (3, False), (OLD, False)])
def test_whole_file_waits_until_it_is_still(whole: Path, seconds: float, is_unfinished: bool) -> None:
    age(whole, seconds)
    assert Unfinished(2.0)(str(whole)) is is_unfinished


@pytest.mark.parametrize(
    "cut",
    [
        lambda whole: b"",
        lambda whole: whole[:5],
        lambda whole: whole[:100],
        lambda whole: whole[:-1],
        lambda whole: bytes(len(whole)),
    ],
    ids=["empty", "without a length", "in its header", "in its tensors", "reserved"],
)
def test_file_that_lacks_bytes_waits_until_it_is_given_up(whole: Path, cut: Callable[[bytes], bytes]) -> None:
    whole.write_bytes(cut(whole.read_bytes()))
    age(whole, 10)
    assert Unfinished(2.0)(str(whole))
    age(whole, OLD)
    assert not Unfinished(2.0)(str(whole))


@pytest.mark.parametrize(
    "content",
    [
        b"<!doctype html><p>Sign in",
        b"version https://git-lfs.github.com/spec/v1\n",
        struct.pack("<Q", 9) + b"{" * 9,
        struct.pack("<Q", 4) + b"null",
        struct.pack("<Q", 30) + b'{"a": {"data_offsets": [0, []]' + b" ",
        struct.pack("<Q", 5_000) + b"[" * 5_000,
    ],
)
def test_what_is_no_safetensors_file_is_left_to_its_reader(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "page.safetensors"
    path.write_bytes(content)
    assert not lacks_bytes(str(path), len(content))


def test_file_of_another_clock_is_as_old_as_it_has_been_known(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    age(whole, -3600)
    now = [100.0]
    monkeypatch.setattr(unfinished.time, "monotonic", lambda: now[0])
    waits = Unfinished(2.0)
    assert waits(str(whole))
    now[0] += 3
    assert not waits(str(whole))


def test_change_of_the_size_begins_the_wait_anew(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(unfinished.time, "monotonic", lambda: now[0])
    age(whole, 10)
    waits = Unfinished(2.0)
    waits.touch(str(whole))
    assert waits(str(whole))
    now[0] += 3
    assert not waits(str(whole))
    content = whole.read_bytes()
    whole.write_bytes(content[:-5])
    assert waits(str(whole))
    now[0] += 3
    whole.write_bytes(content)
    assert waits(str(whole))
    now[0] += 3
    assert not waits(str(whole))


def test_placeholder_waits_for_the_download_beside_it(whole: Path) -> None:
    part = whole.with_name(whole.name + ".part")
    part.write_bytes(b"x")
    whole.write_bytes(b"")
    age(whole, OLD)
    assert Unfinished(2.0)(str(whole))
    age(part, OLD)
    assert not Unfinished(2.0)(str(whole))


def test_file_that_is_gone_is_ready_to_be_missed(tmp_path: Path) -> None:
    waits = Unfinished(0.01)
    waits.touch(str(tmp_path / "gone.safetensors"))
    time.sleep(0.02)
    assert not waits(str(tmp_path / "gone.safetensors"))


def test_names_of_downloads_are_known() -> None:
    assert is_partial("fox.safetensors.PART")
    assert is_partial("Unconfirmed 17.crdownload")
    assert not is_partial("fox.safetensors")


def test_new_file_waits_and_known_one_is_not_given_up(whole: Path) -> None:
    waits = {"x"}
    before = Offered()

    def look() -> tuple[SettledFolder, list[str]]:
        source = SettledFolder(whole.parent, before, lambda path: Path(path).stem in waits)
        names = []
        for entry in source.entries():
            assert isinstance(entry, Entry)
            entry.read()
            names.append(Path(entry.locator).stem)
        return source, names

    (whole.parent / "x.safetensors").write_bytes(whole.read_bytes())
    source, names = look()
    assert (names, source.complete) == (["fox"], False)  # it may have been there before
    source, names = look()
    assert (names, source.complete) == (["fox"], True)
    assert [Path(path).stem for path in source.waiting] == ["x"]
    waits = {"fox"}
    source, names = look()
    assert (names, source.complete, source.gone) == (["x"], False, [])
    waits = set()
    whole.unlink()
    source, _ = look()
    assert source.complete
    assert source.gone == [str(whole)]
    assert [Path(path).stem for path in source.read] == ["x"]
