"""Measures the whole playground in one run, which can be stopped at any moment and goes on where it was."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ...errors import InputError
from ..library import GUIDANCE, STEPS
from .cells import Cells, Painted, digest_of
from .conditions import Compositions, Shelf, choose, open_library, servable
from .evaluator import Evaluator
from .figures import claims, condition_figures, gain_figures, harm_figures, pick_figures
from .prompts import KINDS, Ask, every_ask
from .scores import score
from .speed import measure_speed
from .worlds import REFERENCES, measure_autoencoder, measure_evaluator, originals, references

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

COUNT: Final = 8
"""Pictures of each prompt."""
_QUICK_COUNT: Final = 3
_QUICK_EVERY: Final = 5
"""A quick run takes one in this many prompts."""

Cell = dict[str, dict[int, Painted]]
"""By condition and number of the prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is painted and with what."""

    asks: tuple[Ask, ...]
    shelf: Shelf
    compositions: Mapping[str, Compositions]
    rejected: int
    """Files that the catalogue refused."""
    cells: Cells

    def paint(self, conditions: Sequence[str], asks: Sequence[Ask], told: Progress) -> Cell:
        """Paint prompts under some conditions, sets of adapters that are alike one after the other."""
        jobs = [
            (condition, ask, self.compositions[condition][ask.number])
            for condition in conditions
            for ask in asks
            if ask.number in self.compositions[condition]
        ]
        jobs.sort(key=lambda job: [(choice.adapter.key, choice.weight) for choice in job[2].choices])
        painted: Cell = {condition: {} for condition in conditions}
        for done, (condition, ask, composition) in enumerate(jobs):
            told("paint", done, len(jobs))
            painted[condition][ask.number] = self.cells.paint(composition, ask.seed)
        told("paint", len(jobs), len(jobs))
        return painted


def measure(weights: Path, output: Path, *, quick: bool = False, progress: Progress | None = None) -> dict[str, Any]:
    """Measure the trained playground, and return every figure with its interval as plain JSON values.

    Args:
        weights: The folder of the trained models: `base`, `onestep`, `evaluator`, `loras`.
        output: Where the libraries, their catalogues and everything painted is kept, and `figures.json` goes.
        quick: Take few prompts and few pictures of each; too few for a Fréchet distance.
        progress: Called as it goes.

    Raises:
        InputError: a trained model is not there or damaged, or the output folder cannot be written to.
    """
    started = time.perf_counter()
    told = progress or _silent
    plan = make_plan(weights, output, told, every=_QUICK_EVERY if quick else 1, count=_QUICK_COUNT if quick else COUNT)
    evaluator = Evaluator(weights / "evaluator")  # before hours of painting: it may be damaged
    painted = plan.paint(list(plan.compositions), plan.asks, told)
    told("score", 0, 1)
    scored = {
        name: score(
            [ask for ask in plan.asks if ask.number in cells],
            [cells[ask.number].pictures for ask in plan.asks if ask.number in cells],
            evaluator,
        )
        for name, cells in painted.items()
    }
    scored["painted"] = score(plan.asks, [originals(ask, plan.cells.count) for ask in plan.asks], evaluator)
    reference = score(plan.asks, [references(ask) for ask in plan.asks], evaluator)
    figures: dict[str, Any] = {
        "signature": _signature(weights, plan),
        "conditions": condition_figures(scored, reference),
        **gain_figures(scored, reference),
        "picks": pick_figures(plan.asks, plan.compositions["picks"], plan.shelf),
        "harm": harm_figures(scored, plan.compositions, plan.rejected),
        "failures": _failures(painted),
        "evaluator": measure_evaluator(evaluator),
        "autoencoder": measure_autoencoder(weights / "base"),
    }
    told("score", 1, 1)
    figures["speed"] = _speed(weights, plan.cells, told)
    figures["claims"] = claims(figures)
    figures["seconds"] = round(time.perf_counter() - started, 1)
    (output / "figures.json").write_text(json.dumps(figures, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return figures


def make_plan(weights: Path, output: Path, told: Progress, *, every: int, count: int) -> Plan:
    """Make and catalogue the libraries, and choose adapters for every prompt.

    Args:
        weights: The folder of the trained models.
        output: Where everything goes.
        told: Called as it goes.
        every: See `every_ask`.
        count: Pictures of each prompt.

    Raises:
        InputError: a trained model is not there, or the output folder cannot be written to.
    """
    for name, file in (("base", "model_index.json"), ("evaluator", "config.json")):
        if not (weights / name / file).is_file():
            raise InputError(f"{weights} holds no trained playground: {name}/{file} is not there")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the folder {output} cannot be made: {error.strerror}") from None
    told("catalogue", 0, 2)
    with open_library(weights / "loras", output / "library", clean=False) as whole:
        told("catalogue", 1, 2)
        with open_library(weights / "loras", output / "clean", clean=True, embedded_by=whole) as clean:
            told("catalogue", 2, 2)
            shelf = Shelf.of(whole)
            asks = servable(every_ask(every), shelf)
            cells = Cells(folder=output / "cells", model=weights / "base", steps=STEPS, guidance=GUIDANCE, count=count)
            return Plan(
                asks=tuple(asks),
                shelf=shelf,
                compositions=choose(asks, whole, clean),
                rejected=len(whole.store.rejections()),
                cells=cells,
            )


def _failures(painted: Cell) -> list[dict[str, str]]:
    """Return why adapters could not be laid on, once for each condition."""
    why = {(name, cell.failure) for name, cells in painted.items() for cell in cells.values() if cell.failure}
    return [{"condition": name, "failure": failure} for name, failure in sorted(why)]


def _speed(weights: Path, cells: Cells, told: Progress) -> dict[str, Any]:
    told("time", 0, 2)
    base = measure_speed(cells.model, steps=STEPS, guidance=GUIDANCE, backend=cells.backend)
    told("time", 1, 2)
    one_step = weights / "onestep"
    there = (one_step / "model_index.json").is_file()
    quick = measure_speed(one_step, steps=1, guidance=1.0) if there else None
    told("time", 2, 2)
    return {"base": base, "one_step": quick}


def _signature(weights: Path, plan: Plan) -> dict[str, Any]:
    """Return what the figures depend on."""
    return {
        "clip_score": "100 * cosine of the playground's own CLIP model, of the prompt as it was written",
        "fid": "in the image features of the playground's own CLIP model, not normalised, against painted pictures of "
        "the same prompts: comparable within this table alone, and not with any other FID",
        "evaluator": digest_of([weights / "evaluator" / "model.safetensors"]),
        "prompts": {kind: sum(ask.kind == kind for ask in plan.asks) for kind in KINDS},
        "pictures_each": plan.cells.count,
        "references_each": REFERENCES,
        "steps": plan.cells.steps,
        "guidance": plan.cells.guidance,
        "composer": next((composed.composer for composed in plan.compositions["picks"].values()), ""),
        "processors": os.cpu_count(),
    }


def _silent(_what: str, _done: int, _of: int) -> None:
    """Tell nobody."""
