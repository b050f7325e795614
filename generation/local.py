"""What every backend that paints on this machine shares: adapters, batches, seeds, and who looks on.

The images that are asked for are *rows*; rows that differ in nothing but words, adapters and seed are drawn together,
each with its own set of adapters. Where sets lie on the weights, rows of one set are drawn after each other, so that
each set is laid once; where it is cheaper, sets go beside the weights, and one batch wears them all.
"""

from __future__ import annotations

import math
import threading
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..protocols import Watch
from ..records import Choice, Composition, GeneratedImage, GenerationRequest
from . import PaintingWarning
from .adapters.bases import own_memory, stored_weights
from .adapters.choice import Way, choose
from .adapters.family import model_family_of
from .adapters.names import targets
from .adapters.patch import Layers
from .adapters.plan import AdapterPlan, Plans
from .adapters.side import SideBranch
from .checkpoint import Checkpoint
from .few_steps import advised, departures
from .known import resolve
from .memory import telling_what_fits
from .steps import Steps

if TYPE_CHECKING:
    from collections.abc import Hashable

    from PIL.Image import Image

    from .adapters.embeddings import LearnedToken

Encoded = TypeVar("Encoded")
"""What a prompt becomes for the model."""
Laying = Mapping[AdapterPlan, float]

PARTS = ("unet", "transformer", "text_encoder", "text_encoder_2")
"""The parts of a model that wear adapters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One image of a batch."""

    place: int
    """Among those that were asked for."""
    request: GenerationRequest
    """Complete: nothing in it is left to the model."""
    seed: int
    laying: Laying
    learned: tuple[LearnedToken, ...] = ()

    @property
    def steps(self) -> int:
        """Denoising steps."""
        return int(self.request.steps or 0)

    @property
    def guidance(self) -> float:
        """Classifier-free guidance; up to 1 is none."""
        return float(self.request.guidance or 0.0)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return int(self.request.width or 0), int(self.request.height or 0)

    @property
    def generator(self) -> torch.Generator:
        """A fresh generator with the image's seed. On the CPU, so that noise does not depend on the device."""
        return torch.Generator().manual_seed(self.seed)


@dataclass(frozen=True, slots=True)
class _Batch:
    rows: Sequence[Row]
    way: Way


class LocalBackend(ABC, Generic[Encoded]):
    """Paints with one checkpoint. Adapters stay laid between requests; another set is laid in one pass.

    Each image has its own generator, seeded with the request's seed plus its place, so that an image does not depend
    on the batch it was drawn in.

    Args:
        model: A name of `known`, a diffusers folder, a `.safetensors` checkpoint, or a hub id.
        device: `cpu`, `cuda`, `cuda:1`, `mps`; None takes the best there is.
        dtype: The precision of the weights; None takes half precision on a GPU and float32 on the CPU.
        batch_size: How many images are drawn at once. One at a time gives the same bytes whatever the count; more
            are the same to rounding.
        force: Lay adapters even where only a part of them fits the model.
        laying: Where adapters go: on the `weights` or `beside` them; None takes what is cheaper for each request.
        **loading: What loading the checkpoint takes.

    Raises:
        InputError: the checkpoint or an option cannot be used; one sentence.
    """

    name: ClassVar[str]
    own_steps: int = 25
    own_guidance: float = 7.0
    multiple: ClassVar[int] = 8
    """Of which width and height must be multiples."""
    largest: ClassVar[int] = 4096
    """Pixels of a side."""
    half: ClassVar[torch.dtype] = torch.float16
    """The precision on a GPU."""
    times: ClassVar[float] = 1000
    """What the denoiser calls pure noise."""

    def __init__(
        self,
        model: str,
        *,
        device: str | None = None,
        dtype: torch.dtype | None = None,
        batch_size: int = 1,
        force: bool = False,
        laying: Way | None = None,
        **loading: Any,
    ) -> None:
        if batch_size < 1:
            raise InputError(f"the batch size must be at least 1, not {batch_size}")
        place = device_of(device)
        self.model = model
        located, self._known = resolve(model)
        self._checkpoint = self._load(
            located, dtype=dtype or (torch.float32 if place.type == "cpu" else self.half), **loading
        )
        self._pipe = self._checkpoint.pipe.to(place)
        parts = {name: part for name in PARTS if (part := getattr(self._pipe, name, None)) is not None}
        for part in parts.values():
            own_memory(part)
        self._denoiser: nn.Module = parts["unet"] if "unet" in parts else parts["transformer"]
        self._own_scheduler = self._pipe.scheduler
        self._modules = targets(**parts)
        folder = self._checkpoint.folder
        self._layers = Layers(self._modules, stored=None if folder is None else stored_weights(folder), fresh=True)
        self._side = SideBranch(self._modules, self._layers)
        self._plans = Plans(self._modules)
        self._batch_size, self._force, self._laying_way = batch_size, force, laying
        self._lock = threading.RLock()

    @abstractmethod
    def _load(self, model: str, *, dtype: torch.dtype, **loading: Any) -> Checkpoint:
        """Load the checkpoint onto the CPU."""

    @abstractmethod
    def _completed(self, request: GenerationRequest) -> GenerationRequest:
        """Check what is this backend's own, and fill in what is left to it: size and scheduler at least."""

    @abstractmethod
    def _learned(self, request: GenerationRequest, plans: Sequence[AdapterPlan]) -> tuple[LearnedToken, ...]:
        """Return the learned tokens that the prompt may name."""

    def _alike(self, row: Row) -> Hashable:
        """Return what rows must share beside their requests to be drawn together."""
        return None

    @abstractmethod
    def _encode(self, row: Row, state: Hashable) -> Encoded:
        """Return what the prompt becomes; `state` tells which adapters lie on the text encoders."""

    @abstractmethod
    def _draw(self, rows: Sequence[Row], encoded: Sequence[Encoded], steps: Steps) -> list[Image]:
        """Paint rows that share everything but prompt, adapters and seed."""

    # ---------------------------------------------------------------- what can be asked

    @property
    def family(self) -> str:
        """The checkpoint's base family, a name of `velatura.families`."""
        return model_family_of(self._modules)

    @property
    def laid(self) -> dict[str, float]:
        """The adapters that lie on the model now, by file, with their weights."""
        return {str(plan.file.path): weight for plan, weight in self._layers.laid.items()}

    def plan(self, path: str | Path) -> AdapterPlan:
        """Say how an adapter file lies on this checkpoint.

        Raises:
            InputError: the file is not there.
            UnreadableFile: the file is damaged, or no adapter.
            IncompatibleAdapter: it does not fit.
        """
        return self._plans.of(path, force=self._force)

    def complete(self, request: GenerationRequest) -> GenerationRequest:
        """Check a request and fill in what it leaves to the model, without painting.

        Steps, guidance and scheduler are those of an adapter that needs its own (LCM and the like), else those known
        for the checkpoint, else the backend's.

        Raises:
            InputError: it asks for what cannot be; one sentence.
        """
        if request.mask is not None and len(request.mask) != len(request.composition.choices):
            raise InputError(f"the mask must be as long as the {len(request.composition.choices)} choices")
        if request.model not in ("", self.model):
            raise InputError(f"this backend holds {self.model}, not {request.model}")
        rule, known = advised([choice.adapter for choice in request.choices]), self._known
        request = replace(
            request,
            model=self.model,
            backend=self.name,
            steps=_first(request.steps, rule and rule.steps, known and known.steps, self.own_steps),
            guidance=_first(request.guidance, rule and rule.guidance, known and known.guidance, self.own_guidance),
            scheduler=_first(request.scheduler, rule and rule.scheduler, known and known.scheduler),
        )
        request = self._completed(request)
        steps, guidance = request.steps or 0, request.guidance or 0.0
        for wrong, sentence in (
            (not 1 <= steps <= 1000, f"the steps must be between 1 and 1000, not {request.steps}"),
            (not 0 <= request.seed < 2**63, f"the seed must be between 0 and 2^63, not {request.seed}"),
            (not 0 <= guidance <= 100, f"the guidance must be between 0 and 100, not {request.guidance}"),
            *((self._bad_side(pixels), self._sides(pixels)) for pixels in (request.width or 0, request.height or 0)),
        ):
            if wrong:
                raise InputError(sentence)
        return request

    def generate(
        self, request: GenerationRequest, count: int = 1, *, watch: Watch | None = None
    ) -> Iterator[GeneratedImage]:
        """Yield `count` images with the seeds `request.seed`, `request.seed + 1`, ..., as they come.

        The request of each image is complete: see `complete`.

        Raises:
            InputError: the request asks for what cannot be; one sentence, before anything is painted.
            UnreadableFile: an adapter is damaged.
            IncompatibleAdapter: an adapter does not fit the checkpoint.
            Cancelled: `watch` stopped it.
        """
        if count < 1:
            raise InputError(f"the count must be at least 1, not {count}")
        if not 0 <= request.seed < 2**63 - count:
            raise InputError(f"the seed must be between 0 and 2^63, not {request.seed}")
        [row] = self._rows([request])
        rows = [replace(row, place=place, seed=row.seed + place) for place in range(count)]
        return (image for _, image in self._painted(rows, watch))

    def generate_each(
        self, requests: Sequence[GenerationRequest], *, watch: Watch | None = None
    ) -> Iterator[tuple[int, GeneratedImage]]:
        """Yield one image of each request with its place among them, in whatever order is the cheapest.

        Raises:
            InputError: a request asks for what cannot be; as the other errors of `generate`.
        """
        return self._painted(self._rows(requests), watch)

    def try_out(self, rows: Sequence[Row]) -> None:
        """Draw rows with what lies on the model now, for nothing but to see whether it goes."""
        self._draw(rows, [self._encode(row, None) for row in rows], Steps(None))

    # ---------------------------------------------------------------- rows

    def _rows(self, requests: Sequence[GenerationRequest]) -> list[Row]:
        rows = []
        for place, asked in enumerate(requests):
            request = self.complete(asked)
            for sentence in self._doubts(asked):
                warn(sentence)
            laying = self._laying(request.choices)
            rows.append(
                Row(
                    place=place,
                    request=request,
                    seed=request.seed,
                    laying=laying,
                    learned=self._learned(request, tuple(laying)),
                )
            )
        return rows

    def _doubts(self, request: GenerationRequest) -> tuple[str, ...]:
        """Say what of a request an adapter that needs its own steps and guidance does not bear."""
        rule = advised([choice.adapter for choice in request.choices])
        return departures(rule, request) if rule else ()

    def _laying(self, choices: Sequence[Choice]) -> Laying:
        laying: dict[AdapterPlan, float] = {}
        for choice in choices:
            record = choice.adapter
            if record.path is None:
                where = f"download it from {record.url} or " if record.url else ""
                raise InputError(f"{record.title} is not on this machine; {where}index the folder that holds it")
            if not math.isfinite(choice.weight):
                raise InputError(f"the weight of {record.title} must be a finite number, not {choice.weight}")
            found = self.plan(record.path)
            laying[found] = laying.get(found, 0.0) + choice.weight
        return laying

    def _painted(self, rows: Sequence[Row], watch: Watch | None) -> Iterator[tuple[int, GeneratedImage]]:
        done = 0
        for batch in self._batches(rows):
            started = time.perf_counter()
            steps = Steps(watch, [row.place for row in batch.rows], done=done, of=len(rows))
            with self._lock, telling_what_fits(self, batch.rows):
                images = self._worn(batch, steps)
            done += len(batch.rows)
            seconds = (time.perf_counter() - started) / len(batch.rows)
            for row, image in zip(batch.rows, images, strict=True):
                yield (
                    row.place,
                    GeneratedImage(
                        image=image,
                        request=row.request,
                        seed=row.seed,
                        model_hash=self._checkpoint.hash,
                        seconds=seconds,
                    ),
                )

    def _batches(self, rows: Sequence[Row]) -> Iterator[_Batch]:
        """Part rows into batches that are drawn at once, those of one set of adapters after each other."""
        for alike in _grouped(rows, lambda row: (_shared(row.request), self._alike(row))):
            sets = _grouped(alike, lambda row: tuple(row.laying.items()))
            # One image at a time must not depend on its neighbours: each goes the way that it would go alone.
            mixed = self._batch_size > 1 and len(sets) > 1 and self._way(alike) == "beside"
            for drawn in [alike] if mixed else sets:
                for first in range(0, len(drawn), self._batch_size):
                    batch = drawn[first : first + self._batch_size]
                    yield _Batch(batch, "beside" if mixed else self._way(batch[:1]))

    def _way(self, rows: Sequence[Row]) -> Way:
        """Say where the adapters of these rows go."""
        if self._laying_way is not None:
            return self._laying_way
        width, height = (side // self._pipe.vae_scale_factor for side in rows[0].size)
        samples = self._samples(rows[0])
        return choose([row.laying for row in rows], self._modules, samples=samples, height=height, width=width)

    def _samples(self, row: Row) -> int:
        """How often an image passes through the denoiser."""
        return row.steps * (2 if row.guidance > 1 else 1)

    def _worn(self, batch: _Batch, steps: Steps) -> list[Image]:
        """Lay the sets of a batch, on the weights, where they stay, or beside them while it is drawn; and draw it."""
        rows = batch.rows
        if batch.way == "weights":
            # Another request may have changed the set since the last batch; laying the same set again costs nothing.
            self._layers.lay(rows[0].laying)
            return self._draw(rows, [self._encode(row, _state(row, batch.way)) for row in rows], steps)
        self._layers.restore()
        with self._side:
            encoded = []
            worn: Laying | None = None
            for row in rows:
                if worn is None or _on_text(worn) != _on_text(row.laying):
                    self._side.wear([row.laying])
                    worn = row.laying
                encoded.append(self._encode(row, _state(row, batch.way)))
            if any(row.laying != worn for row in rows):
                self._side.wear([row.laying for row in rows])
            self._side.follow(self._denoiser, steps=self.times)
            return self._draw(rows, encoded, steps)

    def _bad_side(self, pixels: int) -> bool:
        return pixels % self.multiple != 0 or not self.multiple <= pixels <= self.largest

    def _sides(self, pixels: int) -> str:
        return f"width and height must be multiples of {self.multiple} up to {self.largest}, not {pixels}"


def device_of(name: str | None) -> torch.device:
    """Return the device of that name; None takes the best there is.

    Raises:
        InputError: this machine has no such device.
    """
    if name is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise InputError(f"there is no device {name!r} on this machine; try cpu") from None
    return device


def warn(sentence: str) -> None:
    """Tell that a picture was painted, and is hardly what was wanted."""
    warnings.warn(sentence, PaintingWarning, stacklevel=2)


def warn_of_emptiness(latents: Tensor, pixels: Tensor) -> None:
    """Warn of pictures that show nothing.

    Args:
        latents: Shape (pictures, channels, height, width).
        pixels: Shape (pictures, 3, height, width), in float32.
    """
    if not latents.isfinite().all():
        warn("the model's weights overflow: the picture is empty; try fewer or lighter adapters, bfloat16 or float32")
    elif not pixels.isfinite().all():
        warn("the autoencoder overflows, so the picture is empty; load the checkpoint in bfloat16 or float32")
    elif (pixels.amax((2, 3)) - pixels.amin((2, 3))).amax(1).lt(1 / 128).any():
        warn("a picture has one colour only; the adapters or the guidance may be too strong")


def _shared(request: GenerationRequest) -> GenerationRequest:
    """Return what rows must share to be drawn together: all but words, adapters and seed."""
    return replace(request, composition=Composition(prompt=""), mask=None, seed=0, negative="")


def _on_text(laying: Laying) -> tuple[tuple[AdapterPlan, float], ...]:
    """Return the part of a set that changes what text encoders say."""
    return tuple(
        (plan, weight) for plan, weight in laying.items() if any(name.startswith("text_encoder") for name in plan.parts)
    )


def _state(row: Row, way: Way) -> Hashable:
    """Return what tells the state of the text encoders; on the weights and beside them they agree to rounding."""
    found = _on_text(row.laying)
    return (found, way) if found else ()


Item = TypeVar("Item")


def _grouped(items: Sequence[Item], key: Any) -> list[list[Item]]:
    """Return the items with the same key together, in the order of the first of each."""
    groups: dict[Any, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())


def _first(*values: Any) -> Any:
    """Return the first value that is told."""
    return next((value for value in values if value is not None), None)
