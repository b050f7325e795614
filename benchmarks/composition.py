"""Does the built-in composer lay on what a person laid on?

    python benchmarks/composition.py --db build/civitai.db

Prints, by kind of prompt and for several thresholds, the precision and recall of the chosen adapters, and the share of
prompts with no pick.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict

from human_choices import KINDS, add_arguments, mean, open_catalogue, read_queries

from velatura.composer.builtin import THRESHOLD, BuiltinComposer

THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    arguments = parser.parse_args()
    queries = read_queries(arguments.choices, arguments.every)
    rows: dict[float, dict[str, list[tuple[int, int, int]]]] = defaultdict(lambda: defaultdict(list))
    with open_catalogue(arguments) as velatura:
        found = velatura.retriever.search_all((query.prompt for query in queries), None, velatura.settings.candidates)
        for query, candidates in zip(queries, found, strict=True):
            for threshold in sorted({*THRESHOLDS, THRESHOLD}):
                composer = BuiltinComposer(threshold=threshold)
                picked = {choice.adapter.model_id for choice in composer.compose(query.prompt, candidates).choices}
                rows[threshold][query.kind].append((len(picked & query.gold), len(picked), len(query.gold)))
    result: dict[str, dict[str, dict[str, float]]] = {}
    for threshold, by_kind in rows.items():
        print(f"threshold {threshold:g}" + (" (the default)" if threshold == THRESHOLD else ""))
        result[f"{threshold:g}"] = {}
        for kind in KINDS:
            hits, picks, golds = (
                (sum(column) for column in zip(*by_kind[kind], strict=True)) if by_kind[kind] else (0, 0, 0)
            )
            figures = {
                "precision": round(hits / picks, 4) if picks else 0.0,
                "recall": round(hits / golds, 4) if golds else 0.0,
                "picks": round(mean([row[1] for row in by_kind[kind]]), 3),
                "none": round(mean([float(row[1] == 0) for row in by_kind[kind]]), 4),
            }
            result[f"{threshold:g}"][kind] = figures
            print(f"  {kind:10}", "  ".join(f"{name} {value:.3f}" for name, value in figures.items()))
    if arguments.json:
        print(json.dumps({"prompts": len(queries), "default": THRESHOLD, "thresholds": result}))


if __name__ == "__main__":
    main()
