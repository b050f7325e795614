"""What the backends share that send a composition to another program, which holds the models and paints.

What such a program cannot do, or has not got, is told before it is asked to paint. Adapters and checkpoints are found
there by the names of their files, or by what is in them; see `names`.
"""

from __future__ import annotations

import math
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Final

from ...errors import BackendError, Cancelled, IncompatibleAdapter, InputError
from ...families import OTHER, TITLES, UNKNOWN, family_of, support
from ...protocols import Watch
from ...records import GeneratedImage, GenerationRequest
from ..known import resolve
from ..requests import Sides, check, check_count, check_held, departures_of, filled
from ..schedulers import SAMPLERS
from .look import Look
from .names import File, file_of, model_file
from .pictures import kept, with_pictures
from .plan import Plan, Stock, warn
from .server import Refused, Server, lacks_memory

if TYPE_CHECKING:
    from PIL.Image import Image

_SIDES: Final = {"sd1": 512, "sd2": 768}
"""Of the pictures that a family was trained on, in pixels; 1024 for all others."""
_LARGE, _USUAL = 1024, 512
_PAINTED: Final = Sides(8, 4096, least=64)


@dataclass(frozen=True, slots=True)
class Painted:
    """A picture as a server gave it."""

    picture: Image
    seed: int
    """What the server says that it used."""
    model_hash: str | None = None


class RemoteBackend(ABC):
    """Paints with one checkpoint of another program.

    Args:
        model: The checkpoint's name there: of its file, with or without folders and ending.
        server: Where the program answers.
        timeout: Seconds that one picture may take, the wait in the program's queue included.

    Raises:
        InputError: the time is none.
    """

    name: ClassVar[str]
    own_steps: ClassVar[int] = 25
    own_guidance: ClassVar[float] = 7.0
    own_scheduler: ClassVar[str] = "euler"
    strongest_control: ClassVar[float]
    most_clip_skip: ClassVar[int]

    def __init__(self, model: str, *, server: Server, timeout: float) -> None:
        if not math.isfinite(timeout) or timeout <= 0:
            raise InputError(f"the time for a picture must be more than 0 seconds, not {timeout}")
        self.model = model
        self._server, self._timeout = server, timeout
        self._known = resolve(model)[1]
        self._lock = threading.Lock()

    # ---------------------------------------------------------------- what each program does in its own way

    @abstractmethod
    def _files(self, what: str) -> list[File]:
        """Return what the server has: of `checkpoint`, `adapter`, `ControlNet` or `embedding`."""

    @abstractmethod
    def _remedy(self, what: str) -> str:
        """Say what to do where the server lacks a file of a kind."""

    @abstractmethod
    def _refuse(self, request: GenerationRequest, family: str) -> None:
        """Raise for what the program cannot do."""

    @abstractmethod
    def _sampler(self, scheduler: str, stock: Stock) -> tuple[str, str]:
        """Return what the server calls a scheduler of `SAMPLERS`, or raise where it has none."""

    @abstractmethod
    def _paint(self, plan: Plan, seed: int, look: Look) -> Painted:
        """Have one picture painted."""

    def _with_digests(self, what: str, file: File) -> File:
        """Return a file with the digests that the server tells when it is asked for them."""
        return file

    # ---------------------------------------------------------------- what can be asked

    @property
    def family(self) -> str:
        """The checkpoint's base family, told from its name; `unknown` where that does not tell.

        Raises:
            BackendError: the server does not answer.
            InputError: it does not have the checkpoint.
        """
        return self._family(self._stock().found("checkpoint", model_file(self.model), []))

    def complete(self, request: GenerationRequest) -> GenerationRequest:
        """Check a request against what the server has, and fill in what it leaves to the model, without painting.

        Raises:
            InputError: it asks for what cannot be, or for what is not there; one sentence.
            IncompatibleAdapter: an adapter was made for models of another architecture.
            BackendError: the server does not answer.
        """
        return self._plan(request, self._stock()).request

    def generate(
        self, request: GenerationRequest, count: int = 1, *, watch: Watch | None = None
    ) -> Iterator[GeneratedImage]:
        """Yield `count` images with the seeds `request.seed`, `request.seed + 1`, ..., as they come.

        The request of each image is complete: see `complete`.

        Raises:
            InputError: the request asks for what cannot be; told before anything is painted.
            IncompatibleAdapter: an adapter was made for models of another architecture.
            BackendError: the server fails; images that were yielded before are whole.
            Cancelled: `watch` stopped it, and the server with it.
        """
        check_count(request, count)
        plan = self._plan(request, self._stock())
        return (
            image for _, image in self._painted([(plan, plan.request.seed + place) for place in range(count)], watch)
        )

    def generate_each(
        self, requests: Sequence[GenerationRequest], *, watch: Watch | None = None
    ) -> Iterator[tuple[int, GeneratedImage]]:
        """Yield one image of each request with its place among them, in their order.

        Raises:
            InputError: a request asks for what cannot be; as the other errors of `generate`.
        """
        stock = self._stock()
        plans = [self._plan(request, stock) for request in requests]
        return self._painted([(plan, plan.request.seed) for plan in plans], watch)

    # ---------------------------------------------------------------- plans

    def _stock(self) -> Stock:
        return Stock(self._server.title, files=self._files, remedy=self._remedy, known=self._with_digests)

    def _plan(self, asked: GenerationRequest, stock: Stock) -> Plan:
        check_held(asked, self.model)
        if asked.image_prompts:
            raise InputError(f"the backend {self.name} takes no image prompts; take the backend sd or sdxl")
        if asked.enlargement is not None:
            raise InputError(f"the backend {self.name} paints no enlargements; take the backend demofusion")
        doubts: list[str] = []
        checkpoint = stock.found("checkpoint", model_file(self.model), doubts)
        family = self._family(checkpoint)
        self._refuse(asked, family)
        request = self._filled(with_pictures(asked, self.strongest_control), family)
        self._check(request)
        doubts += departures_of(request)
        return Plan(
            request=request,
            checkpoint=checkpoint,
            sampler=self._sampler(str(request.scheduler), stock),
            adapters=self._adapters(request, family, stock, doubts),
            controls=tuple(
                (control, stock.found("ControlNet", model_file(control.model), doubts)) for control in request.controls
            ),
            tokens={file.stem: stock.found("embedding", file, doubts).name for file in _learned(request)},
            doubts=tuple(dict.fromkeys(doubts)),
        )

    def _filled(self, request: GenerationRequest, family: str) -> GenerationRequest:
        """Fill in what is left to the model: what an adapter needs (LCM and the like), else what is known of it."""
        side = self._known.size if self._known else _side(family, request)
        sized = replace(
            request,
            width=side if request.width is None else request.width,
            height=side if request.height is None else request.height,
        )
        return filled(
            sized,
            self._known,
            model=self.model,
            backend=self.name,
            steps=self.own_steps,
            guidance=self.own_guidance,
            scheduler=self.own_scheduler,
        )

    def _check(self, request: GenerationRequest) -> None:
        check(request, _PAINTED)
        if not 0 <= request.clip_skip <= self.most_clip_skip:
            raise InputError(f"clip_skip must be between 0 and {self.most_clip_skip}, not {request.clip_skip}")
        steps, start = request.steps or 0, request.start
        if start is not None and int(steps * start.share) < 1:
            raise InputError(f"a strength of {start.share} of {steps} steps leaves no step to make")
        if request.scheduler not in SAMPLERS:
            raise InputError(f"there is no scheduler {request.scheduler!r}; take one of {', '.join(SAMPLERS)}")

    def _adapters(
        self, request: GenerationRequest, family: str, stock: Stock, doubts: list[str]
    ) -> tuple[tuple[File, float], ...]:
        laid: dict[str, tuple[File, float]] = {}
        for choice in request.choices:
            record = choice.adapter
            if not math.isfinite(choice.weight):
                raise InputError(f"the weight of {record.title} must be a finite number, not {choice.weight}")
            if support(record.family, family, kind=record.kind) == "none":
                raise IncompatibleAdapter(
                    f"{record.title} is for {TITLES.get(record.family, record.family)} and {self.model} is "
                    f"{TITLES.get(family, family)}; choose a checkpoint or an adapter of the same family"
                )
            if record.kind == "embedding":
                continue  # the prompt names it
            file = stock.found("adapter", file_of(record), doubts)
            laid[file.name] = (file, laid.get(file.name, (file, 0.0))[1] + choice.weight)
        return tuple(laid.values())

    def _family(self, checkpoint: File) -> str:
        if self._known is not None:
            return self._known.family
        told = (family_of(name) for name in (self.model, checkpoint.path))
        return next((family for family in told if family not in (OTHER, UNKNOWN)), UNKNOWN)

    # ---------------------------------------------------------------- painting

    def _painted(self, asked: Sequence[tuple[Plan, int]], watch: Watch | None) -> Iterator[tuple[int, GeneratedImage]]:
        for doubt in dict.fromkeys(doubt for plan, _ in asked for doubt in plan.doubts):
            warn(doubt)
        for place, (plan, seed) in enumerate(asked):
            look = Look(watch, place, len(asked))
            if look.stopped:
                raise Cancelled("stopped")
            started = time.perf_counter()
            with self._lock:
                painted = self._told(plan, seed, look)
            look.made(1.0)
            yield (
                place,
                GeneratedImage(
                    image=kept(plan.request.start, painted.picture, plan.size),
                    request=plan.request,
                    seed=painted.seed,
                    model_hash=painted.model_hash,
                    seconds=time.perf_counter() - started,
                ),
            )

    def _told(self, plan: Plan, seed: int, look: Look) -> Painted:
        """Have a picture painted, and say of a lack of memory what it comes from."""
        try:
            return self._paint(plan, seed, look)
        except Refused as refused:
            if not lacks_memory(refused.said):
                raise
            width, height = plan.size
            raise BackendError(
                f"{self._server.title} has not enough memory for a picture of {width}x{height}; "
                f"ask for a smaller one, or free memory there (it says: {refused.said})"
            ) from None


def _learned(request: GenerationRequest) -> list[File]:
    """Return the textual inversions that the prompts may name."""
    chosen = [file_of(choice.adapter) for choice in request.choices if choice.adapter.kind == "embedding"]
    return [*chosen, *map(model_file, request.embeddings)]


def _side(family: str, request: GenerationRequest) -> int:
    """Return the side of a family's pictures; where it is not known, of the families that the adapters are for."""
    families = {family} if family != UNKNOWN else {choice.adapter.family for choice in request.choices}
    told = families - {UNKNOWN, OTHER}
    return max((_SIDES.get(one, _LARGE) for one in told), default=_USUAL)
