"""Figures that need the painted world and no prompt: how sure the evaluator is, how much the autoencoder loses."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from ...errors import InputError
from ..world import NEW_STYLES, NEW_SUBJECTS, STYLES, Picture, draw, paint
from .evaluator import Evaluator, Pixels
from .intervals import mean_over_prompts, share
from .loading import in_one_sentence, load_model
from .prompts import Ask

REFERENCES: Final = 18
"""Painted pictures of each prompt that others are compared with."""
_SHOWN: Final = 600
_EACH_STYLE: Final = 40


def references(ask: Ask) -> Pixels:
    """Paint every other picture that a prompt can mean: shape (`REFERENCES`, height, width, 3)."""
    return painted(ask.variants[::2])


def originals(ask: Ask, count: int) -> Pixels:
    """Paint some of the other half: what a perfect model would give, shape (count, height, width, 3)."""
    return painted(random.Random(ask.seed).sample(ask.variants[1::2], count))  # noqa: S311


def painted(pictures: Sequence[Picture]) -> Pixels:
    """Paint pictures of the world."""
    return np.stack([paint(picture) for picture in pictures])


def measure_evaluator(evaluator: Evaluator) -> dict[str, Any]:
    """Return how often the evaluator names new subjects and styles rightly on painted pictures."""
    lot = random.Random("evaluator")  # noqa: S311
    pictures = [draw(lot, subjects=NEW_SUBJECTS, styles=("flat", *NEW_STYLES)) for _ in range(_SHOWN)]
    seen = evaluator.see(painted(pictures))
    figures: dict[str, Any] = {"pictures": _SHOWN}
    for part in ("subject", "style"):
        named = evaluator.name(seen, part)
        hits = sum(name == getattr(picture, part) for name, picture in zip(named, pictures, strict=True))
        figure = share(hits, _SHOWN)
        figures[part] = figure.plain() if figure else None
    return figures


def measure_autoencoder(model: Path) -> dict[str, Any]:
    """Return the peak signal-to-noise ratio over the whole world after a way through the latents, in decibels.

    Args:
        model: The folder of the base model.

    Raises:
        InputError: its autoencoder is not there, damaged, or of another kind.
    """
    from diffusers import AutoencoderKL, AutoencoderTiny

    config = model / "vae" / "config.json"
    with in_one_sentence(config):
        named = json.loads(config.read_text(encoding="utf-8"))["_class_name"]
    kind = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}.get(str(named))
    if kind is None:
        raise InputError(f"{config} names {named!r}; the autoencoder must be AutoencoderKL or AutoencoderTiny")
    vae = load_model(kind, model / "vae")
    lot = random.Random("autoencoder")  # noqa: S311
    ratios, by_style = [], {}
    for style in STYLES:
        pixels = painted([draw(lot, styles=(style,)) for _ in range(_EACH_STYLE)])
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(127.5).sub(1)
        with torch.inference_mode():
            coded = vae.encode(images)
            latents = coded.latents if hasattr(coded, "latents") else coded.latent_dist.mode()
            back = vae.decode(latents, return_dict=False)[0].clamp(-1, 1)
        loss = (images - back).square().flatten(1).mean(1).clamp(min=1e-10)
        ratios.append((10 * torch.log10(4 / loss)).double().numpy())
        by_style[style] = round(float(ratios[-1].mean()), 2)
    figure = mean_over_prompts(np.concatenate(ratios))
    return {"pictures": _EACH_STYLE * len(STYLES), "psnr": figure.plain(2), "by_style": by_style}
