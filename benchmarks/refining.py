"""Have adapters described over real HTTP by a stand-in for a language model, at once, killed and resumed, and again.

    python benchmarks/refining.py [--adapters 1000] [--at-once 64] [--seconds 1.0] [--json]

Each run is the command `velatura refine --describer vlm` in a process of its own, its start included. The server is the
tests' own, in another process; it takes the given seconds for each answer. Adapters are made up, with a page of some
1,700 characters each and no pictures. One run is killed (SIGKILL) half an answer's time after half of the adapters have
been asked about, and repeated. What was kept then is what stands in the catalogue; what was answered and is not kept
was lost.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from velatura.db import open_store
from velatura.protocols import Entry
from velatura.records import AdapterRecord

TESTS = Path(__file__).resolve().parents[1] / "tests"
ANSWER = {
    "description": "It draws a red fox.", "category": "animal", "facets": {"subject": "a red fox"}, "avoid": "",
    "triggers": [], "weight": None, "evidence": "",
}  # fmt: skip
WRITER = "vlm 1 stand-in"
PAGE = "It draws foxes as old woodcuts show them, with a thick line and two colours. " * 22


class Shelf:
    """A source of made-up adapters."""

    name = scope = "made up"
    complete = True

    def __init__(self, count: int) -> None:
        self.count = count

    def entries(self) -> Iterator[Entry]:
        """Yield them."""
        for number in range(self.count):
            record = AdapterRecord(
                source="made up", key=str(number), title=f"Fox {number}", family="sd1", description=PAGE,
                triggers=((f"fox{number}",),), tags=("animal", "woodcut"),
            )  # fmt: skip
            yield Entry(locator=record.key, stamp="1", read=lambda record=record: [record])


def serve(seconds: float) -> None:
    """Answer until the standard input ends; tell for every line on it what was asked since the line before."""
    sys.path.insert(0, str(TESTS))
    from chat_server import Reply, chat_server, said

    with chat_server(Reply(*said(json.dumps(ANSWER)), delay=seconds)) as script:
        print(script.url, flush=True)
        told = 0
        for _ in sys.stdin:
            with script.lock:
                asked, times = script.asked[told:], script.times[told:]
                told, at_once, script.at_once = len(script.asked), script.at_once, 0
            titles = [re.search(r"title: (Fox \d+)", body["messages"][1]["content"])[1] for body in asked]
            calls = [[title, moment] for title, moment in zip(titles, times, strict=True)]
            print(json.dumps({"calls": calls, "at_once": at_once}), flush=True)


class Server:
    """The stand-in, in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.url = process.stdout.readline().strip()

    def calls(self) -> tuple[list[tuple[str, float]], int]:
        """Return (title, when it was asked about) of every call since this was last asked, and how many at once."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        told = json.loads(self.process.stdout.readline())
        return [(title, moment) for title, moment in told["calls"]], told["at_once"]


@contextmanager
def server(seconds: float) -> Iterator[Server]:
    command = [sys.executable, __file__, "--serve", "--seconds", str(seconds)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Server(process)
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def start(database: Path, url: str, at_once: int) -> subprocess.Popen[str]:
    home = str(database.parent / "home")
    environment = {
        **os.environ, "VELATURA_HOME": home, "VELATURA_LLM": "stand-in", "VELATURA_LLM_URL": url,
        "OPENAI_API_KEY": "none", "NO_PROXY": "127.0.0.1",
    }  # fmt: skip
    command = [sys.executable, "-m", "velatura", "refine", "--describer", "vlm", "--no-embed", "--json"]
    command += ["--workers", str(at_once), "--db", str(database)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def run(database: Path, stand_in: Server, at_once: int) -> dict[str, Any]:
    """Run the command to its end."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    process = start(database, stand_in.url, at_once)
    report = json.loads(process.communicate()[0])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    calls, most = stand_in.calls()
    return {
        "described": report["done"],
        "calls": len(calls),
        "at_once": most,
        "wall": round(time.perf_counter() - began, 2),
        "cpu": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2),
        "titles": [title for title, _ in calls],
    }


def run_and_kill(database: Path, stand_in: Server, at_once: int, adapters: int, seconds: float) -> dict[str, Any]:
    """Run the command, kill it in the middle, and run it again."""
    process = start(database, stand_in.url, at_once)
    asked: dict[str, float] = {}
    while len(asked) < adapters / 2:
        time.sleep(0.05)
        asked.update(stand_in.calls()[0])
    time.sleep(seconds / 2)
    process.kill()
    killed = time.monotonic()
    process.communicate()
    with open_store(database) as store:
        undone = store.stale_refinements(WRITER)
        kept = {f"Fox {number}" for number in range(adapters)}
        kept -= {adapter.record.title for adapter in store.adapters(undone)}
    time.sleep(seconds)  # what was on its way to the server arrives
    asked.update(stand_in.calls()[0])
    finished = {title for title, moment in asked.items() if moment + seconds < killed}
    resumed = run(database, stand_in, at_once)
    again = Counter(resumed.pop("titles"))
    return {
        "asked": len(asked),
        "answered": len(finished),
        "kept": len(kept),
        "resumed": resumed,
        "asked_twice": len(asked.keys() & again.keys()),
        "answered_and_asked_twice": len(finished & again.keys()),
        "kept_and_asked_twice": len(kept & again.keys()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapters", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=1.0, help="how long an answer takes")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.seconds)
        return
    with tempfile.TemporaryDirectory() as folder, server(given.seconds) as stand_in:
        databases = Path(folder) / "whole.db", Path(folder) / "killed.db"
        for database in databases:
            with open_store(database) as store:
                store.sync(Shelf(given.adapters))
        whole = run(databases[0], stand_in, given.at_once)
        again = run(databases[0], stand_in, given.at_once)
        killed = run_and_kill(databases[1], stand_in, given.at_once, given.adapters, given.seconds)
    for figures in (whole, again):
        del figures["titles"]
    if given.json:
        print(json.dumps({"whole": whole, "again": again, "killed": killed}))
        return
    print(f"{given.adapters:,} adapters, {given.at_once} at once, {given.seconds:g} s an answer")
    for name, figures in (("whole", whole), ("again", again)):
        print(f"{name:8} {figures['calls']:,} calls, {figures['wall']} s wall, {figures['cpu']} s CPU")
    print(f"         at most {whole['at_once']} calls at once")
    print(f"killed   {killed['asked']:,} asked about, {killed['answered']:,} answered and {killed['kept']:,} kept")
    print(
        f"resumed  {killed['resumed']['calls']:,} calls; asked about twice: {killed['asked_twice']:,}, of them "
        f"{killed['answered_and_asked_twice']:,} answered before and {killed['kept_and_asked_twice']:,} kept"
    )


if __name__ == "__main__":
    main()
