"""A run that is killed at any moment leaves a consistent catalogue; the next one ends as if nothing had happened."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from velatura.db.connect import open_database

SCRIPT = Path(__file__).with_name("sync_process.py")
COUNT = 600


def start(target: str | Path, age: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, SCRIPT, target, "/adapters", str(age), str(COUNT)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def finish(target: str | Path, age: int) -> float:
    process = start(target, age)
    began = time.perf_counter()
    assert process.communicate()[0].startswith("SyncReport")
    assert process.returncode == 0
    return time.perf_counter() - began


def is_consistent(target: str | Path) -> bool:
    with closing(open_database(target, read_only=True)) as database, database.reading() as connection:
        run = connection.exec_driver_sql
        if isinstance(target, Path):  # a server looks after these itself
            sound = run("PRAGMA integrity_check").all() == [("ok",)] and not run("PRAGMA foreign_key_check").all()
        else:
            sound = True
        (adapters, records, words) = run(
            "SELECT (SELECT count(*) FROM adapter), (SELECT count(*) FROM record), (SELECT count(*) FROM words_title)"
        ).one()
    return sound and adapters == records == words


def test_killed_at_random_moments_it_ends_with_the_same_rows(target: str | Path, another, rows):
    undisturbed = another()
    for place in (undisturbed, target):
        finish(place, 0)
    seconds = finish(undisturbed, 1)
    chance = random.Random(3)
    killed = 0
    for _ in range(5):
        process = start(target, 1)
        time.sleep(chance.uniform(0, seconds / 2))
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        assert is_consistent(target)
    finish(target, 1)
    assert killed >= 2
    assert is_consistent(target)
    assert rows(target) == rows(undisturbed)
