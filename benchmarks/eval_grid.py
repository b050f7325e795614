"""A grid of cells scored for FID from cached features: this package against clean-fid's way, on one core.

    python benchmarks/eval_grid.py [--cells 40] [--n 10000] [--width 2048] [--sqrtm-cells 2] [--kept] [--json]

The features are drawn, correlated and not Gaussian, two pictures of each prompt. Each cell is scored by this package:
with its value alone, and with standard errors as well. clean-fid's way is its own code path with the reference's
statistics at hand: numpy.mean, numpy.cov and scipy.linalg.sqrtm for each cell. It is timed on the first `--sqrtm-cells`
cells, and its time for all is their mean times the cells. Seconds are CPU seconds of one thread. `ratio` is clean-fid's
way against ours for the same thing, the values alone; `ratio_with_errors` is against values and standard errors. Means
are taken in double precision on both sides, where clean-fid takes them in single, so that the values can agree.

With --kept the grid is also scored as a manifest is, its features read from the cache of features (some gigabytes in a
temporary folder), and then once more from the kept scores: `kept_first` and `kept_again`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from scipy import linalg
from threadpoolctl import threadpool_limits

from velatura.eval.cache import FeatureCache, ScoreCache
from velatura.eval.cells import Cell
from velatura.eval.evaluation import Evaluation
from velatura.eval.extract import CachedFeatures
from velatura.eval.frechet import FrechetDistance, Reference, influences
from velatura.eval.manifest import manifest_of
from velatura.eval.moments import moments_of
from velatura.eval.records import CellName, Sample

EXTRACTOR = "inception"


def main() -> None:
    """Score the grid both ways, and print what it took."""
    arguments = options()
    with threadpool_limits(limits=1):
        report = measure(arguments)
    show(report)
    if arguments.json:
        print(json.dumps(report))


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Score the grid both ways."""
    grid = Grid(arguments.n, arguments.width)
    report: dict[str, Any] = {"cells": arguments.cells, "n": arguments.n, "width": arguments.width, "threads": 1}
    seconds, values = score(grid, arguments.cells)
    report["seconds"] = seconds
    report["parts"] = parts(grid)
    if arguments.kept:
        seconds |= through_the_caches(grid, arguments.cells)
    theirs, their_values = by_sqrtm(grid, arguments.sqrtm_cells)
    report["sqrtm_cells"] = arguments.sqrtm_cells
    seconds["sqrtm_each"] = theirs / arguments.sqrtm_cells
    seconds["sqrtm_extrapolated"] = seconds["sqrtm_each"] * arguments.cells
    report["agreement"] = max(abs(ours / other - 1) for ours, other in zip(values, their_values, strict=False))
    report["ratio"] = seconds["sqrtm_extrapolated"] / (seconds["reference"] + seconds["values"])
    report["ratio_with_errors"] = seconds["sqrtm_extrapolated"] / (seconds["reference"] + seconds["values_and_errors"])
    return report


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=40)
    parser.add_argument("--n", type=int, default=10_000, help="pictures of a cell, more than the width")
    parser.add_argument("--width", type=int, default=2048, help="numbers of a feature")
    parser.add_argument("--sqrtm-cells", type=int, default=2, help="cells that clean-fid's way is timed on")
    parser.add_argument("--kept", action="store_true", help="score a manifest through the caches, twice")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    arguments = parser.parse_args()
    if arguments.n <= arguments.width:
        parser.error("--n must be more than --width")
    if not 1 <= arguments.sqrtm_cells <= arguments.cells:
        parser.error("--sqrtm-cells must be from 1 to --cells")
    return arguments


class Grid:
    """Cells that can be drawn again and again, and the reference."""

    def __init__(self, n: int, width: int) -> None:
        self.n = n
        self.width = width
        generator = np.random.default_rng(0)
        self._mixing = np.linalg.qr(generator.standard_normal((width, width)))[0].astype(np.float32)
        self._spread = ((1 + np.arange(width)) ** -0.5).astype(np.float32)
        self.prompts = tuple(f"{number // 2:06}" for number in range(n))
        self.reference = self._draw(np.random.default_rng(1), 1.0)

    def cell(self, number: int) -> Cell:
        """Return a cell: every one is a little further from the reference."""
        name = CellName(method="drawn", guidance=float(number))
        samples = tuple(
            Sample(prompt_id=prompt, prompt="", method=name.method, image="", index=place % 2)
            for place, prompt in enumerate(self.prompts)
        )
        features = self._draw(np.random.default_rng(2 + number), 0.9 - 0.4 * number / (number + 10))
        return Cell(name=name, samples=samples, features={EXTRACTOR: features})

    def _draw(self, generator: np.random.Generator, cut: float) -> np.ndarray:
        shared = np.repeat(generator.standard_normal((self.n // 2 + 1, self.width), dtype=np.float32), 2, axis=0)
        raw = 0.5 * shared[: self.n] + generator.standard_normal((self.n, self.width), dtype=np.float32)
        return (np.maximum(raw, -cut) * self._spread) @ self._mixing + np.float32(0.3)


def score(grid: Grid, cells: int) -> tuple[dict[str, float], list[float]]:
    """Return what this package takes for all the cells, and the values."""
    seconds = dict.fromkeys(("reference", "values", "values_and_errors"), 0.0)
    reference = moments_of(grid.reference)
    with timed(seconds, "reference"):
        _ = Reference(reference).factor
    alone, whole = (
        FrechetDistance("fid", EXTRACTOR, reference, "drawn", "drawn", errors=errors) for errors in (False, True)
    )
    first = grid.cell(0)
    alone.estimate(first)  # the factor of each reference, which is counted above, and what is loaded once
    whole.estimate(first)
    values = []
    for number in range(cells):
        cell = grid.cell(number)
        with timed(seconds, "values"):
            values.append(alone.estimate(cell).value)
        with timed(seconds, "values_and_errors"):
            estimate = whole.estimate(cell)
        if estimate.value != values[-1] or not estimate.error:
            raise SystemExit("the value is another with standard errors")
    return seconds, values


def parts(grid: Grid) -> dict[str, float]:
    """Return what the steps of one cell take."""
    seconds = dict.fromkeys(("moments", "distance", "errors"), 0.0)
    reference = Reference(moments_of(grid.reference))
    _ = reference.factor
    features = grid.cell(0).features[EXTRACTOR]
    with timed(seconds, "moments"):
        moments = moments_of(features, single=True)
    with timed(seconds, "distance"):
        found = reference.measure(features)
    seconds["distance"] -= seconds["moments"]
    moments, product = found.moments, found.product
    with timed(seconds, "errors"):
        influences(reference, features, moments, product)
    return seconds


class Drawn:
    """An extractor whose features are all kept already."""

    name = EXTRACTOR
    fingerprint = "drawn"
    signature = "drawn"

    def __init__(self, width: int) -> None:
        self.width = width


def through_the_caches(grid: Grid, cells: int) -> dict[str, float]:
    """Return what it takes to score the grid's manifest from kept features, and again from kept scores."""
    seconds = {"kept_first": 0.0, "kept_again": 0.0}
    reference, extractor = moments_of(grid.reference), Drawn(grid.width)
    with TemporaryDirectory() as folder:
        features, samples = FeatureCache(f"{folder}/features"), []
        for number in range(cells):
            cell = grid.cell(number)
            shas = [hashlib.sha256(f"{number} {place}".encode()).hexdigest() for place in range(grid.n)]
            features.put(extractor.fingerprint, shas, cell.features[EXTRACTOR])
            samples += [
                replace(one, guidance=float(number), image=f"{sha}.png", sha256=sha)
                for one, sha in zip(cell.samples, shas, strict=True)
            ]
        manifest = manifest_of(samples, Path(folder))
        for name in seconds:
            with timed(seconds, name):
                evaluation = Evaluation(
                    manifest,
                    features=lambda own: CachedFeatures(own, [extractor], FeatureCache(f"{folder}/features")),
                    scores=ScoreCache(f"{folder}/scores"),
                )
                metric = FrechetDistance("fid", EXTRACTOR, reference, "drawn", "drawn", errors=False)
                evaluation.score([metric])
    return seconds


def by_sqrtm(grid: Grid, cells: int) -> tuple[float, list[float]]:
    """Return what clean-fid's way takes for some cells, and its values."""
    mean, covariance = np.mean(grid.reference, axis=0, dtype=np.float64), np.cov(grid.reference, rowvar=False)
    seconds = {"all": 0.0}
    values = []
    for number in range(cells):
        features = grid.cell(number).features[EXTRACTOR]
        with timed(seconds, "all"):
            mu, sigma = np.mean(features, axis=0, dtype=np.float64), np.cov(features, rowvar=False)
            apart = mu - mean
            trace = np.trace(np.real(root_of(sigma.dot(covariance))))
            values.append(float(apart.dot(apart) + np.trace(sigma) + np.trace(covariance) - 2 * trace))
    return seconds["all"], values


def root_of(product: np.ndarray) -> np.ndarray:
    """Return a matrix's root by the call that clean-fid makes, where the installed scipy still has it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return linalg.sqrtm(product, disp=False)[0]
        except TypeError:
            return linalg.sqrtm(product)


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Add the CPU seconds of a block."""
    clock: Callable[[], float] = time.process_time
    start = clock()
    yield
    seconds[name] += clock() - start


def show(report: dict[str, Any]) -> None:
    """Print the report for people."""
    seconds, steps = report["seconds"], report["parts"]
    print(f"{report['cells']} cells of {report['n']} x {report['width']}, CPU seconds of one thread")
    print(f"  the reference's factor            {seconds['reference']:8.2f}")
    print(f"  a cell: its moments               {steps['moments']:8.2f}")
    print(f"          the distance              {steps['distance']:8.2f}")
    print(f"          standard errors           {steps['errors']:8.2f}")
    print(f"  all cells, values                 {seconds['values']:8.2f}")
    print(f"  all cells, values and errors      {seconds['values_and_errors']:8.2f}")
    if "kept_first" in seconds:
        print(f"  all cells, from kept features     {seconds['kept_first']:8.2f}")
        print(f"  all cells, from kept scores       {seconds['kept_again']:8.2f}")
    print(f"  clean-fid's way, a cell           {seconds['sqrtm_each']:8.2f}   (mean of {report['sqrtm_cells']})")
    print(f"  clean-fid's way, all, extrapolated{seconds['sqrtm_extrapolated']:8.2f}")
    print(f"  ratio {report['ratio']:.1f}; with standard errors {report['ratio_with_errors']:.1f}")
    print(f"  values agree to {report['agreement']:.1e}")


if __name__ == "__main__":
    main()
