"""The backend `sd`: Stable Diffusion 1.x and 2.x through diffusers, with adapters laid on the weights.

`sdxl.py` paints with the same code; what differs is the checkpoint and what its text encoders say.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from ..errors import InputError
from ..records import GenerationRequest
from .adapters.choice import Way
from .adapters.embeddings import Learned, LearnedToken, learned_tokens, worn
from .adapters.plan import AdapterPlan
from .batches import Row
from .checkpoint import Checkpoint, load_checkpoint
from .encoders import Encoded, TextEncoders, tokens_of
from .extras import Extras
from .latents import unscaled
from .local import LocalBackend, warn, warn_of_emptiness
from .previews import picture_of, previewing
from .prompt import ambiguous
from .schedulers import eta_of, name_of, scheduler_like, without_numpy_warning
from .steps import Steps

if TYPE_CHECKING:
    from PIL.Image import Image

    from .image_prompt import Shown


class StableDiffusionBackend(LocalBackend[Encoded]):
    """Paints with an SD 1.x or 2.x checkpoint; see `LocalBackend` for what all backends take.

    Args:
        model: A name of `known`, a diffusers folder, a `.safetensors` checkpoint, or a hub id.
        device: `cpu`, `cuda`, `cuda:1`, `mps`; None takes the best there is.
        dtype: The precision of the weights; None takes float16 on a GPU and float32 on the CPU.
        batch_size: How many images are drawn at once.
        force: Lay adapters even where only a part of them fits the model.
        laying: Where adapters go: on the `weights` or `beside` them; None takes what is cheaper for each request.
        local_files_only: Never ask the hub.
        tokenizer: For a single file: the folder or hub id of a CLIP tokenizer.
        prediction: For a single file that does not tell: `epsilon` or `v_prediction`.

    Raises:
        InputError: the checkpoint or an option cannot be used; one sentence.
    """

    name = "sd"
    kinds: ClassVar[tuple[str, ...]] = ("sd", "sd-inpaint")
    """The architectures that it paints with; see `checkpoint.load_checkpoint`."""

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
    ) -> None:
        super().__init__(
            model,
            device=device,
            dtype=dtype,
            batch_size=batch_size,
            force=force,
            laying=laying,
            local_files_only=local_files_only,
            tokenizer=tokenizer,
            prediction=prediction,
        )
        self._encoders = TextEncoders(self._pipe)
        self._extras = Extras(self._pipe, local_files_only=local_files_only)

    def _load(self, model: str, *, dtype: torch.dtype, **loading: Any) -> Checkpoint:
        return load_checkpoint(model, dtype=dtype, kinds=self.kinds, **loading)

    @property
    def own_side(self) -> int:
        """The side in pixels of the pictures that the model was trained on."""
        return int(self._pipe.unet.config.sample_size * self._pipe.vae_scale_factor)

    def _completed(self, request: GenerationRequest) -> GenerationRequest:
        if request.enlargement is not None:
            raise InputError(f"the backend {self.name} paints no enlargements; take the backend demofusion")
        if self._checkpoint.fills_masks and (request.start is None or request.start.mask is None):
            name = self._checkpoint.name
            raise InputError(f"{name} is an inpainting checkpoint: give it a picture and a mask (--image, --inpaint)")
        request = self._extras.completed(request)
        own = self.own_side
        if not 0 <= request.clip_skip < self._encoders.layers:
            raise InputError(f"clip_skip must be below {self._encoders.layers}, not {request.clip_skip}")
        scheduler_like(self._own_scheduler, request.scheduler, steps=request.steps)
        return replace(
            request,
            width=own if request.width is None else request.width,
            height=own if request.height is None else request.height,
            scheduler=request.scheduler or name_of(self._own_scheduler),
        )

    def _learned(self, request: GenerationRequest, plans: Sequence[AdapterPlan]) -> tuple[LearnedToken, ...]:
        """Read the tokens that the adapters and embeddings bring, and warn of what cannot be used."""
        widths = self._encoders.widths
        # What a person names comes before what an adapter brings.
        named = Learned(tokens_of(request.embeddings, widths))
        found = worn((named, *(learned_tokens(plan.file) for plan in plans)), widths)
        texts = (request.prompt, request.negative)
        doubts = [sentence for text in texts for sentence in ambiguous(text, found.tokens, self._pipe.tokenizer)]
        for sentence in (*found.left_out, *doubts):
            warn(sentence)
        return found.tokens

    def _alike(self, row: Row) -> Hashable:
        """Return the length of the prompt: to fill up the shorter ones would change what they say."""
        return self._encoders.pieces(row.request.prompt, _negative(row), row.learned)

    def _encode(self, row: Row, state: Hashable) -> Encoded:
        return self._encoders.encode(
            row.request.prompt,
            _negative(row),
            clip_skip=row.request.clip_skip,
            learned=row.learned,
            state=state,
        )

    def _draw(self, rows: Sequence[Row], encoded: Sequence[Encoded], steps: Steps) -> list[Image]:
        request = rows[0].request
        scheduler = scheduler_like(self._own_scheduler, request.scheduler, steps=rows[0].steps)
        generators = [row.generator for row in rows]
        with (
            self._extras.pipeline(request, rows, shown=self._shown(rows)) as (pipe, given),
            without_numpy_warning(),
            previewing(scheduler) as seen,
        ):
            pipe.scheduler = scheduler

            def stepped(_: Any, step: int, timestep: Any, kept: dict[str, Any]) -> dict[str, Any]:
                steps.made(step + 1, pipe.num_timesteps, lambda: picture_of(pipe.vae, seen.clean(kept["latents"])))
                return kept

            if request.start is None:
                width, height = rows[0].size
                given |= {"latents": self._noise(rows, generators), "width": width, "height": height}
            latents = pipe(
                **_arguments(Encoded.joined(encoded)),
                **given,
                generator=generators,
                num_inference_steps=rows[0].steps,
                guidance_scale=rows[0].guidance,
                eta=eta_of(request.scheduler),
                callback_on_step_end=stepped,
                output_type="latent",
            ).images
        return self._extras.finish(request, self._decode(latents))

    def _shown(self, rows: Sequence[Row]) -> Sequence[Shown]:
        """Return the pictures that steer rows beside those that their request names."""
        return ()

    def _noise(self, rows: Sequence[Row], generators: Sequence[torch.Generator]) -> Tensor:
        """Draw the first latents in float32, so that the precision of the model does not change the picture."""
        pipe = self._pipe
        width, height = (side // pipe.vae_scale_factor for side in rows[0].size)
        shape = (1, pipe.vae.config.latent_channels, height, width)
        noise = torch.cat([torch.randn(shape, generator=generator) for generator in generators])
        return noise.to(pipe.device, pipe.unet.dtype)

    def _decode(self, latents: Tensor) -> list[Image]:
        vae = self._pipe.vae
        if self._checkpoint.upcast and vae.dtype == torch.float16:
            vae.to(torch.float32)
        with torch.no_grad():
            pixels = vae.decode(unscaled(vae, latents).to(vae.dtype), return_dict=False)[0].float()
        warn_of_emptiness(latents, pixels)
        images: list[Image] = self._pipe.image_processor.postprocess(pixels.nan_to_num(-1.0), output_type="pil")
        return images


def _arguments(encoded: Encoded) -> dict[str, Tensor]:
    """Return what a pipeline of diffusers takes in place of prompts."""
    found = {
        "prompt_embeds": encoded.prompt,
        "negative_prompt_embeds": encoded.negative,
        "pooled_prompt_embeds": encoded.pooled,
        "negative_pooled_prompt_embeds": encoded.negative_pooled,
    }
    return {name: value for name, value in found.items() if value is not None}


def _negative(row: Row) -> str | None:
    return row.request.negative if row.guidance > 1 else None
