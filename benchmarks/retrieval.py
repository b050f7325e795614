"""Does the search find the adapters that a person used for a prompt?

    python benchmarks/retrieval.py --db build/civitai.db

Prints recall at 1, 3, 10, 50 and 150 and the mean reciprocal rank, by kind of prompt, for our fused search, for
Stylus's dense retriever (its section 3.2: the card's vector alone) and for BM25, in one run over one catalogue.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from typing import get_args

from human_choices import KINDS, Query, add_arguments, mean, open_catalogue, read_queries

from velatura import Candidate
from velatura.retriever.retriever import Method

DEPTHS = (1, 3, 10, 50, 150)


def score(query: Query, candidates: list[Candidate]) -> dict[str, float]:
    """Return one prompt's recall at each depth, and the reciprocal rank of its first adapter."""
    pages = [candidate.adapter.record.model_id for candidate in candidates]
    first = next((rank for rank, page in enumerate(pages, 1) if page in query.gold), None)
    recall = {f"recall@{k}": len(query.gold & set(pages[:k])) / len(query.gold) for k in DEPTHS}
    return {**recall, "mrr": 1 / first if first else 0.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    arguments = parser.parse_args()
    queries = read_queries(arguments.choices, arguments.every)
    result: dict[str, dict[str, dict[str, float]]] = {}
    with open_catalogue(arguments) as velatura:
        for method in get_args(Method):
            started = time.perf_counter()
            found = velatura.retriever.search_all((query.prompt for query in queries), None, max(DEPTHS), method)
            by_kind: dict[str, list[dict[str, float]]] = defaultdict(list)
            for query, candidates in zip(queries, found, strict=True):
                by_kind[query.kind].append(score(query, candidates))
            seconds = time.perf_counter() - started
            result[method] = {
                kind: {name: round(mean([row[name] for row in by_kind[kind]]), 4) for name in by_kind[kind][0]}
                for kind in KINDS
                if by_kind[kind]
            }
            print(f"{method}: {len(queries)} prompts, {1000 * seconds / len(queries):.0f} ms each")
            for kind, figures in result[method].items():
                print(f"  {kind:10}", "  ".join(f"{name} {value:.3f}" for name, value in figures.items()))
    if arguments.json:
        print(json.dumps({"prompts": len(queries), "methods": result}))


if __name__ == "__main__":
    main()
