"""What the backends share that send a composition to another program, which holds the models and paints.

What such a program cannot do, or has not got, is told before it is asked to paint. Adapters and checkpoints are found
there by the names of their files, or by what is in them; see `remote_names`.
"""

from __future__ import annotations

import math
import threading
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Final

from ..errors import BackendError, Cancelled, IncompatibleAdapter, InputError
from ..families import OTHER, TITLES, UNKNOWN, family_of, support
from ..protocols import Watch
from ..records import Control, GeneratedImage, GenerationRequest, Picture, Start
from . import PaintingWarning
from .few_steps import advised, departures
from .known import resolve
from .remote_names import File, Found, file_of, find, model_file
from .remote_server import Refused, Server, lacks_memory
from .schedulers import SAMPLERS

if TYPE_CHECKING:
    from PIL.Image import Image

_SIDES: Final = {"sd1": 512, "sd2": 768, "miniature": 128}
"""Of the pictures that a family was trained on, in pixels; 1024 for all others."""
_LARGE, _USUAL = 1024, 512
_SMALLEST, _LARGEST = 64, 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A request with everything in it found on the server."""

    request: GenerationRequest
    """Complete."""
    checkpoint: File
    adapters: tuple[tuple[File, float], ...] = ()
    controls: tuple[tuple[Control, File], ...] = ()
    tokens: Mapping[str, str] = field(default_factory=dict)
    """Names of textual inversions here, and their names there."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return int(self.request.width or 0), int(self.request.height or 0)

    @property
    def steps(self) -> int:
        """Denoising steps."""
        return int(self.request.steps or 0)

    @property
    def guidance(self) -> float:
        """Classifier-free guidance. 1 is none: below that these programs turn towards the negative prompt."""
        return max(1.0, float(self.request.guidance or 0.0))


@dataclass(frozen=True, slots=True)
class Painted:
    """A picture as a server gave it."""

    picture: Image
    seed: int
    """What the server says that it used."""
    model_hash: str | None = None


class Look:
    """Tells a watch of one picture among several.

    Args:
        watch: Who looks on; None for nobody.
        place: The picture's place among those that were asked for.
        of: How many were asked for.
    """

    def __init__(self, watch: Watch | None, place: int, of: int) -> None:
        self._watch = watch or Watch()
        self._place, self._of = place, of
        self._told = 0.0
        self._shown = 0

    @property
    def asked(self) -> bool:
        """Whether anybody wants to hear of what is not finished."""
        return self._watch.progress is not None or self._watch.preview is not None

    @property
    def stopped(self) -> bool:
        """Whether painting is to stop."""
        return self._watch.stopped is not None and self._watch.stopped()

    def made(self, share: float) -> None:
        """Tell which share of the picture is made; it never goes back."""
        share = min(1.0, share) if math.isfinite(share) else 0.0
        if self._watch.progress is not None and share > self._told:
            self._told = share
            self._watch.progress((self._place + share) / self._of)

    def wants_preview(self, step: int) -> bool:
        """Whether a picture after so many steps is wished for."""
        return self._watch.preview is not None and step >= self._shown + self._watch.every

    def show(self, step: int, picture: Image) -> None:
        """Show what the picture is after so many steps."""
        self._shown = step
        if self._watch.preview is not None:
            self._watch.preview(self._place, picture)


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
    def _where(self, what: str) -> str:
        """Say what to do where the server lacks a file."""

    @abstractmethod
    def _refuse(self, request: GenerationRequest, family: str) -> None:
        """Raise for what the program cannot do."""

    @abstractmethod
    def _paint(self, plan: Plan, seed: int, look: Look) -> Painted:
        """Have one picture painted."""

    def _header(self, what: str, file: File) -> File:
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
        return self._family(self._checkpoint(_Stock(self)))

    def complete(self, request: GenerationRequest) -> GenerationRequest:
        """Check a request against what the server has, and fill in what it leaves to the model, without painting.

        Raises:
            InputError: it asks for what cannot be, or for what is not there; one sentence.
            IncompatibleAdapter: an adapter was made for models of another architecture.
            BackendError: the server does not answer.
        """
        return self._plan(request, _Stock(self)).request

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
        if count < 1:
            raise InputError(f"the count must be at least 1, not {count}")
        if not 0 <= request.seed < 2**63 - count:
            raise InputError(f"the seed must be between 0 and 2^63, not {request.seed}")
        plan = self._plan(request, _Stock(self))
        return (image for _, image in self._painted([(plan, plan.request.seed + place) for place in range(count)], watch))

    def generate_each(
        self, requests: Sequence[GenerationRequest], *, watch: Watch | None = None
    ) -> Iterator[tuple[int, GeneratedImage]]:
        """Yield one image of each request with its place among them, in their order.

        Raises:
            InputError: a request asks for what cannot be; as the other errors of `generate`.
        """
        stock = _Stock(self)
        plans = [self._plan(request, stock) for request in requests]
        return self._painted([(plan, plan.request.seed) for plan in plans], watch)

    # ---------------------------------------------------------------- plans

    def _plan(self, asked: GenerationRequest, stock: _Stock) -> Plan:
        if asked.mask is not None and len(asked.mask) != len(asked.composition.choices):
            raise InputError(f"the mask must be as long as the {len(asked.composition.choices)} choices")
        if asked.model not in ("", self.model):
            raise InputError(f"this backend holds {self.model}, not {asked.model}")
        if asked.image_prompts:
            raise InputError(f"the backend {self.name} takes no image prompts; take the backend sd or sdxl")
        if asked.enlargement is not None:
            raise InputError(f"the backend {self.name} paints no enlargements; take the backend demofusion")
        checkpoint = self._checkpoint(stock)
        family = self._family(checkpoint)
        self._refuse(asked, family)
        request = self._filled(_with_pictures(asked, self.strongest_control), family)
        self._check(request)
        return Plan(
            request=request,
            checkpoint=checkpoint,
            adapters=self._adapters(request, family, stock),
            controls=tuple((control, stock.found("ControlNet", model_file(control.model))) for control in request.controls),
            tokens={(file := model_file(path)).stem: stock.found("embedding", file).name for path in request.embeddings},
        )

    def _filled(self, request: GenerationRequest, family: str) -> GenerationRequest:
        """Fill in what is left to the model: what an adapter needs (LCM and the like), else what is known of it."""
        known = self._known
        rule = advised([choice.adapter for choice in request.choices])
        side = known.size if known else _side(family, request)
        completed = replace(
            request,
            model=self.model,
            backend=self.name,
            width=side if request.width is None else request.width,
            height=side if request.height is None else request.height,
            steps=_first(request.steps, rule and rule.steps, known and known.steps, self.own_steps),
            guidance=_first(request.guidance, rule and rule.guidance, known and known.guidance, self.own_guidance),
            scheduler=_first(request.scheduler, rule and rule.scheduler, known and known.scheduler, self.own_scheduler),
        )
        for sentence in departures(rule, completed) if rule else ():
            _warn(sentence)
        return completed

    def _check(self, request: GenerationRequest) -> None:
        steps, guidance, start = request.steps or 0, request.guidance or 0.0, request.start
        for wrong, sentence in (
            (not 1 <= steps <= 1000, f"the steps must be between 1 and 1000, not {request.steps}"),
            (not 0 <= request.seed < 2**63, f"the seed must be between 0 and 2^63, not {request.seed}"),
            (not 0 <= guidance <= 100, f"the guidance must be between 0 and 100, not {request.guidance}"),
            (
                not 0 <= request.clip_skip <= self.most_clip_skip,
                f"clip_skip must be between 0 and {self.most_clip_skip}, not {request.clip_skip}",
            ),
            (
                start is not None and int(steps * start.strength) < 1,
                f"a strength of {start and start.strength} of {steps} steps leaves no step to make",
            ),
            *((_bad_side(pixels), _sides(pixels)) for pixels in (request.width or 0, request.height or 0)),
        ):
            if wrong:
                raise InputError(sentence)
        if request.scheduler not in SAMPLERS:
            raise InputError(f"there is no scheduler {request.scheduler!r}; take one of {', '.join(SAMPLERS)}")

    def _adapters(self, request: GenerationRequest, family: str, stock: _Stock) -> tuple[tuple[File, float], ...]:
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
            file = stock.found("adapter", file_of(record))
            laid[file.name] = (file, laid.get(file.name, (file, 0.0))[1] + choice.weight)
        return tuple(laid.values())

    def _checkpoint(self, stock: _Stock) -> File:
        return stock.found("checkpoint", model_file(self.model))

    def _family(self, checkpoint: File) -> str:
        if self._known is not None:
            return self._known.family
        told = (family_of(name) for name in (self.model, checkpoint.path))
        return next((family for family in told if family not in (OTHER, UNKNOWN)), UNKNOWN)

    # ---------------------------------------------------------------- painting

    def _painted(
        self, asked: Sequence[tuple[Plan, int]], watch: Watch | None
    ) -> Iterator[tuple[int, GeneratedImage]]:
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
                    image=_kept(plan, painted.picture),
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


class _Stock:
    """What a server has, asked once for each kind of file."""

    def __init__(self, backend: RemoteBackend) -> None:
        self._backend = backend
        self._files: dict[str, list[File]] = {}
        self._found: dict[tuple[str, File], File] = {}

    def found(self, what: str, wanted: File) -> File:
        """Return the server's file, and warn where it is doubtful whether it is the one that is meant."""
        if (what, wanted) not in self._found:
            found = self._find(what, wanted)
            if found.doubt:
                _warn(f"{self._backend._server.title}: {found.doubt}")
            self._found[what, wanted] = found.file
        return self._found[what, wanted]

    def _find(self, what: str, wanted: File) -> Found:
        backend = self._backend
        if what not in self._files:
            self._files[what] = backend._files(what)
        where = f"{backend._server.title}; {backend._where(what)}"
        return find(
            wanted, self._files[what], what=what, where=where, known=lambda file: backend._header(what, file)
        )


def _with_pictures(request: GenerationRequest, strongest: float) -> GenerationRequest:
    """Check the pictures that are painted from, note their digests, and take their size where none is asked for."""
    controls = tuple(_control(control, strongest) for control in request.controls)
    if request.start is None:
        return replace(request, controls=controls)
    start, size = _start(request.start)
    width, height = (max(8, side // 8 * 8) for side in size)
    return replace(
        request,
        controls=controls,
        start=start,
        width=width if request.width is None else request.width,
        height=height if request.height is None else request.height,
    )


def _start(start: Start) -> tuple[Start, tuple[int, int]]:
    from .pictures import read_mask, read_picture

    if not 0 < start.strength <= 1:
        raise InputError(f"the strength must be above 0 and at most 1, not {start.strength}")
    picture, digest = read_picture(start.picture)
    mask = start.mask
    if mask is not None:
        area, told = read_mask(mask)
        if area.size != picture.size:
            sizes = (f"{one.width}x{one.height}" for one in (area, picture))
            raise InputError("the mask has {} pixels and the picture {}; they must be the same".format(*sizes))
        mask = Picture(path=mask.path, sha256=told)
    return replace(start, picture=Picture(path=start.picture.path, sha256=digest), mask=mask), picture.size


def _control(control: Control, strongest: float) -> Control:
    from .pictures import read_picture

    if not 0 <= control.weight <= strongest:
        raise InputError(f"the weight of a control must be between 0 and {strongest:g}, not {control.weight}")
    if not 0 <= control.begin < control.end <= 1:
        raise InputError(f"a control must begin before it ends, between 0 and 1, not {control.begin} and {control.end}")
    _, digest = read_picture(control.picture)
    return replace(control, picture=Picture(path=control.picture.path, sha256=digest))


def map_of(control: Control, size: tuple[int, int]) -> Image:
    """Return the map that a control gives, of that size in pixels."""
    from .edges import canny
    from .pictures import fitted, read_picture

    picture = fitted(read_picture(control.picture)[0], *size)
    return canny(picture) if control.reading == "canny" else picture


def start_of(start: Start, size: tuple[int, int]) -> tuple[Image, Image | None]:
    """Return the picture that is painted from, and its mask, both of that size in pixels."""
    from .pictures import fitted, read_mask, read_picture

    picture = fitted(read_picture(start.picture)[0], *size)
    return picture, None if start.mask is None else fitted(read_mask(start.mask)[0], *size)


def _kept(plan: Plan, painted: Image) -> Image:
    """Return a picture with the start's own pixels where its mask keeps them."""
    start = plan.request.start
    if start is None or start.mask is None or painted.size != plan.size:
        return painted
    from .pictures import pasted

    picture, mask = start_of(start, plan.size)
    kept = pasted(painted, picture, mask) if mask is not None else painted
    kept.info = painted.info
    return kept


def _side(family: str, request: GenerationRequest) -> int:
    """Return the side of a family's pictures; where it is not known, of the families that the adapters are for."""
    families = {family} if family != UNKNOWN else {choice.adapter.family for choice in request.choices}
    told = families - {UNKNOWN, OTHER}
    return max((_SIDES.get(one, _LARGE) for one in told), default=_USUAL)


def _first(*values):  # type: ignore[no-untyped-def]
    return next((value for value in values if value is not None), None)


def _bad_side(pixels: int) -> bool:
    return pixels % 8 != 0 or not _SMALLEST <= pixels <= _LARGEST


def _sides(pixels: int) -> str:
    return f"width and height must be multiples of 8 from {_SMALLEST} to {_LARGEST}, not {pixels}"


def _warn(sentence: str) -> None:
    warnings.warn(sentence, PaintingWarning, stacklevel=2)
