"""The pictures of an experiment, painted by several processes of one thread each.

A picture of this world is so small that two threads on it wait for each other longer than they work; two processes do
not. The prompts are dealt into a fixed number of parts, each with a folder of pictures of its own, so that a run that
was stopped goes on with any number of processors.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from queue import Empty
from typing import Any, Final

from ..eval.grid import Plan
from ..eval.manifest import manifest_of
from ..eval.records import Prompt
from ..experiment import PICTURES, SAMPLES, Experiment, Report
from ..methods import Methods
from ..pipeline import Velatura
from ..records import Filter
from ..settings import Settings, default_settings
from .library import FAMILY
from .world import SIZE

Told = Callable[[str, int, int], None]

DEBIAS: Final = "flat style"
"""The look of the base, as "realistic, high quality" is that of the paper's checkpoint."""
STEPS: Final = 8
"""Denoising steps: of 20 and of 8 the evaluator says nearly the same, and an experiment paints thousands."""
BATCH: Final = 16
_PARTS: Final = 8
_MOST_PROCESSES: Final = 8
_EVERY: Final = 0.5
"""Seconds between two looks at how far the processes are."""

_progress: Any = None
"""In a process that paints: where it says how far it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """What one process paints at a time."""

    number: int
    db: Path
    model: str
    plan: Plan
    prompts: tuple[Prompt, ...]
    folder: Path


def settings_of(db: Path, model: str, **more: object) -> Settings:
    """Return the settings that an experiment composes and paints with."""
    return default_settings(db=str(db), model=model, steps=STEPS, batch=BATCH, **more)


def experiment_of(
    velatura: Velatura,
    plan: Plan,
    prompts: Sequence[Prompt],
    folder: Path,
    *,
    name: str = SAMPLES,
    pictures: str = PICTURES,
) -> Experiment:
    """Return an experiment of the playground's, whose pictures have the world's size."""
    methods = Methods(velatura, filter=Filter(family=FAMILY, installed=True), debias=DEBIAS)
    fields = {"width": SIZE, "height": SIZE}
    return Experiment(velatura, plan, prompts, folder, methods=methods, fields=fields, name=name, pictures=pictures)


def paint_parts(db: Path, model: str, plan: Plan, prompts: Sequence[Prompt], folder: Path, told: Told) -> Report:
    """Paint an experiment that is composed already.

    Args:
        db: The catalogue.
        model: The checkpoint.
        plan: What is compared.
        prompts: The prompts.
        folder: Where the experiment lies.
        told: Called as it goes.

    Raises:
        InputError: something asked for cannot be painted.
    """
    dealt = [tuple(prompts[number::_PARTS]) for number in range(_PARTS)]
    parts = [
        _Part(number=number, db=db, model=model, plan=plan, prompts=own, folder=folder)
        for number, own in enumerate(dealt)
        if own
    ]
    reports = _worked(parts, told, len(prompts) * plan.cells() * plan.samples)
    return Report(
        manifest=manifest_of([sample for report in reports for sample in report.manifest.samples], folder),
        painted=sum(report.painted for report in reports),
        kept=sum(report.kept for report in reports),
        failed=tuple(failure for report in reports for failure in report.failed),
        methods=reports[0].methods,
    )


def _worked(parts: Sequence[_Part], told: Told, whole: int) -> list[Report]:
    context = multiprocessing.get_context("spawn")
    progress = context.Queue()
    processes = min(len(parts), os.cpu_count() or 1, _MOST_PROCESSES)
    with ProcessPoolExecutor(processes, context, _begin, (progress,)) as pool:
        left: set[Future[Report]] = set()
        futures = [pool.submit(_paint, part) for part in parts]
        left.update(futures)
        done: dict[int, int] = {}
        try:
            while left:
                finished, left = wait(left, _EVERY, FIRST_COMPLETED)
                for future in finished:
                    future.result()
                _drain(progress, done)
                told("paint", min(sum(done.values()), whole), whole)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        told("paint", whole, whole)
        return [future.result() for future in futures]


def _drain(progress: Any, done: dict[int, int]) -> None:
    while True:
        try:
            number, count = progress.get_nowait()
        except Empty:
            return
        done[number] = count


def _begin(progress: Any) -> None:
    """Make a process ready: one thread, and somebody to tell."""
    global _progress
    import torch

    torch.set_num_threads(1)
    _progress = progress


def _paint(part: _Part) -> Report:
    """Paint a part, in a process of its own."""

    def told(what: str, done: int, _of: int) -> None:
        if what.startswith("paint"):
            _progress.put((part.number, done))

    experiment = experiment_of(
        _opened(part.db, part.model),
        part.plan,
        part.prompts,
        part.folder,
        name=f"{PICTURES}/{part.number}",
        pictures=f"{PICTURES}/{part.number}",
    )
    return experiment.run(told=told)


@cache
def _opened(db: Path, model: str) -> Velatura:
    """Open a catalogue and a checkpoint once in a process."""
    return Velatura(settings_of(db, model), read_only=True)
