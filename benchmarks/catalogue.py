"""Index a dump of Civitai pages: reading alone, into a new catalogue, again unchanged, and killed ten times.

    python benchmarks/catalogue.py DUMP [--kills 10] [--seed 0] [--json]

The dump is anything that `velatura index` takes for Civitai: JSON, JSON Lines, gzip, a folder of these. Nothing is
embedded. The killed run is the command line's own, ended by SIGKILL at random moments of the time that an undisturbed
run takes, then repeated to its end; every row of each catalogue is compared with the undisturbed one.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from velatura.catalog import CivitaiDump
from velatura.db import open_store
from velatura.protocols import Entry
from velatura.records import AdapterRecord, Rejection

QUIET: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
SHADOWS = ("_data", "_idx", "_content", "_docsize", "_config")


def measure_reading(dump: Path) -> dict[str, object]:
    """Read the whole dump three times without a database; the best time counts."""
    results: list[AdapterRecord | Rejection] = []
    seconds, stamping = [], []
    for _ in range(3):
        start = time.perf_counter()
        pages = sum(1 for _ in CivitaiDump(dump).entries())
        stamping.append(time.perf_counter() - start)
        start = time.perf_counter()
        results = []
        for offered in CivitaiDump(dump).entries():
            results += offered.read() if isinstance(offered, Entry) else [offered]
        seconds.append(time.perf_counter() - start)
    records = [result for result in results if isinstance(result, AdapterRecord)]
    refused = collections.Counter(result.reason for result in results if isinstance(result, Rejection))
    return {
        "pages": pages,
        "models": len({record.model_id for record in records}),
        "versions": len({record.version_id for record in records}),
        "files": len(records),
        "rejected": dict(refused),
        "with_weight_evidence": sum(bool(record.weights) for record in records),
        "with_example_prompts": sum(any(example.prompt for example in record.examples) for record in records),
        "stamp_seconds": round(min(stamping), 3),
        "read_seconds": round(min(seconds), 3),
        "read_records_per_second": round(len(records) / min(seconds)),
    }


def measure_store(dump: Path, database: Path) -> dict[str, object]:
    """Index into a new catalogue, then once more without any change."""
    with open_store(database) as store:
        first = store.sync(CivitaiDump(dump))
    before = rows(database)
    with open_store(database) as store:
        second = store.sync(CivitaiDump(dump))
    return {
        "index_seconds": round(first.seconds, 3),
        "index_records_per_second": round(first.added / first.seconds),
        "added": first.added,
        "repeat_seconds": round(second.seconds, 3),
        "repeat_read": second.offered - second.unchanged,
        "repeat_changes_no_row": rows(database) == before,
    }


def measure_kills(dump: Path, folder: Path, kills: int, seed: int) -> dict[str, object]:
    """Kill the command `index` at a random moment of a fresh run, repeat it to its end, and compare; many times."""
    start = time.perf_counter()
    subprocess.run(command(dump, folder / "whole.db"), check=True, **QUIET)
    seconds = time.perf_counter() - start
    expected = rows(folder / "whole.db")
    rng = random.Random(seed)
    moments, held, differing = [], [], set[str]()
    while len(moments) < kills:
        database = folder / f"killed-{len(moments)}.db"
        moment = rng.uniform(0, seconds)
        process = subprocess.Popen(command(dump, database), start_new_session=True, **QUIET)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            moments.append(round(moment, 2))
            held.append(count(database))
            subprocess.run(command(dump, database), check=True, **QUIET)
            found = rows(database)
            differing |= {name for name in expected | found if expected.get(name) != found.get(name)}
        for left in folder.glob(f"{database.name}*"):
            left.unlink()
    return {
        "command_seconds": round(seconds, 3),
        "killed_after_seconds": moments,
        "adapters_held_when_killed": held,
        "same_rows_as_undisturbed": not differing,
        "tables_that_differ": sorted(differing),
    }


def command(dump: Path, database: Path) -> list[str]:
    return [sys.executable, "-m", "velatura", "index", str(dump), "--db", str(database), "--no-embed", "--json"]


def count(database: Path) -> int:
    """Return how many adapters a catalogue holds, and check that it is whole."""
    if not database.exists():
        return 0
    with sqlite3.connect(database) as connection:
        (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
        if verdict != "ok":
            raise SystemExit(f"the catalogue is damaged: {verdict}")
        known = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'adapter'").fetchone()[0]
        return connection.execute("SELECT count(*) FROM adapter").fetchone()[0] if known else 0


def rows(database: Path) -> dict[str, str]:
    """Return a digest of the sorted rows of every table."""
    digests = {}
    with sqlite3.connect(database) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in sorted(names):
            if name.startswith("words_") and name.endswith(SHADOWS):
                continue
            found = sorted(map(repr, connection.execute(f'SELECT * FROM "{name}"')))
            digests[name] = hashlib.blake2b("\n".join(found).encode("utf-8", "surrogatepass")).hexdigest()
    return digests


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dump", type=Path)
    parser.add_argument("--kills", type=int, default=10, help="how often the command is killed; 0 for never")
    parser.add_argument("--seed", type=int, default=0, help="decides the moments of the kills")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="velatura-catalogue-") as name:
        folder = Path(name)
        result = measure_reading(options.dump) | measure_store(options.dump, folder / "catalogue.db")
        if options.kills:
            result |= measure_kills(options.dump, folder, options.kills, options.seed)
    for key, value in result.items():
        print(f"{key:28} {value}")
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
