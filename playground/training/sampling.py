"""Paints latents from noise, without a pipeline around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .folders import SCHEDULE
from .networks import GRID
from .texts import encode

Predict = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Noisy latents, times, what the text encoder said -> velocity."""


def read_texts(text_encoder: Any, tokenizer: Any, texts: Sequence[str]) -> Tensor:
    """Return the text encoder's last hidden states: shape (texts, tokens, width)."""
    with torch.inference_mode():
        hidden: Tensor = text_encoder(encode(tokenizer, texts)).last_hidden_state
    return hidden.clone()


def start_noise(count: int, channels: int, seed: int) -> Tensor:
    """Return the noise that sampling starts from: shape (count, channels, height, width)."""
    return torch.randn(count, channels, GRID, GRID, generator=torch.Generator().manual_seed(seed))


def sample(predict: Predict, noise: Tensor, said: Tensor, unsaid: Tensor, *, steps: int, guidance: float) -> Tensor:
    """Take the noise away with DDIM (Song and others, 2021) and classifier-free guidance.

    Args:
        predict: The UNet.
        noise: Shape (count, channels, height, width).
        said: Hidden states of the captions, shape (count, tokens, width).
        unsaid: Hidden states of the empty caption, shape (1, tokens, width).
        steps: How many.
        guidance: 1 for none.

    Returns:
        Scaled latents, shaped like the noise.

    """
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(**{name: value for name, value in SCHEDULE.items() if not name.startswith("_")})
    scheduler.set_timesteps(steps)
    count = len(noise)
    hidden = torch.cat([unsaid.expand(count, -1, -1), said]) if guidance != 1 else said
    latents = noise
    with torch.inference_mode():
        for time in scheduler.timesteps:
            both = torch.cat([latents, latents]) if guidance != 1 else latents
            velocity = predict(both, time.expand(len(both)), hidden)
            if guidance != 1:
                without, with_text = velocity.chunk(2)
                velocity = without + guidance * (with_text - without)
            latents = scheduler.step(velocity, time, latents).prev_sample
    return latents
