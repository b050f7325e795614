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
from torch import Tensor

from ..errors import InputError
from ..records import GenerationRequest, Start
from .adapters.choice import Way
from .adapters.embeddings import LearnedToken
from .adapters.plan import AdapterPlan
from .checkpoint import Checkpoint, quiet
from .encoders import Encoded, encode_flux
from .flux_checkpoint import load_flux
from .latents import unscaled
from .local import LocalBackend, Row, warn
from .pictures import fitted, read_picture
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
    own_steps: ClassVar[int] = 28
    own_guidance: ClassVar[float] = 3.5
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

    def _load(self, model: str, *, dtype: torch.dtype, **loading: Any) -> Checkpoint:
        return load_flux(model, dtype=dtype, **loading)

    def complete(self, request: GenerationRequest) -> GenerationRequest:
        """Check a request and fill in what it leaves to the model; see `LocalBackend.complete`."""
        return super().complete(request)

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
        size = self._own_size
        if request.start is not None:
            start, size = self._started(request.start)
            request = replace(request, start=start)
        return replace(
            request,
            width=size[0] if request.width is None else request.width,
            height=size[1] if request.height is None else request.height,
            scheduler=_SCHEDULER,
        )

    @property
    def _own_size(self) -> tuple[int, int]:
        side = int(self._pipe.default_sample_size * self._pipe.vae_scale_factor)
        return side, side

    def _started(self, start: Start) -> tuple[Start, tuple[int, int]]:
        """Check the picture that painting starts from, and tell the size that it is painted at."""
        if not 0 < start.strength <= 1:
            raise InputError(f"the strength must be above 0 and up to 1, not {start.strength}")
        picture, digest = read_picture(start.picture)
        width, height = (max(self.multiple, side // self.multiple * self.multiple) for side in picture.size)
        return replace(start, picture=replace(start.picture, sha256=digest)), (width, height)

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
        pipe = self._pipe
        pipe.scheduler = type(self._own_scheduler).from_config(self._own_scheduler.config)
        row, words = rows[0], Encoded.joined(encoded)
        width, height = row.size
        before = latents = self._first(rows)

        def stepped(_: Any, step: int, timestep: Any, kept: dict[str, Any]) -> dict[str, Any]:
            nonlocal before
            after = kept["latents"]
            steps.made(step + 1, pipe.num_timesteps, lambda: self._shown(rows, before, after, step))
            before = after
            return kept

        latents = pipe(
            prompt_embeds=words.prompt,
            pooled_prompt_embeds=words.pooled,
            negative_prompt_embeds=words.negative,
            negative_pooled_prompt_embeds=words.negative_pooled,
            true_cfg_scale=row.guidance if self._guided(row.guidance) else 1.0,
            guidance_scale=row.guidance,
            latents=latents,
            sigmas=_sigmas(row),
            num_inference_steps=len(_sigmas(row)),
            width=width,
            height=height,
            callback_on_step_end=stepped,
            output_type="latent",
        ).images
        return self._decoded(self._unpacked(latents, row))
