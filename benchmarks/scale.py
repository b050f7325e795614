"""Search a large catalogue: how long, how exact, how much memory, and how soon new adapters are found.

    python benchmarks/scale.py --db CATALOGUE [--adapters 75000] [--keep 0.3] [--prompts 200] [--json]

Up to 100,000 adapters are those of the catalogue and copies of them, card and example prompts, with Gaussian noise of
0.03 in each number, then normalised (cosine to what was copied about 0.86). Beyond, each adapter has a card only: two
texts of the catalogue mixed at random, 50 to 100 percent of one, and noise of 0.02; so rows lie where texts do, most
near several others, and none has copies. Queries are prompts that people wrote. The filter keeps adapters at random.

Ways: *stylus* does for each query what Stylus's retriever does: the cards' vectors are read from their file, the cosine
to all taken, all sorted. *float32* and *half* are flat FAISS indices over the cards. *cards* is ours over the cards,
*both* ours over cards and prompts, one search each. Every way runs in a process of its own with one thread, which is
also what its memory is told of: its own, and what it shares with others that map the same file. Milliseconds are of
one query without its encoding; recall is that of single precision, of what may be found.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from human_choices import data_folder, read_queries

from velatura.db import Store, open_store

MODEL = {"model": "sentence-transformers/all-MiniLM-L6-v2", "revision": "scale"}
DEPTH = 150
COPIED = 100_000
"""Up to here adapters are copies of real ones."""
SLOW = 10
"""Queries that Stylus's way is asked."""
NEW = 100
WAYS = ("stylus", "float32", "float32 kept", "half", "half kept", "cards", "cards kept", "both", "both kept")

Search = Callable[[np.ndarray], list[int]]


class Named:
    """An embedder's name, under which vectors are kept."""

    model = MODEL["model"]
    revision = MODEL["revision"]

    def embed(self, texts: Any) -> np.ndarray:
        """Nothing is embedded under this name."""
        raise NotImplementedError


@dataclass(frozen=True)
class Folder:
    """Where the processes find what they search."""

    path: Path

    def array(self, name: str) -> np.ndarray:
        """Read an array."""
        return np.load(self.path / f"{name}.npy")

    def keep(self, name: str, values: np.ndarray) -> None:
        """Write an array."""
        np.save(self.path / f"{name}.npy", values)

    @property
    def db(self) -> Path:
        """The catalogue."""
        return self.path / "scale.db"

    @property
    def index(self) -> Path:
        """The file of our index."""
        return self.path / "scale.db.faiss"


def normalised(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def copies(store: Store, named: dict[str, str], count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (adapter, field, vector) of the passages of `count` adapters: real ones, then noised copies of them."""
    _, adapters, fields = store.vector_rows(**named)
    vectors = store.load_vectors(**named)
    real = np.unique(adapters)
    place = np.searchsorted(real, adapters)
    rng = np.random.default_rng(0)
    parts = []
    for start in range(0, count, len(real)):
        chosen = place < count - start
        rows = vectors[chosen]
        if start:
            rows = normalised(rows + 0.03 * rng.standard_normal(rows.shape, dtype=np.float32))
        parts.append((place[chosen] + start + 1, fields[chosen], rows))
    numbers, names, rows = (np.concatenate(part) for part in zip(*parts, strict=True))
    return numbers, names, rows.astype(np.float32)


def mixtures(store: Store, named: dict[str, str], count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (adapter, field, vector) of `count` cards between real texts."""
    real = store.load_vectors(**named)
    rng = np.random.default_rng(0)
    rows = np.empty((count, real.shape[1]), dtype=np.float32)
    for start in range(0, count, 50_000):
        some = min(50_000, count - start)
        share = rng.uniform(0.5, 1, (some, 1)).astype(np.float32)
        one, other = (real[rng.integers(0, len(real), some)] for _ in range(2))
        mixed = normalised(share * one + (1 - share) * other)
        rows[start : start + some] = normalised(mixed + 0.02 * rng.standard_normal(mixed.shape, dtype=np.float32))
    return np.arange(1, count + 1), np.full(count, "card"), rows


def fill(path: Path, numbers: np.ndarray, fields: np.ndarray, rows: np.ndarray, count: int) -> None:
    """Make a catalogue of adapters that have a title and passages."""
    open_store(path).close()
    connection = sqlite3.connect(path)
    every = (
        (number, "scale", str(number), "-", str(number), str(number), "sd1", "lora") for number in range(1, count + 1)
    )
    columns = "id, source, key, digest, title, title_key, family, kind"
    connection.executemany(f"INSERT INTO adapter ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", every)
    connection.execute(
        "INSERT INTO encoder (model, revision, dimension, stamp) VALUES (?, ?, ?, 'x')",
        (*MODEL.values(), rows.shape[1]),
    )
    digests = [f"{place:064d}" for place in range(len(rows))]
    connection.executemany(
        "INSERT INTO embedding (encoder_id, digest, vector) VALUES (1, ?, ?)",
        ((digest, row.tobytes()) for digest, row in zip(digests, rows, strict=True)),
    )
    connection.executemany(
        "INSERT INTO passage (adapter_id, field, ordinal, digest) VALUES (?, ?, ?, ?)",
        zip(numbers.tolist(), fields.tolist(), range(len(rows)), digests, strict=True),
    )
    connection.commit()
    connection.close()


def memory() -> dict[str, float]:
    """Return the megabytes that a process has of its own, and those of mapped files."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: int(lines[key].split()[0]) / 1024 for name, key in (("own", "RssAnon"), ("mapped", "RssFile"))}


def open_way(way: str, folder: Folder) -> Search:
    """Return what searches, opened from files."""
    import faiss

    from velatura.retriever import faiss_index
    from velatura.retriever.passages import PassageIndex

    faiss.omp_set_num_threads(1)
    allowed = folder.array("allowed") if way.endswith("kept") else None
    if way == "stylus":
        numbers = folder.array("cards.numbers")

        def stylus(query: np.ndarray) -> list[int]:
            rows = folder.array("cards")
            cosines = rows @ query / (np.linalg.norm(rows, axis=1) * np.linalg.norm(query))
            return numbers[np.argsort(-cosines)[:DEPTH]].tolist()

        return stylus
    if way.startswith(("float32", "half")):
        numbers, rows = folder.array("cards.numbers"), folder.array("cards")
        if way.startswith("float32"):
            index = faiss.IndexFlatIP(rows.shape[1])
        else:
            index = faiss.IndexScalarQuantizer(rows.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        index.add(rows)
        mask = np.isin(numbers, allowed) if allowed is not None else None
        selection = faiss_index.Selection(mask) if mask is not None else None
        params = faiss.SearchParameters(sel=selection.selector if selection is not None else None)
        return lambda query: numbers[index.search(query[None], DEPTH, params=params)[1][0]].tolist()
    store = open_store(folder.db, read_only=True)
    passages = PassageIndex(store, Named(), folder.index)
    if way.startswith("cards"):
        return lambda query: list(passages.best(query, "card", DEPTH, allowed))

    def both(query: np.ndarray) -> list[int]:
        passages.best(query, "card", DEPTH, allowed)
        return list(passages.best(query, "prompt", DEPTH, allowed))

    return both


def measure(way: str, folder: Folder, told: Any) -> None:
    """Ask all queries one after another, and tell what that took."""
    queries = folder.array("queries")[: SLOW if way == "stylus" else None]
    before, started = memory(), time.perf_counter()
    search = open_way(way, folder)
    loaded = time.perf_counter() - started
    search(queries[0])
    spent, walls, found = time.process_time(), [], []
    for query in queries:
        started = time.perf_counter()
        found.append(search(query))
        walls.append(time.perf_counter() - started)
    spent = time.process_time() - spent
    after = memory()
    told.put(
        {
            "p50": 1000 * float(np.median(walls)),
            "p99": 1000 * float(np.quantile(walls, 0.99)),
            "cpu": 1000 * spent / len(queries),
            "load": loaded,
            "own": after["own"] - before["own"],
            "mapped": after["mapped"] - before["mapped"],
            "found": found,
        }
    )


def race(way: str, folder: Folder, together: Any, told: Any) -> None:
    """Ask all queries when the other process begins as well, and tell when that was."""
    queries = folder.array("queries")[: SLOW if way == "stylus" else None]
    search = open_way(way, folder)
    search(queries[0])
    together.wait()
    started = time.monotonic()
    for query in queries:
        search(query)
    told.put((started, time.monotonic(), len(queries)))


def run_way(way: str, folder: Folder, true: dict[str, list[list[int]]]) -> dict[str, Any]:
    """Measure one way: alone, then two processes of it at once."""
    context = multiprocessing.get_context("spawn")
    told: Any = context.Queue()
    process = context.Process(target=measure, args=(way, folder, told))
    process.start()
    result: dict[str, Any] = told.get()
    process.join()
    together = context.Barrier(2)
    pair = [context.Process(target=race, args=(way, folder, together, told)) for _ in range(2)]
    for process in pair:
        process.start()
    times = [told.get() for _ in pair]
    for process in pair:
        process.join()
    wall = max(end for _, end, _ in times) - min(start for start, _, _ in times)
    result["per_second"] = sum(count for _, _, count in times) / wall
    field = "prompt" if way.startswith("both") else "card"
    wanted = true[f"{field} kept" if way.endswith("kept") else field]
    found = result.pop("found")
    for depth in (10, DEPTH):
        shares = [
            len(set(mine[:depth]) & set(right[:depth])) / max(1, len(right[:depth]))
            for mine, right in zip(found, wanted, strict=False)
        ]
        result[f"recall@{depth}"] = float(np.mean(shares))
    return {name: round(value, 4 if "recall" in name else 2) for name, value in result.items()}


def exact(queries: np.ndarray, rows: np.ndarray, numbers: np.ndarray) -> list[list[int]]:
    """Return the adapters of the nearest passages in single precision."""
    nearest = []
    for start in range(0, len(queries), 50):
        for cosines in queries[start : start + 50] @ rows.T:
            some = np.argpartition(-cosines, DEPTH)[:DEPTH] if len(rows) > DEPTH else np.arange(len(rows))
            nearest.append(list(dict.fromkeys(numbers[some[np.argsort(-cosines[some])]].tolist())))
    return nearest


def grow(folder: Folder, rows: np.ndarray, count: int) -> dict[str, float]:
    """Time new, changed and gone adapters until a search heeds them, and opening the index then."""
    from velatura.retriever.passages import PassageIndex

    seconds = {}
    with open_store(folder.db) as store:
        index = PassageIndex(store, Named(), folder.index)

        def timed(name: str, work: Callable[[], Any]) -> Any:
            started = time.perf_counter()
            result = work()
            seconds[name] = round(time.perf_counter() - started, 4)
            return result

        connection = sqlite3.connect(folder.db)
        columns = "id, source, key, digest, title, title_key, family, kind"
        for number in range(count + 1, count + NEW + 1):
            values = (number, "scale", str(number), "-", str(number), str(number), "sd1", "lora")
            connection.execute(f"INSERT INTO adapter ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
        connection.commit()
        connection.close()
        rng = np.random.default_rng(1)
        new = normalised(rows[:NEW] + 0.02 * rng.standard_normal(rows[:NEW].shape, dtype=np.float32))
        store.put_vectors(**MODEL, given={f"new {place}": row for place, row in enumerate(new)})
        named = [(count + 1 + place, [("card", f"new {place}")]) for place in range(NEW)]
        store.set_passages(named, "1")
        timed("nothing changed, searched", lambda: PassageIndex.best(index, new[0], "card", DEPTH))
        found = timed("100 new adapters, searched", lambda: index.refresh() and index.best(new[0], "card", DEPTH))
        assert count + 1 in found, "a new adapter is not found"
        timed("opened after that", lambda: PassageIndex(store, Named(), folder.index))
        timed("refresh when nothing changed", index.refresh)
        store.set_passages([(number, []) for number in range(1, NEW + 1)], "1")
        found = timed("100 adapters gone, searched", lambda: index.refresh() and index.best(rows[0], "card", DEPTH))
        assert 1 not in found, "an adapter that is gone is found"
        timed("opened after that too", lambda: PassageIndex(store, Named(), folder.index))
    return seconds


def build(folder: Folder) -> float:
    """Return the seconds in which an index is made of the catalogue's vectors, and written."""
    from velatura.retriever.passages import PassageIndex

    with open_store(folder.db) as store:
        started = time.perf_counter()
        PassageIndex(store, Named(), folder.index)
        return round(time.perf_counter() - started, 2)


def encoded(choices: Path, count: int) -> np.ndarray:
    """Return the vectors of people's prompts."""
    from velatura.refiner.embedders import SentenceEmbedder
    from velatura.syntax import plain_text

    queries = read_queries(choices)
    queries = queries[:: max(1, len(queries) // count)][:count]
    return SentenceEmbedder(device="cpu").embed([plain_text(query.prompt) for query in queries])


def prepare(options: argparse.Namespace, folder: Folder) -> tuple[dict[str, Any], np.ndarray, dict[str, Any]]:
    """Make the catalogue, the queries, the filter and the right answers."""
    with open_store(options.db, read_only=True) as store:
        encoder = sqlite3.connect(f"file:{options.db}?mode=ro", uri=True).execute("SELECT model, revision FROM encoder")
        model, revision = encoder.fetchone()
        make = copies if options.adapters <= COPIED else mixtures
        numbers, fields, rows = make(store, {"model": model, "revision": revision}, options.adapters)
    queries = encoded(options.choices, options.prompts)
    rng = np.random.default_rng(0)
    every = np.arange(1, options.adapters + 1)
    allowed = np.sort(rng.choice(every, size=int(options.keep * len(every)), replace=False))
    true = {}
    for field in np.unique(fields):
        of_field = fields == field
        kept = of_field & np.isin(numbers, allowed)
        true[f"{field}"] = exact(queries, rows[of_field], numbers[of_field])
        true[f"{field} kept"] = exact(queries, rows[kept], numbers[kept])
    folder.keep("queries", queries)
    folder.keep("allowed", allowed)
    folder.keep("cards", rows[fields == "card"])
    folder.keep("cards.numbers", numbers[fields == "card"])
    fill(folder.db, numbers, fields, rows, options.adapters)
    told = {
        "adapters": options.adapters,
        "passages": {str(name): int((fields == name).sum()) for name in true if " " not in name},
    }
    return true, rows[fields == "card"][: 2 * NEW], told


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
    # For the processes that search; this one has read them already.
    os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
    with tempfile.TemporaryDirectory() as name:
        folder = Folder(Path(name))
        true, some, result = prepare(options, folder)
        result["build"] = build(folder)
        result["index_megabytes"] = round(folder.index.stat().st_size / 1e6)
        print(f"{result['adapters']:,} adapters, passages {result['passages']}")
        print(f"index built in {result['build']} s, {result['index_megabytes']} MB", flush=True)
        result["ways"] = {}
        for way in options.ways:
            if way.startswith("both") and "prompt" not in true:
                continue
            told = result["ways"][way] = run_way(way, folder, true)
            print(f"{way:14} " + "  ".join(f"{key} {value}" for key, value in told.items()), flush=True)
        result["growth"] = grow(folder, some, options.adapters)
    for what, seconds in result["growth"].items():
        print(f"{what:30} {1000 * seconds:.1f} ms")
    if {"stylus", "cards kept"} <= result["ways"].keys():
        result["times_less_cpu"] = {
            way: round(result["ways"]["stylus"]["cpu"] / told["cpu"], 1) for way, told in result["ways"].items()
        }
        print(f"times less CPU than Stylus's way: {result['times_less_cpu']}")
    result["load_average"] = round(os.getloadavg()[0], 1)
    print(f"load average {result['load_average']}")
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
