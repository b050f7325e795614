"""The first stage: pictures to latents of half their width and height, and back, nearly without loss."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..world import STYLES, paint, sheet
from .checkpoint import write_whole
from .folders import load_weights, save_model
from .networks import Sizes, build_autoencoder
from .pictures import WORLD, Choices, to_bytes, to_tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..world import Picture
    from .recipe import Share

_NOISE = 0.08
"""Noise on the latents while training, so that the decoder forgives what a diffusion model gets wrong."""


@dataclass(frozen=True, slots=True)
class AutoencoderTask:
    """Learns to give the world's pictures back."""

    sizes: Sizes

    def build(self) -> Any:
        """Return an autoencoder."""
        return build_autoencoder(self.sizes)

    def is_matrix(self, name: str, weight: Tensor) -> bool:
        """Leave the first convolutions of both halves to AdamW."""
        return weight.ndim == 4 and ".layers.0." not in name

    def loss(self, model: Any, share: Share) -> Tensor:
        """Compare pixels and the steps between neighbours, where lines and edges are."""
        images = to_tensor(WORLD.draw(share.lot, share.size)).to(share.device)
        latents = model.encoder(images)
        noise = torch.randn(latents.shape, generator=share.generator).to(share.device)
        wrong = model.decoder(latents + _NOISE * noise) - images
        edges = wrong.diff(dim=-1).abs().mean() + wrong.diff(dim=-2).abs().mean()
        loss: Tensor = wrong.abs().mean() + wrong.square().mean() + 0.25 * edges + 2e-3 * latents.square().mean()
        return loss


def peak_signal(model: Any, pictures: Sequence[Picture]) -> Tensor:
    """Return each picture's peak signal-to-noise ratio in decibels after a way through the latents."""
    images = to_tensor(pictures)
    with torch.inference_mode():
        back = model.decode(model.encode(images).latents).sample.clamp(-1, 1)
    return 10 * torch.log10(4 / (images - back).square().flatten(1).mean(1).clamp(min=1e-10))


def measure_autoencoder(model: Any, count: int) -> dict[str, Any]:
    """Return the mean peak signal-to-noise ratio in decibels: of the whole world, and by style."""
    lot = random.Random("autoencoder")  # noqa: S311
    by_style = {style: peak_signal(model, Choices(styles=(style,)).draw(lot, count)) for style in STYLES}
    everything = torch.cat(list(by_style.values()))
    return {
        "psnr": round(float(everything.mean()), 2),
        "psnr_worst_percent": round(float(everything.quantile(0.01)), 2),
        "psnr_by_style": {style: round(float(values.mean()), 2) for style, values in by_style.items()},
    }


def save_autoencoder(model: Any, folder: Path) -> None:
    """Save the autoencoder, with the factor that brings its latents to a variance of one."""
    pictures = WORLD.draw(random.Random("scale"), 512)  # noqa: S311
    with torch.inference_mode():
        spread = float(model.encode(to_tensor(pictures)).latents.std())
    model.register_to_config(scaling_factor=round(1 / spread, 4))
    save_model(model, folder)


def load_autoencoder(folder: Path) -> Any:
    """Load a saved autoencoder, in float32."""
    from diffusers import AutoencoderTiny

    model = AutoencoderTiny.from_config(AutoencoderTiny.load_config(folder, local_files_only=True))
    load_weights(model, folder)
    return model.eval().requires_grad_(False)


def to_latents(model: Any, images: Tensor) -> Tensor:
    """Encode images, scaled to a variance of one: shape (count, channels, height / 2, width / 2)."""
    with torch.inference_mode():
        parts = [model.encode(part).latents * model.config.scaling_factor for part in torch.split(images, 256)]
    return torch.cat(parts)


def to_images(model: Any, latents: Tensor) -> Tensor:
    """Decode scaled latents to images from -1 to 1."""
    with torch.inference_mode():
        parts = [model.decode(part / model.config.scaling_factor).sample for part in torch.split(latents, 256)]
    return torch.cat(parts)


def show_autoencoder(model: Any, file: Path) -> None:
    """Write a sheet: pictures of each style, and what comes back below each."""
    lot = random.Random("shown")  # noqa: S311
    rows, labels = [], []
    for style in STYLES:
        pictures = Choices(styles=(style,)).draw(lot, 12)
        latents = to_latents(model, to_tensor(pictures))
        rows += [[paint(picture) for picture in pictures], to_bytes(to_images(model, latents))]
        labels += [style, ""]
    write_whole(file, lambda beside: sheet(rows, row_labels=labels, factor=3).save(beside, "PNG"))
