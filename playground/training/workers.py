"""Runs jobs side by side, each in a process of its own with one thread, and hands their reports on."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends this one, so that it begins no further job
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

    Raises:
        Exception: what a job raised; like Ctrl-C, it ends all the others at once.

    """
    if workers < 2:
        return [work(job, progress or (lambda _: None)) for job in jobs]
    context = torch.multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        reports = manager.Queue()
        others = set(multiprocessing.active_children())
        pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(reports,))
        try:
            running = [pool.submit(_run, work, job) for job in jobs]
            waiting = set(running)
            while waiting:
                done, waiting = wait(waiting, timeout=1, return_when=FIRST_EXCEPTION)
                _hand_on(reports, progress)
                for future in done:
                    future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in set(multiprocessing.active_children()) - others:
                worker.terminate()
            raise
        pool.shutdown()
        return [future.result() for future in running]


def _hand_on(reports: Any, progress: Progress | None) -> None:
    while True:
        try:
            report = reports.get_nowait()
        except Empty:
            return
        if progress is not None:
            progress(report)
