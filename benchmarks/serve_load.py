"""Fifty clients at once: errors, turns, waiting times, and the server's memory over hundreds of pictures.

    python benchmarks/serve_load.py                       # 50 clients, 500 pictures, the playground's one-step model
    python benchmarks/serve_load.py --clients 8 --pictures 2000 --json

The server is `velatura serve` in a process of its own, on the playground's library. Every client asks by OpenAI's
route for one picture after another, each under a name of its own, and a greedy one asks for a tenth of all the pictures
over four connections, to see whether the others still get their turn. Then a client is killed in the middle of a long
job, and the next job must begin at once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from velatura import Velatura
from velatura.playground.library import find_weights, make_library

PROMPTS = ("a red fox in the snow", "a blue boat on the sea", "a green tree at night", "a rocket over a town")

_LONG = 1000
"""Pictures of the job whose client is killed."""


@dataclass
class Seen:
    """What the clients saw."""

    latencies: list[float] = field(default_factory=list)
    by_client: dict[str, list[float]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), given.clients + 8) as (url, pid):
        told = measure(url, pid, given.clients, given.pictures)
        told["killed_client"] = kill_one(url)
    if given.json:
        print(json.dumps(told))
        return
    for name, value in told.items():
        print(f"{name:24} {value}")


@contextlib.contextmanager
def serving(folder: Path, queue: int) -> Iterator[tuple[str, int]]:
    """Start a server on the playground's library; yields its address and its process."""
    make_library(find_weights() / "loras", folder / "loras")
    with Velatura.open(db=str(folder / "catalogue.db")) as velatura:
        velatura.index(folder / "loras")
        velatura.embed()
    environment = os.environ | {
        "VELATURA_HOME": str(folder),
        "VELATURA_QUEUE": str(queue),
        "VELATURA_MOST_PICTURES": str(_LONG),
    }
    command = [sys.executable, "-m", "velatura", "serve", "--port", "0", "--json"]
    process = subprocess.Popen(
        [*command, "--model", str(find_weights() / "onestep")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        url = json.loads(process.stdout.readline())["url"]
        while "ready to paint" not in (line := process.stderr.readline()):
            if not line:
                raise SystemExit("the server ended")
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(20)


def measure(url: str, pid: int, clients: int, pictures: int) -> dict[str, Any]:
    """Have the clients ask for so many pictures in all, and say what they saw."""
    greedy = pictures // 10
    each = (pictures - greedy) // clients
    seen, memory = Seen(), [memory_of(pid)]
    ask(url, "warm-up", 0)
    threads = [threading.Thread(target=client, args=(url, f"client {number}", each, seen)) for number in range(clients)]
    hoard = [threading.Thread(target=client, args=(url, "greedy", greedy // 4, seen)) for _ in range(4)]
    begun = time.perf_counter()
    for thread in [*hoard, *threads]:
        thread.start()
    while any(thread.is_alive() for thread in [*hoard, *threads]):
        time.sleep(0.25)
        memory.append(memory_of(pid))
    seconds = time.perf_counter() - begun
    polite = [times for name, times in seen.by_client.items() if name != "greedy"]
    done = [len(times) for times in polite]
    # Of those who ask alike, how far apart may two be at any moment?
    moments = sorted(moment for times in polite for moment in times)
    spread = max(
        max(sum(each <= moment for each in times) for times in polite)
        - min(sum(each <= moment for each in times) for times in polite)
        for moment in moments[: each * clients - clients : max(1, clients // 5)]
    )
    tail = memory[len(memory) // 4 :]
    ranked = sorted(seen.latencies)
    return {
        "clients": clients,
        "pictures": len(seen.latencies),
        "errors": len(seen.errors),
        "first_error": next(iter(seen.errors), None),
        "seconds": round(seconds, 1),
        "pictures_per_second": round(len(seen.latencies) / seconds, 2),
        "wait_p50_s": round(statistics.median(ranked), 2),
        "wait_p95_s": round(ranked[int(len(ranked) * 0.95)], 2),
        "pictures_per_client": [min(done), max(done)],
        "largest_lead": spread,
        "memory_mb": [round(memory[0]), round(tail[0]), round(max(tail)), round(tail[-1])],
    }


def client(url: str, name: str, count: int, seen: Seen) -> None:
    """Ask for one picture after another."""
    for number in range(count):
        begun = time.perf_counter()
        try:
            ask(url, name, number)
        except Exception as error:
            with seen.lock:
                seen.errors.append(f"{type(error).__name__}: {error}")
            continue
        ended = time.perf_counter()
        with seen.lock:
            seen.latencies.append(ended - begun)
            seen.by_client.setdefault(name, []).append(ended)


def ask(url: str, name: str, number: int) -> None:
    """Ask for a picture by OpenAI's route."""
    body = json.dumps({"prompt": f"{PROMPTS[number % len(PROMPTS)]}, {name}", "n": 1, "response_format": "b64_json"})
    with contextlib.closing(HTTPConnection(urlsplit(url).netloc, timeout=600)) as connection:
        headers = {"Content-Type": "application/json", "X-Velatura-Client": name}
        connection.request("POST", "/v1/images/generations", body, headers)
        answer = connection.getresponse()
        content = answer.read()
    if answer.status != 200 or not json.loads(content)["data"][0]["b64_json"]:
        raise RuntimeError(f"{answer.status} {content[:200]!r}")


def kill_one(url: str) -> dict[str, Any]:
    """Start a long job, close the connection without a word, and say how soon the next job is done."""
    place = urlsplit(url)
    body = json.dumps({"prompt": "a long job", "count": _LONG, "seed": 1}).encode()
    head = f"POST /generate HTTP/1.1\r\nHost: {place.netloc}\r\nAccept: text/event-stream\r\n"
    head += f"Content-Type: application/json\r\nX-Velatura-Client: killed\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((place.hostname or "", place.port or 80)) as doomed:
        doomed.sendall(head.encode() + body)
        if b" 200 " not in (told := doomed.recv(1 << 16)):
            raise SystemExit(f"the long job was not taken: {told!r}")
        time.sleep(1)
        begun = time.perf_counter()
    ask(url, "the next", 0)
    next_after = time.perf_counter() - begun
    with contextlib.closing(HTTPConnection(place.netloc)) as connection:
        connection.request("GET", "/jobs", headers={"X-Velatura-Client": "killed"})
        states = [job["state"] for job in json.loads(connection.getresponse().read())["jobs"]]
    return {"state": states, "next_job_done_after_s": round(next_after, 2)}


def memory_of(pid: int) -> float:
    """Return the memory that a process holds, in megabytes."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("VmRSS:"))) / 1024


if __name__ == "__main__":
    main()
