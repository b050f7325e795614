"""What happens on a cluster of two nodes, in a process of its own: prints JSON of it.

python tests/engines/ray_scenario.py FOLDER [local]. Ray leaves threads, sockets and warnings behind, which no test must
see. What the same commands do without Ray is done meanwhile by a process of the same script (`local`), and a command
that starts its own cluster is a third.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

SECRET = "sk-never-told-9876543210"
MARK = "RAY_SCENARIO_OF"
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
OWN = Path(f"/tmp/r-{os.getpid()}")
"""The folder for temporary files of a command with a cluster of its own: a short name, since paths of sockets are."""
WEIGHTS = weights_folder()
LORAS = ("cat", "rocket", "snow_scene")
ADAPTERS = 64
CHUNK = 8
"""Adapters whose texts are embedded at once: so few texts that no worker needs torch for them."""
PATIENCE = 600
"""Seconds for what takes one on a machine that has nothing else to do."""


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
    return {"done": done.json["embedded"]["texts"], "of": rows(folder, "embedding", "passage"), **counted(made)}


def rows(folder: Path, *tables: str) -> list[Any]:
    """Return the rows of tables of the catalogue."""
    import sqlite3

    with sqlite3.connect(folder / "catalogue.db") as file:
        return [row for name in tables for row in sorted(map(repr, file.execute(f"select * from {name}")))]


def described_by(describer: str, engine: str, url: str = "http://127.0.0.1:9/v1") -> dict[str, Any]:
    folder = home(f"{describer}-{engine}")
    options = ["--describer", describer, "--no-embed", "--workers", 4, *of(engine), "--json"]
    with workers() as made:
        done = velatura("refine", *options, home=folder, VELATURA_LLM="eye", VELATURA_LLM_URL=url)
    told = {name: value for name, value in done.json.items() if name != "seconds"}
    return {"told": told, "of": rows(folder, "refinement", "reply"), **counted(made)}


def ask(engine: str) -> dict[str, Any]:
    """Describe by a language model; on Ray a worker is killed while the model is asked by both."""

    def answer(body: dict[str, Any]) -> Any:
        if engine == "ray" and len(script.asked) == ADAPTERS // 2:
            kill_a_worker()
        title = re.search(r"title: (.*)", body["messages"][1]["content"])[1]
        return said(described(description=f"It paints {title} over a harbour.", triggers=[1], weight=0.7))

    with chat_server(answer) as script:
        found = described_by("vlm", engine, script.url)
    return {**found, "asked": len(script.asked), "keys": sorted({str(key) for key in script.keys})}


def compositions(folder: Path) -> Path:
    """Write prompts with three sets of adapters in turn."""
    path = folder / "all.jsonl"
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


def run(engine: str, lose: Callable[[], None] | None = None) -> dict[str, Any]:
    """Paint; a node is lost when some pictures are there and both workers have more to do."""
    folder = home(f"run-{engine}")
    output = folder / "run"
    options = ["--model", WEIGHTS / "base", "--output", output, "--steps", 3, "--batch", 1, *of(engine), "--json"]
    hand_out, had = on_ray.RayWorkers._hand_out, []

    def losing(self: on_ray.RayWorkers) -> None:
        # Requests are cut and completed by whoever is open; pictures wait until there is a worker on each node.
        paints = any(key is not None for key in self._queue._waiting)
        if paints and not had and sum(hand.is_open for hand in self._hands) < 2:
            return
        hand_out(self)
        if paints and not had and len(list(output.glob("*.png"))) >= 3:
            had.extend(len(hand.jobs) for hand in self._hands)
            lose()

    with workers() as made:
        on_ray.RayWorkers._hand_out = losing if lose else hand_out
        done = velatura("run", compositions(folder), *options, home=folder)
        on_ray.RayWorkers._hand_out = hand_out
    told = json.loads(done.stdout)
    return {
        "painted": told["painted"], "failed": told["failed"], "of": pictures(output),
        "stderr": done.stderr, "had": had, **counted(made),
    }  # fmt: skip


def extract(engine: str) -> dict[str, Any]:
    folder, painted = home(f"extract-{engine}"), FOLDER / f"run-{engine}" / "run"
    manifest, cache = folder / "all.jsonl", folder / "cache"
    with manifest.open("w") as file:
        for path in sorted(painted.glob("[!c]*.png")):
            file.write(json.dumps({"image": path.name, "prompt": path.stem, "method": "m"}) + "\n")
    seen = ["--metrics", "clip", "--clip", WEIGHTS / "evaluator", "--device", "cpu", "--images", painted]
    with workers() as made:
        done = velatura("eval", "extract", manifest, *seen, "--cache", cache, *of(engine), "--json", home=folder)
    return {"told": done.json, "features": features(cache), **counted(made)}


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


def begin_own() -> subprocess.Popen[str]:
    """Describe by rules on a cluster that is started for it; what it starts is known by a variable."""
    folder = home("started")
    OWN.mkdir()
    atexit.register(shutil.rmtree, OWN, ignore_errors=True)
    options = ["refine", "--describer", "card", "--no-embed", "--engine", "ray", "--json"]
    environment = {**os.environ, "VELATURA_HOME": str(folder), "TMPDIR": str(OWN), MARK: str(FOLDER)}
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "velatura", *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder, env=environment,
    )  # fmt: skip


def end_own(started: subprocess.Popen[str]) -> dict[str, Any]:
    out, errors = started.communicate(timeout=PATIENCE)
    folder, before = FOLDER / "started", time.monotonic()
    while (left := marked()) and time.monotonic() - before < PATIENCE:
        time.sleep(0.1)
    return {
        "told": started.returncode, "stdout": out, "stderr": errors, "of": rows(folder, "refinement", "reply"),
        "left": left, "folders": [str(path) for path in OWN.glob("velatura-ray-*")],
    }  # fmt: skip


def marked() -> list[str]:
    """Return the command lines of the processes that a command with a cluster of its own has left."""
    found = []
    for number, (_, line) in processes().items():
        with suppress(OSError):
            if f"{MARK}={FOLDER}".encode() in Path(f"/proc/{number}/environ").read_bytes():
                found.append(line)
    return found


def on_the_cluster() -> dict[str, Any]:
    global ADDRESS
    limits = {"num_cpus": 1, "object_store_memory": 80_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={**limits, "include_dashboard": False})
    node = cluster.add_node(**limits)
    ADDRESS = cluster.address
    lap("cluster")

    def lose_a_node() -> None:
        at_work = descendants("ray::Worker")
        cluster.remove_node(node, allow_graceful=False)
        # A worker outlives its node by a moment, and would do all that is left.
        while all(processes().get(number, (0, ""))[1].startswith("ray::") for number in at_work):
            time.sleep(0.02)

    told: dict[str, Any] = {"vlm": ask("ray")}
    lap("vlm")
    told["run"] = run("ray", lose_a_node)
    lap("run")
    own = begin_own()  # not before: its workers look like those that were killed
    told["embed"] = embed("ray")
    lap("embed")
    told["extract"] = extract("ray")
    lap("extract")
    told["leaked"] = leaked(Path(cluster.head_node._session_dir))
    ray.shutdown()
    cluster.shutdown()
    lap("end")
    told["started"] = end_own(own)
    lap("started")
    return told


def here() -> dict[str, Any]:
    told: dict[str, Any] = {"card": described_by("card", "local"), "vlm": ask("local"), "run": run("local")}
    return {**told, "embed": embed("local"), "extract": extract("local")}


def lap(what: str) -> None:
    sys.stderr.write(f"{what} until {time.perf_counter() - BEGAN:.1f}\n")


if __name__ == "__main__":
    BEGAN = time.perf_counter()
    embedding._CHUNK = CHUNK
    extraction.extract.__kwdefaults__["batch"] = 1
    if sys.argv[2:] == ["local"]:
        sys.stdout.write(json.dumps(here()) + "\n")
    else:
        local = subprocess.Popen([sys.executable, "-W", "ignore", __file__, FOLDER, "local"], stdout=subprocess.PIPE)
        told = on_the_cluster()
        alone = json.loads(local.communicate(timeout=PATIENCE)[0])
        sys.stdout.write(json.dumps({"local": alone, "ray": told, "secret": SECRET}) + "\n")
