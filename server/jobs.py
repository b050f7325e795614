"""Jobs: pictures that somebody waits for, painted in turn, one client after another."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal

from ..errors import BackendError, Cancelled, VelaturaError
from ..plain import BRIEF
from ..protocols import Watch
from ..records import AdapterRecord, Composition

if TYPE_CHECKING:
    from collections.abc import Generator

    from PIL.Image import Image

    from ..records import GeneratedImage, GenerationRequest

State = Literal["waiting", "painting", "done", "failed", "cancelled"]
ENDED: Final = frozenset({"done", "failed", "cancelled"})
Paint = Callable[["Sequence[GenerationRequest]", Watch], "Generator[tuple[int, GeneratedImage]]"]
"""Paints one picture of each request, and yields it with its place among them; closed where nobody waits any more."""

_REMEMBERED: Final = 1000
"""Jobs that have ended and can still be asked for."""
_LOG: Final = logging.getLogger(__name__)


class QueueFull(VelaturaError):
    """As many jobs are waiting as the settings allow, or the server is closing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Where a picture stands among those that are compared; one picture may stand in several places."""

    place: int
    """Its place among those asked for."""
    label: str
    panel: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A picture of a job."""

    place: int
    """Its place among those asked for."""
    picture: str
    """What it is kept under; see `pictures.PictureShelf`."""
    seed: int


@dataclass(slots=True, eq=False)
class Job:
    """Pictures that somebody waits for. Its fields change while it is painted, under its own lock."""

    client: str
    requests: tuple[GenerationRequest, ...]
    """One for each picture."""
    views: tuple[View, ...] = ()
    """What its pictures are compared for; none where each stands for itself."""
    composition: Composition | None = None
    """What was asked for as a whole; None where it is that of the first request."""
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    state: State = "waiting"
    progress: float = 0.0
    """The share of all its steps that is done."""
    made: list[Made] = field(default_factory=list)
    preview: tuple[int, Image] | None = None
    """The place of the picture that is being painted, and a small picture of what it is so far."""
    error: VelaturaError | None = None
    asked_at: float = field(default_factory=time.time)
    started_at: float | None = None
    ended_at: float | None = None
    _stopped: threading.Event = field(default_factory=threading.Event)
    _listeners: set[Callable[[], None]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.state in ENDED

    @property
    def asked(self) -> Composition:
        """The prompt and the adapters that it is for."""
        return self.requests[0].composition if self.composition is None else self.composition

    @property
    def stopped(self) -> bool:
        """Whether somebody asked for its end."""
        return self._stopped.is_set()

    @contextmanager
    def heard(self, listener: Callable[[], None]) -> Iterator[None]:
        """Call a function, from whichever thread, after every change while the block runs."""
        with self._lock:
            self._listeners.add(listener)
        try:
            yield
        finally:
            with self._lock:
                self._listeners.discard(listener)

    def tell(self) -> None:
        """Tell those who listen that something has changed."""
        with self._lock:
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it has ended; return whether it has."""
        changed = threading.Event()
        end = None if seconds is None else time.monotonic() + seconds
        with self.heard(changed.set):
            while not self.ended:
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    return False
                changed.wait(left)
                changed.clear()
        return True


class Jobs:
    """A queue, and one thread for each painter.

    Clients take turns, picture by picture: whoever asks for a hundred does not keep another from being next.

    Args:
        painters: One for each device; each is called by one thread alone.
        keep: Keeps a painted picture, and returns what it can be asked for by.
        most: How many jobs may wait.
        at_once: How many pictures of a job are painted in one turn.
        preview_every: Steps between two previews.
    """

    def __init__(
        self,
        painters: Sequence[Paint],
        keep: Callable[[GeneratedImage], str],
        *,
        most: int,
        at_once: int = 1,
        preview_every: int = 5,
    ) -> None:
        self._keep = keep
        self._most = most
        self._at_once = at_once
        self._every = preview_every
        self._waiting: OrderedDict[str, deque[Job]] = OrderedDict()
        self._known: OrderedDict[str, Job] = OrderedDict()
        self._changed = threading.Condition()
        self._closed = False
        self.counts: dict[State, int] = {"done": 0, "failed": 0, "cancelled": 0}
        """How many jobs ended so, since the start."""
        self.pictures = 0
        """How many pictures were painted, since the start."""
        self.painting_seconds = 0.0
        self._threads = [
            threading.Thread(target=self._work, args=(paint,), name=f"painter-{number}", daemon=True)
            for number, paint in enumerate(painters)
        ]
        for thread in self._threads:
            thread.start()

    # ---------------------------------------------------------------- asking

    def submit(
        self,
        client: str,
        requests: Sequence[GenerationRequest],
        *,
        views: Sequence[View] = (),
        composition: Composition | None = None,
    ) -> Job:
        """Put a job in line.

        Args:
            client: Who asks; clients take turns.
            requests: One for each picture.
            views: See `Job`.
            composition: See `Job`.

        Raises:
            QueueFull: as many are waiting as may, or the server is closing.
        """
        job = Job(client=client, requests=tuple(requests), views=tuple(views), composition=composition)
        with self._changed:
            if self._closed:
                raise QueueFull("the server is closing")
            waiting = sum(map(len, self._waiting.values()))  # also those that go on when it is their turn again
            if waiting >= self._most:
                raise QueueFull(f"{waiting} jobs are waiting already, as many as may; try again later")
            self._waiting.setdefault(client, deque()).append(job)
            self._known[job.id] = job
            self._forget()
            self._changed.notify()
        return job

    def get(self, number: str) -> Job | None:
        """Return a job that is waiting, at work, or among the last thousand that ended."""
        with self._changed:
            return self._known.get(number)

    def all(self, client: str | None = None) -> list[Job]:
        """Return the jobs that are known, the newest first; of one client, or of all."""
        with self._changed:
            return [job for job in reversed(self._known.values()) if client in (None, job.client)]

    def cancel(self, job: Job) -> None:
        """End a job: at once if it is waiting, else before its next step. What was painted is kept."""
        with self._changed:
            job._stopped.set()
            line = self._waiting.get(job.client)
            if line is not None and job in line:
                line.remove(job)
                if not line:
                    del self._waiting[job.client]
                self._end(job, "cancelled")
        job.tell()

    @property
    def waiting(self) -> int:
        """How many jobs are in line that have not begun."""
        with self._changed:
            return sum(job.state == "waiting" for line in self._waiting.values() for job in line)

    @property
    def at_work(self) -> list[Job]:
        """The jobs that are being painted."""
        with self._changed:
            return [job for job in self._known.values() if job.state == "painting"]

    def ahead(self, job: Job) -> int:
        """Return how many turns come before a waiting one, as the line is now, had each job but one picture."""
        with self._changed:
            lines = list(self._waiting.items())
            mine = next((place for place, (client, line) in enumerate(lines) if job in line), None)
            if mine is None:
                return 0
            turn = lines[mine][1].index(job)
            return sum(min(len(line), turn + (place < mine)) for place, (_, line) in enumerate(lines))

    def close(self, seconds: float = 10.0) -> None:
        """Cancel everything and wait for the painters to stop."""
        with self._changed:
            self._closed = True
            known = list(self._known.values())
            self._changed.notify_all()
        for job in known:
            if not job.ended:
                self.cancel(job)
        for thread in self._threads:
            thread.join(seconds)

    # ---------------------------------------------------------------- painting

    def _work(self, paint: Paint) -> None:
        while (job := self._next()) is not None:
            self._paint(job, paint)

    def _next(self) -> Job | None:
        """Wait for a job whose turn it is; its client goes to the end of the line."""
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return None
                self._changed.wait()
            if self._closed:
                return None
            client, line = next(iter(self._waiting.items()))
            job = line.popleft()
            del self._waiting[client]
            if line:
                self._waiting[client] = line
            if job.state == "waiting":
                job.state = "painting"
                job.started_at = time.time()
        job.tell()
        return job

    def _paint(self, job: Job, paint: Paint) -> None:
        """Paint the next pictures of a job; it goes back into line where there are more."""
        begun, first, count = time.monotonic(), len(job.made), len(job.requests)
        turn = job.requests[first : first + self._at_once]

        def progressed(share: float) -> None:
            job.progress = (first + share * len(turn)) / count
            job.tell()

        def previewed(place: int, picture: Image) -> None:
            job.preview = (first + place, picture)
            job.tell()

        watch = Watch(progress=progressed, preview=previewed, every=self._every, stopped=lambda: job.stopped)
        state: State = "done"
        try:
            if job.stopped:
                raise Cancelled("the job was cancelled")
            with closing(paint(turn, watch)) as images:
                for place, image in images:
                    job.made.append(Made(place=first + place, picture=self._keep(image), seed=image.seed))
                    job.preview = None  # it may have been of this one, and those of others come anew
                    with self._changed:
                        self.pictures += 1
                    job.tell()
            if len(job.made) < first + len(turn):
                raise BackendError("fewer pictures were painted than were asked for")
        except Cancelled:
            state = "cancelled"
        except VelaturaError as error:
            job.error, state = _bare(error), "failed"
        except Exception as error:  # a painter that fails in a way of its own must not end the thread
            _LOG.exception("painting failed")
            told = f"painting failed ({type(error).__name__}); the server's log says more"
            job.error, state = VelaturaError(told), "failed"
        with self._changed:
            self.painting_seconds += time.monotonic() - begun
            if state == "done" and len(job.made) < count:
                if not job.stopped:
                    self._put_back(job)
                    return
                state = "cancelled"
            self._end(job, state)
        job.tell()

    def _put_back(self, job: Job) -> None:
        """Have a job be its client's next, and the client the last."""
        self._waiting.setdefault(job.client, deque()).appendleft(job)
        self._waiting.move_to_end(job.client)
        self._changed.notify()

    def _end(self, job: Job, state: State) -> None:
        job.preview = None
        # A thousand jobs are remembered, and what is known of an adapter may be as large as a picture.
        told: dict[int, AdapterRecord] = {}
        job.requests = tuple(
            replace(request, composition=_brief(request.composition, told)) for request in job.requests
        )
        job.composition = job.composition and _brief(job.composition, told)
        job.ended_at = max(time.time(), job.started_at or 0.0)  # a clock may have been put back
        job.progress = 1.0 if state == "done" else job.progress
        job.state = state
        self.counts[state] += 1

    def _forget(self) -> None:
        ended = [number for number, job in self._known.items() if job.ended]
        for number in ended[: max(0, len(ended) - _REMEMBERED)]:
            del self._known[number]


def _bare(error: VelaturaError) -> VelaturaError:
    """Return an error without what it was raised in: that holds the painter's tensors as long as it lives."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _brief(composition: Composition, told: dict[int, AdapterRecord]) -> Composition:
    """Return a composition whose adapters are told in brief, and what was refused not at all.

    Args:
        composition: The composition.
        told: The adapters in brief by the identity of the whole ones, which several compositions share.
    """
    choices = []
    for choice in composition.choices:
        whole = choice.adapter
        if id(whole) not in told:
            told[id(whole)] = AdapterRecord(**{name: getattr(whole, name) for name in BRIEF})
        choices.append(replace(choice, adapter=told[id(whole)]))
    return replace(composition, choices=tuple(choices), refused=())
