"""Runs jobs side by side, each in a process of its own with one thread, and hands their reports on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from queue import Empty
from typing import Any, TypeVar

import torch

from .recipe import Progress

Job = TypeVar("Job")
Result = TypeVar("Result")

_reports: Any = None
"""In a worker: the queue that its reports go into."""


def _begin(reports: Any) -> None:
    global _reports
    _reports = reports
    torch.set_num_threads(1)


def _run(work: Callable[[Job, Progress], Result], job: Job) -> Result:
    return work(job, _reports.put)


def run_side_by_side(
    work: Callable[[Job, Progress], Result], jobs: Sequence[Job], workers: int, progress: Progress | None
) -> list[Result]:
    """Do all jobs, `workers` at a time.

    Args:
        work: A function of a module, called with a job and a place for reports.
        jobs: Sent to the processes.
        workers: With one, everything happens in this process.
        progress: Called here with the reports of all.

    Returns:
        The results in the order of the jobs.

    """
    if workers < 2:
        return [work(job, progress or (lambda _: None)) for job in jobs]
    context = torch.multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        reports = manager.Queue()
        with ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(reports,)) as pool:
            running = [pool.submit(_run, work, job) for job in jobs]
            while wait(running, timeout=1).not_done:
                _hand_on(reports, progress)
            _hand_on(reports, progress)
        return [future.result() for future in running]


def _hand_on(reports: Any, progress: Progress | None) -> None:
    while True:
        try:
            report = reports.get_nowait()
        except Empty:
            return
        if progress is not None:
            progress(report)
