"""The whole search of a large catalogue, from the prompt to the explained candidates: how long, and in which step.

    python benchmarks/search_scale.py --db CATALOGUE [--adapters 75000] [--keep 0.3] [--prompts 200] [--json]

The catalogue searched is made of the one given, which has to be embedded and is only read: of its adapters and of
copies of them, as `copied_catalogue.py` tells, with vectors copied as in `scale.py`.

All of them are read in by `Store.sync`, so words, phrases and records are written as they always are. Bases are dealt
out by page, so that a filter on one of them keeps the share asked for. Queries are prompts that people wrote.

Everything is measured in processes of their own with one thread each. *given* is a search of 10 with the prompt's
vector known, *encoded* one with a prompt that was never embedded before; *kept* is with the filter. Milliseconds by
step are means, each step without the steps inside it. Memory is a process's own, and what it shares with others that
map the same files, the program itself included.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import queue
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from copied_catalogue import KEPT, Dealer, Later, Pages, encoder_of, fill
from human_choices import data_folder, read_queries
from scale import copies, memory

from velatura.db import Store, open_store
from velatura.records import Filter
from velatura.syntax import plain_text

NEW = 100
WAYS = ("given", "given kept", "encoded", "encoded kept")


@dataclass(frozen=True)
class Folder:
    """Where the processes find what they search."""

    path: Path

    @property
    def db(self) -> Path:
        """The catalogue."""
        return self.path / "scale.db"

    @property
    def index(self) -> Path:
        """The vectors' index file; that of the words lies beside it."""
        return self.path / "scale.db.faiss"

    @property
    def prompts(self) -> list[str]:
        """What is asked."""
        asked: list[str] = json.loads((self.path / "prompts.json").read_text())
        return asked


class Given:
    """An embedder that knows the vectors of the prompts; any other text has that of the first."""

    def __init__(self, folder: Folder) -> None:
        encoder = encoder_of(folder.db)
        self.model, self.revision = encoder["model"], encoder["revision"]
        texts = [plain_text(prompt) for prompt in folder.prompts]
        self._vectors = dict(zip(texts, np.load(folder.path / "queries.npy"), strict=True))

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Look the vectors up."""
        first = next(iter(self._vectors.values()))
        return np.stack([self._vectors.get(text, first) for text in texts])


def make(options: argparse.Namespace, folder: Folder) -> tuple[float, Later]:
    """Make the catalogue and the queries; return the seconds of reading the adapters in, and some more adapters."""
    from velatura.refiner.embedders import SentenceEmbedder

    encoder = encoder_of(options.db)
    with open_store(options.db, read_only=True) as store:
        owners = np.unique(store.vector_rows(**encoder)[1])
        records = [adapter.record for adapter in store.adapters(owners)]
        numbers, fields, rows = copies(store, encoder, options.adapters)
        new = copies(store, encoder, NEW)
    dealer = Dealer(records, options.keep)
    keys: dict[str, int] = {}
    seconds, rounds = 0.0, -(-options.adapters // len(records))
    with open_store(folder.db) as store:
        for copy in range(rounds):
            pages = dealer.round(copy, options.adapters - copy * len(records), keys)
            started = time.perf_counter()
            store.sync(Pages(pages))
            seconds += time.perf_counter() - started
    fill(folder.db, encoder, keys, numbers, fields, rows)
    later: dict[str, int] = {}
    pages = dealer.round(rounds, NEW, later)
    every = list(dict.fromkeys(query.prompt for query in read_queries(options.choices)))
    prompts = every[:: max(1, len(every) // options.prompts)][: options.prompts]
    (folder.path / "prompts.json").write_text(json.dumps(prompts))
    np.save(folder.path / "queries.npy", SentenceEmbedder(device="cpu").embed([plain_text(one) for one in prompts]))
    first = {key: place - rounds * len(records) for key, place in later.items()}
    return round(seconds, 1), Later(pages, first, new)


@dataclass
class Steps:
    """Times the steps of a search, each without those inside it."""

    seconds: Counter[str] = field(default_factory=Counter)
    _inside: list[float] = field(default_factory=lambda: [0.0])

    def watch(self, step: str, owner: Any, *names: str) -> None:
        """Time these functions of a class or module."""
        for name in names:
            setattr(owner, name, self._timed(step, getattr(owner, name)))

    def _timed(self, step: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **options: Any) -> Any:
            self._inside.append(0.0)
            started = time.perf_counter()
            try:
                return work(*args, **options)
            finally:
                spent = time.perf_counter() - started
                self.seconds[step] += spent - self._inside.pop()
                self._inside[-1] += spent

        return timed


def watched() -> Steps:
    """Let every step of a search be timed from now on."""
    from velatura.refiner.embedders import SentenceEmbedder
    from velatura.retriever import lists, retriever
    from velatura.retriever.lexicon import Lexicon
    from velatura.retriever.passages import PassageIndex

    steps = Steps()
    steps.watch("encode", SentenceEmbedder, "embed")
    steps.watch("words", Lexicon, "ask", "bm25", "best_word", "coverage")
    steps.watch("triggers", Lexicon, "called", "speaking")
    steps.watch("triggers", lists, "phrases", "longest")
    steps.watch("triggers in text", Store, "mentions")
    steps.watch("vectors", PassageIndex, "best")
    steps.watch("look", retriever, "look")
    steps.watch("fuse", retriever, "found", "features", "probability", "representative")
    steps.watch("collapse", retriever, "collapse")
    steps.watch("collapse", Store, "identities")
    steps.watch("records", Store, "adapters")
    steps.watch("explain", Lexicon, "standing")
    return steps


def opened(folder: Folder, way: str) -> tuple[Any, Any]:
    """Return (the retriever, the filter) of a way."""
    import faiss

    from velatura.refiner.embedders import SentenceEmbedder
    from velatura.retriever import Retriever

    faiss.omp_set_num_threads(1)
    embedder = SentenceEmbedder(device="cpu", resident=True) if way.startswith("encoded") else Given(folder)
    kept = Filter(family=KEPT, partial=False) if way.endswith("kept") else None
    return Retriever(open_store(folder.db, read_only=True), embedder, folder.index), kept


def measure(folder: Folder, way: str, told: Any) -> None:
    """Ask all prompts one after another, twice: the second time step by step."""
    prompts, before = folder.prompts, memory()
    if way.startswith("encoded"):
        import velatura.refiner.embedders  # noqa: F401
    else:
        Given(folder)
    retriever, wanted = opened(folder, way)
    retriever.search("a fox in the snow" if way.startswith("encoded") else prompts[0], wanted, 10)
    spent, walls = time.process_time(), []
    for prompt in prompts:
        started = time.perf_counter()
        retriever.search(prompt, wanted, 10)
        walls.append(time.perf_counter() - started)
    spent = time.process_time() - spent
    again = [f"{prompt}." for prompt in prompts] if way.startswith("encoded") else prompts
    steps, started = watched(), time.perf_counter()
    for prompt in again:
        retriever.search(prompt, wanted, 10)
    total = time.perf_counter() - started
    steps.seconds["rest"] = total - sum(steps.seconds.values())
    after = memory()
    told.put(
        {
            "p50": 1000 * float(np.median(walls)),
            "p99": 1000 * float(np.quantile(walls, 0.99)),
            "cpu": 1000 * spent / len(prompts),
            "own": after["own"] - before["own"],
            "mapped": after["mapped"] - before["mapped"],
            "steps": {step: round(1000 * spent / len(prompts), 2) for step, spent in steps.seconds.most_common()},
        }
    )


def open_cold(folder: Folder, told: Any) -> None:
    """Open in a new process, with both index files there, and search once; without the imports."""
    import faiss

    from velatura.retriever import Retriever

    faiss.omp_set_num_threads(1)
    embedder = Given(folder)
    store = open_store(folder.db, read_only=True)
    started = time.perf_counter()
    retriever = Retriever(store, embedder, folder.index)
    there = time.perf_counter()
    retriever.search(folder.prompts[0])
    first = time.perf_counter()
    retriever.search(folder.prompts[0], Filter(family=KEPT, partial=False))
    told.put(
        {
            "open": round(there - started, 3),
            "first search": round(first - there, 3),
            "first with a filter": round(time.perf_counter() - first, 3),
        }
    )


def race(folder: Folder, way: str, together: Any, told: Any) -> None:
    """Ask all prompts when the other process begins as well, and tell when that was."""
    prompts = folder.prompts
    retriever, wanted = opened(folder, way)
    retriever.search(prompts[0] if way.startswith("given") else "a fox in the snow", wanted, 10)
    together.wait()
    started = time.monotonic()
    for prompt in prompts:
        retriever.search(prompt, wanted, 10)
    told.put((started, time.monotonic(), len(prompts)))


def build(folder: Folder, told: Any) -> None:
    """Make both index files."""
    import velatura.retriever.passages
    from velatura.retriever.lexicon import Lexicon

    seconds = {}
    with open_store(folder.db) as store:
        for name, path in (("words", folder.index.with_suffix(".words")), ("vectors", folder.index)):
            started = time.perf_counter()
            if name == "words":
                Lexicon(store, path)
            else:
                velatura.retriever.passages.PassageIndex(store, Given(folder), path)
            seconds[f"{name} seconds"] = round(time.perf_counter() - started, 1)
            seconds[f"{name} megabytes"] = round(path.stat().st_size / 1e6)
    told.put(seconds)


def grow(folder: Folder, later: Later, told: Any) -> None:
    """Read in new adapters beside a running retriever, and time its next search."""
    retriever, _ = opened(folder, "given")
    prompt, encoder = folder.prompts[0], encoder_of(folder.db)
    retriever.search(prompt)
    seconds = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = work()
        seconds[name] = round(time.perf_counter() - started, 4)
        return result

    def embedded() -> None:
        places, fields, rows = later.vectors
        passages: dict[int, list[tuple[str, str]]] = {}
        for at, (place, name) in enumerate(zip(places.tolist(), fields.tolist(), strict=True)):
            passages.setdefault(numbers[place], []).append((name, f"new {at}"))
        store.put_vectors(**encoder, given={f"new {at}": row for at, row in enumerate(rows)})
        store.set_passages(passages.items(), "1")

    with open_store(folder.db) as store:
        last = int(store.select(Filter())[-1])
        timed("nothing new, searched", lambda: retriever.search(prompt))
        timed("100 new adapters synced", lambda: store.sync(Pages(later.pages)))
        named = {adapter.record.key: adapter.id for adapter in store.adapters(range(last + 1, last + NEW + 1))}
        numbers = {place: named[key] for key, place in later.keys.items()}
        timed("their vectors written", embedded)
        found = timed("searched after that", lambda: retriever.search(later.pages[0][1][0].title))
        timed("searched again", lambda: retriever.search(prompt))
    ours = set(numbers.values())
    assert any(one.adapter.id in ours or ours & set(one.alternatives) for one in found), "a new adapter is not found"
    told.put(seconds)


def run(work: Callable[..., None], folder: Folder, *rest: Any, processes: int = 1) -> list[Any]:
    """Run something in processes of its own."""
    context = multiprocessing.get_context("spawn")
    told: Any = context.Queue()
    started = [context.Process(target=work, args=(folder, *rest, told)) for _ in range(processes)]
    for process in started:
        process.start()
    results: list[Any] = []
    while len(results) < processes:
        try:
            results.append(told.get(timeout=1))
        except queue.Empty:
            if any(process.exitcode for process in started):
                raise SystemExit("a process that measures has failed; it said why") from None
    for process in started:
        process.join()
    return results


def measure_way(folder: Folder, way: str) -> dict[str, Any]:
    """Measure one way: alone, then two processes of it at once."""
    (result,) = run(measure, folder, way)
    times = run(race, folder, way, multiprocessing.get_context("spawn").Barrier(2), processes=2)
    wall = max(end for _, end, _ in times) - min(start for start, _, _ in times)
    result["per_second"] = sum(count for _, _, count in times) / wall
    return {name: value if name == "steps" else round(value, 2) for name, value in result.items()}


def measure_all(options: argparse.Namespace, folder: Folder) -> dict[str, Any]:
    """Make the catalogue and measure everything."""
    result: dict[str, Any] = {"adapters": options.adapters}
    result["synced"], later = make(options, folder)
    (result["built"],) = run(build, folder)
    print(f"{options.adapters:,} adapters read in in {result['synced']} s, index files {result['built']}", flush=True)
    (result["opened"],) = run(open_cold, folder)
    print(f"opened in a new process: {result['opened']} (s)", flush=True)
    result["ways"] = {}
    for way in options.ways:
        told = result["ways"][way] = measure_way(folder, way)
        print(f"{way:14} " + "  ".join(f"{key} {value}" for key, value in told.items()), flush=True)
    (result["growth"],) = run(grow, folder, later)
    for what, seconds in result["growth"].items():
        print(f"{what:30} {1000 * seconds:.1f} ms")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--db", required=True, help="a catalogue, embedded; only read")
    parser.add_argument("--choices", type=Path, default=data_folder() / "civitai" / "human_choices_dev.jsonl")
    parser.add_argument("--adapters", type=int, default=75_000)
    parser.add_argument("--keep", type=float, default=0.3, help="the share that the filter keeps")
    parser.add_argument("--prompts", type=int, default=200, help="queries")
    parser.add_argument("--ways", nargs="+", default=WAYS, choices=WAYS)
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    options = parser.parse_args()
    # For the processes that search.
    os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
    with tempfile.TemporaryDirectory() as name:
        result = measure_all(options, Folder(Path(name)))
    result["load_average"] = round(os.getloadavg()[0], 1)
    print(f"load average {result['load_average']}")
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
