"""Has a describer say what the adapters do of which it has not said it yet.

Nothing is asked twice: what came back, failures too, is kept by what was read for it, before the adapters are told.
So a run that is killed loses only what was under way, and adapters that say the same are asked once. Where no answer
came since a server was not there, nothing is kept, and the next run asks again.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from ..db.refinements import Reply
from ..errors import (
    CatalogueError,
    InputError,
    LanguageModelError,
    LanguageModelRefusal,
    LanguageModelSpent,
    LanguageModelUnavailable,
    MissingDependency,
    UnreadableFile,
    VelaturaError,
)
from ..protocols import Described
from ..records import RefinedAdapter, Refinement, Usage
from .asking import Answer, Asking, Crew
from .refine_report import RefineReport
from .undescribed import Estimate, estimate, undescribed

if TYPE_CHECKING:
    from ..db import Store
    from ..protocols import Describer

__all__ = ["Estimate", "RefineReport", "estimate", "refine"]

_CHUNK: Final = 128
"""Adapters that are read at once: few, since each may carry a long page."""
_PATIENCE: Final = 0.4
_SHARE: Final = 0.1
"""What came back is written after these seconds, or sooner where writing then takes no more than this share of time."""
_ENOUGH: Final = 10
"""Failures one after the other that speak of the server, and not of the adapters."""
_SHOWN: Final = 500
"""Characters of a failure that are kept."""


def refine(
    store: Store,
    describer: Describer,
    *,
    workers: int = 1,
    limit: int | None = None,
    retry: bool = False,
    spend: Callable[[Usage], bool] | None = None,
    under_way: Collection[str] = (),
    crew: AbstractContextManager[Asking] | None = None,
    progress: Callable[[RefineReport], None] | None = None,
) -> RefineReport:
    """Have every adapter described that is new to the describer, or whose record or local pictures have changed.

    Can be killed at any moment and called again: what came back is written at most half a second later, and not asked
    again. An interrupt (Ctrl-C) is passed on after what came back was written.

    Args:
        store: The catalogue.
        describer: Who describes.
        workers: How many adapters are asked about at once.
        limit: How many adapters are asked about at most.
        retry: Also ask again about those that failed or were refused.
        spend: Told what the run has taken so far; says whether that is enough. What is under way is then waited for.
        under_way: Origins on which an answer is under way elsewhere, as in a batch; they are not asked again.
        crew: Who asks the describer; None takes as many threads as there are workers.
        progress: Told what the run has done so far, after every step.

    Raises:
        InputError: `workers` or `limit` is too small, or the describer cannot be used as it is set up, as with a wrong
            key. What was done before is kept.
        MissingDependency: The describer needs a package that is not installed.
        CatalogueError: The catalogue cannot be read or written.
    """
    if workers < 1:
        raise InputError("the number of workers must be at least 1")
    if limit is not None and limit < 1:
        raise InputError("the limit of adapters to ask about must be at least 1")
    run = _Run(store, describer, retry=retry, limit=limit, spend=spend, under_way=under_way, progress=progress)
    with Crew(describer, workers) if crew is None else crew as asking:
        return run.work(asking)


@dataclass(slots=True)
class _Question:
    adapter: RefinedAdapter
    origin: str
    numbers: list[int]
    """The adapters that it is asked for: of each the same would be read."""


class _Run:
    """One run: asks as fast as answers come, and writes what came."""

    def __init__(
        self,
        store: Store,
        describer: Describer,
        *,
        retry: bool,
        limit: int | None,
        spend: Callable[[Usage], bool] | None,
        under_way: Collection[str],
        progress: Callable[[RefineReport], None] | None,
    ) -> None:
        self.store = store
        self.describer = describer
        self.writer = describer.name
        self.retry = retry
        self.left = limit
        self.spend = spend
        self.under_way = frozenset(under_way)
        self.progress = progress
        self.started = self.written_at = time.perf_counter()
        self.report = RefineReport()
        self.wanted: list[int] = []
        self.read = 0
        self.waiting: deque[_Question] = deque()
        self.open: dict[str, _Question] = {}
        self.heard: deque[Answer] = deque()
        self.doubtful: list[Reply] = []
        self.in_a_row = 0
        self.failed: set[str] = set()
        self.pause = _PATIENCE
        self.replies: list[Reply] = []
        self.refined: list[tuple[int, Refinement, str]] = []
        self.unrefined: list[tuple[int, str]] = []

    def work(self, crew: Asking) -> RefineReport:
        """Do all of it, or as much as may be done."""
        try:
            self.wanted = undescribed(self.store, self.describer)
            self._add(adapters=len(self.wanted))
            self._tell()
            self._ask(crew)
            while crew.busy:
                self._hear(crew, self.written_at + self.pause - time.perf_counter() if self.replies else _PATIENCE)
                self._ask(crew)
            if self.in_a_row < _ENOUGH:
                self._believe()
            self._write()
        except BaseException:
            self._rescue(crew)
            raise
        return self._timed()

    # ------------------------------------------------------------ asking

    def _ask(self, crew: Asking) -> None:
        """Give the crew what it has room for."""
        while crew.has_room and self.report.stopped is None and self.left != 0:
            if self.waiting:
                question = self.waiting.popleft()
                crew.ask(question.origin, question.adapter)
                self.left = None if self.left is None else self.left - 1
            elif self.read < len(self.wanted):
                self._read(crew)
            else:
                return

    def _read(self, crew: Asking) -> None:
        """Settle the next adapters where the reply is known, and line the others up to be asked about."""
        numbers = self.wanted[self.read : self.read + _CHUNK]
        self.read += len(numbers)
        adapters = self.store.adapters(numbers)
        self._add(done=len(numbers) - len(adapters))  # they are gone since
        origins = []
        for adapter in adapters:
            origins.append(self.describer.origin(adapter))
            self._hear(crew, 0.0)
        self._write()
        known = self.store.replies(self.writer, origins)
        for adapter, origin in zip(adapters, origins, strict=True):
            reply = known.get(origin)
            if origin in self.open:
                self.open[origin].numbers.append(adapter.id)
            elif reply is None or (self.retry and reply.refinement is None and origin not in self.failed):
                if origin in self.under_way:
                    self._add(under_way=1)
                    continue
                self.open[origin] = _Question(adapter, origin, [adapter.id])
                self.waiting.append(self.open[origin])
            else:
                self._settle([adapter.id], reply)
                is_told = reply.refinement is not None
                self._add(reused=int(is_told), passed=int(not is_told))
        self._write()

    # ------------------------------------------------------------ hearing

    def _hear(self, crew: Asking, seconds: float) -> None:
        """Take the answers that are there, wait so long for the first, and write what is due."""
        self.heard.extend(crew.answers(seconds))
        while self.heard:
            self._take(*self.heard.popleft())
        if self.report.stopped is not None:
            crew.withdraw()
        if self.replies and time.perf_counter() >= self.written_at + self.pause:
            self._write()

    def _take(self, origin: str, answer: Described | BaseException) -> None:
        """Keep an answer, or the lack of one."""
        if isinstance(answer, Described):
            refinement = replace(answer.refinement, writer=self.writer)
            reply = Reply(origin=origin, refinement=refinement, usage=answer.usage)
        elif _ends(answer):
            raise answer
        else:
            usage = answer.usage if isinstance(answer, LanguageModelError) else Usage()
            is_refusal = isinstance(answer, LanguageModelRefusal)
            reply = Reply(origin=origin, failure=_sentence(answer), refused=is_refusal, usage=usage)
        self._pay(reply.usage)
        if isinstance(answer, LanguageModelSpent):
            self._stop(f"{answer}; what was done is kept")
            self._leave(reply)
            return
        if reply.refinement is None and not reply.refused:
            self._doubt(reply, answer)
            return
        # A server that answers is there: what failed before has itself to blame.
        self._believe()
        self._keep(reply)

    def _pay(self, usage: Usage) -> None:
        self.report = replace(self.report, usage=self.report.usage + usage)
        if self.spend is not None and self.spend(self.report.usage):
            self._stop("the budget is spent; what was done is kept")

    def _stop(self, reason: str) -> None:
        """Ask no more, for the first reason that comes up."""
        if self.report.stopped is None:
            self.report = replace(self.report, stopped=reason)

    def _doubt(self, reply: Reply, error: object) -> None:
        """Take a failure that may speak of the server, and not of the adapter; many in a row end the run."""
        self.in_a_row += 1
        if isinstance(error, LanguageModelUnavailable):
            self._leave(reply)
        else:
            self.doubtful.append(reply)
        if self.in_a_row == _ENOUGH:
            self._stop(
                f"{self.writer} failed {_ENOUGH} times one after the other, the last time with: {reply.failure}; what "
                "was done is kept, so run the same again when that is mended"
            )
        if self.in_a_row >= _ENOUGH:
            for doubtful in self.doubtful:
                self._leave(doubtful)
            self.doubtful.clear()

    def _leave(self, reply: Reply) -> None:
        """Keep nothing of a question, so that another run asks it again."""
        self.report = replace(self.report, fault=reply.failure)
        self._add(unanswered=len(self.open.pop(reply.origin).numbers))

    def _believe(self) -> None:
        """Keep the failures that were in doubt."""
        doubtful, self.doubtful, self.in_a_row = self.doubtful, [], 0
        for reply in doubtful:
            self._keep(reply)

    def _keep(self, reply: Reply) -> None:
        numbers = self.open.pop(reply.origin).numbers
        self.replies.append(reply)
        self._settle(numbers, reply)
        if reply.refinement is not None:
            self._add(asked=1, reused=len(numbers) - 1)
        else:
            self.failed.add(reply.origin)
            self._add(asked=1, refused=len(numbers) * reply.refused, failed=len(numbers) * (not reply.refused))

    def _settle(self, numbers: list[int], reply: Reply) -> None:
        if reply.refinement is not None:
            self.refined += [(number, reply.refinement, reply.origin) for number in numbers]
        else:
            self.unrefined += [(number, reply.origin) for number in numbers]
        self._add(done=len(numbers))

    # ------------------------------------------------------------ writing

    def _write(self) -> None:
        """Write what is known: replies first, so that none is asked for again should the rest be lost."""
        is_new = bool(self.replies or self.refined or self.unrefined)
        began = time.perf_counter()
        self.store.put_replies(self.writer, self.replies)
        self.store.put_refinements(self.refined)
        self.store.put_unrefined(self.writer, self.unrefined)
        self.replies, self.refined, self.unrefined = [], [], []
        self.written_at = time.perf_counter()
        if is_new:
            self.pause = min(_PATIENCE, (self.written_at - began) / _SHARE)
            self._tell()

    def _rescue(self, crew: Asking) -> None:
        """Write, when the run breaks off, what was paid for and came in time."""
        progress, self.progress, self.spend = self.progress, None, None
        for origin, answer in (*self.heard, *crew.answers(0.0)):
            if isinstance(answer, Described | LanguageModelRefusal):
                self._take(origin, answer)
        self._write()
        if progress is not None:
            with suppress(Exception):  # it may be what broke
                progress(self._timed())

    def _tell(self) -> None:
        if self.progress is not None:
            self.progress(self._timed())

    def _timed(self) -> RefineReport:
        return replace(self.report, seconds=time.perf_counter() - self.started)

    def _add(self, **counts: int) -> None:
        added = {name: getattr(self.report, name) + count for name, count in counts.items()}
        self.report = replace(self.report, **added)


def _ends(error: BaseException) -> bool:
    """Say whether an error speaks of how the describer is set up, or of the program, and not of one adapter."""
    if isinstance(error, UnreadableFile):
        return False
    grave = (InputError, MissingDependency, CatalogueError, MemoryError)
    return isinstance(error, grave) or not isinstance(error, Exception)


def _sentence(error: BaseException) -> str:
    text = " ".join(str(error)[: 2 * _SHOWN].split())[:_SHOWN]
    if isinstance(error, VelaturaError) and text:
        return text
    return f"it could not be described: {type(error).__name__} {text}".strip()
