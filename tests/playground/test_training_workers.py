"""Jobs side by side: whatever ends one of them early ends all of them at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = """
import sys, time
from pathlib import Path
from velatura.playground.training.workers import run_side_by_side

def work(job, progress):
    folder, number, fails = job
    (folder / f"begun_{number}").touch()
    if fails:
        while len(list(folder.glob("begun_*"))) < 2:
            time.sleep(0.05)
        raise ValueError("this job fails")
    time.sleep(60 * (number < 9))
    progress(number)
    return number

if __name__ == "__main__":
    folder, kind = Path(sys.argv[1]), sys.argv[2]
    first = 9 if kind == "quick" else 0
    jobs = [(folder, number, kind == "failing" and number == 0) for number in range(first, first + 6)]
    told = []
    print(run_side_by_side(work, jobs, 2, told.append), sorted(told))
"""


def start(folder: Path, kind: str) -> subprocess.Popen[str]:
    program = folder / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    command = [sys.executable, str(program), str(folder), kind]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def begun(folder: Path) -> set[str]:
    return {file.name for file in folder.glob("begun_*")}


def wait_for_two(folder: Path, running: subprocess.Popen[str]) -> None:
    while len(begun(folder)) < 2 and running.poll() is None:
        time.sleep(0.05)


def is_gone(group: int) -> bool:
    """Whether no process of a group is left within a few seconds."""
    for _ in range(50):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize(("kind", "said"), [("slow", "KeyboardInterrupt"), ("failing", "ValueError: this job fails")])
def test_an_interruption_or_a_failure_ends_every_job(tmp_path: Path, kind: str, said: str) -> None:
    running = start(tmp_path, kind)
    try:
        wait_for_two(tmp_path, running)
        if kind == "slow":
            os.killpg(running.pid, signal.SIGINT)
        _, errors = running.communicate(timeout=60)
        assert running.returncode != 0
        assert said in errors
        assert is_gone(running.pid)
        assert not begun(tmp_path) & {"begun_4", "begun_5"}  # a free worker may have taken one more
    finally:
        if not is_gone(running.pid):
            os.killpg(running.pid, signal.SIGKILL)


def test_results_come_in_the_order_of_the_jobs_and_every_report_arrives(tmp_path: Path) -> None:
    answer, errors = start(tmp_path, "quick").communicate(timeout=60)
    assert (answer.strip(), errors) == (f"{[*range(9, 15)]} {[*range(9, 15)]}", "")
