"""Asks a describer about several adapters at once."""

from __future__ import annotations

import time
from queue import Empty, SimpleQueue
from threading import Event, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TypeAlias

from ..protocols import Described
from ..records import RefinedAdapter

if TYPE_CHECKING:
    from ..protocols import Describer

Answer: TypeAlias = tuple[str, Described | BaseException]
"""The question's name, and what the describer gave or raised."""
_Question: TypeAlias = tuple[str, RefinedAdapter] | None


class Asking(Protocol):
    """Puts questions to a describer, several at once; one thread asks and hears."""

    busy: int
    """Questions that were asked and whose answer was not heard."""

    @property
    def has_room(self) -> bool:
        """Whether to ask more."""

    def ask(self, name: str, adapter: RefinedAdapter) -> None:
        """Have a question answered when somebody is free."""

    def withdraw(self) -> None:
        """Take back the questions that nobody has begun on."""

    def answers(self, seconds: float) -> list[Answer]:
        """Return the answers that are there; waits for the first one so long."""


class Crew:
    """Threads that put questions to a describer; one thread, that which made it, asks and hears.

    Whoever leaves does not wait for answers under way: they may be a minute off, and their threads end by themselves.

    Args:
        describer: Who answers.
        workers: How many questions it is asked at once.
    """

    def __init__(self, describer: Describer, workers: int) -> None:
        self.busy = 0
        """Questions that were asked and whose answer was not heard."""
        self._describer = describer
        self._workers = workers
        self._threads = 0
        self._questions: SimpleQueue[_Question] = SimpleQueue()
        self._answers: SimpleQueue[Answer] = SimpleQueue()
        self._is_left = Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_left.set()
        for _ in range(self._threads):
            self._questions.put(None)

    @property
    def has_room(self) -> bool:
        """Whether to ask more: as many again as are being answered lie ready, so that nobody waits for a question."""
        return self.busy < 2 * self._workers

    def ask(self, name: str, adapter: RefinedAdapter) -> None:
        """Have a question answered when somebody is free."""
        self.busy += 1
        if self._threads < self._workers:
            self._threads += 1
            # A thread that waits for a server must not hold up the end of the program.
            Thread(target=self._work, name=f"describer-{self._threads}", daemon=True).start()
        self._questions.put((name, adapter))

    def withdraw(self) -> None:
        """Take back the questions that nobody has begun on."""
        while True:
            try:
                self._questions.get_nowait()
            except Empty:
                return
            self.busy -= 1

    def answers(self, seconds: float) -> list[Answer]:
        """Return the answers that are there; waits for the first one so long."""
        found: list[Answer] = []
        deadline = time.perf_counter() + seconds
        while len(found) < self.busy:
            try:
                wait = max(0.0, deadline - time.perf_counter()) if not found else 0.0
                found.append(self._answers.get(timeout=wait) if wait else self._answers.get_nowait())
            except Empty:
                break
        self.busy -= len(found)
        return found

    def _work(self) -> None:
        while (question := self._questions.get()) is not None and not self._is_left.is_set():
            name, adapter = question
            answer: Described | BaseException
            try:
                answer = self._describer.describe(adapter)
            except BaseException as error:  # whatever it is, the thread that hears decides
                answer = error
            self._answers.put((name, answer))
