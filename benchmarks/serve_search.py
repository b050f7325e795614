"""How long do searches and compositions through the server take while several clients ask?

    python benchmarks/serve_search.py --db build/civitai.db [--clients 8] [--seconds 20] [--json]

Starts `velatura serve` on a free port, and in another process as many clients, each with a connection that it keeps
and with prompts that people wrote, no prompt twice. Two ways of asking, `search` and `compose` each: closed loop,
where a client asks again as soon as it is answered, and paced, where each asks twice a second. Prints the median, the
95th and the 99th percentile in milliseconds, requests a second, the share of the machine's processors that the server
took, its processor time for each request (`cpu_ms`), and how busy the machine was before.
"""

from __future__ import annotations

import argparse
import http
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from human_choices import add_arguments, open_catalogue, read_queries

PACE = 0.5
"""Seconds between two requests of a paced client."""
TIMEOUT = 60
WAYS = ("search", "compose", "search paced", "compose paced")


def main() -> None:
    """Start the server, ask it in every way, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20, help="of each of the four measures")
    parser.add_argument("--threads", type=int, default=1, help="of the server's matrix products (OMP_NUM_THREADS)")
    parser.add_argument("--ask", nargs=2, help=argparse.SUPPRESS)  # way and URL: the clients' own process
    arguments = parser.parse_args()
    if arguments.ask is not None:
        print(json.dumps(asked(arguments, *arguments.ask)))
        return
    open_catalogue(arguments).close()
    result = served(arguments)
    for name, figures in result["ways"].items():
        print(f"{name:16}", "  ".join(f"{key} {value:g}" for key, value in figures.items()))
    print(f"load of the machine before: {result['load']:.1f} of {result['processors']}")
    if arguments.json:
        print(json.dumps(result))


def served(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what clients were told by a server that is there for them alone."""
    result: dict[str, Any] = {"clients": arguments.clients, "processors": os.cpu_count(), "load": os.getloadavg()[0]}
    environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads)}
    command = [sys.executable, "-m", "velatura", "serve", "--db", arguments.db, "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        try:
            assert server.stdout is not None
            url = json.loads(server.stdout.readline())["url"]
            ask(connect(url), "compose", {"prompt": "a warm-up"})
            result["ways"] = {}
            for way in WAYS:
                before, started = cpu_seconds(server.pid), time.perf_counter()
                clients = [sys.executable, __file__, *sys.argv[1:], "--ask", way, url]
                told = subprocess.run(clients, stdout=subprocess.PIPE, check=True)
                figures = json.loads(told.stdout)
                used = cpu_seconds(server.pid) - before
                figures["cpu"] = round(used / (time.perf_counter() - started) / (os.cpu_count() or 1), 2)
                figures["cpu_ms"] = round(1000 * used / max(figures.pop("answered"), 1), 1)
                result["ways"][way] = figures
        finally:
            server.terminate()
    return result


def asked(arguments: argparse.Namespace, way: str, url: str) -> dict[str, float]:
    """Ask by as many threads as there are clients, and return what it took them, after a warm-up of a second."""
    path, _, paced = way.partition(" ")
    prompts = list(dict.fromkeys(query.prompt for query in read_queries(arguments.choices)))
    # What one way of asking had embedded, another would be given from memory.
    waiting = iter(prompts[WAYS.index(way) :: len(WAYS)])
    lock, started = threading.Lock(), time.perf_counter()
    ended = started + 1 + arguments.seconds
    times: list[float] = []
    failures: list[str] = []
    answered = 0

    def client(number: int) -> None:
        nonlocal answered
        connection = connect(url)
        for turn in moments(started + number * PACE / arguments.clients, bool(paced)):
            if turn >= ended:
                return
            with lock:
                prompt = next(waiting, None)
            if prompt is None:
                return
            began = time.perf_counter()
            try:
                ask(connection, path, {"prompt": prompt} | ({"limit": 10} if path == "search" else {}))
            except (OSError, http.client.HTTPException) as error:
                failures.append(f"{type(error).__name__}: {error}")
                return
            with lock:
                answered += 1
            if began >= started + 1:
                times.append(time.perf_counter() - began)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(arguments.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise SystemExit(f"{len(failures)} requests failed, the first with {failures[0]}")
    seconds = time.perf_counter() - started - 1
    milliseconds = sorted(1000 * each for each in times)
    return {
        **{
            f"p{share}": round(milliseconds[min(len(times) - 1, len(times) * share // 100)], 1)
            for share in (50, 95, 99)
        },
        "requests": len(times),
        "answered": answered,
        "a_second": round(len(times) / seconds, 1),
    }


def connect(url: str) -> http.client.HTTPConnection:
    """Return a connection to the server; nothing is sent yet."""
    place = urlsplit(url)
    return http.client.HTTPConnection(place.hostname or "", place.port, timeout=TIMEOUT)


def ask(connection: http.client.HTTPConnection, path: str, body: dict[str, Any]) -> None:
    """Ask once, and read the answer.

    Raises:
        HTTPException: it is an error.
    """
    connection.request("POST", f"/{path}", json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != http.HTTPStatus.OK:
        raise http.client.HTTPException(f"{answer.status}: {content[:200]!r}")


def moments(first: float, paced: bool) -> Iterator[float]:
    """Yield the moments at which a client is to ask, each when it has come."""
    for turn in count():
        if paced:
            time.sleep(max(0.0, first + turn * PACE - time.perf_counter()))
        yield time.perf_counter()


def cpu_seconds(process: int) -> float:
    """Return the processor time that a process has taken (Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
