"""Does the search find the adapters that a person used for a prompt?

    python benchmarks/retrieval.py --db build/civitai.db

The coefficients of `fused` were fitted on these prompts; what they are worth on others is told by `fit_fusion.py`, on
folds held out.

Prints recall at 1, 3, 10, 50 and 150 and the mean reciprocal rank, by kind of prompt, for our fused search, for
Stylus's dense retriever (its section 3.2: the card's vector alone), for BM25 and for the other named methods, in one
run over one catalogue. With `--reranker MODEL` also for a cross-encoder over the best of Stylus's retriever, and over
the best of ours.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from typing import get_args

from human_choices import KINDS, Query, add_arguments, mean, open_catalogue, read_queries

from velatura import Candidate, Velatura
from velatura.protocols import Method
from velatura.retriever import Retriever

DEPTHS = (1, 3, 10, 50, 150)


def score(query: Query, candidates: list[Candidate]) -> dict[str, float]:
    """Return one prompt's recall at each depth, and the reciprocal rank of its first adapter."""
    pages = [candidate.adapter.record.model_id for candidate in candidates]
    first = next((rank for rank, page in enumerate(pages, 1) if page in query.gold), None)
    recall = {f"recall@{k}": len(query.gold & set(pages[:k])) / len(query.gold) for k in DEPTHS}
    return {**recall, "mrr": 1 / first if first else 0.0}


def ways(velatura: Velatura, reranking: Velatura | None) -> dict[str, tuple[Retriever, Method]]:
    """Return what is compared; what needs a reranker only where there is one."""
    found: dict[str, tuple[Retriever, Method]] = {
        method: (velatura.retriever, method) for method in get_args(Method) if method != "rerank"
    }
    if reranking is not None:
        found["rerank"] = (reranking.retriever, "rerank")
        found["fused, reranked"] = (reranking.retriever, "fused")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--reranker", metavar="MODEL", help="a cross-encoder: a hub id or a folder; or llm")
    arguments = parser.parse_args()
    queries = read_queries(arguments.choices, arguments.every)
    result: dict[str, dict[str, dict[str, float]]] = {}
    with open_catalogue(arguments) as velatura:
        reranking = Velatura.open(db=arguments.db, reranker=arguments.reranker) if arguments.reranker else None
        for name, (retriever, method) in ways(velatura, reranking).items():
            started = time.perf_counter()
            found = retriever.search_all((query.prompt for query in queries), None, max(DEPTHS), method)
            by_kind: dict[str, list[dict[str, float]]] = defaultdict(list)
            for query, candidates in zip(queries, found, strict=True):
                by_kind[query.kind].append(score(query, candidates))
            seconds = time.perf_counter() - started
            result[name] = {
                kind: {figure: round(mean([row[figure] for row in by_kind[kind]]), 4) for figure in by_kind[kind][0]}
                for kind in KINDS
                if by_kind[kind]
            }
            print(f"{name}: {len(queries)} prompts, {1000 * seconds / len(queries):.0f} ms each")
            for kind, figures in result[name].items():
                print(f"  {kind:10}", "  ".join(f"{figure} {value:.3f}" for figure, value in figures.items()))
    if arguments.json:
        print(json.dumps({"prompts": len(queries), "methods": result}))


if __name__ == "__main__":
    main()
