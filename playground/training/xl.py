"""A sibling in the form of SDXL: two text encoders, and told how large a picture was and how it was cropped.

Pictures are shown to it as they are, from smaller ones, and as parts of pictures twice as large, with the sizes that
say so (Podell and others, "SDXL", 2023, section 2.2); asked for its own size without a crop, it paints whole pictures.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..world import BASE_SCENES, BASE_SUBJECTS, SIZE, held_out_caption, sheet
from .autoencoder import load_autoencoder, to_latents
from .base import PREFIX, base_pictures
from .checkpoint import write_whole
from .diffusion import add_noise, draw_noise, draw_times
from .evaluator import Evaluator, shares_right
from .folders import copy_folder, load_pipeline, save_model, save_pipeline_index
from .networks import Sizes, build_text_encoder, build_xl_unet
from .pictures import Choices, to_tensor
from .texts import describe, encode
from .tokenizer import load_tokenizer, special_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from .recipe import Share

_SMALL, _PART = 0.08, 0.24
"""Shares of training pictures that were smaller, and that are parts of larger ones."""


class XlModel(nn.Module):
    """A UNet and its two text encoders."""

    def __init__(self, first: Any, second: Any, unet: Any) -> None:
        super().__init__()
        self.first, self.second, self.unet = first, second, unet

    def forward(self, noisy: Tensor, times: Tensor, tokens: Tensor, sizes: Tensor) -> Tensor:
        """Predict the velocity; both encoders answer from their last layer but one, as in SDXL.

        Args:
            noisy: Latents, shape (count, channels, height, width).
            times: Shape (count,).
            tokens: Shape (count, length).
            sizes: Height and width before, top and left of the crop, height and width wanted: shape (count, 6).

        """
        first = self.first(tokens, output_hidden_states=True)
        second = self.second(tokens, output_hidden_states=True)
        hidden = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1)
        told = {"text_embeds": second.text_embeds, "time_ids": sizes}
        velocity: Tensor = self.unet(noisy, times, hidden, added_cond_kwargs=told).sample
        return velocity


@dataclass(frozen=True)
class XlTask:
    """Learns to take noise away from base pictures and from parts of them."""

    sizes: Sizes
    tokenizer: Path
    autoencoder: Path
    latents: Path
    thinned: int = 1

    @cached_property
    def words(self) -> Any:
        """The tokenizer."""
        return load_tokenizer(self.tokenizer)

    @cached_property
    def coder(self) -> Any:
        """The autoencoder, for pictures whose latents are not kept."""
        return load_autoencoder(self.autoencoder)

    @cached_property
    def material(self) -> tuple[Any, Any]:
        """The base's pictures and their latents."""
        return base_pictures(self.thinned), np.load(self.latents, mmap_mode="r")

    def build(self) -> XlModel:
        """Return a model with encoders one layer deeper than the base's, as the last layer is passed over."""
        numbers, length = special_numbers(self.tokenizer), self.words.model_max_length
        deeper = replace(self.sizes, layers=self.sizes.layers + 1)
        first = build_text_encoder(deeper, numbers, length=length)
        second = build_text_encoder(deeper, numbers, length=length, projection=self.sizes.text)
        return XlModel(first, second, build_xl_unet(self.sizes))

    def is_matrix(self, name: str, weight: Tensor) -> bool:
        """Let Muon move what lies inside the UNet."""
        outside = ("conv_in", "conv_out", "time_embedding", "time_emb_proj", "add_embedding")
        return name.startswith("unet.") and weight.ndim >= 2 and not any(part in name for part in outside)

    def loss(self, model: XlModel, share: Share) -> Tensor:
        """Return the mean squared error of the velocity."""
        pictures, coded = self.material
        chosen = [share.lot.randrange(len(pictures)) for _ in range(share.size)]
        shown = [pictures[number] for number in chosen]
        latents = torch.from_numpy(coded[chosen]).float()
        sizes = torch.tensor([_whole(share.lot) for _ in chosen])
        changed = round(share.size * (_SMALL + _PART))
        if changed:
            images, sizes[:changed] = _resized(to_tensor(shown[:changed]), share.lot)
            latents[:changed] = to_latents(self.coder, images)
        latents, sizes = latents.to(share.device), sizes.to(share.device)
        texts = describe(shown, share.lot, silent=0.1, strayed=0.08)
        times = draw_times(share)[torch.randperm(share.size, generator=share.generator)]
        noisy, velocity = add_noise(latents, draw_noise(share, latents), times)
        predicted = model(noisy, times, encode(self.words, texts).to(share.device), sizes)
        return functional.mse_loss(predicted.float(), velocity)


def _whole(lot: random.Random) -> list[int]:
    """Return the sizes of a whole picture: its own, or what a picture twice as large says of its whole."""
    side = lot.choice((SIZE, SIZE, 2 * SIZE))
    return [side, side, 0, 0, side, side]


def _resized(images: Tensor, lot: random.Random) -> tuple[Tensor, Tensor]:
    """Return pictures made from half their size, or cut out of twice their size, and the sizes that say so."""
    shown, told = [], []
    for image in images:
        if lot.random() < _SMALL / (_SMALL + _PART):
            small = functional.avg_pool2d(image[None], 2)
            shown.append(functional.interpolate(small, scale_factor=2.0)[0])
            told.append([SIZE // 2, SIZE // 2, 0, 0, SIZE, SIZE])
        else:
            top, left = 0, 0
            while (top, left) == (0, 0):  # without a crop, the sizes mean the whole picture
                top, left = (2 * lot.randint(0, SIZE // 2) for _ in range(2))
            large = functional.interpolate(image[None], scale_factor=2.0)[0]
            shown.append(large[:, top : top + SIZE, left : left + SIZE])
            told.append([2 * SIZE, 2 * SIZE, top, left, 2 * SIZE, 2 * SIZE])
    return torch.stack(shown), torch.tensor(told)


def save_xl(model: XlModel, tokenizer: Path, autoencoder: Path, folder: Path) -> None:
    """Save a folder that `StableDiffusionXLPipeline` loads."""
    for name in ("tokenizer", "tokenizer_2"):
        copy_folder(tokenizer, folder / name)
    copy_folder(autoencoder, folder / "vae")
    save_model(model.first, folder / "text_encoder", prefix=PREFIX)
    save_model(model.second, folder / "text_encoder_2")
    save_model(model.unet, folder / "unet")
    parts = {
        "text_encoder": ("transformers", "CLIPTextModel"),
        "text_encoder_2": ("transformers", "CLIPTextModelWithProjection"),
        "tokenizer": ("transformers", "CLIPTokenizer"),
        "tokenizer_2": ("transformers", "CLIPTokenizer"),
        "unet": ("diffusers", "UNet2DConditionModel"),
        "vae": ("diffusers", "AutoencoderTiny"),
    }
    save_pipeline_index(folder, "StableDiffusionXLPipeline", parts)


def paint_xl(pipeline: Any, texts: Sequence[str], *, seed: int, **sizes: Any) -> list[Image.Image]:
    """Paint texts with a `StableDiffusionXLPipeline`; `sizes` are handed to it."""
    generators = [torch.Generator().manual_seed(seed + place) for place in range(len(texts))]
    images: list[Image.Image] = pipeline(
        list(texts), num_inference_steps=20, guidance_scale=2.0, generator=generators, **sizes
    ).images
    return images


def show_xl(folder: Path, judge: Evaluator, file: Path) -> dict[str, float]:
    """Write a sheet of whole pictures and of parts, and return the share of whole ones that show what they should."""
    pipeline, lot = load_pipeline(folder), random.Random("xl")  # noqa: S311
    pictures = [Choices((subject,), BASE_SCENES, ("flat",)).draw(lot, 1)[0] for subject in BASE_SUBJECTS]
    texts = [held_out_caption(picture, lot) for picture in pictures]
    large = {"original_size": (2 * SIZE, 2 * SIZE), "target_size": (2 * SIZE, 2 * SIZE)}
    corner = {**large, "crops_coords_top_left": (SIZE, SIZE)}
    middle = {**large, "crops_coords_top_left": (SIZE // 2, SIZE // 2)}
    small = {"original_size": (SIZE // 2, SIZE // 2)}
    rows = {"whole": paint_xl(pipeline, texts, seed=0), "whole, seed 100": paint_xl(pipeline, texts, seed=100)}
    for name, sizes in (("small", small), ("middle", middle), ("lower right", corner)):
        rows[name] = paint_xl(pipeline, texts, seed=0, **sizes)
    page = sheet(list(rows.values()), row_labels=list(rows), column_labels=BASE_SUBJECTS, factor=3)
    write_whole(file, lambda beside: page.save(beside, "PNG"))
    whole = np.stack([np.asarray(image) for name in ("whole", "whole, seed 100") for image in rows[name]])
    images = torch.from_numpy(whole).permute(0, 3, 1, 2).float() / 127.5 - 1
    return shares_right(judge, images, pictures * 2)
