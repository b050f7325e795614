"""Scores made by hand, for tests of what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from velatura.eval.cells import Cell
from velatura.eval.estimates import Estimate, mean_estimate
from velatura.eval.evaluation import Scores
from velatura.eval.manifest import Manifest, manifest_of
from velatura.eval.records import CellName, Sample

PROMPTS = ("a fox", "a house of stone", "a very long prompt of many words that goes on and on until it ends", "a cup")
CATEGORIES = ("animal", "thing", "thing", "thing")


@dataclass(frozen=True)
class Named:
    """A metric that was measured by hand."""

    name: str
    better: str = "higher"
    ranking: bool = True
    unit: str = ""
    needs: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return self.name.upper()

    @property
    def signature(self) -> str:
        return f"{self.name}|by=hand"

    def estimate(self, cell: Cell) -> Estimate:
        raise AssertionError("it was measured by hand")


def cell(name: str) -> CellName:
    """Return a cell by a name such as `base @ 2`."""
    method, _, guidance = name.partition(" @ ")
    return CellName(method=method, guidance=float(guidance) if guidance else None)


def make_scores(values: Mapping[str, Mapping[str, tuple[float, ...]]], *metrics: Named) -> Scores:
    """Return scores: of each metric, by name, of each cell a value for each of the prompts."""
    estimates = {}
    for metric in metrics:
        for name, own in values[metric.name].items():
            found = mean_estimate([str(place) for place in range(len(own))], own)
            estimates[metric.name, cell(name)] = replace(found, is_mean=metric.name != "fid")
    cells = tuple(dict.fromkeys(one for _, one in estimates))
    return Scores(metrics=metrics, cells=cells, estimates=estimates, left_out={})


def make_samples(*names: str, seconds: float = 1.0) -> Manifest:
    """Return the samples of cells, a picture of each prompt, with times."""
    samples = [
        Sample(
            prompt_id=str(place), prompt=prompt, category=CATEGORIES[place], method=cell(name).method,
            guidance=cell(name).guidance, image=f"{name} {place}.png",
            timings=(("retrieve", 0.1), ("compose", 0.2), ("paint", seconds * (cell(name).guidance or 1.0))),
        )
        for name in names
        for place, prompt in enumerate(PROMPTS)
    ]  # fmt: skip
    return manifest_of(samples, Path())
