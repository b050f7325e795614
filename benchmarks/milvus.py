"""Searching vectors in Milvus: what a filter costs, told by a list of adapters or by a column, and FAISS beside it.

    python benchmarks/milvus.py [--vectors 75000] [--dimension 384] [--milvus ADDRESS] [--json]

Vectors are random, of length 1, one an adapter; 500 are asked for, as a search does. A list is what the index pushes
down: the adapters that a filter leaves or those that it keeps out, whichever are fewer. The column has a number from 0
to 999, so that `column < 100` leaves one in ten: what it would cost if Milvus knew what filters ask for. Every answer
is compared with that of numpy. Milliseconds and seconds are CPU time of this process, in which milvus-lite works too;
the first of a filter is told apart, since milvus-lite and FAISS remember it. Without an address it is milvus-lite, in a
folder that is deleted afterwards.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from velatura.retriever.faiss_index import FaissIndex, Selection
from velatura.retriever.milvus_client import Milvus
from velatura.retriever.milvus_collection import Collection

ASKED = 500
SHARES = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99)
COLUMN = 1000
AGAIN = 5
WRITTEN = 2_000
NAME = "velatura_benchmark"


def main() -> None:
    """Write, search, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=75_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--milvus", metavar="ADDRESS", help="a server, or a path that ends in .db")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    options = parser.parse_args()
    draw = np.random.default_rng(0)
    vectors = unit(draw, options.vectors, options.dimension)
    columns = draw.integers(COLUMN, size=options.vectors)
    queries = unit(draw, AGAIN + 1, options.dimension)
    with tempfile.TemporaryDirectory() as folder:
        address = options.milvus or f"{folder}/milvus.db"
        with opened(address, vectors, columns) as (collection, seconds):
            print(f"{options.vectors} vectors of {options.dimension} numbers written in {seconds:.0f} s of CPU time")
            told = {"written": round(seconds, 1), "searches": list(searches(collection, vectors, columns, queries))}
    if options.json:
        print(json.dumps(told))


def unit(draw: np.random.Generator, count: int, dimension: int) -> np.ndarray:
    """Return random directions."""
    rows = draw.standard_normal((count, dimension), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@contextmanager
def opened(address: str, vectors: np.ndarray, columns: np.ndarray) -> Iterator[tuple[Collection, float]]:
    """Yield a collection with the column beside what the index keeps, and the seconds that it took; then drop it."""
    from pymilvus import DataType

    milvus = Milvus(address)
    client = milvus.client
    schema = client.create_schema(auto_id=False)
    for name in ("id", "adapter", "bucket"):
        schema.add_field(name, DataType.INT64, is_primary=name == "id")
    schema.add_field("field", DataType.VARCHAR, max_length=64)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=vectors.shape[1])
    index = client.prepare_index_params()
    index.add_index("vector", index_type="FLAT", metric_type="IP")
    client.create_collection(NAME, schema=schema, index_params=index)
    try:
        start = time.process_time()
        for first in range(0, len(vectors), WRITTEN):
            rows = range(first, min(first + WRITTEN, len(vectors)))
            client.upsert(
                NAME,
                [
                    {
                        "id": row + 1,
                        "adapter": row + 1,
                        "bucket": int(columns[row]),
                        "field": "card",
                        "vector": vectors[row],
                    }
                    for row in rows
                ],
            )
        client.flush(NAME)
        yield Collection(milvus, NAME, vectors.shape[1]), time.process_time() - start
    finally:
        client.drop_collection(NAME)
        milvus.close()


def searches(
    collection: Collection, vectors: np.ndarray, columns: np.ndarray, queries: np.ndarray
) -> Iterator[dict[str, Any]]:
    """Yield what searches took, by the share that a filter leaves."""
    adapters = np.arange(1, len(vectors) + 1)
    faiss = FaissIndex.build(vectors)
    for share in (*SHARES, 1.0):
        mask = columns < round(share * COLUMN)
        right = [set(best(vectors @ query, mask)) for query in queries]
        listed, column = (
            collection.asked("card", adapters, mask),
            {"filter": f'field == "card" and bucket < {share * COLUMN:.0f}'},
        )
        selection = Selection(mask)
        ways: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            "list": lambda query, asked=listed: collection.search(query, ASKED, asked)[0],
            "column": lambda query, asked=column: collection.search(query, ASKED, asked)[0],
            "faiss": lambda query, may=selection: faiss.search(query[None], ASKED, may)[1][0] + 1,
        }
        told: dict[str, Any] = {"share": share, "named": min(int(mask.sum()), int((~mask).sum()))}
        for name, search in ways.items():
            answers, times = zip(*(timed(search, query) for query in queries), strict=True)
            hits = sum(len(set(answer) & truth) for answer, truth in zip(answers, right, strict=True))
            milliseconds = sorted(times[1:])[len(times[1:]) // 2]
            told[name] = {"first": times[0], "again": milliseconds, "recall": round(hits / sum(map(len, right)), 4)}
        print(f"{share:6.1%} left, {told['named']:6} named: " + "; ".join(line(name, told[name]) for name in ways))
        yield told


def best(cosines: np.ndarray, mask: np.ndarray) -> list[int]:
    """Return the numbers of the nearest that may be found."""
    may = np.flatnonzero(mask)
    return (may[np.argsort(-cosines[may])[:ASKED]] + 1).tolist()


def timed(search: Callable[[np.ndarray], np.ndarray], query: np.ndarray) -> tuple[list[int], float]:
    """Return the numbers found, and the milliseconds of CPU time that it took."""
    start = time.process_time()
    found = search(query)
    return found[found > 0].tolist(), round((time.process_time() - start) * 1e3, 1)


def line(name: str, told: dict[str, float]) -> str:
    """Return a way's figures as a person reads them."""
    return f"{name} {told['first']:.0f} ms, then {told['again']:.0f} (recall {told['recall']:.3f})"


if __name__ == "__main__":
    main()
