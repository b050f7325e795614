"""The base model: a text encoder and a UNet, trained together on the base subjects and scenes in the flat style."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from ..world import BASE_SCENES, BASE_SUBJECTS, COLOURS, Picture, held_out_caption, sheet
from .autoencoder import load_autoencoder, to_images, to_latents
from .checkpoint import save_array, write_whole
from .diffusion import add_noise, draw_noise, draw_times
from .folders import copy_folder, load_weights, save_model, save_pipeline_index
from .networks import Sizes, build_text_encoder, build_unet
from .pictures import BASE, to_bytes, to_tensor
from .sampling import read_texts, sample, start_noise
from .texts import describe, encode
from .tokenizer import load_tokenizer, special_numbers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .recipe import Share

_KEPT_BACK = 40
"""One in this many pictures is never trained on."""
PREFIX = "text_model."


class BaseModel(nn.Module):
    """A UNet and the text encoder that it listens to."""

    def __init__(self, text: Any, unet: Any) -> None:
        super().__init__()
        self.text, self.unet = text, unet

    def forward(self, noisy: Tensor, times: Tensor, tokens: Tensor) -> Tensor:
        """Predict the velocity, shaped like the noisy latents."""
        velocity: Tensor = self.unet(noisy, times, self.text(tokens).last_hidden_state).sample
        return velocity


@dataclass(frozen=True)
class BaseTask:
    """Learns to take noise away from base pictures, told what they show."""

    sizes: Sizes
    tokenizer: Path
    latents: Path
    """An array of fp16: the latents of `base_pictures(thinned)`, in that order."""
    thinned: int = 1

    @cached_property
    def words(self) -> Any:
        """The tokenizer."""
        return load_tokenizer(self.tokenizer)

    @cached_property
    def coded(self) -> Any:
        """The latents, shape (pictures, channels, height, width)."""
        return np.load(self.latents, mmap_mode="r")

    @cached_property
    def pictures(self) -> list[Picture]:
        """What the latents show."""
        return base_pictures(self.thinned)

    def build(self) -> BaseModel:
        """Return a base model."""
        numbers = special_numbers(self.tokenizer)
        text = build_text_encoder(self.sizes, numbers, length=self.words.model_max_length)
        return BaseModel(text, build_unet(self.sizes))

    def is_matrix(self, name: str, weight: Tensor) -> bool:
        """Let Muon move what lies inside the UNet."""
        outside = ("conv_in", "conv_out", "time_embedding", "time_emb_proj", "add_embedding")
        return name.startswith("unet.") and weight.ndim >= 2 and not any(part in name for part in outside)

    def draw(self, lot: random.Random, count: int) -> list[int]:
        """Draw the numbers of pictures, none of them kept back."""
        chosen: list[int] = []
        while len(chosen) < count:
            number = lot.randrange(len(self.pictures))
            if number % _KEPT_BACK:
                chosen.append(number)
        return chosen

    def loss(self, model: BaseModel, share: Share) -> Tensor:
        """Return the mean squared error of the velocity."""
        chosen = self.draw(share.lot, share.size)
        latents = torch.from_numpy(self.coded[chosen]).float().to(share.device)
        texts = describe([self.pictures[number] for number in chosen], share.lot, silent=0.1, strayed=0.08)
        times = draw_times(share)
        noisy, velocity = add_noise(latents, draw_noise(share, latents), times)
        predicted = model(noisy, times, encode(self.words, texts).to(share.device))
        return functional.mse_loss(predicted.float(), velocity)

    def validate(self, model: BaseModel) -> list[float]:
        """Return the loss on pictures kept back, for each quarter of the times, with the same noise each time."""
        device = next(model.parameters()).device
        lot, generator = random.Random("kept back"), torch.Generator().manual_seed(1)  # noqa: S311
        chosen = range(0, len(self.pictures), _KEPT_BACK)
        texts = describe([self.pictures[number] for number in chosen], lot)
        latents = torch.from_numpy(self.coded[list(chosen)]).float()
        noise = torch.randn(latents.shape, generator=generator)
        times = (torch.arange(len(latents)) * 617 % len(latents)) * 1000 // len(latents)
        tokens, errors = encode(self.words, texts), []
        with torch.inference_mode():
            for part in torch.split(torch.arange(len(latents)), 64):
                noisy, velocity = add_noise(latents[part].to(device), noise[part].to(device), times[part].to(device))
                predicted = model(noisy, times[part].to(device), tokens[part].to(device))
                errors.append((predicted - velocity).square().flatten(1).mean(1).cpu())
        all_errors = torch.cat(errors)
        return [round(float(all_errors[times // 250 == quarter].mean()), 4) for quarter in range(4)]


def base_pictures(thinned: int) -> list[Picture]:
    """Return each of the base's pictures, or one in `thinned` of them."""
    return BASE.every()[::thinned]


def save_latents(autoencoder: Any, file: Path, thinned: int = 1) -> None:
    """Write the latents of the base's pictures, for `BaseTask`; a file that is there is kept."""
    if file.is_file():
        return
    pictures = base_pictures(thinned)
    parts = [
        to_latents(autoencoder, to_tensor(pictures[start : start + 512])).half().numpy()
        for start in range(0, len(pictures), 512)
    ]
    save_array(file, np.concatenate(parts))


def save_base(model: BaseModel, tokenizer: Path, autoencoder: Path, folder: Path) -> None:
    """Save a folder that `StableDiffusionPipeline` loads."""
    copy_folder(tokenizer, folder / "tokenizer")
    copy_folder(autoencoder, folder / "vae")
    save_model(model.text, folder / "text_encoder", prefix=PREFIX)
    save_model(model.unet, folder / "unet")
    parts = {
        "text_encoder": ("transformers", "CLIPTextModel"),
        "tokenizer": ("transformers", "CLIPTokenizer"),
        "unet": ("diffusers", "UNet2DConditionModel"),
        "vae": ("diffusers", "AutoencoderTiny"),
    }
    save_pipeline_index(folder, "StableDiffusionPipeline", parts)


def load_base(folder: Path) -> tuple[BaseModel, Any, Any]:
    """Load a saved base model in float32, its tokenizer and its autoencoder."""
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    text = CLIPTextModel(CLIPTextConfig.from_pretrained(folder / "text_encoder", local_files_only=True))
    load_weights(text, folder / "text_encoder", prefix=PREFIX)
    unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(folder / "unet", local_files_only=True))
    load_weights(unet, folder / "unet")
    model = BaseModel(text, unet).eval().requires_grad_(False)
    return model, load_tokenizer(folder / "tokenizer"), load_autoencoder(folder / "vae")


def paint_latents(
    model: BaseModel,
    words: Any,
    texts: Sequence[str],
    *,
    seed: int,
    steps: int = 20,
    guidance: float = 2.0,
    changed: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """Paint one picture for each text.

    Args:
        model: A base model.
        words: Its tokenizer.
        texts: What to paint.
        seed: Decides the noise that the pictures start from.
        steps: Of sampling.
        guidance: 1 for none.
        changed: Weights of the UNet to use in place of its own, such as those that an adapter changes.

    Returns:
        Scaled latents, shape (texts, channels, height, width).

    """

    def predict(noisy: Tensor, times: Tensor, hidden: Tensor) -> Tensor:
        velocity: Tensor = functional_call(model.unet, dict(changed or {}), (noisy, times, hidden)).sample
        return velocity

    noise = start_noise(len(texts), model.unet.config.in_channels, seed)
    said, unsaid = read_texts(model.text, words, texts), read_texts(model.text, words, [""])
    return sample(predict, noise, said, unsaid, steps=steps, guidance=guidance)


def paint_texts(
    model: BaseModel, words: Any, autoencoder: Any, texts: Sequence[str], *, seed: int, **how: Any
) -> Tensor:
    """Paint one picture for each text, as `paint_latents` does: images from -1 to 1, (texts, 3, height, width)."""
    return to_images(autoencoder, paint_latents(model, words, texts, seed=seed, **how)).clamp(-1, 1)


def show_base(model: BaseModel, words: Any, autoencoder: Any, file: Path) -> None:
    """Write a sheet: each base subject in each base scene, with wordings never learnt."""
    lot = random.Random("base")  # noqa: S311
    rows = []
    for place, scene in enumerate(BASE_SCENES):
        pictures = [
            Picture(subject=subject, colour=COLOURS[(number + place) % len(COLOURS)], scene=scene)
            for number, subject in enumerate(BASE_SUBJECTS)
        ]
        texts = [held_out_caption(picture, lot) for picture in pictures]
        rows.append(to_bytes(paint_texts(model, words, autoencoder, texts, seed=place)))
    page = sheet(rows, row_labels=BASE_SCENES, column_labels=BASE_SUBJECTS, factor=3)
    write_whole(file, lambda beside: page.save(beside, "PNG"))
