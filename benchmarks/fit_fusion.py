"""Fit the coefficients of `velatura/retriever/fusion.py` to what people chose.

    python benchmarks/fit_fusion.py --db build/civitai.db

A logistic regression over the features of each page, with the adapters split in four: each fold is judged by
coefficients that never saw its adapters (prompts that share an adapter are in one fold). A kind of prompt weighs by the
root of its share, so that the rare kinds are heard. Prints the coefficients to put into `FITTED`, recall of the folds
held out, and how well the probabilities are calibrated. With `--ablate` also the recall without each feature, fitted
anew each time.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import fields

import numpy as np
from human_choices import KINDS, Query, add_arguments, mean, open_catalogue, read_queries
from scipy.optimize import minimize

from velatura.retriever.fusion import Features

FOLDS = 4
DEPTHS = (1, 3, 10, 50, 150)
NAMES = [field.name for field in fields(Features)]


def groups(queries: list[Query]) -> list[int]:
    """Return a number for each prompt: the same for those that share an adapter, by however many others."""
    first: dict[int, int] = {}

    def root(page: int) -> int:
        while first.setdefault(page, page) != page:
            page = first[page]
        return page

    for query in queries:
        lowest = min(root(page) for page in query.gold)
        for page in query.gold:
            first[root(page)] = lowest
    return [root(min(query.gold)) for query in queries]


class Judged:
    """The features of every page found for each prompt, and whether its writer took it."""

    def __init__(self, queries: list[Query], found: list[tuple[list[object], np.ndarray]]) -> None:
        self.queries = queries
        self.table = np.concatenate([table for _, table in found]).astype(np.float32)
        self.owner = np.repeat(np.arange(len(queries)), [len(pages) for pages, _ in found])
        self.taken = np.array([page in q.gold for q, (pages, _) in zip(queries, found, strict=True) for page in pages])
        share = Counter(query.kind for query in queries)
        self.weights = np.array([(len(queries) / share[query.kind]) ** 0.5 for query in queries])[self.owner]
        self.weights *= len(queries) / sum((len(queries) / share[query.kind]) ** 0.5 for query in queries)
        self.fold = np.array([group % FOLDS for group in groups(queries)])[self.owner]

    def fit(self, chosen: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return coefficients and bias that minimise the weighted log-loss with a slight pull to zero."""
        table, taken, weights = self.table[rows][:, chosen].astype(np.float64), self.taken[rows], self.weights[rows]
        size = table.std(axis=0) + 1e-9

        def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
            logits = table @ (theta[:-1] / size) + theta[-1]
            gap = weights * (1 / (1 + np.exp(-logits)) - taken)
            value = np.sum(weights * (np.logaddexp(0, logits) - taken * logits)) + 1e-3 * np.sum(theta[:-1] ** 2)
            return float(value), np.append(table.T @ gap / size + 2e-3 * theta[:-1], gap.sum())

        theta = minimize(loss, np.append(np.ones(len(chosen)), -8.0), jac=True, method="L-BFGS-B").x
        return np.append(theta[:-1] / size, theta[-1])

    def held_out(self, chosen: np.ndarray) -> np.ndarray:
        """Return the logit of each page by coefficients that never saw the adapters of its prompt."""
        logits = np.zeros(len(self.taken))
        for number in range(FOLDS):
            theta = self.fit(chosen, self.fold != number)
            mine = self.fold == number
            logits[mine] = self.table[mine][:, chosen] @ theta[:-1] + theta[-1]
        return logits

    def recall(self, logits: np.ndarray) -> dict[str, dict[str, float]]:
        """Return recall at each depth and the mean reciprocal rank, by kind of prompt."""
        rows: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
        starts = np.searchsorted(self.owner, np.arange(len(self.queries) + 1))
        for query, start, end in zip(self.queries, starts[:-1], starts[1:], strict=True):
            taken = self.taken[start:end][np.argsort(-logits[start:end], kind="stable")]
            first = np.flatnonzero(taken)
            figures = {f"recall@{depth}": taken[:depth].sum() / len(query.gold) for depth in DEPTHS}
            rows[query.kind].append({**figures, "mrr": 1 / (first[0] + 1) if len(first) else 0.0})
        return {
            kind: {name: round(float(mean([row[name] for row in found])), 4) for name in found[0]}
            for kind, found in rows.items()
            if found
        }


def calibration(taken: np.ndarray, logits: np.ndarray) -> list[dict[str, float]]:
    """Return what the probabilities say and what is true, for several ranges of them."""
    chance = 1 / (1 + np.exp(-logits))
    found = []
    for low, high in ((0.02, 0.05), (0.05, 0.1), (0.1, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.0)):
        inside = (chance >= low) & (chance < high)
        if inside.any():
            found.append(
                {"said": round(float(chance[inside].mean()), 3), "true": round(float(taken[inside].mean()), 3)}
            )
    return found


def show(name: str, recall: dict[str, dict[str, float]]) -> None:
    """Print one line for each kind of prompt."""
    for kind, figures in recall.items():
        print(
            f"{name:24} {kind:10}", "  ".join(f"{figure} {value:.3f}" for figure, value in figures.items()), flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--ablate", action="store_true", help="also leave out each feature in turn")
    arguments = parser.parse_args()
    queries = read_queries(arguments.choices, arguments.every)
    with open_catalogue(arguments) as velatura:
        judged = Judged(queries, list(velatura.retriever.features(query.prompt for query in queries)))
    everything = np.arange(len(NAMES))
    logits = judged.held_out(everything)
    theta = judged.fit(everything, np.ones(len(judged.taken), bool))
    result = {
        "coefficients": dict(zip([*NAMES, "bias"], (round(float(value), 3) for value in theta), strict=True)),
        "held_out": judged.recall(logits),
        "calibration": calibration(judged.taken, logits),
    }
    print("coefficients", result["coefficients"])
    show("all features", judged.recall(logits))
    print("calibration", result["calibration"])
    if arguments.ablate:
        result["without"] = {}
        for place, name in enumerate(NAMES):
            result["without"][name] = judged.recall(judged.held_out(np.delete(everything, place)))
            show(f"without {name}", result["without"][name])
    if arguments.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
