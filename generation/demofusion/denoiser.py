"""The denoiser of an enlargement over a UNet of diffusers: guidance, prompts, and where a view lies."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .windows import Size

Condition = tuple[Tensor, Tensor | None]
"""What a prompt became: the states, shape (1, tokens, width), and for SDXL the pooled vector, shape (1, width)."""


_TIMED = 3
"""How often samples are painted to see how long one takes."""
_SLOW = 1.0
"""Seconds that a sample may take for several to be painted at once."""


class Denoiser:
    """Predicts views with a UNet.

    Args:
        unet: `diffusers.UNet2DConditionModel`, or what stands for one, such as a compiled one.
        positive: The prompt.
        negative: The negative prompt; None for no guidance.
        guidance: Classifier-free guidance.
        size: For SDXL: height and width of the finished picture in pixels, which its UNet is told.
        factor: Pixels of a cell's side.
        dtype: The precision of the UNet.
        images: What IP-Adapters made of image prompts, as diffusers' pipelines give it to the UNet, with the negative
            ones first: one tensor of shape (1 or 2, pictures, ...) for each adapter.
    """

    def __init__(
        self,
        unet: Callable[..., Any],
        positive: Condition,
        negative: Condition | None = None,
        *,
        guidance: float = 1.0,
        size: Size | None = None,
        factor: int = 8,
        dtype: torch.dtype = torch.float32,
        images: Sequence[Tensor] = (),
    ) -> None:
        self._unet, self._guidance, self._size, self._factor, self._dtype = unet, guidance, size, factor, dtype
        self._conditions = [positive] if negative is None else [negative, positive]
        self._images = list(images)

    @property
    def guided(self) -> bool:
        """Whether every view passes through the UNet twice."""
        return len(self._conditions) == 2

    def __call__(self, views: Tensor, timestep: Tensor, corners: Sequence[tuple[int, int]]) -> Tensor:
        """Predict views; see `loop.Model`."""
        said = self.both(views, timestep, corners)
        if not self.guided:
            return said
        negative, positive = said.chunk(2)
        return negative + self._guidance * (positive - negative)

    def both(self, views: Tensor, timestep: Tensor, corners: Sequence[tuple[int, int]]) -> Tensor:
        """Predict views without guidance, first for the negative prompt where there is one, then for the prompt."""
        return self._run(views, timestep, corners, self._conditions, self._images)

    def negative(self, views: Tensor, timestep: Tensor, corners: Sequence[tuple[int, int]]) -> Tensor:
        """Predict views for the negative prompt alone."""
        return self._run(views, timestep, corners, self._conditions[:1], [each[:1] for each in self._images])

    def guide(self, negative: Tensor, difference: Tensor) -> Tensor:
        """Return a prediction, moved by so much of a difference as the guidance says."""
        return negative + self._guidance * difference

    def _run(
        self,
        views: Tensor,
        timestep: Tensor,
        corners: Sequence[tuple[int, int]],
        conditions: Sequence[Condition],
        images: Sequence[Tensor],
    ) -> Tensor:
        count = len(views)
        states = torch.cat([states.expand(count, -1, -1) for states, _ in conditions])
        added: dict[str, Any] = {}
        if self._size is not None:
            pooled = [vector.expand(count, -1) for _, vector in conditions if vector is not None]
            added["text_embeds"] = torch.cat(pooled)
            added["time_ids"] = self._time_ids(corners, views.device).repeat(len(conditions), 1)
        if images:
            added["image_embeds"] = [each.repeat_interleave(count, dim=0) for each in images]
        said: Tensor = self._unet(
            views.to(self._dtype).repeat(len(conditions), 1, 1, 1),
            timestep,
            encoder_hidden_states=states,
            added_cond_kwargs=added or None,
            return_dict=False,
        )[0]
        return said.float()

    def _time_ids(self, corners: Sequence[tuple[int, int]], device: torch.device) -> Tensor:
        """Return what SDXL is told of each view: the picture's size, the view's corner, the size again; in pixels."""
        size = self._size or (0, 0)
        rows = [[*size, top * self._factor, left * self._factor, *size] for top, left in corners]
        return torch.tensor(rows, device=device, dtype=self._dtype)


@torch.no_grad()
def seconds_per_sample(pipe: Any, views: int) -> float:
    """Measure how long a pipeline's UNet takes for a sample of its own size.

    Args:
        pipe: A `StableDiffusionPipeline` or `StableDiffusionXLPipeline` of diffusers.
        views: How many are painted at once, as far as it can be waited for.
    """
    unet, config = pipe.unet, pipe.unet.config
    states = torch.zeros(1, 77, config.cross_attention_dim, device=unet.device, dtype=unet.dtype)
    pooled = None
    if config.addition_embed_type == "text_time":
        pooled = states.new_zeros(1, pipe.text_encoder_2.config.projection_dim)
    denoiser = Denoiser(unet, (states, pooled), size=None if pooled is None else (8, 8), dtype=unet.dtype)
    moment = torch.tensor(1, device=unet.device)
    taken: list[float] = []
    for _ in range(_TIMED):
        count = 1 if not taken or taken[0] > _SLOW else views
        latents = torch.zeros(count, config.in_channels, config.sample_size, config.sample_size, device=unet.device)
        started = time.perf_counter()
        denoiser(latents, moment, [(0, 0)] * count).sum().item()
        taken.append((time.perf_counter() - started) / count)
    return min(taken)
