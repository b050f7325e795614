"""Files and lines that are there whole or not at all, whatever fails; what the dead left goes, what lives stays."""

from __future__ import annotations

import resource
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from velatura import whole_file as module
from velatura.db import sqlite
from velatura.errors import InputError
from velatura.eval.whole import append_line
from velatura.whole_file import sweep, whole_file

WRITE_FOR_EVER = """
import sys, time
from pathlib import Path
from velatura.whole_file import whole_file
with whole_file(Path(sys.argv[1])) as unfinished:
    unfinished.write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(60)
"""


@contextmanager
def room(count: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_file_that_cannot_be_finished_leaves_what_was_there(tmp_path: Path):
    path = tmp_path / "manifest"
    path.write_bytes(b"before")
    with pytest.raises(OSError, match="File too large"), room(4096), whole_file(path) as unfinished:
        unfinished.write_bytes(b"x" * 10_000)
    with pytest.raises(KeyboardInterrupt), whole_file(path):
        raise KeyboardInterrupt
    assert [name.name for name in tmp_path.iterdir()] == ["manifest"]
    assert path.read_bytes() == b"before"


def test_file_has_the_rights_that_any_file_has(tmp_path: Path):
    (tmp_path / "usual").write_bytes(b"")
    with whole_file(tmp_path / "whole"):
        pass
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_what_a_killed_process_left_goes_and_what_is_being_written_stays(tmp_path: Path):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE_FOR_EVER, str(tmp_path / "theirs")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    [unfinished] = tmp_path.iterdir()
    (tmp_path / ".mine.part").write_bytes(b"mine")
    with whole_file(tmp_path / "ours") as ours:
        sweep(tmp_path)
        assert ours.exists()
    assert unfinished.exists()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    module._swept.discard(str(tmp_path))
    with whole_file(tmp_path / "ours"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"ours", ".mine.part"}


def test_many_may_write_one_file_while_others_sweep(tmp_path: Path):
    failed = []

    def write(number: int) -> None:
        try:
            for _ in range(50):
                with whole_file(tmp_path / "file") as unfinished:
                    sweep(tmp_path)
                    unfinished.write_bytes(str(number).encode() * 100)
        except OSError as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert len(set((tmp_path / "file").read_bytes())) == 1


def test_link_that_is_called_like_an_unfinished_file_is_not_followed(tmp_path: Path):
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / f".{'0' * 32}.part").symlink_to(tmp_path / "mine")
    sweep(tmp_path)
    assert (tmp_path / "mine").read_bytes() == b"mine"


def test_line_that_finds_no_room_is_not_there_at_all(tmp_path: Path):
    path = tmp_path / "lines.jsonl"
    append_line(path, b"one\n")
    with room(10), pytest.raises(InputError, match="cannot be written"):
        append_line(path, b"two, which is longer\n")
    assert path.read_bytes() == b"one\n"
    path.write_bytes(b"one\nto")
    append_line(path, b"three\n")
    assert path.read_bytes() == b"one\nto\nthree\n"


def test_disk_that_is_full_where_the_log_of_a_catalogue_grows_is_told_as_such():
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorname = "SQLITE_IOERR_SHMSIZE"
    assert sqlite.explain(error, "my.db") == "the disk that holds my.db is full; nothing of the last step was kept"
