"""From the numbers that a denoiser works on to those that its autoencoder decodes, and back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def unscaled(vae: Any, latents: Tensor) -> Tensor:
    """Return latents as the autoencoder knows them: the model's scale, mean and shift taken out."""
    config = vae.config
    mean, deviation = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
    if mean is not None and deviation is not None:
        mean, deviation = (
            torch.tensor(each, device=latents.device, dtype=latents.dtype).view(1, -1, 1, 1)
            for each in (mean, deviation)
        )
        centred: Tensor = latents * deviation / config.scaling_factor + mean
        return centred
    shifted: Tensor = latents / config.scaling_factor + (getattr(config, "shift_factor", None) or 0.0)
    return shifted


def scaled(vae: Any, latents: Tensor) -> Tensor:
    """Return latents of an autoencoder as the denoiser knows them; `unscaled` turned round, which is linear."""
    zero = unscaled(vae, torch.zeros_like(latents))
    return (latents - zero) / (unscaled(vae, torch.ones_like(latents)) - zero)
