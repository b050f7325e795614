"""Fit the coefficients of `velatura/retriever/fusion.py` to what people chose.

    python benchmarks/fit_fusion.py --db build/civitai.db

A logistic regression over the lists' features, with the pages of the adapters split in four: each fold is judged by
coefficients that never saw its adapters. Kinds of prompts are weighed alike in the fit. Prints the coefficients to
put into `FITTED`, recall at 10 of the held-out folds, and how well the probabilities are calibrated.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from dataclasses import fields

import numpy as np
from human_choices import KINDS, add_arguments, mean, open_catalogue, read_queries
from scipy.optimize import minimize

from velatura.retriever.fusion import Features

FOLDS = 4
NAMES = [field.name for field in fields(Features)]


def fit(rows: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return coefficients and bias that minimise the weighted log-loss with a slight pull to zero."""

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        logits = rows @ theta[:-1] + theta[-1]
        chance = 1 / (1 + np.exp(-logits))
        gap = weights * (chance - labels)
        value = np.sum(weights * (np.logaddexp(0, logits) - labels * logits)) + 1e-3 * np.sum(theta[:-1] ** 2)
        return float(value), np.append(rows.T @ gap + 2e-3 * theta[:-1], gap.sum())

    start = np.append(np.ones(rows.shape[1]), -8.0)
    return minimize(loss, start, jac=True, method="L-BFGS-B").x


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    arguments = parser.parse_args()
    queries = read_queries(arguments.choices, arguments.every)
    rows, labels, owner, pages = [], [], [], []
    with open_catalogue(arguments) as velatura:
        prompts = [query.prompt for query in queries]
        for number, (query, seen) in enumerate(zip(queries, velatura.retriever.features(prompts), strict=True)):
            for page, values in seen.items():
                rows.append([getattr(values, name) for name in NAMES])
                labels.append(page in query.gold)
                owner.append(number)
                pages.append(page)
    table, answers, of = np.array(rows, dtype=np.float64), np.array(labels, dtype=np.float64), np.array(owner)
    share = Counter(query.kind for query in queries)
    weight = np.array([len(queries) / (len(share) * share[query.kind]) for query in queries])[of]
    fold = np.array([min(query.gold) % FOLDS for query in queries])[of]
    held_out = np.zeros(len(answers))
    for number in range(FOLDS):
        theta = fit(table[fold != number], answers[fold != number], weight[fold != number])
        held_out[fold == number] = table[fold == number] @ theta[:-1] + theta[-1]
    recall: dict[str, list[float]] = defaultdict(list)
    edges = np.flatnonzero(np.diff(np.append(-1, of)))
    for number, (start, end) in enumerate(zip(edges, np.append(edges[1:], len(of)), strict=True)):
        query = queries[int(of[start])]
        top = start + np.argsort(-held_out[start:end], kind="stable")[:10]
        recall[query.kind].append(answers[top].sum() / len(query.gold))
        assert number < len(queries)
    theta = fit(table, answers, weight)
    coefficients = dict(zip([*NAMES, "bias"], (round(float(value), 2) for value in theta), strict=True))
    print("coefficients", coefficients)
    held = {kind: round(float(mean(recall[kind])), 4) for kind in KINDS}
    print("held-out recall@10", held)
    chance = 1 / (1 + np.exp(-held_out))
    calibration = []
    for low, high in ((0.02, 0.05), (0.05, 0.1), (0.1, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.0)):
        inside = (chance >= low) & (chance < high)
        if inside.any():
            said, true = float(chance[inside].mean()), float(answers[inside].mean())
            calibration.append({"said": round(said, 3), "true": round(true, 3)})
    print("calibration", calibration)
    if arguments.json:
        print(json.dumps({"coefficients": coefficients, "held_out_recall@10": held, "calibration": calibration}))


if __name__ == "__main__":
    main()
