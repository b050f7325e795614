"""Small pictures of what pictures are so far, while they are painted, with the checkpoint's own autoencoder.

A step of a sampler tells, or its prediction does, what the picture would be if the model were right now; that is shown,
rather than the noise that it is still under. It is made small before it is decoded: of SD 1.5's pictures that takes a
quarter of what the whole takes, of SDXL's a sixteenth. Looking changes nothing: no random number is drawn, and no
latents are touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from .latents import unscaled

if TYPE_CHECKING:
    from PIL.Image import Image

LONGEST = 32
"""Cells of latents along the longer side of a small picture, most often 8 pixels each."""


class Seen:
    """What the last step of a scheduler told of the clean latents.

    Args:
        scheduler: The scheduler.
    """

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        self._last: tuple[Any, Tensor, Any, Tensor] | None = None

    def clean(self, noisy: Tensor) -> Tensor:
        """Return the clean latents as far as they are known, and else the noisy ones.

        Args:
            noisy: The latents after the step, shape (pictures, channels, height, width).
        """
        if self._last is None:
            return noisy
        output, *given = self._last
        known = next((found for found in (_told(output), _remembered(self._scheduler)) if found is not None), None)
        if known is None:
            known = _computed(self._scheduler, *given)
        return noisy if known is None or known.shape != noisy.shape or not known.isfinite().all() else known

    def hear(self, output: Any, prediction: Tensor, timestep: Any, sample: Tensor) -> None:
        """Take in a step: what came out, and what it was given."""
        self._last = (output, prediction, timestep, sample)


@contextmanager
def previewing(scheduler: Any) -> Iterator[Seen]:
    """Listen to a scheduler of diffusers while the block runs.

    Args:
        scheduler: One that is stepped as pipelines do it: `step(prediction, timestep, sample, ..., return_dict=False)`.
    """
    seen = Seen(scheduler)
    step = scheduler.step

    @wraps(step)  # pipelines read from the signature what a step takes
    def listened(prediction: Tensor, timestep: Any, sample: Tensor, *args: Any, **options: Any) -> Any:
        plain = options.pop("return_dict", True) is False
        output = step(prediction, timestep, sample, *args, return_dict=True, **options)
        seen.hear(output, prediction, timestep, sample)
        return output.to_tuple() if plain else output

    scheduler.step = listened
    try:
        yield seen
    finally:
        del scheduler.step


def picture_of(vae: Any, latents: Tensor) -> list[Image]:
    """Return a small picture of each of some latents.

    Args:
        vae: An `AutoencoderKL` or `AutoencoderTiny`.
        latents: On the denoiser's scale, shape (pictures, channels, height, width).
    """
    from PIL import Image

    height, width = latents.shape[-2:]
    share = min(1.0, LONGEST / max(height, width))
    size = [max(1, round(side * share)) for side in (height, width)]
    small = interpolate(latents.detach().float(), size=size, mode="area") if share < 1 else latents.detach().float()
    with torch.no_grad(), _sound(vae):
        pixels = vae.decode(unscaled(vae, small).to(vae.dtype), return_dict=False)[0]
    values = (pixels.float().nan_to_num(-1.0) / 2 + 0.5).clamp(0, 1) * 255
    arrays = values.round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(array) for array in arrays]


def _told(output: Any) -> Tensor | None:
    """What the output of a step says: most samplers tell the clean latents, LCM what it denoised."""
    for name in ("pred_original_sample", "denoised"):
        found = output.get(name)
        if isinstance(found, Tensor):
            return found
    return None


def _remembered(scheduler: Any) -> Tensor | None:
    """What a solver of several steps keeps: the `++` ones predict clean latents, and so does UniPC."""
    config = scheduler.config
    if not (str(config.get("algorithm_type")).endswith("++") or config.get("predict_x0")):
        return None
    outputs = [output for output in getattr(scheduler, "model_outputs", ()) if isinstance(output, Tensor)]
    return outputs[-1] if outputs else None


def _computed(scheduler: Any, prediction: Tensor, timestep: Any, sample: Tensor) -> Tensor | None:
    """What follows from the noise or the velocity that the model predicts, at the time of the step."""
    powers = getattr(scheduler, "alphas_cumprod", None)
    if powers is None:
        return None
    power = powers[min(max(int(timestep), 0), len(powers) - 1)].to(sample.device, torch.float32)
    signal, noise = power.sqrt(), (1 - power).sqrt()
    values, told = sample.float(), prediction.float()
    by_kind = {
        "epsilon": (values - noise * told) / signal,
        "v_prediction": signal * values - noise * told,
        "sample": told,
    }
    return by_kind.get(scheduler.config.get("prediction_type", "epsilon"))


@contextmanager
def _sound(vae: Any) -> Iterator[None]:
    """Lift an autoencoder that overflows in half precision, as SDXL's does, while the block runs."""
    lifted = bool(getattr(vae.config, "force_upcast", False)) and vae.dtype == torch.float16
    if lifted:
        vae.to(torch.float32)
    try:
        yield
    finally:
        if lifted:
            vae.to(torch.float16)
