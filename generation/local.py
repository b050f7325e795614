"""What every backend that paints on this machine shares: adapters, batches, seeds, and who looks on.

The images that are asked for are *rows*, and are drawn in batches; see `batches`.
"""

from __future__ import annotations

import math
import threading
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..protocols import Watch
from ..records import Choice, GeneratedImage, GenerationRequest
from . import PaintingWarning
from .adapters.bases import own_memory, stored_weights
from .adapters.choice import Way, choose
from .adapters.family import model_family_of
from .adapters.names import targets
from .adapters.patch import Layers
from .adapters.plan import AdapterPlan, Plans
from .adapters.side import SideBranch
from .batches import Batch, Laying, Part, Row, batches, on_text, text_state
from .checkpoint import Checkpoint
from .known import resolve
from .memory import telling_what_fits
from .requests import Sides, check, check_count, check_held, departures_of, filled
from .steps import Steps

if TYPE_CHECKING:
    from collections.abc import Hashable

    from PIL.Image import Image

    from .adapters.embeddings import LearnedToken

Encoded = TypeVar("Encoded")
"""What a prompt becomes for the model."""

PARTS = ("unet", "transformer", "text_encoder", "text_encoder_2")
"""The parts of a model that wear adapters."""


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
    def stamp(self) -> str:
        """What of its settings decides pixels and stands in no request, for addresses of pictures."""
        return str(next(self._denoiser.parameters()).dtype).removeprefix("torch.")

    @property
    def family(self) -> str:
        """The checkpoint's base family, a name of `velatura.families`."""
        return model_family_of(self._modules)

    @property
    def _sides(self) -> Sides:
        return Sides(self.multiple, self.largest)

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
        check_held(request, self.model)
        request = self._completed(
            filled(
                request,
                self._known,
                model=self.model,
                backend=self.name,
                steps=self.own_steps,
                guidance=self.own_guidance,
            )
        )
        check(request, self._sides)
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
        check_count(request, count)
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

    def parts(self, requests: Sequence[GenerationRequest]) -> list[tuple[Part, Hashable]]:
        """Cut requests into the batches that `generate_each` would draw, each with what tells its adapters.

        Raises:
            InputError: a request asks for what cannot be; as the other errors of `generate`.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PaintingWarning)  # told where they are painted
            rows = self._rows(requests)
        return [
            (
                Part(tuple(row.place for row in batch.rows), batch.way),
                tuple((str(plan.file.path), weight) for row in batch.rows for plan, weight in row.laying.items()),
            )
            for batch in self._cut(rows)
        ]

    def painted_part(self, requests: Sequence[GenerationRequest], part: Part) -> list[GeneratedImage]:
        """Paint a batch of `parts`: its requests alone, in its order."""
        batch = Batch(self._rows(requests), part.way)
        return [image for _, image in self._drawn([batch], len(requests), None)]

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
        """Say what of a request is hardly meant."""
        return departures_of(request)

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
        yield from self._drawn(self._cut(rows), len(rows), watch)

    def _cut(self, rows: Sequence[Row]) -> Iterator[Batch]:
        return batches(rows, size=self._batch_size, alike=self._alike, way=self._way)

    def _drawn(self, cut: Iterable[Batch], whole: int, watch: Watch | None) -> Iterator[tuple[int, GeneratedImage]]:
        done = 0
        for batch in cut:
            started = time.perf_counter()
            steps = Steps(watch, [row.place for row in batch.rows], done=done, of=whole)
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

    def _worn(self, batch: Batch, steps: Steps) -> list[Image]:
        """Lay the sets of a batch, on the weights, where they stay, or beside them while it is drawn; and draw it."""
        rows = batch.rows
        if batch.way == "weights":
            # Another request may have changed the set since the last batch; laying the same set again costs nothing.
            self._layers.lay(rows[0].laying)
            return self._draw(rows, [self._encode(row, text_state(row, batch.way)) for row in rows], steps)
        self._layers.restore()
        with self._side:
            encoded = []
            worn: Laying | None = None
            for row in rows:
                if worn is None or on_text(worn) != on_text(row.laying):
                    self._side.wear([row.laying])
                    worn = row.laying
                encoded.append(self._encode(row, text_state(row, batch.way)))
            if any(row.laying != worn for row in rows):
                self._side.wear([row.laying for row in rows])
            self._side.follow(self._denoiser, steps=self.times)
            return self._draw(rows, encoded, steps)


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
