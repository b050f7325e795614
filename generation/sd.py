"""The backend `sd`: Stable Diffusion 1.x and 2.x through diffusers, with adapters laid on the weights."""

from __future__ import annotations

import math
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import InputError
from ..records import Choice, GeneratedImage, GenerationRequest
from . import PaintingWarning
from .adapters.bases import own_memory, stored_weights
from .adapters.choice import Way, choose
from .adapters.embeddings import LearnedToken, learned_tokens, worn
from .adapters.family import model_family_of
from .adapters.names import targets
from .adapters.patch import Layers
from .adapters.plan import AdapterPlan, Plans
from .adapters.side import SideBranch
from .checkpoint import load_checkpoint
from .prompt import ambiguous, encode
from .schedulers import name_of, scheduler_like, without_numpy_warning

if TYPE_CHECKING:
    from PIL.Image import Image

_LARGEST = 4096
"""Pixels of a side."""


class StableDiffusionBackend:
    """Paints with one checkpoint. Adapters stay laid between requests; another set is laid in one pass.

    Each image has its own generator on the CPU, seeded with the request's seed plus its place, so that an image does
    not depend on the batch it was drawn in, nor its noise on the device.

    Args:
        model: A diffusers folder, a `.safetensors` checkpoint, or a hub id.
        device: `cpu`, `cuda`, `cuda:1`, `mps`; None takes the best there is.
        dtype: The precision of the weights; None takes float16 on a GPU and float32 on the CPU.
        batch_size: How many images are drawn at once. One at a time gives the same bytes whatever the count; more
            are the same to rounding.
        force: Lay adapters even where only a part of them fits the model.
        local_files_only: Never ask the hub.
        tokenizer: For a single file: the folder or hub id of a CLIP tokenizer.
        prediction: For a single SD 2.x file: `epsilon` or `v_prediction`.
        laying: Where adapters go: on the `weights` or `beside` them; None takes what is cheaper for each request.

    Raises:
        InputError: the checkpoint or an option cannot be used; one sentence.
    """

    name = "sd"

    def __init__(
        self,
        model: str,
        *,
        device: str | None = None,
        dtype: torch.dtype | None = None,
        batch_size: int = 1,
        force: bool = False,
        local_files_only: bool = False,
        tokenizer: str | None = None,
        prediction: str | None = None,
        laying: Way | None = None,
    ) -> None:
        if batch_size < 1:
            raise InputError(f"the batch size must be at least 1, not {batch_size}")
        place = _device(device)
        dtype = dtype or (torch.float32 if place.type == "cpu" else torch.float16)
        self.model = model
        self._checkpoint = load_checkpoint(
            model, dtype=dtype, local_files_only=local_files_only, tokenizer=tokenizer, prediction=prediction
        )
        self._pipe = self._checkpoint.pipe.to(place)
        for part in (self._pipe.unet, self._pipe.text_encoder):
            own_memory(part)
        self._own_scheduler = self._pipe.scheduler
        self._modules = targets(unet=self._pipe.unet, text_encoder=self._pipe.text_encoder)
        folder = self._checkpoint.folder
        self._layers = Layers(self._modules, stored=None if folder is None else stored_weights(folder), fresh=True)
        self._side = SideBranch(self._modules, self._layers)
        self._plans = Plans(self._modules)
        self._batch_size, self._force, self._laying_way = batch_size, force, laying
        self._lock = threading.Lock()
        self.progress: Callable[[float], None] | None = None
        """Called after every denoising step with the share of the images that is done, between 0 and 1."""

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

    def generate(self, request: GenerationRequest, count: int = 1) -> Iterator[GeneratedImage]:
        """Yield `count` images with the seeds `request.seed`, `request.seed + 1`, ..., as they come.

        The request of each image has its size and scheduler filled in, where they were left to the model.

        Raises:
            InputError: the request asks for what cannot be; one sentence, before anything is painted.
            UnreadableFile: an adapter is damaged.
            IncompatibleAdapter: an adapter does not fit the checkpoint.
        """
        request = self._completed(request, count)
        laying = self._laying(request.choices)
        return self._paint(request, laying, self._learned(request, laying), count)

    def _completed(self, request: GenerationRequest, count: int) -> GenerationRequest:
        """Check a request and fill in what it leaves to the model."""
        side = self._pipe.unet.config.sample_size * self._pipe.vae_scale_factor
        request = replace(request, **{name: side for name in ("width", "height") if getattr(request, name) is None})
        layers = self._pipe.text_encoder.config.num_hidden_layers
        for wrong, sentence in (
            (request.model not in ("", self.model), f"this backend holds {self.model}, not {request.model}"),
            (count < 1, f"the count must be at least 1, not {count}"),
            (not 1 <= request.steps <= 1000, f"the steps must be between 1 and 1000, not {request.steps}"),
            (not 0 <= request.seed < 2**63 - count, f"the seed must be between 0 and 2^63, not {request.seed}"),
            (not 0 <= request.guidance <= 100, f"the guidance must be between 0 and 100, not {request.guidance}"),
            (not 0 <= request.clip_skip < layers, f"clip_skip must be below {layers}, not {request.clip_skip}"),
            (
                request.mask is not None and len(request.mask) != len(request.composition.choices),
                f"the mask must be as long as the {len(request.composition.choices)} choices",
            ),
            *((_bad_side(pixels), _side(pixels)) for pixels in (request.width or 0, request.height or 0)),
        ):
            if wrong:
                raise InputError(sentence)
        scheduler_like(self._own_scheduler, request.scheduler)
        return replace(request, scheduler=request.scheduler or name_of(self._own_scheduler))

    def _laying(self, choices: Sequence[Choice]) -> dict[AdapterPlan, float]:
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

    def _learned(self, request: GenerationRequest, plans: Iterable[AdapterPlan]) -> tuple[LearnedToken, ...]:
        """Read the tokens that the adapters bring, and warn of what cannot be used."""
        encoder, tokenizer = self._pipe.text_encoder, self._pipe.tokenizer
        width = encoder.get_input_embeddings().weight.shape[1]
        found = worn((learned_tokens(plan.file) for plan in plans), {"text_encoder": width})
        texts = (request.prompt, request.negative)
        doubts = [sentence for text in texts for sentence in ambiguous(text, found.tokens, tokenizer)]
        for sentence in (*found.left_out, *doubts):
            _warn(sentence)
        return found.tokens

    def _paint(
        self,
        request: GenerationRequest,
        laying: dict[AdapterPlan, float],
        learned: Sequence[LearnedToken],
        count: int,
    ) -> Iterator[GeneratedImage]:
        for first in range(0, count, self._batch_size):
            seeds = range(request.seed + first, request.seed + min(count, first + self._batch_size))
            started = time.perf_counter()
            # Another request may have changed the set since the last batch; laying the same set again costs nothing.
            with self._lock, self._worn(request, laying):
                images = self._draw(request, seeds, learned, done=first / count, share=len(seeds) / count)
            seconds = (time.perf_counter() - started) / len(seeds)
            for seed, image in zip(seeds, images, strict=True):
                yield GeneratedImage(
                    image=image, request=request, seed=seed, model_hash=self._checkpoint.hash, seconds=seconds
                )

    @contextmanager
    def _worn(self, request: GenerationRequest, laying: dict[AdapterPlan, float]) -> Iterator[None]:
        """Lay a set on the weights, where it stays, or beside them while the block runs."""
        if self._way(request, laying) == "weights":
            self._layers.lay(laying)
            yield
            return
        self._layers.restore()
        with self._side:
            self._side.wear([laying])
            self._side.follow(self._pipe.unet)
            yield

    def _way(self, request: GenerationRequest, laying: dict[AdapterPlan, float]) -> Way:
        if self._laying_way is not None:
            return self._laying_way
        height, width = (int(side or 0) // self._pipe.vae_scale_factor for side in (request.height, request.width))
        # For one image, however many are asked for: an image must not depend on its neighbours.
        samples = request.steps * (2 if request.guidance > 1 else 1)
        return choose([laying], self._modules, samples=samples, height=height, width=width)

    def _draw(
        self,
        request: GenerationRequest,
        seeds: Sequence[int],
        learned: Sequence[LearnedToken],
        *,
        done: float,
        share: float,
    ) -> list[Image]:
        pipe = self._pipe
        positive, negative = encode(
            request.prompt,
            request.negative if request.guidance > 1 else None,
            tokenizer=pipe.tokenizer,
            encoder=pipe.text_encoder,
            clip_skip=request.clip_skip,
            learned=learned,
        )
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        pipe.scheduler = scheduler_like(self._own_scheduler, request.scheduler)

        def stepped(_: Any, step: int, timestep: Any, kept: dict[str, Any]) -> dict[str, Any]:
            if self.progress is not None:
                self.progress(done + share * (step + 1) / pipe.num_timesteps)
            return kept

        with without_numpy_warning():
            latents = pipe(
                prompt_embeds=positive.expand(len(seeds), -1, -1),
                negative_prompt_embeds=None if negative is None else negative.expand(len(seeds), -1, -1),
                latents=self._noise(request, generators, positive.dtype),
                generator=generators,
                num_inference_steps=request.steps,
                guidance_scale=request.guidance,
                width=request.width,
                height=request.height,
                callback_on_step_end=stepped,
                output_type="latent",
            ).images
        return self._decode(latents)

    def _noise(self, request: GenerationRequest, generators: list[torch.Generator], dtype: torch.dtype) -> Tensor:
        """Draw the first latents in float32, so that the precision of the model does not change the picture."""
        pipe = self._pipe
        height, width = (int(side or 0) // pipe.vae_scale_factor for side in (request.height, request.width))
        shape = (1, pipe.unet.config.in_channels, height, width)
        noise = torch.cat([torch.randn(shape, generator=generator) for generator in generators])
        return noise.to(pipe.device, dtype)

    def _decode(self, latents: Tensor) -> list[Image]:
        vae = self._pipe.vae
        with torch.no_grad():
            pixels = vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0].float()
        if not latents.isfinite().all():
            _warn("the model's weights overflow: the picture is empty; try fewer or lighter adapters, or float32")
        elif not pixels.isfinite().all():
            _warn("the autoencoder overflows, so the picture is empty; load the checkpoint in float32 or bfloat16")
        elif (pixels.amax((2, 3)) - pixels.amin((2, 3))).amax(1).lt(1 / 128).any():
            _warn("a picture has one colour only; the adapters or the guidance may be too strong")
        images: list[Image] = self._pipe.image_processor.postprocess(pixels.nan_to_num(-1.0), output_type="pil")
        return images


def _device(name: str | None) -> torch.device:
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


def _bad_side(pixels: int) -> bool:
    return pixels % 8 != 0 or not 8 <= pixels <= _LARGEST


def _side(pixels: int) -> str:
    return f"width and height must be multiples of 8 up to {_LARGEST}, not {pixels}"


def _warn(sentence: str) -> None:
    warnings.warn(sentence, PaintingWarning, stacklevel=2)
