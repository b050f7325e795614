"""Workers on Ray: each has one model open, and a batch whose worker or node is lost goes to another one.

Ray starts them and carries what they are given; which batch goes where is decided here, in the one process that also
keeps what comes back. An answer that comes from a worker already given up is not waited for any more, so that a batch
that was done twice counts once.
"""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Generic, Self

from ..errors import EngineError, VelaturaError
from .cluster import Cluster, Room
from .jobs import Job, Queue
from .worker import Done, Fault, Recipe, Result, Task, Worker

_AHEAD: Final = 2
"""Batches that a worker has at once: one is worked on, and the next lies ready."""
_TRIES: Final = 3
"""A batch over which so many workers were lost is to blame itself."""
_STILLBORN: Final = 3
"""So many workers in a row that are lost before they were open, and none will ever be."""
_LOOK: Final = 10.0
"""Seconds after which it is looked whether nodes have come."""
_PATIENCE: Final = 30.0
"""Seconds without a worker after which that is told."""


class EngineWarning(UserWarning):
    """What of an engine a person should know, though the work goes on."""


class RayEngine:
    """Starts or finds a cluster when the first workers are asked for.

    Args:
        address: See `Cluster`.
    """

    def __init__(self, address: str | None = None) -> None:
        self._address = address
        self._cluster: Cluster | None = None
        self._workers: list[RayWorkers[Any, Any]] = []

    def workers(self, recipe: Recipe[Task, Result], *, most: int | None = None) -> RayWorkers[Task, Result]:
        """Return workers for a recipe, so many at the most; they are started as there is work for them.

        Raises:
            MissingDependency: ray is not installed.
            InputError: the address is none.
            EngineError: no cluster answers, or it is of another version.
        """
        if self._cluster is None:
            self._cluster = Cluster(self._address)
        made = RayWorkers(self._cluster, recipe, most, self._make_room)
        self._workers.append(made)
        return made

    def _make_room(self, wanted: RayWorkers[Any, Any]) -> None:
        """End the workers of other recipes that have nothing to do: they hold processors, and are started again."""
        for workers in self._workers:
            if workers is not wanted:
                workers.rest()

    def count(self, recipe: Recipe[Any, Any]) -> int:
        """Return how many workers for a recipe the cluster has room for; raises as `workers`."""
        return self.workers(recipe).count

    def close(self) -> None:
        """End the workers, and the cluster where it was started for them."""
        for workers in self._workers:
            workers.close()
        self._workers.clear()
        if self._cluster is not None:
            self._cluster.close()
        self._cluster = None


@dataclass(eq=False, slots=True)
class _Hand:
    """A worker as it is known here."""

    actor: Any
    is_open: bool = False
    laid: Hashable = None
    """The key of its last job."""
    jobs: deque[Job] = field(default_factory=deque)
    """What it was given, in order."""


class RayWorkers(Generic[Task, Result]):
    """Workers that each have the model of one recipe open; made by `RayEngine.workers`."""

    def __init__(
        self,
        cluster: Cluster,
        recipe: Recipe[Task, Result],
        most: int | None,
        make_room: Callable[[RayWorkers[Any, Any]], None],
    ) -> None:
        self._cluster, self._ray = cluster, cluster.ray
        self._recipe, self._most, self._make_room = recipe, most, make_room
        self._threads = _threads() if recipe.computes else 1
        self._gpus = recipe.computes and (recipe.device is None or recipe.device.startswith("cuda"))
        self._queue = Queue()
        self._hands: list[_Hand] = []
        self._awaited: dict[Any, tuple[_Hand, Job | None]] = {}
        """By Ray's reference: the job, or None for a worker that says hello or opens."""
        self._room: Room | None = None
        self._looked = self._began = 0.0
        self._stillborn = 0
        self._is_told = False
        self._lock = threading.RLock()
        self.swaps = 0
        """How often a worker was given a batch of another key than its last one."""
        self.lost = 0
        """Workers that were lost."""
        self.repeated = 0
        """Batches that were begun anew since their worker was lost."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def count(self) -> int:
        """How many workers there may be now."""
        with self._lock:
            if self._room is None or time.monotonic() - self._looked > _LOOK:
                self._room = self._cluster.room(self._threads, gpus=self._gpus)
                self._looked = time.monotonic()
            return self._room.count if self._most is None else min(self._most, self._room.count)

    def calls(self) -> Calls[Task, Result]:
        """Return a list of batches that somebody waits for."""
        return Calls(self)

    def each(self, tasks: Iterable[Task]) -> Iterator[tuple[int, Result]]:
        """Yield what comes of each batch with its place, as it comes.

        Batches are made as workers have room for them. One that cannot be done does not hold up the others.

        Raises:
            VelaturaError: the first that could not be done, after all others.
        """
        calls = self.calls()
        faults: dict[int, VelaturaError] = {}

        def sorted_out(heard: Iterable[Heard[Result]]) -> Iterator[tuple[int, Result]]:
            for place, answer in heard:
                if isinstance(answer, VelaturaError):
                    faults[place] = answer
                else:
                    yield place, answer

        try:
            for place, task in enumerate(tasks):
                while calls.busy >= _AHEAD * self.count:
                    yield from sorted_out(calls.heard())
                calls.give(place, task)
                yield from sorted_out(calls.heard(0.0))
            while calls.busy:
                yield from sorted_out(calls.heard())
        finally:
            calls.leave()
        if faults:
            raise faults[min(faults)]

    def ask(self, task: Task) -> Result:
        """Return what comes of one batch.

        Raises:
            VelaturaError: it cannot be done.
        """
        [(_, answer)] = self.each([task])
        return answer

    def close(self) -> None:
        """End the workers; more work starts others."""
        with self._lock:
            for hand in self._hands:
                self._end(hand)
            self._hands.clear()
            self._awaited.clear()

    def rest(self) -> None:
        """End the workers where none of them has anything to do."""
        with self._lock:
            if not len(self._queue) and not any(hand.jobs for hand in self._hands):
                self.close()

    # ---------------------------------------------------------------- what calls need

    def add(self, job: Job) -> None:
        """Line a job up, and hand out what can be."""
        with self._lock:
            self._queue.add(job)
            self._began = self._began or time.monotonic()
            self._staff()
            self._hand_out()

    def withdraw(self, asker: object) -> list[Job]:
        """Take back what nobody has begun on for one asker."""
        with self._lock:
            return self._queue.withdraw(asker)

    def disown(self, asker: object) -> None:
        """Forget what is being done for one asker: it is done to the end, and nobody is told."""
        with self._lock:
            self._queue.withdraw(asker)
            for hand in self._hands:
                for job in hand.jobs:
                    job.asker = None if job.asker is asker else job.asker

    def wait(self, seconds: float) -> None:
        """Wait so long for anything to come, and tell whom it concerns.

        Raises:
            VelaturaError: no worker can be opened; what was done is told before.
        """
        with self._lock:
            self._staff()
            self._hand_out()
            self._complain()
            refs = list(self._awaited)
            if not refs:
                return
            ready, left = self._ray.wait(refs, num_returns=1, timeout=seconds)
            if ready and left:
                ready += self._ray.wait(left, num_returns=len(left), timeout=0)[0]
            for ref in ready:
                if ref in self._awaited:  # else its worker was given up meanwhile
                    self._settle(ref)
            self._hand_out()

    # ---------------------------------------------------------------- workers

    def _staff(self) -> None:
        """Start as many workers as there is work for, and room."""
        unfinished = len(self._queue) + sum(len(hand.jobs) for hand in self._hands)
        wanted = min(self.count, unfinished)
        if len(self._hands) < wanted:
            self._make_room(self)
        while len(self._hands) < wanted:
            room = self._room
            options = {"num_cpus": room.processors if room else 1, "num_gpus": room.gpus if room else 0}
            made = self._ray.remote(max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD", **options)(Worker)
            hand = _Hand(made.remote())
            self._hands.append(hand)
            self._awaited[hand.actor.hello.remote()] = hand, None

    def _hand_out(self) -> None:
        """Give every worker a job, and then each the next one, to lie ready."""
        for depth in range(1, _AHEAD + 1):
            for hand in self._hands:
                if not hand.is_open or len(hand.jobs) >= depth:
                    continue
                held = {other.laid for other in self._hands if other is not hand}
                job = self._queue.take(hand.laid, held, idle=not hand.jobs)
                if job is not None:
                    self.swaps += job.key is not None and job.key != hand.laid
                    hand.laid = job.key
                    hand.jobs.append(job)
                    self._awaited[hand.actor.work.remote(job.task)] = hand, job

    def _settle(self, ref: Any) -> None:
        """Take what came by a reference."""
        hand, job = self._awaited.pop(ref)
        errors = self._ray.exceptions
        try:
            value = self._ray.get(ref)
        except errors.RayActorError as error:
            self._lose(hand, error)
            return
        except Exception as error:
            if job is None:  # it could not say hello: it runs, and is another Velatura
                raise EngineError(f"a worker cannot be opened: {_first_line(error)}") from None
            hand.jobs.remove(job)
            if isinstance(error, errors.ObjectLostError):
                self._again(job, f"its result was lost ({_first_line(error)})")
            else:
                self._tell(job, EngineError(f"a worker failed: {_first_line(error)}"))
            return
        if job is None:
            self._greet(hand, value)
        else:
            hand.jobs.remove(job)
            self._tell(job, value)

    def _greet(self, hand: _Hand, value: Any) -> None:
        """Take what a worker says of itself, or that it is open."""
        from ..generation.metadata import version

        if isinstance(value, Fault):
            raise value.error()
        if value is None:
            hand.is_open = True
            self._stillborn = 0
            return
        if value.version != version():
            raise EngineError(f"the node {value.node} has {value.version}, and this is {version()}; install the same")
        opened = hand.actor.open.remote(self._recipe, str(Path.cwd()), self._threads)
        self._awaited[opened] = hand, None

    def _lose(self, hand: _Hand, error: Exception) -> None:
        """Give a worker up, and its jobs to others; the one that it was at may be to blame."""
        self.lost += 1
        self._looked = 0.0  # a node may be gone with it
        self._hands.remove(hand)
        self._end(hand)
        self._awaited = {ref: (other, job) for ref, (other, job) in self._awaited.items() if other is not hand}
        if not hand.is_open:
            self._stillborn += 1
            if "No module named 'velatura" in str(error):
                raise EngineError("Velatura is not installed on a node of the cluster; install the same version there")
            if self._stillborn >= _STILLBORN and not any(other.is_open for other in self._hands):
                raise EngineError(f"no worker can be opened: {_first_line(error)}")
        for place, job in reversed(list(enumerate(hand.jobs))):
            if place:
                self._queue.put_back(job)
            else:
                self._again(job, f"{_TRIES} workers were lost over it")

    def _end(self, hand: _Hand) -> None:
        with suppress(Exception):  # it may be gone
            self._ray.kill(hand.actor)

    def _again(self, job: Job, why: str) -> None:
        """Line a job up again, unless that was done often enough."""
        job.tries += 1
        if job.tries < _TRIES:
            self.repeated += 1
            self._queue.put_back(job)
        else:
            self._tell(job, EngineError(f"it cannot be done: {why}"))

    def _tell(self, job: Job, answer: object) -> None:
        if job.asker is None:
            return
        if isinstance(answer, Done):
            for category, sentence in answer.warnings:
                warnings.warn(sentence, category, stacklevel=2)
            answer = answer.value
        job.asker.take(job.place, answer.error() if isinstance(answer, Fault) else answer)

    def _complain(self) -> None:
        """Say that nobody works, once."""
        waited = time.monotonic() - self._began > _PATIENCE if self._began else False
        if waited and not self._is_told and self._hands and not any(hand.is_open for hand in self._hands):
            self._is_told = True
            text = "no worker is open yet: models are still being loaded, or the cluster has no room; waiting for it"
            warnings.warn(text, EngineWarning, stacklevel=2)


Heard = tuple[int, Result | VelaturaError]
"""The place of a batch, and what came of it."""


class Calls(Generic[Task, Result]):
    """Batches that somebody waits for; several may wait for the same workers."""

    def __init__(self, workers: RayWorkers[Task, Result]) -> None:
        self.busy = 0
        """Batches that were given, and of which nothing was heard."""
        self._workers = workers
        self._heard: deque[Heard[Result]] = deque()

    def give(self, place: int, task: Task, key: Hashable = None) -> None:
        """Have a batch done.

        Args:
            place: Tells it from the others.
            task: What is to be done.
            key: What a worker must have laid for it: those of one key go to one worker where that can be.
        """
        self.busy += 1
        self._workers.add(Job(place, task, self, key))

    def heard(self, seconds: float | None = None) -> list[Heard[Result]]:
        """Return what has come; waits so long for the first of it, None for as long as it takes."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            left = 1.0 if deadline is None else max(0.0, min(1.0, deadline - time.monotonic()))
            if self.busy and not self._heard:
                self._workers.wait(left)
            found, self._heard = list(self._heard), deque()
            self.busy -= len(found)
            if found or not self.busy or (deadline is not None and time.monotonic() >= deadline):
                return found

    def take(self, place: int, answer: Result | VelaturaError) -> None:
        """Be told what came of a batch."""
        self._heard.append((place, answer))

    def withdraw(self) -> list[int]:
        """Take back the batches that nobody has begun on, and return their places."""
        places = [job.place for job in self._workers.withdraw(self)]
        self.busy -= len(places)
        return places

    def leave(self) -> None:
        """Wait for nothing any more."""
        self._workers.disown(self)
        self.busy = 0


def _threads() -> int:
    """Return how many threads compute in this process, and so in each worker: sums depend on it."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdecimal() and 1 <= int(told) <= 1024:
        return int(told)
    if find_spec("torch") is not None:
        import torch

        return torch.get_num_threads()
    return os.cpu_count() or 1


def _first_line(error: BaseException) -> str:
    """Return what an error of Ray's says of its cause: the last line of a traceback, where it holds one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1 if any(line.startswith("Traceback") or "Error" in lines[-1] for line in lines) else 0][:300]
