"""How well several language model servers are used, and what it costs when one of them dies.

python benchmarks/fleet.py [--servers 4] [--room 16] [--seconds 1] [--questions 1000] [--json]

Every server is a stand-in over HTTP in a process of its own that answers after so many seconds, at most so many at
once. Beyond that one kind turns calls away (429, asking to wait as long as an answer takes), and another kind lets
them stand in line, as vLLM does. Told is what part of the most that all can answer was used, from the first question
to the last answer, and how many calls were made and answered. In the run `dies` one server is killed in the middle.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from velatura.llm import LanguageModel

TESTS = Path(__file__).resolve().parents[1] / "tests"
_DIES = 0.4
"""The share of the questions after which one server is killed."""


def serve(room: int, seconds: float, kind: str) -> None:
    """Answer until the standard input ends; then tell what was asked, and what of it was answered."""
    sys.path.insert(0, str(TESTS))
    from chat_server import Reply, chat_server, refused, said

    places, telling = threading.Semaphore(room), threading.Lock()

    def answer(body: dict[str, Any]) -> Reply:
        if not places.acquire(blocking=kind == "line"):
            return Reply(*refused(429, "too many requests"), headers={"Retry-After": str(seconds)})
        number = int(body["messages"][1]["content"])
        with telling:
            print(number, flush=True)
        time.sleep(seconds)
        places.release()
        return Reply(*said(json.dumps({"number": number})))

    with chat_server(answer) as script:
        print(script.url, flush=True)
        sys.stdin.read()
        print(f"asked {len(script.asked)}", flush=True)


class Server:
    """A stand-in in a process of its own."""

    def __init__(self, room: int, seconds: float, kind: str) -> None:
        command = [sys.executable, __file__, "--serve", kind, "--room", str(room), "--seconds", str(seconds)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()
        self.taken: list[int] = []
        """The questions that it began to answer."""
        self.asked = 0
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            if line.startswith("asked"):
                self.asked = int(line.split()[1])
            else:
                self.taken.append(int(line))

    def end(self) -> None:
        """Have it tell what it was asked, unless it was killed."""
        self.process.stdin.close()
        self.process.wait()
        self._reader.join()


def run(servers: int, room: int, seconds: float, questions: int, workers: int, kind: str, *, dies: bool) -> dict:
    """Ask all questions; return how long that took and how much of the servers was used."""
    with ExitStack() as stack:
        opened = [Server(room, seconds, kind) for _ in range(servers)]
        for server in opened:
            stack.callback(server.end)
        model = LanguageModel("stand-in", url=",".join(server.url for server in opened), deadline=600)
        ended = threading.Semaphore(0)

        def ask(number: int) -> int:
            told = model.ask("Repeat the number.", str(number), {"type": "object"}, lambda plain: plain["number"])
            ended.release()
            return told

        def kill() -> None:
            for _ in range(int(questions * _DIES)):
                ended.acquire()
            opened[0].process.kill()
            lived.append(time.perf_counter() - began)

        killer = threading.Thread(target=kill)
        lived: list[float] = []
        began, cpu = time.perf_counter(), time.process_time()
        if dies:
            killer.start()
        with ThreadPoolExecutor(workers) as pool:
            answers = list(pool.map(ask, range(questions)))
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        if dies:
            killer.join()
    taken = Counter(number for server in opened for number in server.taken)
    whole = (servers - dies) * wall + sum(lived)  # seconds that servers lived, all together
    return {
        "kind": kind,
        "dies": dies,
        "right": sum(number == answer for number, answer in enumerate(answers)),
        "wall": round(wall, 2),
        "used": round(questions * seconds / (room * whole), 3),
        "turned_away": sum(server.asked - len(server.taken) for server in opened if server.asked),
        "begun_twice": sum(count - 1 for count in taken.values()),
        "cpu_ms_per_question": round(1000 * cpu / questions, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", type=int, default=4)
    parser.add_argument("--room", type=int, default=16, help="how many a server answers at once")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long an answer takes")
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=128)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", choices=("away", "line"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.room, given.seconds, given.serve)
        return
    setups = [("away", False), ("line", False), ("line", True)]
    runs = [
        run(given.servers, given.room, given.seconds, given.questions, given.workers, kind, dies=dies)
        for kind, dies in setups
    ]
    if given.json:
        print(json.dumps(runs))
        return
    print(
        f"{given.questions:,} questions, {given.servers} servers with room for {given.room}, {given.seconds:g} s each"
    )
    for figures in runs:
        print("  ".join(f"{name} {value}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
