"""The backend `flux`: FLUX.1 schnell and dev, with adapters laid on the transformer and the text encoders.

FLUX.1 dev was distilled to follow a number of guidance in one evaluation, so there is nothing that a negative prompt
could be told against; schnell follows none. A model without that number (schnell, and what others have trained back
from it) takes guidance above 1 as classifier-free guidance: two evaluations a step, and a negative prompt counts.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from torch import Tensor

from ..errors import InputError
from ..records import GenerationRequest, Start
from .adapters.choice import Way
from .adapters.embeddings import LearnedToken
from .adapters.plan import AdapterPlan
from .batches import Row
from .checkpoint import Checkpoint, quiet
from .encoders import Encoded, encode_flux
from .flux_checkpoint import load_flux
from .latents import unscaled
from .local import LocalBackend, warn, warn_of_emptiness
from .pictures import fitted, read_picture, size_from
from .previews import picture_of, previewing
from .prompt import cleaned
from .prompt_weights import less_weights
from .steps import Steps

if TYPE_CHECKING:
    from PIL.Image import Image

_SCHEDULER = "euler"
"""What people call the one scheduler of flow matching that FLUX is painted with."""
_LENGTHS = {True: 512, False: 256}
"""How many of T5's states are read: by dev, which follows guidance, and by schnell."""


class FluxBackend(LocalBackend[Encoded]):
    """Paints with a FLUX.1 checkpoint; see `LocalBackend` for what all backends take.

    Args:
        model: A name of `known`, a diffusers folder, a hub id, or a `.safetensors` file that holds the transformer.
        device: `cpu`, `cuda`, `cuda:1`, `mps`; None takes the best there is.
        dtype: The precision of the weights; None takes bfloat16 on a GPU and float32 on the CPU.
        batch_size: How many images are drawn at once.
        force: Lay adapters even where only a part of them fits the model.
        laying: Where adapters go: on the `weights` or `beside` them; None takes what is cheaper for each request.
        local_files_only: Never ask the hub.
        parts: For a single file: the diffusers folder or hub id that has the other parts.

    Raises:
        InputError: the checkpoint or an option cannot be used; one sentence.
    """

    name = "flux"
    own_steps = 28
    own_guidance = 3.5
    multiple: ClassVar[int] = 16
    half: ClassVar[torch.dtype] = torch.bfloat16
    times: ClassVar[float] = 1

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
        parts: str | None = None,
    ) -> None:
        super().__init__(
            model,
            device=device,
            dtype=dtype,
            batch_size=batch_size,
            force=force,
            laying=laying,
            local_files_only=local_files_only,
            parts=parts,
        )
        self._follows_guidance = bool(self._pipe.transformer.config.guidance_embeds)
        if not self._follows_guidance:
            self.own_steps, self.own_guidance = 4, 0.0

    def _load(self, model: str, *, dtype: torch.dtype, **loading: Any) -> Checkpoint:
        return load_flux(model, dtype=dtype, **loading)

    def _completed(self, request: GenerationRequest) -> GenerationRequest:
        for asked, thing in (
            (request.controls, "ControlNets"),
            (request.image_prompts, "image prompts"),
            (request.embeddings, "textual inversions"),
            (request.enlargement, "enlargements"),
            (request.freeu, "FreeU, which is for UNets"),
            (request.clip_skip, "clip_skip: it reads CLIP's summary alone"),
            (request.start and request.start.mask, "masks"),
        ):
            if asked:
                raise InputError(f"the backend flux knows no {thing}")
        if request.scheduler not in (None, _SCHEDULER):
            raise InputError(
                f"FLUX paints by flow matching, with the scheduler {_SCHEDULER} alone and not {request.scheduler!r}"
            )
        if request.start is not None:
            request = self._started(request, request.start)
        own = self._own_side
        return replace(
            request,
            width=own if request.width is None else request.width,
            height=own if request.height is None else request.height,
            scheduler=_SCHEDULER,
        )

    @property
    def _own_side(self) -> int:
        return int(self._pipe.default_sample_size * self._pipe.vae_scale_factor)

    def _started(self, request: GenerationRequest, start: Start) -> GenerationRequest:
        """Check the picture that painting starts from, and fill in what is left to it."""
        if not 0 < start.share <= 1:
            raise InputError(f"the strength must be above 0 and up to 1, not {start.share}")
        picture, digest = read_picture(start.picture)
        start = replace(start, picture=replace(start.picture, sha256=digest), strength=start.share)
        width, height = size_from(picture.size, request.width, request.height, self.multiple)
        return replace(request, start=start, width=width, height=height)

    def _learned(self, request: GenerationRequest, plans: Sequence[AdapterPlan]) -> tuple[LearnedToken, ...]:
        """Warn of what is not read; FLUX takes no learned tokens."""
        for plan in plans:
            if plan.file.embeddings:
                warn(f"{plan.file.name} brings learned tokens, which the backend flux does not read")
        if request.negative and not self._guided(request.guidance):
            why = "its guidance needs none" if self._follows_guidance else "without guidance above 1"
            warn(f"FLUX reads no negative prompt: {why}")
        length = _LENGTHS[self._follows_guidance]
        words = less_weights(cleaned(request.prompt))
        tokens = len(self._pipe.tokenizer_2(words, verbose=False).input_ids)
        if tokens > length:
            warn(f"the prompt is {tokens} tokens long, of which the model reads the first {length}")
        return ()

    def _guided(self, guidance: float | None) -> bool:
        """Whether guidance is classifier-free."""
        return not self._follows_guidance and (guidance or 0.0) > 1

    def _samples(self, row: Row) -> int:
        return len(_sigmas(row)) * (2 if self._guided(row.guidance) else 1)

    def _encode(self, row: Row, state: Hashable) -> Encoded:
        length = _LENGTHS[self._follows_guidance]
        with quiet():  # of the words that CLIP does not read
            prompt, pooled, _ = encode_flux(self._pipe, row.request.prompt, state=state, length=length)
            if not self._guided(row.guidance):
                return Encoded(prompt=prompt, pooled=pooled)
            negative, negative_pooled, _ = encode_flux(self._pipe, row.request.negative, state=state, length=length)
        return Encoded(prompt=prompt, pooled=pooled, negative=negative, negative_pooled=negative_pooled)

    def _draw(self, rows: Sequence[Row], encoded: Sequence[Encoded], steps: Steps) -> list[Image]:
        pipe, row = self._pipe, rows[0]
        scheduler = type(self._own_scheduler).from_config(self._own_scheduler.config)
        sigmas, words = _sigmas(row), Encoded.joined(encoded)
        guided = self._guided(row.guidance)
        width, height = row.size
        first = self._first(rows, sigmas, scheduler)
        pipe.scheduler = scheduler
        with previewing(scheduler) as seen:

            def stepped(_: Any, step: int, timestep: Any, kept: dict[str, Any]) -> dict[str, Any]:
                steps.made(step + 1, len(sigmas), lambda: self._shown(seen.clean(kept["latents"]), row))
                return kept

            latents = pipe(
                prompt_embeds=words.prompt,
                pooled_prompt_embeds=words.pooled,
                negative_prompt_embeds=words.negative,
                negative_pooled_prompt_embeds=words.negative_pooled,
                true_cfg_scale=row.guidance if guided else 1.0,
                guidance_scale=row.guidance,
                latents=first,
                sigmas=sigmas,
                width=width,
                height=height,
                callback_on_step_end=stepped,
                output_type="latent",
            ).images
        return self._decoded(self._unpacked(latents, row))

    def _first(self, rows: Sequence[Row], sigmas: Sequence[float], scheduler: Any) -> Tensor:
        """Return the packed latents to begin with, drawn in float32: the precision must not change the picture."""
        pipe, start = self._pipe, rows[0].request.start
        width, height = (side // pipe.vae_scale_factor for side in rows[0].size)
        shape = (1, pipe.vae.config.latent_channels, height, width)
        noise = torch.cat([torch.randn(shape, generator=row.generator) for row in rows])
        if start is not None:
            # As the pipeline itself will set it.
            config = scheduler.config
            named = ("base_image_seq_len", "max_image_seq_len", "base_shift", "max_shift")
            shift = calculate_shift(height * width // 4, *(config[name] for name in named))
            scheduler.set_timesteps(sigmas=sigmas, mu=shift)
            share = float(scheduler.sigmas[0])
            noise = share * noise + (1 - share) * self._seen(start, rows[0].size)
        packed: Tensor = pipe._pack_latents(noise, len(rows), shape[1], height, width)
        return packed.to(pipe.device)

    def _seen(self, start: Start, size: tuple[int, int]) -> Tensor:
        """Return the latents of the picture that painting starts from."""
        vae = self._pipe.vae
        pixels = self._pipe.image_processor.preprocess(fitted(read_picture(start.picture)[0], *size))
        with torch.no_grad():
            latents = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist.mode().float().cpu()
        scaled: Tensor = (latents - (vae.config.shift_factor or 0.0)) * vae.config.scaling_factor
        return scaled

    def _shown(self, latents: Tensor, row: Row) -> list[Image]:
        return picture_of(self._pipe.vae, self._unpacked(latents, row))

    def _unpacked(self, latents: Tensor, row: Row) -> Tensor:
        width, height = row.size
        found: Tensor = self._pipe._unpack_latents(latents, height, width, self._pipe.vae_scale_factor)
        return found

    def _decoded(self, latents: Tensor) -> list[Image]:
        vae = self._pipe.vae
        with torch.no_grad():
            pixels = vae.decode(unscaled(vae, latents).to(vae.dtype), return_dict=False)[0].float()
        warn_of_emptiness(latents, pixels)
        images: list[Image] = self._pipe.image_processor.postprocess(pixels.nan_to_num(-1.0), output_type="pil")
        return images


def _sigmas(row: Row) -> list[float]:
    """Return the shares of noise, before the model's shift, that the steps start from; with a picture its last ones."""
    start = row.request.start
    made = row.steps if start is None else min(row.steps, int(row.steps * start.share) or 1)
    return [float(share) for share in np.linspace(1.0, 1 / row.steps, row.steps)[row.steps - made :]]
