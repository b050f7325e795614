"""Give a catalogue away as a dataset and take it over again, and copy it into another database.

    python benchmarks/dataset.py --db CATALOGUE [--url postgresql://...] [--json]

Told are seconds, seconds of processor time (of the process that reads Parquet too), and bytes. The catalogue is only
read. Before and after it is searched with the same prompts, and the answers must be equal. With `--url`, an empty
database, the catalogue is copied there and back as well.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from velatura import Velatura
from velatura.dataset import export_dataset, import_dataset
from velatura.db import Store, open_store
from velatura.db.copy import copy_catalogue

PROMPTS = ("a red fox in the snow, ink painting", "a castle at night, watercolor", "portrait of a knight, detailed")


def spent() -> float:
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in usage)


def timed(work: Callable[[], Any]) -> dict[str, float]:
    started, before = time.perf_counter(), spent()
    work()
    return {"seconds": round(time.perf_counter() - started, 1), "cpu_seconds": round(spent() - before, 1)}


def size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.iterdir()) if path.is_dir() else path.stat().st_size


def answers(path: Path) -> list[list[tuple[str, float]]]:
    with Velatura.open(db=str(path)) as velatura:
        return [[(one.adapter.record.title, one.score) for one in velatura.search(prompt)] for prompt in PROMPTS]


def measure(db: Path, url: str | None) -> dict[str, Any]:
    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain, new = folder / "plain.db", folder / "new.db"
        told["copy to a new file"] = timed(lambda: copy_catalogue(db, plain)) | {"bytes": size(plain)}
        with open_store(db, read_only=True) as store:
            told["adapters"] = store.stats().files
            told["export"] = timed(lambda: export_dataset(store, folder / "set", notes=True))
        told["export"]["bytes"] = size(folder / "set")
        told["files"] = {path.name: path.stat().st_size for path in sorted((folder / "set").iterdir())}

        def take(opened: Store) -> Callable[[], Any]:
            return lambda: import_dataset(opened, folder / "set")

        with open_store(new) as store:
            told["import"] = timed(take(store))
            told["import again, unchanged"] = timed(take(store))
            told["adapters taken over"] = store.stats().files
        told["import"]["bytes"] = size(new)
        told["search answers the same"] = answers(new) == answers(plain)
        if url is not None:
            told["copy to the server"] = timed(lambda: copy_catalogue(db, url))
            told["copy back"] = timed(lambda: copy_catalogue(url, folder / "back.db"))
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--db", type=Path, required=True)
    parser.add_argument("--url")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    told = measure(given.db, given.url)
    print(json.dumps(told) if given.json else "\n".join(f"{name}: {value}" for name, value in told.items()))


if __name__ == "__main__":
    main()
