"""Batches that wait for a worker, handed out so that each worker changes what it has laid as seldom as can be."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable
from dataclasses import dataclass
from typing import Any


@dataclass(eq=False, slots=True)
class Job:
    """A batch."""

    place: int
    """Among those of its asker."""
    task: Any
    asker: Any
    """Who is told what came of it; None once nobody wants to know."""
    key: Hashable = None
    """What a worker must have laid for it; None for nothing."""
    tries: int = 0
    """Workers that were lost over it."""


class Queue:
    """Jobs that wait, by their keys."""

    def __init__(self) -> None:
        # In the order in which the keys came.
        self._waiting: dict[Hashable, deque[Job]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def add(self, job: Job) -> None:
        """Line a job up."""
        self._waiting.setdefault(job.key, deque()).append(job)

    def put_back(self, job: Job) -> None:
        """Line a job up before all others: its worker was lost."""
        others = {key: jobs for key, jobs in self._waiting.items() if key != job.key}
        self._waiting = {job.key: deque([job, *self._waiting.get(job.key, ())]), **others}

    def take(self, laid: Hashable, held: Collection[Hashable], *, idle: bool) -> Job | None:
        """Return the next job for a worker; None where waiting is cheaper than changing what it has laid.

        Args:
            laid: The key of its last job.
            held: The keys of the other workers' last jobs; theirs are left to them,
            idle: unless this one has nothing to do at all: then it takes the last of those that are most.
        """
        if not self._waiting:
            return None
        for key in (laid, None):
            if key in self._waiting:
                return self._pop(key)
        free = next((key for key in self._waiting if key not in held), None)
        if free is not None:
            return self._pop(free)
        if not idle:
            return None
        most = max(self._waiting, key=lambda key: len(self._waiting[key]))
        return self._pop(most, last=True)

    def withdraw(self, asker: object) -> list[Job]:
        """Take out what nobody has begun on for one asker, and return it."""
        found = [job for jobs in self._waiting.values() for job in jobs if job.asker is asker]
        left = {key: deque(job for job in jobs if job.asker is not asker) for key, jobs in self._waiting.items()}
        self._waiting = {key: jobs for key, jobs in left.items() if jobs}
        return found

    def _pop(self, key: Hashable, *, last: bool = False) -> Job:
        jobs = self._waiting[key]
        job = jobs.pop() if last else jobs.popleft()
        if not jobs:
            del self._waiting[key]
        return job
