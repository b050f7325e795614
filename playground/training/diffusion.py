"""How noise is added and what the network answers: v-prediction with noise that ends at nothing but noise."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .folders import SCHEDULE

if TYPE_CHECKING:
    from .recipe import Share


@cache
def kept_signal(device: torch.device) -> Tensor:
    """Return the share of the signal's variance that is left at each of the 1000 times."""
    from diffusers import DDIMScheduler

    settings = {name: value for name, value in SCHEDULE.items() if not name.startswith("_")}
    signal: Tensor = DDIMScheduler(**settings).alphas_cumprod.to(device, torch.float32)
    return signal


def draw_times(share: Share) -> Tensor:
    """Draw a time from 0 to 999 for each sample of a batch.

    Half of them evenly, half about the times at which shapes are decided.
    """
    even = share.size // 2
    spread = (torch.randperm(even, generator=share.generator) + torch.rand(even, generator=share.generator)) / even
    middle = torch.sigmoid(-0.3 + 0.8 * torch.randn(share.size - even, generator=share.generator))
    return (torch.cat([spread, middle]) * 1000).long().clamp(max=999).to(share.device)


def add_noise(latents: Tensor, noise: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
    """Return the noisy latents and the velocity to predict (Salimans and Ho, 2022), both shaped like the latents."""
    signal = kept_signal(latents.device)[times].view(-1, 1, 1, 1)
    noisy = signal.sqrt() * latents + (1 - signal).sqrt() * noise
    return noisy, signal.sqrt() * noise - (1 - signal).sqrt() * latents


def draw_noise(share: Share, like: Tensor) -> Tensor:
    """Draw noise shaped like some latents."""
    return torch.randn(like.shape, generator=share.generator).to(share.device)
