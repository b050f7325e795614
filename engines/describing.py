"""Asks workers about adapters: what `refiner.asking.Crew` is for threads."""

from __future__ import annotations

from math import ceil
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from ..errors import EngineError, LanguageModelUnavailable, VelaturaError
from ..protocols import Described
from .recipes import Answers, Describing, Questions
from .worker import Fault

if TYPE_CHECKING:
    from ..protocols import Describer
    from ..records import RefinedAdapter
    from ..refiner.asking import Answer
    from ..settings import Settings
    from .on_ray import RayEngine, RayWorkers

_QUESTIONS: Final = 8
"""That rules, or a picture model, are given at once."""
_AHEAD: Final = 2
"""Batches that lie ready or are worked on, for each worker."""


def open_crew(engine: RayEngine, settings: Settings, describer: Describer) -> EngineCrew:
    """Return who asks a describer, of which each worker opens its own.

    A language model's server is asked about as many adapters at once as the settings say, whatever the workers.

    Raises:
        EngineError: the engine's cluster does not answer.
    """
    count = engine.count(Describing.of(settings, describer, most=1))
    is_server = describer.name.startswith("vlm ")
    most = min(count, settings.workers) if is_server else count
    workers = engine.workers(Describing.of(settings, describer, most=most), most=most)
    batch = ceil(settings.workers / most) if is_server else 1 if describer.name.startswith("local ") else _QUESTIONS
    return EngineCrew(workers, batch=batch)


class EngineCrew:
    """Puts questions to workers, some at once; one thread asks and hears.

    Args:
        workers: Made for a `Describing`.
        batch: Questions that a worker is given at once.
    """

    def __init__(self, workers: RayWorkers[Questions, Answers], *, batch: int) -> None:
        self.busy = 0
        """Questions that were asked and whose answer was not heard."""
        self._workers = workers
        self._calls = workers.calls()
        self._batch = batch
        self._gathered: list[tuple[str, RefinedAdapter]] = []
        self._given: dict[int, list[str]] = {}
        """The names of the questions of each batch that nobody has answered."""
        self._next = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._workers.close()

    @property
    def has_room(self) -> bool:
        """Whether to ask more."""
        return self.busy < _AHEAD * self._batch * self._workers.count

    def ask(self, name: str, adapter: RefinedAdapter) -> None:
        """Have a question answered when a worker is free, together with those that follow at once."""
        self.busy += 1
        self._gathered.append((name, adapter))
        if len(self._gathered) >= self._batch:
            self._give()

    def withdraw(self) -> None:
        """Take back the questions that nobody has begun on."""
        self.busy -= len(self._gathered)
        self._gathered.clear()
        for place in self._calls.withdraw():
            self.busy -= len(self._given.pop(place))

    def answers(self, seconds: float) -> list[Answer]:
        """Return the answers that are there; waits for the first one so long."""
        self._give()
        found: list[Answer] = []
        for place, answer in self._calls.heard(seconds):
            names = self._given.pop(place)
            if isinstance(answer, VelaturaError):
                found += [(name, _unanswered(answer)) for name in names]
            else:
                found += [(name, _told(one)) for name, one in answer]
        self.busy -= len(found)
        return found

    def _give(self) -> None:
        if self._gathered:
            self._given[self._next] = [name for name, _ in self._gathered]
            self._calls.give(self._next, self._gathered)
            self._gathered = []
            self._next += 1


def _told(answer: Described | Fault) -> Described | VelaturaError:
    return answer.error() if isinstance(answer, Fault) else answer


def _unanswered(error: VelaturaError) -> VelaturaError:
    """Return an error as that of a question that nobody has answered, and that is asked again another time."""
    return LanguageModelUnavailable(str(error)) if isinstance(error, EngineError) else error
