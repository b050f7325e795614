"""The backend `sdxl-turbo`: SDXL-Turbo, distilled to paint in one to four steps without guidance.

Adversarial diffusion distillation (Sauer and others, 2023). Its steps lie at the last of evenly spaced times, 999 for
one and 999, 749, 499 and 249 for four, and its pictures are of 512 pixels. More steps and guidance do not break it at
once, and some want them, so they are painted with a warning.
"""

from __future__ import annotations

from typing import ClassVar

from ..errors import InputError
from ..records import GenerationRequest
from .schedulers import times_of
from .sdxl import StableDiffusionXLBackend

_MOST = 4


class SdxlTurboBackend(StableDiffusionXLBackend):
    """Paints with an SDXL-Turbo checkpoint; see `StableDiffusionBackend`."""

    name = "sdxl-turbo"
    kinds: ClassVar[tuple[str, ...]] = ("sdxl-turbo",)
    own_steps = 4
    own_guidance = 0.0

    def _completed(self, request: GenerationRequest) -> GenerationRequest:
        request = super()._completed(request)
        last = self._own_scheduler.config.num_train_timesteps - 1
        steps = request.steps or 0
        if 1 <= steps <= last and (begin := times_of(self._own_scheduler, request.scheduler, steps)[0]) != last:
            raise InputError(
                f"SDXL-Turbo begins at the time {last}, and {request.scheduler or 'its scheduler'} at {begin}; "
                "take euler_a_sgm_uniform"
            )
        return request

    def _doubts(self, request: GenerationRequest) -> tuple[str, ...]:
        found = list(super()._doubts(request))
        if (request.steps or 0) > _MOST:
            found.append(f"SDXL-Turbo was made for 1 to {_MOST} steps; {request.steps} of them over-bake the picture")
        if (request.guidance or 0.0) > 1:
            found.append(f"SDXL-Turbo was trained without guidance; {request.guidance:g} over-saturates the picture")
        return tuple(found)
