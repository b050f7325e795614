"""A long time: thousands of requests to a server, hundreds of changes of adapters; memory and files must stay flat.

    python benchmarks/faults/soak.py [--requests 2000] [--swaps 500] [--seed 0] [--json]

The server is `velatura serve` in a process of its own, on the playground. Four clients ask it for all that it does, in
a random order: searches, choices, checks, pictures by its own API, OpenAI's and A1111's, a tenth of it nonsense, some
jobs cancelled, some connections dropped in the middle of a request or of an answer. Then a backend paints a picture
after each of many changes between random sets of adapters with random weights; at the end its weights are compared,
bit by bit, with those before the first. Memory and open files of the last quarter are held against the second quarter.
The server keeps 2 MB of painted pictures, not 256, so that this is full long before the second quarter ends.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import math
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from serve_load import serving

from velatura.generation.sd import StableDiffusionBackend
from velatura.playground.library import find_weights
from velatura.records import AdapterRecord, Choice, Composition, GenerationRequest

PROMPTS = (
    "a red fox in the snow", "a rocket at sunset, stained glass style", "a blue boat on the sea, sepia",
    "a tree at night", "a robot with an umbrella, neon style", "a cactus in space",
)  # fmt: skip

CLIENTS = 4
GROWTH = 0.05
"""The share by which memory may be larger in the last quarter than in the second: caches fill, and heaps are uneven."""


@dataclass
class Samples:
    """What a process held, as it went on."""

    progress: list[float] = field(default_factory=list)
    """From 0 to 1."""
    memory: list[float] = field(default_factory=list)
    """Megabytes."""
    files: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)

    def take(self, pid: int, progress: float) -> None:
        """Look at a process."""
        told = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines())
        self.progress.append(progress)
        self.memory.append(int(told["VmRSS"].split()[0]) / 1024)
        self.threads.append(int(told["Threads"]))
        self.files.append(sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()))

    def report(self) -> dict[str, Any]:
        """Return the medians of the second and of the last quarter, and whether they are the same."""
        told: dict[str, Any] = {"flat": True}
        for name in ("memory", "files", "threads"):
            values = list(zip(self.progress, getattr(self, name), strict=True))
            second = [value for progress, value in values if 0.25 <= progress < 0.5]
            last = [value for progress, value in values if progress >= 0.75]
            middle, end = statistics.median(second), statistics.median(last)
            told[name] = {"second_quarter": round(middle, 1), "last_quarter": round(end, 1), "most": max(last)}
            told["flat"] &= end <= middle * (1 + GROWTH) + (0 if name == "memory" else 1)
        return told


def main() -> None:
    """Run the benchmark; exits with 1 where something grows, fails, or weights differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--swaps", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only-swaps", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.only_swaps:
        print(json.dumps(swap(given.swaps, given.seed)))
        return
    told: dict[str, Any] = {}
    os.environ["VELATURA_KEPT_MEGABYTES"] = "2"
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), 64) as (url, pid):
        told["server"] = load(url, pid, given.requests, given.seed)
    command = [sys.executable, __file__, "--only-swaps", "--swaps", str(given.swaps), "--seed", str(given.seed)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    told["swaps"] = json.loads(done.stdout)
    print(json.dumps(told, indent=None if given.json else 1))
    server, swaps = told["server"], told["swaps"]
    good = server["flat"] and swaps["flat"] and not server["faults"] and swaps["weights_equal"]
    sys.exit(not (good and swaps["pictures_equal"]))


# ---------------------------------------------------------------- the server


class Client:
    """Asks one thing after another.

    Args:
        url: The server's.
        chance: Says what, and of what.
    """

    def __init__(self, url: str, chance: random.Random) -> None:
        self.place = urlsplit(url)
        self.chance = chance
        self.kinds: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.faults: list[str] = []

    def ask(self) -> None:
        """Ask for something, and note where the answer is not what it should be."""
        [name] = self.chance.choices(list(KINDS), [weight for weight, _ in KINDS.values()])
        self.kinds[name] += 1
        try:
            KINDS[name][1](self)
        except Exception as error:
            self.faults.append(f"{name}: {type(error).__name__} {error}"[:300])

    def call(self, method: str, path: str, body: Any = None, *, expected: tuple[int, ...] = (200,)) -> Any:
        """Call, and return the answer; raises where its status is another."""
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        with closing(HTTPConnection(self.place.netloc, timeout=120)) as connection:
            connection.request(method, path, content, {"Content-Type": "application/json"} if content else {})
            answer = connection.getresponse()
            told = answer.read()
        self.statuses[answer.status] += 1
        if answer.status not in expected:
            raise RuntimeError(f"{method} {path}: {answer.status} {told[:200]!r}")
        return json.loads(told) if told[:1] in (b"{", b"[") else told

    def prompt(self) -> str:
        """Return a prompt, which may be new."""
        return f"{self.chance.choice(PROMPTS)}{self.chance.choice(('', ', ink', ' in the rain', ' by night'))}"

    def search(self) -> None:
        """Search by a prompt, or by an adapter."""
        asked = {"prompt": self.prompt()} if self.chance.random() < 0.8 else {"similar_to": self.chance.randint(1, 20)}
        self.call("POST", "/search", {**asked, "limit": 5})

    def look(self) -> None:
        """Look at what there is."""
        place = self.chance.choice(("/about", "/health", "/stats", "/adapters", "/jobs", "/metrics", "/", "/v1/models"))
        self.call("GET", place)

    def compose(self) -> None:
        """Have adapters chosen, and the composition written for another tool."""
        told = self.call("POST", "/compose", {"prompt": self.prompt(), "masks": self.chance.choice((0, 4))})
        if self.chance.random() < 0.3:
            self.call("POST", "/export", {"composition": told, "form": "a1111"})

    def validate(self) -> None:
        """Have a set checked."""
        adapters = [{"id": self.chance.randint(1, 20), "weight": self.chance.uniform(0, 2)} for _ in range(3)]
        self.call("POST", "/validate", {"adapters": adapters, "prompt": self.prompt()})

    def generate(self) -> None:
        """Paint, wait for it by events, and fetch the picture."""
        job = self.submit(1)
        events = self.call("GET", f"/jobs/{job}/events").decode()
        last = json.loads([line for line in events.splitlines() if line.startswith("data:")][-1][5:])
        if last["state"] != "done":
            raise RuntimeError(f"the job is {last['state']}: {last.get('error')}")
        picture = self.call("GET", last["pictures"][0]["url"])
        if not picture.startswith(b"\x89PNG"):
            raise RuntimeError("no picture")

    def submit(self, count: int) -> str:
        """Put a job in line, and return its number."""
        told = self.call(
            "POST", "/generate", {"prompt": self.prompt(), "count": count, "steps": 1}, expected=(202, 429)
        )
        return str(told["job"]["id"])

    def cancel(self) -> None:
        """Put a job in line, and end it."""
        job = self.submit(4)
        time.sleep(self.chance.uniform(0, 0.05))
        self.call("DELETE", f"/jobs/{job}", expected=(200, 202, 204))

    def openai(self) -> None:
        """Paint as OpenAI's clients do."""
        told = self.call(
            "POST", "/v1/images/generations", {"prompt": self.prompt(), "n": 1, "response_format": "b64_json"}
        )
        if not told["data"][0]["b64_json"]:
            raise RuntimeError("no picture")

    def a1111(self) -> None:
        """Paint as A1111's clients do."""
        told = self.call("POST", "/sdapi/v1/txt2img", {"prompt": self.prompt(), "steps": 1, "width": 32, "height": 32})
        if not told["images"][0]:
            raise RuntimeError("no picture")

    def nonsense(self) -> None:
        """Ask for what cannot be."""
        asked: list[tuple[str, str, Any]] = [
            ("POST", "/search", b"{"), ("POST", "/search", {"prompt": 7}), ("GET", "/adapters/999999", None),
            ("POST", "/generate", {"prompt": "a fox", "width": -8}), ("GET", "/pictures/..%2f..%2fetc.png", None),
            ("POST", "/generate", {"prompt": "a fox", "count": 10**9}), ("DELETE", "/jobs/none", None),
            ("POST", "/v1/images/generations", {"n": 1}), ("POST", "/sdapi/v1/txt2img", {"prompt": "x", "width": 7}),
            ("POST", "/compose", {"prompt": "x" * 200_000}), ("POST", "/import", {"file": "!"}),
            ("POST", "/validate", {"adapters": [{"id": 10**30}]}), ("PUT", "/search", {}), ("GET", "/nothing", None),
        ]  # fmt: skip
        method, path, body = self.chance.choice(asked)
        self.call(method, path, body, expected=(400, 404, 405, 413, 422))

    def drop(self) -> None:
        """Go away in the middle of a request, or of an answer."""
        body = json.dumps({"prompt": self.prompt(), "count": 3, "steps": 1}).encode()
        head = f"POST /generate HTTP/1.1\r\nHost: {self.place.netloc}\r\nAccept: text/event-stream\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        whole = head.encode() + body
        with socket.create_connection((self.place.hostname or "", self.place.port or 80), timeout=60) as connection:
            if self.chance.random() < 0.5:
                connection.sendall(whole[: self.chance.randrange(1, len(whole))])
            else:
                connection.sendall(whole)
                connection.recv(64)


KINDS: dict[str, tuple[float, Callable[[Client], None]]] = {
    "search": (28, Client.search), "look": (10, Client.look), "compose": (15, Client.compose),
    "validate": (10, Client.validate), "generate": (10, Client.generate), "openai": (6, Client.openai),
    "a1111": (5, Client.a1111), "nonsense": (10, Client.nonsense), "cancel": (3, Client.cancel),
    "drop": (3, Client.drop),
}  # fmt: skip
"""What is asked for, and how often."""


def load(url: str, pid: int, requests: int, seed: int) -> dict[str, Any]:
    """Have the clients ask, and tell what they saw and what the server held."""
    clients = [Client(url, random.Random(seed * CLIENTS + number)) for number in range(CLIENTS)]
    each = math.ceil(requests / CLIENTS)
    samples, begun = Samples(), time.perf_counter()

    def work(client: Client) -> None:
        for _ in range(each):
            client.ask()

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        samples.take(pid, sum(client.kinds.total() for client in clients) / (each * CLIENTS))
        time.sleep(0.25)
    seconds = time.perf_counter() - begun
    kinds: Counter[str] = sum((client.kinds for client in clients), Counter())
    statuses: Counter[int] = sum((client.statuses for client in clients), Counter())
    faults = [fault for client in clients for fault in client.faults]
    return {
        "requests": kinds.total(), "seconds": round(seconds), "kinds": dict(kinds),
        "statuses": {str(status): count for status, count in sorted(statuses.items())},
        "faults": len(faults), "first_faults": faults[:5], **samples.report(),
    }  # fmt: skip


# ---------------------------------------------------------------- the backend


def swap(swaps: int, seed: int) -> dict[str, Any]:
    """Change the adapters of a backend so often, painting after each change, and compare its weights."""
    chance, folder = random.Random(seed), find_weights()
    files = sorted((folder / "loras").glob("*.safetensors"))
    backend = StableDiffusionBackend(str(folder / "base"), device="cpu")
    bare = painted(backend, [])
    before, samples, begun = weights_of(backend), Samples(), time.perf_counter()
    first = [(path, chance.uniform(-1, 2)) for path in chance.sample(files, 3)]
    shown = painted(backend, first)
    for number in range(swaps):
        laid = [(path, chance.uniform(-1, 2)) for path in chance.sample(files, chance.randint(0, 4))]
        painted(backend, laid)
        samples.take(os.getpid(), number / swaps)
    seconds = time.perf_counter() - begun
    same = painted(backend, first) == shown
    same &= painted(backend, []) == bare
    gc.collect()
    return {
        "swaps": swaps, "seconds": round(seconds), "weights_equal": weights_of(backend) == before,
        "sha256": before, "pictures_equal": same, **samples.report(),
    }  # fmt: skip


def painted(backend: StableDiffusionBackend, laid: list[tuple[Path, float]]) -> bytes:
    """Return the pixels of a picture that a set of adapters is laid on for."""
    named = ((AdapterRecord(source="folder", key=str(path), title=path.stem, path=str(path)), at) for path, at in laid)
    choices = tuple(Choice(adapter=adapter, weight=weight, span="fox") for adapter, weight in named)
    request = GenerationRequest(
        composition=Composition(prompt="a red fox", choices=choices), model=backend.model, seed=1, steps=1
    )
    [image] = backend.generate(request)
    return image.image.tobytes()


def weights_of(backend: StableDiffusionBackend) -> str:
    """Return the SHA-256 of every weight of the model, as it is now."""
    digest = hashlib.sha256()
    for part in ("unet", "vae", "text_encoder"):
        for name, tensor in sorted(getattr(backend._pipe, part).state_dict().items()):
            digest.update(f"{part}.{name}".encode())
            digest.update(tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
