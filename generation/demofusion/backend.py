"""The backend `demofusion`: pictures larger than the model's own, with any SD, SDXL or SDXL-Turbo checkpoint.

Which way is the request's `Enlargement.mode`: DemoFusion, MultiDiffusion, ScaleCrafter, or, as the cheap comparison, a
plain upscaler over a picture of the model's own size. Adapters, prompts, image prompts and FreeU work as in the
backends `sd` and `sdxl`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ...errors import InputError
from ...records import Enlargement, GenerationRequest, Start
from ..adapters.choice import Way
from ..batches import Row
from ..checkpoint import Checkpoint, kind_of, load_checkpoint
from ..encoders import Encoded
from ..few_steps import advised
from ..local import warn
from ..pictures import fitted, read_picture
from ..previews import picture_of
from ..schedulers import eta_of, scheduler_like
from ..sd import StableDiffusionBackend
from ..steps import Steps
from ..upscale import Upscaler
from .denoiser import Denoiser, seconds_per_sample
from .draws import SeededDraws
from .loop import Model, Painter, Progress
from .plan import Plan, plan
from .scalecrafter import ScaleCrafter
from .settings import check, filled
from .solver import Schedule, fits
from .tiles import decode, encode
from .windows import Size

if TYPE_CHECKING:
    from PIL.Image import Image

TURBO_STEPS, TURBO_GUIDANCE, TURBO_STRIDE, TURBO_VIEWS = 10, 2.5, 48, 12
"""DemoFusion-Turbo (Minniti and Sabel, 2024): what SDXL-Turbo needs in order to paint large."""
SMALL, SMALL_COSINE = 64, (0.5, 0.5, 1.0)
"""Models of fewer cells have nothing to say of a quarter of a thing: their windows must be held to the phase before."""


class DemoFusionBackend(StableDiffusionBackend):
    """Paints large; see `StableDiffusionBackend` for the other arguments.

    Args:
        model: A name of `known`, a diffusers folder, a `.safetensors` checkpoint, or a hub id.
        compiled: Compile the UNet with `torch.compile`, and give it batches of one size: it takes minutes once, and
            every picture of the same size is faster from then on.
        batch_size: Of no effect, as the views of one picture fill the batches.

    Raises:
        InputError: the checkpoint or an option cannot be used; one sentence.
    """

    name = "demofusion"
    own_steps = 50
    own_guidance = 7.5
    largest: ClassVar[int] = 8192

    def __init__(
        self,
        model: str,
        *,
        device: str | None = None,
        dtype: torch.dtype | None = None,
        batch_size: int = 1,
        force: bool = False,
        laying: Way | None = None,
        local_files_only: bool = False,
        tokenizer: str | None = None,
        prediction: str | None = None,
        compiled: bool = False,
    ) -> None:
        self._turbo = False
        super().__init__(
            model,
            device=device,
            dtype=dtype,
            force=force,
            laying=laying,
            local_files_only=local_files_only,
            tokenizer=tokenizer,
            prediction=prediction,
        )
        if self._pipe.unet.config.time_cond_proj_dim is not None:
            raise InputError(f"{model} was distilled with its guidance built in, and paints no large pictures")
        self._static = compiled
        self._unet: Any = torch.compile(self._pipe.unet, dynamic=False) if compiled else self._pipe.unet
        self._device: torch.device = self._pipe.device

    def _load(self, model: str, *, dtype: torch.dtype, **loading: Any) -> Checkpoint:
        kind = kind_of(model, local_files_only=bool(loading.get("local_files_only")))
        if kind == "sdxs":
            raise InputError(f"{model} paints in one step, and painting large takes several; take its larger sibling")
        self._turbo = kind == "sdxl-turbo"
        return load_checkpoint(model, dtype=dtype, kinds=("sd", "sdxl"), **loading)

    # ---------------------------------------------------------------- what can be asked

    @property
    def native(self) -> int:
        """The side of the latents that the model was trained on, in cells."""
        return int(self._pipe.unet.config.sample_size)

    def complete(self, request: GenerationRequest) -> GenerationRequest:
        """Check a request and fill in what it leaves to the model.

        Where no size is asked for, it is twice the model's own, or twice that of the picture to start from.

        Raises:
            InputError: it asks for what cannot be; one sentence.
        """
        wanted = filled(request.enlargement or Enlargement(), self.native, self._own_enlargement())
        check(wanted, self.native)
        request = replace(request, enlargement=wanted)
        if self._turbo and advised([choice.adapter for choice in request.choices]) is None:
            request = replace(
                request,
                steps=TURBO_STEPS if request.steps is None else request.steps,
                guidance=TURBO_GUIDANCE if request.guidance is None else request.guidance,
            )
        request = super().complete(request)
        later = request.steps if wanted.later_steps is None else wanted.later_steps
        return replace(request, enlargement=replace(wanted, later_steps=later))

    def try_out(self, rows: Sequence[Row]) -> None:
        """Draw rows with one step of each phase; see `LocalBackend.try_out`."""

        def short(request: GenerationRequest) -> GenerationRequest:
            return replace(request, enlargement=replace(request.enlargement or Enlargement(), later_steps=1))

        super().try_out([replace(row, request=short(row.request)) for row in rows])

    def _own_enlargement(self) -> Enlargement:
        """Return how this model paints large where the request leaves it open."""
        own = Enlargement(cosine=SMALL_COSINE) if self.native < SMALL else Enlargement()
        if self._turbo:
            return replace(own, views=TURBO_VIEWS, stride=min(TURBO_STRIDE, self.native * 3 // 4))
        return own

    def estimate(self, request: GenerationRequest, *, timed: bool = False) -> Plan:
        """Say what an image of a request takes, without painting it.

        Args:
            request: Need not be complete.
            timed: Paint a few samples, to estimate the time too.

        Raises:
            InputError: it asks for what cannot be; one sentence.
        """
        request = self.complete(request)
        planned = self._planned(request)
        if not timed:
            return planned
        with self._lock:
            seconds = seconds_per_sample(self._pipe, planned.batch)
        return self._planned(request, seconds_per_sample=seconds)

    def _completed(self, request: GenerationRequest) -> GenerationRequest:
        wanted = request.enlargement or Enlargement()
        for wrong, sentence in (
            (bool(request.controls), "demofusion follows no ControlNet; paint with one first, and start from that"),
            (
                request.start is not None and request.start.mask is not None,
                "demofusion paints a whole picture larger and takes no mask",
            ),
        ):
            if wrong:
                raise InputError(sentence)
        start = request.start
        if start is not None and start.strength is None and wanted.mode == "demofusion":
            request = replace(request, start=replace(start, strength=1.0))
        if request.scheduler is None and not fits(self._own_scheduler):
            request = replace(request, scheduler="ddim")
        asked = request.width, request.height
        request = super()._completed(replace(request, enlargement=None))
        if asked == (None, None):
            request = replace(request, width=2 * int(request.width or 0), height=2 * int(request.height or 0))
        request = replace(request, enlargement=wanted)
        if wanted.mode == "upscale":
            Upscaler(wanted.upscaler)
        elif all(self._sides.bear(side) for side in (request.width or 0, request.height or 0)):
            self._planned(request)
        return request

    def _samples(self, row: Row) -> int:
        if _mode(row) == "upscale":
            return super()._samples(row)
        return self._planned(row.request).samples

    # ---------------------------------------------------------------- planning

    def _schedules(self, request: GenerationRequest) -> tuple[Schedule, Schedule]:
        """Return the steps of the first phase, and of the others."""
        first = int(request.steps or 1)
        asked = (request.enlargement or Enlargement()).later_steps
        later = first if asked is None else asked

        def schedule(steps: int) -> Schedule:
            scheduler = scheduler_like(self._own_scheduler, request.scheduler, steps=steps)
            return Schedule(scheduler, steps, device=self._device, eta=eta_of(request.scheduler))

        return schedule(first), schedule(later)

    def _planned(self, request: GenerationRequest, seconds_per_sample: float | None = None) -> Plan:
        first, later = self._schedules(request)
        start = request.start
        size, factor = self._cells(request), self._pipe.vae_scale_factor
        return plan(
            size,
            self.native,
            first.timesteps.tolist(),
            later=later.timesteps.tolist(),
            enlargement=request.enlargement,
            guided=(request.guidance or 0.0) > 1,
            start=None if start is None else self._start_size(start, size),
            strength=1.0 if start is None else start.share,
            train_timesteps=first.train_timesteps,
            channels=self._pipe.vae.config.latent_channels,
            factor=factor,
            seconds_per_sample=seconds_per_sample,
        )

    def _cells(self, request: GenerationRequest) -> Size:
        factor = self._pipe.vae_scale_factor
        return int(request.height or 0) // factor, int(request.width or 0) // factor

    def _start_size(self, start: Start, size: Size) -> Size:
        """Return the size in cells at which a picture is taken in: its own, but neither too large nor too small."""
        picture, _ = read_picture(start.picture)
        share = max(picture.size) / self._pipe.vae_scale_factor / max(size)
        share = min(1.0, max(share, self.native / max(size)))
        height, width = (max(1, int(side * share + 1e-6)) for side in size)
        return height, width

    # ---------------------------------------------------------------- painting

    def _draw(self, rows: Sequence[Row], encoded: Sequence[Encoded], steps: Steps) -> list[Image]:
        paint = self._upscaled if _mode(rows[0]) == "upscale" else self._enlarged
        return [paint(row, words, steps) for row, words in zip(rows, encoded, strict=True)]

    def _enlarged(self, row: Row, words: Encoded, steps: Steps) -> Image:
        from PIL import Image

        request = row.request
        wanted = request.enlargement or Enlargement()
        planned = self._planned(request)
        first, later = self._schedules(request)
        vae = self._pipe.vae
        start = None if request.start is None else self._taken_in(request.start, self._cells(request))

        def told(progress: Progress) -> None:
            steps.made(progress.done, progress.of, lambda: picture_of(vae, progress.clean().to(vae.device)))

        with (
            self._extras.pipeline(replace(request, start=None, enlargement=None), [row]) as (_, given),
            self._alone("unet", saving=wanted.saving),
        ):
            model = self._model(row, words, planned, first.train_timesteps, given.get("ip_adapter_image_embeds", ()))
            painter = Painter(
                planned,
                model,
                first,
                later,
                channels=vae.config.latent_channels,
                device=self._device,
                static=self._static,
                told=told,
            )
            latents = painter.paint(SeededDraws(row.generator), start)
        with self._alone("vae", saving=wanted.saving):
            self._lift_vae()
            decoded = decode(vae, latents.to(self._device), self.native, lambda *_: steps.look())
        if not latents.isfinite().all():
            warn("the model's weights overflow: the picture is empty; try fewer or lighter adapters, or float32")
        elif not decoded.finite:
            warn("the autoencoder overflows, so the picture is empty; load the checkpoint in float32 or bfloat16")
        elif np.ptp(decoded.pixels, axis=(0, 1)).max() < 2:
            warn("a picture has one colour only; the adapters or the guidance may be too strong")
        return Image.fromarray(decoded.pixels)

    def _model(self, row: Row, words: Encoded, planned: Plan, train_timesteps: int, images: Sequence[Tensor]) -> Model:
        unet = self._pipe.unet
        plain = planned.mode == "scalecrafter"  # which changes the UNet from step to step
        denoiser = Denoiser(
            unet if plain else self._unet,
            (words.prompt, words.pooled),
            (words.negative, words.negative_pooled) if words.negative is not None else None,
            guidance=row.guidance,
            size=(row.size[1], row.size[0]) if words.pooled is not None else None,
            factor=self._pipe.vae_scale_factor,
            dtype=unet.dtype,
            images=images,
        )
        return ScaleCrafter(denoiser, unet, planned.phases[-1].scale, train_timesteps) if plain else denoiser

    def _taken_in(self, start: Start, size: Size) -> Tensor:
        """Return the latents of the picture to start from."""
        height, width = (side * self._pipe.vae_scale_factor for side in self._start_size(start, size))
        picture = fitted(read_picture(start.picture)[0], width, height)
        pixels = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        self._lift_vae()
        return encode(self._pipe.vae, pixels, self.own_side)

    def _upscaled(self, row: Row, words: Encoded, steps: Steps) -> Image:
        """Paint at the model's own size, and enlarge the picture plainly."""
        wanted = row.request.enlargement or Enlargement()
        share = min(1.0, self.own_side / max(row.size))
        width, height = (max(self.multiple, round(side * share / self.multiple) * self.multiple) for side in row.size)
        request = replace(row.request, width=width, height=height, enlargement=None)
        [small] = super()._draw([replace(row, request=request)], [words], steps)
        upscaler = Upscaler(wanted.upscaler, device=self._device)
        return upscaler.upscale(small, *row.size, progress=lambda _: steps.look())

    def _lift_vae(self) -> None:
        """Let an autoencoder that overflows in half precision work in full."""
        if self._checkpoint.upcast and self._pipe.vae.dtype == torch.float16:
            self._pipe.vae.to(torch.float32)

    @contextmanager
    def _alone(self, part: str, *, saving: bool) -> Iterator[None]:
        """Keep one part of the model on the device and the others off it while the block runs, if memory is saved."""
        others = [
            found
            for name in ("unet", "vae", "text_encoder", "text_encoder_2")
            if name != part and (found := getattr(self._pipe, name, None)) is not None
        ]
        if not saving or self._device.type == "cpu":
            yield
            return
        try:
            for other in others:
                other.to("cpu")
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            yield
        finally:
            for other in others:
                other.to(self._device)


def _mode(row: Row) -> str:
    return (row.request.enlargement or Enlargement()).mode
