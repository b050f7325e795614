"""Folders that are indexed as their files come, change and go."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import velatura as command

import velatura.watcher as module
from velatura import Velatura
from velatura.commands import watching
from velatura.commands.options import print_json
from velatura.errors import CatalogueError, InputError, MissingDependency
from velatura.playground.library import weights_folder
from velatura.records import Filter
from velatura.watcher import Look, Watcher

SETTLE = 0.1
ENOUGH = 20.0


@pytest.fixture(scope="module")
def adapters() -> list[Path]:
    return sorted((weights_folder() / "loras").glob("*.safetensors"), key=lambda path: path.stat().st_size)[:3]


@pytest.fixture
def folder(tmp_path: Path, adapters: list[Path]) -> Path:
    folder = tmp_path / "loras"
    folder.mkdir()
    put(adapters[0], folder / "first.safetensors")
    return folder


def put(source: Path, target: Path) -> None:
    """Copy a file as one that has lain there for long."""
    shutil.copy(source, target)
    os.utime(target, (time.time() - 1000,) * 2)


class Watched:
    """A watcher in a thread, and the looks that it told of."""

    def __init__(self, velatura: Velatura, folder: Path, **options: Any) -> None:
        self.velatura = velatura
        self.looks: list[Look] = []
        self._watcher = Watcher(velatura, [folder], **{"settle": SETTLE, "texts": False, **options})
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._watcher.run, args=(self.looks.append,), kwargs={"stopped": self._stopped}
        )
        self._thread.start()

    def wait(self, holds: Callable[[], Any]) -> None:
        deadline = time.monotonic() + ENOUGH
        while not holds():
            assert time.monotonic() < deadline, self.looks
            time.sleep(0.02)

    def titles(self) -> set[str]:
        store = self.velatura.store
        return {Path(one.record.path or "").stem for one in store.adapters(store.select(Filter()))}

    def end(self) -> None:
        self._stopped.set()
        self._thread.join(ENOUGH)
        assert not self._thread.is_alive()


@pytest.fixture
def watch(tmp_path: Path, folder: Path) -> Iterator[Callable[..., Watched]]:
    begun: list[Watched] = []
    with Velatura.open(db=str(tmp_path / "catalogue.db")) as velatura:

        def begin(**options: Any) -> Watched:
            begun.append(Watched(velatura, folder, **options))
            begun[-1].wait(lambda: begun[-1].looks)
            return begun[-1]

        try:
            yield begin
        finally:
            for one in begun:
                one.end()


@pytest.mark.parametrize("poll", [None, 0.3], ids=["listening", "looking"])
def test_files_come_change_move_and_go(
    watch: Callable[..., Watched], folder: Path, adapters: list[Path], poll: float | None
) -> None:
    watched = watch(poll=poll)
    assert watched.titles() == {"first"}
    put(adapters[1], folder / "second.safetensors")
    watched.wait(lambda: watched.titles() == {"first", "second"})
    numbers = {Path(one.record.path or "").stem: one.id for one in watched.velatura.store.adapters([1, 2])}
    (folder / "first.json").write_text(json.dumps({"description": "a fox in the snow"}))
    watched.wait(lambda: "fox" in str(watched.velatura.store.adapter(numbers["first"]).record.description))
    (folder / "sub").mkdir()
    (folder / "second.safetensors").rename(folder / "sub" / "renamed.safetensors")
    watched.wait(lambda: watched.titles() == {"first", "renamed"})
    assert "renamed" in str(watched.velatura.store.adapter(numbers["second"]).record.path)
    shutil.rmtree(folder / "sub")
    watched.wait(lambda: watched.titles() == {"first"})
    assert all(not look.trouble for look in watched.looks)
    assert str(folder / "sub" / "renamed.safetensors") in watched.looks[-1].gone


def test_file_is_read_once_it_is_whole(watch: Callable[..., Watched], folder: Path, adapters: list[Path]) -> None:
    watched = watch()
    content = adapters[1].read_bytes()
    with (folder / "slow.safetensors").open("wb") as file:
        for start in range(0, len(content), len(content) // 5):
            file.write(content[start : start + len(content) // 5])
            file.flush()
            time.sleep(SETTLE * 1.5)
            assert watched.velatura.store.rejections() == []
    watched.wait(lambda: watched.titles() == {"first", "slow"})
    assert watched.velatura.store.rejections() == []


def test_other_files_do_not_wait_for_one_that_never_comes(
    watch: Callable[..., Watched], folder: Path, adapters: list[Path]
) -> None:
    (folder / "torn.safetensors").write_bytes(adapters[1].read_bytes()[:-10])
    watched = watch()
    put(adapters[2], folder / "third.safetensors")
    watched.wait(lambda: watched.titles() == {"first", "third"})
    (folder / "first.safetensors").unlink()
    watched.wait(lambda: watched.titles() == {"third"})
    assert watched.velatura.store.rejections() == []
    assert [Path(path).name for path in watched.looks[-1].waiting] == ["torn.safetensors"]


def test_torn_file_is_rejected_once_it_is_given_up(
    watch: Callable[..., Watched], folder: Path, adapters: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("velatura.catalog.unfinished.GIVEN_UP", 0.5)
    (folder / "torn.safetensors").write_bytes(adapters[1].read_bytes()[:-10])
    watched = watch()
    watched.wait(watched.velatura.store.rejections)
    assert "cut off" in watched.velatura.store.rejections()[0].reason


def test_trouble_is_told_once_and_tried_again(
    watch: Callable[..., Watched], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = module.SettledFolder.entries
    failures = iter(range(2))

    def fail(source: Any) -> Any:
        if next(failures, None) is not None:
            raise CatalogueError("the catalogue is locked")
        return sync(source)

    monkeypatch.setattr(module.SettledFolder, "entries", fail)
    watched = watch()
    assert watched.looks[0].trouble == ("the catalogue is locked",)
    watched.wait(lambda: watched.titles() == {"first"})
    watched.wait(lambda: not watched.looks[-1].trouble)
    assert len(watched.looks) == 2


def test_folder_that_is_gone_for_a_while_loses_nothing(
    watch: Callable[..., Watched], folder: Path, adapters: list[Path], tmp_path: Path
) -> None:
    watched = watch()
    folder.rename(tmp_path / "elsewhere")
    watched.wait(lambda: any("does not exist" in look.trouble[0] for look in watched.looks if look.trouble))
    assert watched.titles() == {"first"}
    (tmp_path / "elsewhere").rename(folder)
    put(adapters[1], folder / "second.safetensors")
    watched.wait(lambda: watched.titles() == {"first", "second"})
    put(adapters[2], folder / "third.safetensors")  # the folder that came back is listened to
    watched.wait(lambda: watched.titles() == {"first", "second", "third"})


def test_empty_place_of_a_drive_loses_nothing(
    watch: Callable[..., Watched], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = watch(poll=0.2)
    monkeypatch.setattr(module, "_place", lambda path: (-1, 1))  # another drive
    (folder / "first.safetensors").unlink()
    watched.wait(lambda: watched.looks[-1].trouble)
    assert "its drive is gone" in watched.looks[-1].trouble[0]
    assert watched.titles() == {"first"}


def test_catalogue_inside_the_folder_is_no_reason_to_look(tmp_path: Path, folder: Path) -> None:
    with Velatura.open(db=str(folder / "catalogue.db")) as velatura:
        watched = Watched(velatura, folder)
        try:
            watched.wait(lambda: watched.looks)
            calls = []
            original = velatura.store.sync
            velatura.store.sync = lambda *a, **k: (calls.append(1), original(*a, **k))[1]  # type: ignore[method-assign]
            (folder / "note.md").write_text("one change")
            watched.wait(lambda: calls)
            time.sleep(SETTLE * 5)
            assert len(calls) == 1
        finally:
            watched.end()


def test_folder_behind_a_link_is_watched(watch: Callable[..., Watched], folder: Path, adapters: list[Path]) -> None:
    other = folder.parent / "other"
    other.mkdir()
    (folder / "linked").symlink_to(other, target_is_directory=True)
    watched = watch()
    put(adapters[1], other / "second.safetensors")
    watched.wait(lambda: watched.titles() == {"first", "second"})


@pytest.mark.parametrize("late", [False, True], ids=["at once", "later"])
def test_system_that_cannot_tell_is_looked_at_instead(
    watch: Callable[..., Watched], folder: Path, adapters: list[Path], monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    told = iter([set[str]()] * late)

    def refuse(*_: Any) -> Any:
        yield from told
        raise OSError("OS file watch limit reached")

    monkeypatch.setattr(Watcher, "_hear", refuse)
    monkeypatch.setattr(module, "_DEAF", 0.2)
    watched = watch()
    watched.wait(lambda: watched.looks[-1].note)
    assert "watch limit" in str(watched.looks[-1].note)
    put(adapters[1], folder / "second.safetensors")
    watched.wait(lambda: watched.titles() == {"first", "second"})


@pytest.mark.skipif(sys.platform != "linux", reason="names are text on other systems")
def test_name_that_is_no_text_does_not_end_the_listening(
    watch: Callable[..., Watched], folder: Path, adapters: list[Path]
) -> None:
    watched = watch()
    put(adapters[1], folder / "sec\udcffond.safetensors")
    watched.wait(lambda: watched.velatura.store.rejections())
    assert "not valid text" in watched.velatura.store.rejections()[0].reason
    put(adapters[2], folder / "third.safetensors")
    watched.wait(lambda: watched.titles() == {"first", "third"})
    assert all(look.note is None for look in watched.looks)


def test_what_is_needed_is_told(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Velatura.open(db=str(tmp_path / "catalogue.db")) as velatura:
        for wrong in ({"settle": float("nan")}, {"poll": 0.0}, {"poll": float("inf")}):
            with pytest.raises(InputError, match="above 0"):
                Watcher(velatura, [folder], **wrong)  # type: ignore[arg-type]
        monkeypatch.setitem(sys.modules, "watchfiles", None)
        with pytest.raises(MissingDependency, match=r"velatura\[watch\]"):
            Watcher(velatura, [folder])
        assert Watcher(velatura, [folder, str(folder) + "/"], poll=1.0).folders == (str(folder),)


def test_command_tells_what_is_wrong(tmp_path: Path, folder: Path) -> None:
    done = command("watch", home=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "velatura init" in done.stderr
    done = command("watch", tmp_path / "nowhere", home=tmp_path)
    assert done.returncode == 1
    assert "does not exist" in done.stderr
    assert command("watch", folder, "--settle", "0", home=tmp_path).returncode == 2


def test_index_goes_by_the_folders_of_the_settings(tmp_path: Path, folder: Path) -> None:
    done = command("index", "--no-embed", "--json", home=tmp_path, VELATURA_FOLDERS=json.dumps([str(folder)]))
    assert done.json["indexed"][0]["added"] == 1
    done = command("index", home=tmp_path)
    assert done.returncode == 1
    assert "no folder is named" in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_command_speaks_json_and_ends_when_it_is_told_to(
    tmp_path: Path, folder: Path, adapters: list[Path], monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    looks: list[dict[str, Any]] = []

    def tell(look: dict[str, Any]) -> None:
        print_json(look)
        looks.append(look)
        if len(looks) == 1:
            put(adapters[1], folder / "second.safetensors")
        else:  # while changes are listened for
            threading.Timer(SETTLE, os.kill, (os.getpid(), number)).start()

    monkeypatch.setattr(watching, "print_json", tell)
    done = command("watch", folder, "--settle", SETTLE, "--no-embed", "--json", home=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)
    first, second = map(json.loads, done.stdout.splitlines())
    assert first["folders"][str(folder)]["added"] == 1
    assert second["folders"][str(folder)]["added"] == 1
    assert second["read"] == [str(folder / "second.safetensors")]
    assert command("stats", "--json", home=tmp_path).json["files"] == 2
