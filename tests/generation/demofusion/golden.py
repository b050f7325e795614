"""What the published implementation of DemoFusion paints, and what is needed to paint the same.

`golden.safetensors` holds the latents that `PRIS-CV/DemoFusion` (its file `pipeline_demofusion_sdxl.py` at commit
5024487) paints in the cases below, on a tiny SDXL with the weights of `tiny_unet`. They were made by

    python benchmarks/demofusion_reference.py PATH/TO/pipeline_demofusion_sdxl.py

with diffusers 0.42.1 and torch 2.13.0 on a CPU. The reference draws its noise from torch's global generator and its
jitter from Python's, both seeded with the case's seed; `ReplayedDraws` draws the same numbers in the same order.

One defect of the reference is known to its cases. A scheduler that scales what the model sees (Euler) counts its steps
by itself, and the reference sets it back before each step but not before each scaling: every batch of views but the
first of a step is scaled as if it were of the next step, and the first of a phase as if it were clean.
`euler_as_it_is` holds what comes of it, `euler` and `euler_3` what the unchanged reference paints with a scheduler that
scales by the time it is given.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import torch
from torch import Tensor

FIXTURE = Path(__file__).with_name("golden.safetensors")
NATIVE, CHANNELS, FACTOR, WIDTH = 16, 4, 8, 8
NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


@dataclass(frozen=True)
class Case:
    scheduler: str
    size: tuple[int, int]
    """Height and width in cells."""
    steps: int = 4
    stride: int = 8
    views: int = 4
    guidance: float = 3.0
    cosine: tuple[float, float, float] = (3.0, 1.0, 1.0)
    sigma: float = 0.8
    picture: bool = False
    """Whether latents of the model's own size are given."""
    seed: int = 7


CASES = {
    "ddim": Case("ddim", (32, 32)),
    "ddim_3": Case("ddim", (48, 48), steps=3, cosine=(2.0, 1.5, 0.5), sigma=1.0, seed=8),
    "ddim_oblong": Case("ddim", (48, 40), steps=3, stride=12, seed=9),
    "ddim_picture": Case("ddim", (32, 32), picture=True, seed=10),
    "euler": Case("euler", (32, 32), seed=11),
    "euler_3": Case("euler", (48, 48), steps=3, seed=12),
    "euler_as_it_is": Case("euler_as_it_is", (48, 48), steps=3, seed=12),
}


def tiny_unet() -> Any:
    """Build an SDXL-shaped UNet whose weights follow from their names alone."""
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel(
        sample_size=NATIVE,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        transformer_layers_per_block=(1, 1),
        attention_head_dim=(2, 2),
        cross_attention_dim=WIDTH,
        norm_num_groups=4,
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=6 * 4 + WIDTH,
        use_linear_projection=True,
    )
    with torch.no_grad():
        for name, weight in unet.named_parameters():
            spread = weight[0].numel() ** -0.5 if weight.ndim > 1 else 0.2
            drawn = drawn_by(name, tuple(weight.shape)) * spread
            weight.copy_(drawn + float("norm" in name and name.endswith("weight")))
    return unet.eval()


def conditions() -> dict[str, Tensor]:
    """What a prompt and a negative prompt became."""
    return {
        "prompt_embeds": drawn_by("prompt", (1, 5, WIDTH)),
        "negative_prompt_embeds": drawn_by("negative", (1, 5, WIDTH)),
        "pooled_prompt_embeds": drawn_by("pooled", (1, WIDTH)),
        "negative_pooled_prompt_embeds": drawn_by("negative pooled", (1, WIDTH)),
    }


def given() -> Tensor:
    """The latents of a picture."""
    return drawn_by("picture", (1, CHANNELS, NATIVE, NATIVE))


def drawn_by(name: str, shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(crc32(name.encode())))


class ReplayedDraws:
    """Draws what the reference draws when both of its sources have this seed."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self._jitter = random.Random(seed)

    def noise(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=self.generator)

    def jitter(self, low: int, high: int) -> int:
        return self._jitter.randint(low, high)

    def seed(self) -> int:
        return 0
