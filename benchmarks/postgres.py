"""The same catalogue in a file and on a PostgreSQL server: how long indexing and what a search reads take on each.

    python benchmarks/postgres.py DUMP --server URL [--runs 3]

DUMP is what `velatura index` takes for Civitai; URL is of a role that may make databases, as `.ci/postgres start`
prints it. Both are measured in turns within one run, and the least time of each counts. JSON on stdout.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from sqlalchemy import create_engine, make_url

from velatura.catalog import CivitaiDump
from velatura.db import Store, connect, open_store
from velatura.records import Filter

PHRASES = ("red fox", "oil painting", "1girl solo", "cyberpunk city", "detail tweaker")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dump", type=Path)
    parser.add_argument("--server", required=True)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    seconds: dict[str, dict[str, float]] = {"sqlite": {}, "postgresql": {}}
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory() as folder, database(options.server) as url:
            for name, target in (("sqlite", f"{folder}/catalogue.db"), ("postgresql", url)):
                for what, taken in measure(target, options.dump):
                    seconds[name][what] = min(taken, seconds[name].get(what, taken))
    ratios = {what: seconds["postgresql"][what] / taken for what, taken in seconds["sqlite"].items()}
    plain = {name: {what: round(taken, 5) for what, taken in told.items()} for name, told in seconds.items()}
    told = plain | {"postgresql_over_sqlite": {what: round(ratio, 2) for what, ratio in ratios.items()}}
    json.dump(told, sys.stdout, indent=2)
    sys.stdout.write("\n")


def measure(target: str, dump: Path) -> Iterator[tuple[str, float]]:
    """Yield (what, seconds)."""
    with open_store(target) as store:
        yield "index", timed(lambda: store.sync(CivitaiDump(dump)))
        yield "index again", timed(lambda: store.sync(CivitaiDump(dump)))
        numbers = store.select(Filter()).tolist()
        vectors = {f"d{number}": np.full(384, number, np.float32) for number in numbers}
        yield "write passages", timed(lambda: store.set_passages(((n, [("card", f"d{n}")]) for n in numbers), "1"))
        yield "write vectors", timed(lambda: store.put_vectors("m", "1", vectors))
        yield "read all vectors", timed(lambda: store.load_vectors("m", "1"))
        yield "read all words", timed(lambda: list(store.word_texts()))
        for what, ask in asked(store, numbers):
            yield what, min(timed(ask) for _ in range(20))


def asked(store: Store, numbers: list[int]) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield (what, a look that a search takes)."""
    some = numbers[:: max(1, len(numbers) // 50)][:50]
    yield "mark", store.mark
    yield "filter", lambda: store.select(Filter(family="sd1", nsfw=3))
    yield "50 adapters", lambda: store.adapters(some)
    yield "50 identities", lambda: store.identities(some)
    yield "5 phrases", lambda: store.mentions(PHRASES, 1000)
    yield "find by title", lambda: store.find("Detail Tweaker LoRA")
    yield "words state", store.words_state
    yield "vector state", lambda: store.vector_state("m", "1")
    yield "revision", store.revision


def timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@contextmanager
def database(server: str) -> Iterator[str]:
    """Make a database for as long as it is measured."""
    name = f"velatura_{secrets.token_hex(6)}"
    engine = create_engine(connect.url_of(server), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING UTF8")
        try:
            yield make_url(server).set(database=name).render_as_string(hide_password=False)
        finally:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    engine.dispose()


if __name__ == "__main__":
    main()
