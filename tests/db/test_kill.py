"""A run that is killed at any moment leaves a consistent catalogue; the next one ends as if nothing had happened."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

SCRIPT = Path(__file__).with_name("sync_process.py")
COUNT = 600


def start(path: Path, age: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, SCRIPT, path, "/adapters", str(age), str(COUNT)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def finish(path: Path, age: int) -> float:
    process = start(path, age)
    began = time.perf_counter()
    assert process.communicate()[0].startswith("SyncReport")
    assert process.returncode == 0
    return time.perf_counter() - began


def is_consistent(path: Path) -> bool:
    connection = sqlite3.connect(path)
    sound = connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    dangling = connection.execute("PRAGMA foreign_key_check").fetchall()
    (adapters, records, words) = connection.execute(
        "SELECT (SELECT count(*) FROM adapter), (SELECT count(*) FROM record), (SELECT count(*) FROM words_title)"
    ).fetchone()
    connection.close()
    return sound and not dangling and adapters == records == words


def test_killed_at_random_moments_it_ends_with_the_same_rows(path: Path, rows):
    undisturbed = path.with_name("undisturbed.db")
    finish(undisturbed, 0)
    shutil.copy(undisturbed, path)
    seconds = finish(undisturbed, 1)
    chance = random.Random(3)
    killed = 0
    for _ in range(5):
        process = start(path, 1)
        time.sleep(chance.uniform(0, seconds / 2))
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        assert is_consistent(path)
    finish(path, 1)
    assert killed >= 2
    assert is_consistent(path)
    assert rows(path) == rows(undisturbed)
