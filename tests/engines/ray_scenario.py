"""What happens on a cluster of two nodes, in a process of its own: prints JSON of it.

python tests/engines/ray_scenario.py FOLDER. Ray leaves threads, sockets and warnings behind, which no test must see.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

SECRET = "sk-never-told-9876543210"
os.environ |= {
    "OMP_NUM_THREADS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "OPENAI_API_KEY": SECRET,
    "RAY_worker_niceness": "0",
}

import ray  # noqa: E402
from batch_server import described  # noqa: E402
from chat_server import chat_server, said  # noqa: E402
from command_line import velatura  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402
from shelf import Given, adapter  # noqa: E402

import velatura.engines.on_ray as on_ray  # noqa: E402
import velatura.eval.extract.run as extraction  # noqa: E402
import velatura.refiner.embed as embedding  # noqa: E402
from velatura.db import open_store  # noqa: E402
from velatura.plain import to_plain  # noqa: E402
from velatura.playground.library import weights_folder  # noqa: E402
from velatura.records import AdapterRecord, Choice, Composition  # noqa: E402

FOLDER = Path(sys.argv[1])
WEIGHTS = weights_folder()
LORAS = ("cat", "rocket", "snow_scene")
ADAPTERS = 300


def processes() -> dict[int, tuple[int, str]]:
    """Return (parent, command line) of all that run."""
    found = {}
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            try:
                parent = int(path.joinpath("stat").read_text().rpartition(")")[2].split()[1])
                found[int(path.name)] = parent, path.joinpath("cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
    return found


def descendants(called: str) -> list[int]:
    """Return the processes under this one whose command line begins so."""
    running = processes()

    def is_ours(number: int) -> bool:
        while number in running and number != os.getpid():
            number = running[number][0]
        return number == os.getpid()

    return [number for number, (_, line) in running.items() if line.startswith(called) and is_ours(number)]


@contextmanager
def workers() -> Iterator[list[on_ray.RayWorkers]]:
    """Note the workers that are made meanwhile."""
    made: list[on_ray.RayWorkers] = []
    begin = on_ray.RayWorkers.__init__

    def noted(self: on_ray.RayWorkers, *arguments: Any) -> None:
        begin(self, *arguments)
        made.append(self)

    on_ray.RayWorkers.__init__ = noted
    yield made
    on_ray.RayWorkers.__init__ = begin


def counted(made: list[on_ray.RayWorkers]) -> dict[str, int]:
    return {name: sum(getattr(one, name) for one in made) for name in ("lost", "repeated", "swaps")}


@contextmanager
def upon(happened: Callable[[], bool], act: Callable[[], None]) -> Iterator[None]:
    """Act once something has happened."""
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(0.005):
            if happened():
                act()
                return

    thread = threading.Thread(target=watch)
    thread.start()
    yield
    is_over.set()
    thread.join()


def kill_a_worker() -> None:
    os.kill(descendants("ray::Worker")[0], signal.SIGKILL)


def home(name: str) -> Path:
    folder = FOLDER / name
    folder.mkdir(parents=True)
    with open_store(folder / "catalogue.db") as store:
        words = ("fox", "otter", "harbour", "snow", "ink", "glass")
        records = [
            adapter(
                f"{words[number % 6]} {number}", triggers=((f"trigger{number % 40}",),),
                description=f"It paints a {words[number % 5]} in the manner of {words[number % 4]}.",
            )
            for number in range(ADAPTERS)
        ]  # fmt: skip
        store.sync(Given(records))
    return folder


def of(engine: str) -> list[str]:
    return ["--engine", "ray", "--address", ADDRESS] if engine == "ray" else []


def embed(engine: str) -> dict[str, Any]:
    folder = home(f"embed-{engine}")
    with workers() as made:
        done = velatura("embed", *of(engine), "--json", home=folder)
    return {
        "told": done.json,
        "of": rows(folder, "embedding", "passage"),
        **counted(made),
    }


def rows(folder: Path, *tables: str) -> list[Any]:
    """Return the rows of tables of the catalogue."""
    import sqlite3

    with sqlite3.connect(folder / "catalogue.db") as file:
        return [row for name in tables for row in sorted(map(repr, file.execute(f"select * from {name}")))]


def refine(engine: str, describer: str, url: str) -> dict[str, Any]:
    folder = home(f"{describer}-{engine}")
    options = ["--describer", describer, "--no-embed", "--workers", 4, *of(engine), "--json"]
    with workers() as made:
        done = velatura("refine", *options, home=folder, VELATURA_LLM="eye", VELATURA_LLM_URL=url)
    told = {name: value for name, value in done.json.items() if name != "seconds"}
    return {"told": told, "of": rows(folder, "refinement", "reply"), **counted(made)}


def compositions() -> Path:
    """Write prompts with three sets of adapters in turn."""
    path = FOLDER / "all.jsonl"
    with path.open("w") as file:
        for number in range(12):
            name = LORAS[number % 3]
            where = str(WEIGHTS / "loras" / f"{name}.safetensors")
            record = AdapterRecord(source="folder", key=name, title=name, path=where, family="miniature")
            made = Composition(
                prompt=f"a {name} number {number}", choices=(Choice(adapter=record, weight=0.8, span=name),)
            )
            file.write(json.dumps(to_plain(made)) + "\n")
    return path


def pictures(folder: Path) -> dict[str, Any]:
    lines = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    told = [{name: value for name, value in line.items() if name != "seconds"} for line in lines]
    return {"files": {path.name: path.read_bytes().hex() for path in sorted(folder.glob("*.png"))}, "manifest": told}


def run(engine: str, file: Path) -> dict[str, Any]:
    folder = home(f"run-{engine}")
    output = folder / "run"
    options = ["--model", WEIGHTS / "base", "--output", output, "--steps", 4, *of(engine), "--json"]
    with workers() as made:
        kill = kill_a_worker if engine == "ray" else lambda: None
        with upon(lambda: len(list(output.glob("[!c.]*.png"))) >= 3, kill):
            done = velatura("run", file, *options, home=folder)
    told = json.loads(done.stdout)
    return {
        "painted": told["painted"], "failed": told["failed"], "of": pictures(output),
        "stderr": done.stderr, **counted(made),
    }  # fmt: skip


def extract(engine: str, painted: Path, lose: Callable[[], None]) -> dict[str, Any]:
    folder = home(f"extract-{engine}")
    manifest = folder / "all.jsonl"
    with manifest.open("w") as file:
        for path in sorted(painted.glob("[!c]*.png")):
            file.write(json.dumps({"image": path.name, "prompt": path.stem, "method": "m"}) + "\n")
    cache = folder / "cache"
    options = [
        "--metrics",
        "clip",
        "--clip",
        WEIGHTS / "evaluator",
        "--cache",
        cache,
        "--device",
        "cpu",
        "--images",
        painted,
    ]
    each, is_lost = on_ray.RayWorkers.each, False

    def losing(self: on_ray.RayWorkers, tasks: Any) -> Iterator[Any]:
        nonlocal is_lost
        for found in each(self, tasks):
            yield found
            if not is_lost:
                is_lost = True
                while sum(hand.is_open for hand in self._hands) < 2:  # one on each node
                    self.wait(0.1)
                lose()

    with workers() as made:
        on_ray.RayWorkers.each = losing
        done = velatura("eval", "extract", manifest, *options, *of(engine), "--json", home=folder)
        on_ray.RayWorkers.each = each
    told = done.json
    return {"told": told, "features": features(cache), **counted(made)}


def features(cache: Path) -> dict[str, str]:
    import numpy as np

    from velatura.eval.cache import FeatureCache

    found = {}
    for folder in sorted((cache / "features").iterdir()):
        if folder.is_dir() and "-texts" not in folder.name:
            opened = FeatureCache(cache / "features")
            shas = sorted(
                json.loads(line)[3] for line in (cache / "features" / "digests.jsonl").read_text().splitlines()
            )
            rows, missing = opened.get(folder.name, list(dict.fromkeys(shas)))
            assert not missing
            found[folder.name] = np.asarray(rows).tobytes().hex()
    return found


def leaked(folder: Path) -> list[str]:
    """Return the files of Ray's that hold the key."""
    found = []
    for path in folder.rglob("*"):
        is_read = path.is_file() and not path.is_symlink() and path.stat().st_size < 50_000_000
        if is_read and SECRET.encode() in path.read_bytes():
            found.append(str(path))
    return found


def started() -> dict[str, Any]:
    """Describe by rules on a cluster that is started for it."""
    folder = home("started")
    done = velatura("refine", "--describer", "card", "--no-embed", "--engine", "ray", "--json", home=folder)
    before = time.monotonic()
    while (left := descendants("")[1:]) and time.monotonic() - before < 10:
        time.sleep(0.1)
    running = processes()
    return {
        "told": done.returncode, "stderr": done.stderr, "of": rows(folder, "refinement", "reply"),
        "left": [running[number][1] for number in left if number in running and "/ray/" in running[number][1]],
        "folders": [str(path) for path in Path("/tmp").glob("velatura-ray-*")],
    }  # fmt: skip


if __name__ == "__main__":
    times: dict[str, float] = {}
    last = time.perf_counter()

    def lap(what: str) -> None:
        global last
        times[what] = round(time.perf_counter() - last, 1)
        sys.stderr.write(f"{what} {times[what]}\n")
        last = time.perf_counter()

    before = {str(path) for path in Path("/tmp").glob("velatura-ray-*")}
    embedding._CHUNK = 50
    extraction.extract.__kwdefaults__["batch"] = 1
    limits = {"num_cpus": 1, "object_store_memory": 80_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={**limits, "include_dashboard": False})
    node = cluster.add_node(**limits)
    ADDRESS = cluster.address
    ENGINES = ("local", "ray")
    told: dict[str, Any] = {}
    lap("cluster")
    told["embed"] = {engine: embed(engine) for engine in ENGINES}
    lap("embed")
    told["card"] = {engine: refine(engine, "card", "http://127.0.0.1:9/v1") for engine in ENGINES}
    lap("card")

    def answer(body: dict[str, Any]) -> Any:
        title = re.search(r"title: (.*)", body["messages"][1]["content"])[1]
        return said(described(description=f"It paints {title} over a harbour.", triggers=[1], weight=0.7))

    with chat_server(answer) as script:
        told["vlm"] = {engine: refine(engine, "vlm", script.url) for engine in ENGINES}
        told["keys"] = sorted({str(key) for key in script.keys})
    lap("vlm")
    file = compositions()
    told["run"] = {engine: run(engine, file) for engine in ENGINES}
    lap("run")
    painted = FOLDER / "run-local" / "run"

    def lose_a_node() -> None:
        at_work = descendants("ray::Worker")
        cluster.remove_node(node, allow_graceful=False)
        # A worker outlives its node by a moment, and would do all that is left.
        while all(processes().get(number, (0, ""))[1].startswith("ray::") for number in at_work):
            time.sleep(0.02)

    lose = {"local": lambda: None, "ray": lose_a_node}
    told["extract"] = {engine: extract(engine, painted, lose[engine]) for engine in ENGINES}
    lap("extract")
    told["leaked"] = leaked(Path(cluster.head_node._session_dir))
    ray.shutdown()
    cluster.shutdown()
    lap("end")
    told["started"] = started()
    told["started"]["folders"] = [path for path in told["started"]["folders"] if path not in before]
    lap("started")
    sys.stdout.write(json.dumps({**told, "times": times, "secret": SECRET}) + "\n")
