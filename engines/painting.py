"""A backend whose models are open in workers: requests are cut there as they would be here, and come back painted.

Batches that wear the same adapters go to the worker that has these on already.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..errors import Cancelled, InputError, VelaturaError
from ..protocols import Watch
from ..records import GeneratedImage, GenerationRequest
from .recipes import here, travelling
from .worker import refuse_missing

if TYPE_CHECKING:
    from ..generation.batches import Part
    from ..settings import Settings
    from .on_ray import RayWorkers

_PATIENCE = 0.25
"""Seconds between two looks at whether to stop."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Asks a backend for attributes."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Complete:
    """Has a request checked and filled in."""

    request: GenerationRequest


@dataclass(frozen=True, slots=True)
class Cut:
    """Has requests cut into batches."""

    requests: Sequence[GenerationRequest]


@dataclass(frozen=True, slots=True)
class Paint:
    """Has a batch painted."""

    requests: Sequence[GenerationRequest]
    part: Part
    files: tuple[str, ...]
    """Of its adapters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaintRecipe:
    """Requests in, pictures out."""

    settings: Settings
    files: tuple[str, ...] = ()
    computes: bool = True

    @classmethod
    def of(cls, settings: Settings) -> PaintRecipe:
        """Return the recipe of the settings' backend.

        Raises:
            InputError: they name a program that paints elsewhere already.
        """
        from ..generation import REMOTE

        if settings.backend in REMOTE:
            raise InputError(f"{settings.backend} paints in a program of its own; leave the engine local")
        files = here(settings.model, settings.parts, settings.tokenizer, settings.sketcher)
        return cls(settings=travelling(settings), files=files)

    @property
    def device(self) -> str | None:
        """The device that the settings name."""
        return self.settings.device

    def open(self) -> Callable[[Ask | Complete | Cut | Paint], Any]:
        """Open the backend; see `wiring.painter` for what is raised."""
        from ..wiring import painter

        backend: Any = painter(self.settings)

        def do(task: Ask | Complete | Cut | Paint) -> Any:
            if isinstance(task, Paint):
                refuse_missing(task.files)
                return backend.painted_part(task.requests, task.part)
            if isinstance(task, Cut):
                return backend.parts(task.requests)
            if isinstance(task, Complete):
                return backend.complete(task.request)
            return tuple(getattr(backend, name) for name in task.names)

        return do


class EngineBackend:
    """Paints by workers (implements `protocols.Backend`); previews are not shown, since what they are of lies there.

    Args:
        workers: Made for a `PaintRecipe`.
    """

    def __init__(self, workers: RayWorkers[Any, Any]) -> None:
        self.workers = workers

    def close(self) -> None:
        """End the workers."""
        self.workers.close()

    @cached_property
    def _told(self) -> tuple[str, str, str]:
        name, family, stamp = self.workers.ask(Ask(("name", "family", "stamp")))
        return name, family, stamp

    @property
    def name(self) -> str:
        """The name that requests use."""
        return self._told[0]

    @property
    def family(self) -> str:
        """The base family of the checkpoint."""
        return self._told[1]

    @property
    def stamp(self) -> str:
        """What of its settings decides pixels and stands in no request."""
        return self._told[2]

    def complete(self, request: GenerationRequest) -> GenerationRequest:
        """Check a request and fill in what it leaves to the model; see `protocols.Backend`."""
        completed: GenerationRequest = self.workers.ask(Complete(request))
        return completed

    def generate(
        self, request: GenerationRequest, count: int = 1, *, watch: Watch | None = None
    ) -> Iterator[GeneratedImage]:
        """Yield `count` images with the seeds counting up, in their order; see `protocols.Backend`."""
        from ..generation.requests import check_count

        check_count(request, count)
        requests = [replace(request, seed=request.seed + place) for place in range(count)]
        return self._in_order(request, self.generate_each(requests, watch=watch))

    def generate_each(
        self, requests: Sequence[GenerationRequest], *, watch: Watch | None = None
    ) -> Iterator[tuple[int, GeneratedImage]]:
        """Yield one image of each request with its place; what cannot be painted is told after all others."""
        parts: list[tuple[Part, Hashable]] = self.workers.ask(Cut(requests))
        return self._painted(requests, parts, watch)

    def _painted(
        self, requests: Sequence[GenerationRequest], parts: Sequence[tuple[Part, Hashable]], watch: Watch | None
    ) -> Iterator[tuple[int, GeneratedImage]]:
        calls = self.workers.calls()
        faults: dict[int, VelaturaError] = {}
        done = 0
        try:
            for number, (part, worn) in enumerate(parts):
                asked = [requests[place] for place in part.places]
                files = here(*(choice.adapter.path for request in asked for choice in request.choices))
                calls.give(number, Paint(asked, part, files), worn)
            while calls.busy:
                if watch is not None and watch.stopped is not None and watch.stopped():
                    raise Cancelled("stopped")
                for number, answer in calls.heard(_PATIENCE):
                    part = parts[number][0]
                    done += len(part.places)
                    if isinstance(answer, VelaturaError):
                        faults[number] = answer
                        continue
                    if watch is not None and watch.progress is not None:
                        watch.progress(done / len(requests))
                    yield from zip(part.places, answer, strict=True)
        finally:
            calls.leave()
        if faults:
            raise faults[min(faults)]

    @staticmethod
    def _in_order(
        request: GenerationRequest, painted: Iterator[tuple[int, GeneratedImage]]
    ) -> Iterator[GeneratedImage]:
        waiting: dict[int, GeneratedImage] = {}
        following = 0
        for place, image in painted:
            # Its own seed stands beside the request, as where it is painted here.
            waiting[place] = replace(image, request=replace(image.request, seed=request.seed))
            while following in waiting:
                yield waiting.pop(following)
                following += 1
