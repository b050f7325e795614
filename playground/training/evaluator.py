"""The evaluator: a CLIP model of the whole world, and classifiers that stand on its image features."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..world import held_out_caption
from .autoencoder import load_autoencoder, to_images, to_latents
from .checkpoint import load_tensors, save_tensors
from .folders import copy_folder, load_weights, save_image_settings, save_model
from .networks import Sizes, build_evaluator
from .pictures import PARTS, WORLD, Choices, to_labels, to_tensor
from .texts import describe, encode
from .tokenizer import load_tokenizer, special_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..world import Picture
    from .recipe import Share

_FLAT = Choices(styles=("flat",))
"""A third of the training pictures: the plainest, and what most pictures to be judged look like."""
_PAINTED = 0.6
"""Share of training pictures that come straight from the painter; the others went through noisy latents."""


class Evaluator(nn.Module):
    """A CLIP model with one linear classifier for each part of a picture."""

    def __init__(self, clip: Any) -> None:
        super().__init__()
        self.clip = clip
        width = clip.config.projection_dim
        self.heads = nn.ModuleDict({part: nn.Linear(width, len(names)) for part, names in PARTS.items()})

    def see(self, images: Tensor) -> Tensor:
        """Return features of images from -1 to 1: shape (count, width)."""
        features: Tensor = self.clip.visual_projection(self.clip.vision_model(images).pooler_output)
        return features

    def read(self, tokens: Tensor) -> Tensor:
        """Return features of texts: shape (count, width)."""
        features: Tensor = self.clip.text_projection(self.clip.text_model(tokens).pooler_output)
        return features

    def answer(self, features: Tensor) -> dict[str, Tensor]:
        """Return what the classifiers say of image features: part -> scores, shape (count, names)."""
        return {part: head(features) for part, head in self.heads.items()}


@dataclass(frozen=True)
class EvaluatorTask:
    """Learns which captions and which parts belong to a picture."""

    sizes: Sizes
    tokenizer: Path
    autoencoder: Path

    @cached_property
    def words(self) -> Any:
        """The tokenizer."""
        return load_tokenizer(self.tokenizer)

    @cached_property
    def blur(self) -> Any:
        """The autoencoder."""
        return load_autoencoder(self.autoencoder)

    def build(self) -> Evaluator:
        """Return an evaluator."""
        numbers = special_numbers(self.tokenizer)
        return Evaluator(build_evaluator(self.sizes, numbers, length=self.words.model_max_length))

    def is_matrix(self, name: str, weight: Tensor) -> bool:
        """Let Muon move what lies inside the transformers."""
        return weight.ndim == 2 and ".layers." in name

    def loss(self, model: Evaluator, share: Share) -> Tensor:
        """Match pictures and captions within the batch (Radford and others, 2021), and name the parts."""
        flat = share.size // 3
        pictures = WORLD.draw(share.lot, share.size - flat) + _FLAT.draw(share.lot, flat)
        share.lot.shuffle(pictures)
        images = self._spoilt(to_tensor(pictures), share).to(share.device)
        tokens = encode(self.words, describe(pictures, share.lot, strayed=0.1)).to(share.device)
        labels = to_labels(pictures).to(share.device)
        seen = model.see(images)
        likeness = functional.normalize(seen, dim=-1) @ functional.normalize(model.read(tokens), dim=-1).T
        scores = likeness * model.clip.logit_scale.exp().clamp(max=50.0)
        same = (labels[:, None] == labels[None]).all(-1).float()
        target = same / same.sum(1, keepdim=True)
        pairs = (functional.cross_entropy(scores, target) + functional.cross_entropy(scores.T, target)) / 2
        named = [
            functional.cross_entropy(answers, labels[:, place], label_smoothing=0.02)
            for place, answers in enumerate(model.answer(seen).values())
        ]
        loss: Tensor = pairs + torch.stack(named).sum() + named[0]  # the subject is the hardest to learn
        return loss

    def _spoilt(self, images: Tensor, share: Share) -> Tensor:
        """Send some images through noisy latents, and change the light and the place of some by a little."""
        kept = int(share.size * _PAINTED)
        latents = to_latents(self.blur.to(images.device), images[kept:])
        noise = torch.randn(latents.shape, generator=share.generator)
        strength = 0.4 * torch.rand(len(latents), 1, 1, 1, generator=share.generator)
        images = torch.cat([images[:kept], to_images(self.blur, latents + strength * noise)]).clone()
        light = 1 + 0.1 * torch.randn(share.size, 1, 1, 1, generator=share.generator)
        grain = 0.05 * torch.rand(share.size, 1, 1, 1, generator=share.generator)
        images = images * light + grain * torch.randn(images.shape, generator=share.generator)
        right, down = share.lot.randint(-1, 1), share.lot.randint(-1, 1)
        moved = share.size // 2
        images[:moved] = images[:moved].roll((down, right), (-2, -1))
        return images.clamp(-1, 1)


def save_evaluator(model: Evaluator, tokenizer: Path, folder: Path) -> None:
    """Save the CLIP model as transformers loads it, and the classifiers beside it in `heads.safetensors`."""
    copy_folder(tokenizer, folder)
    save_image_settings(folder)
    save_model(model.clip, folder)
    metadata = {part: ",".join(names) for part, names in PARTS.items()}
    save_tensors(folder / "heads.safetensors", {n: t.half() for n, t in model.heads.state_dict().items()}, metadata)


def load_evaluator(folder: Path) -> Evaluator:
    """Load a saved evaluator, in float32."""
    from transformers import CLIPConfig, CLIPModel

    model = Evaluator(CLIPModel(CLIPConfig.from_pretrained(folder, local_files_only=True)))
    load_weights(model.clip, folder)
    heads, _ = load_tensors(folder / "heads.safetensors")
    model.heads.load_state_dict({name: tensor.float() for name, tensor in heads.items()})
    return model.eval().requires_grad_(False)


def shares_right(model: Evaluator, images: Tensor, pictures: Sequence[Picture]) -> dict[str, float]:
    """Return for each part the share of images whose classifier names what the picture should show.

    `subject and style` is the share in which both are right.
    """
    with torch.inference_mode():
        answers = model.answer(model.see(images))
    labels = to_labels(pictures)
    right = {part: scores.argmax(1) == labels[:, place] for place, (part, scores) in enumerate(answers.items())}
    right["subject and style"] = right["subject"] & right["style"]
    return {part: round(float(hits.float().mean()), 4) for part, hits in right.items()}


def measure_evaluator(model: Evaluator, words: Any, blur: Any, count: int) -> dict[str, Any]:
    """Measure on pictures of the whole world, as painted and after the autoencoder, with captions never learnt."""
    lot = random.Random("evaluator")  # noqa: S311
    pictures = WORLD.draw(lot, count)
    painted = to_tensor(pictures)
    coded = to_images(blur, to_latents(blur, painted)).clamp(-1, 1)
    with torch.inference_mode():
        seen = functional.normalize(model.see(coded), dim=-1)
        read = functional.normalize(model.read(encode(words, [held_out_caption(p, lot) for p in pictures])), dim=-1)
    return {
        "painted": shares_right(model, painted, pictures),
        "coded": shares_right(model, coded, pictures),
        "zero_shot_subject": _zero_shot(model, words, seen, pictures, "subject"),
        "zero_shot_style": _zero_shot(model, words, seen, pictures, "style"),
        "similarity": round(float((seen * read).sum(-1).mean()), 4),
        "similarity_mismatched": round(float((seen * read.roll(1, 0)).sum(-1).mean()), 4),
    }


def _zero_shot(model: Evaluator, words: Any, seen: Tensor, pictures: Sequence[Picture], part: str) -> float:
    """Return the share of images whose nearest caption, among those that differ in one part, is the right one."""
    lot = random.Random("zero shot")  # noqa: S311
    names = PARTS[part]
    rows = []
    for name in names:
        one = {f"{part}s": (name,)}
        texts = [held_out_caption(picture, lot) for picture in Choices(**one).draw(lot, 64)]
        with torch.inference_mode():
            rows.append(
                functional.normalize(functional.normalize(model.read(encode(words, texts)), dim=-1).mean(0), dim=0)
            )
    nearest = (seen @ torch.stack(rows).T).argmax(1).tolist()
    hits = sum(names[place] == getattr(picture, part) for place, picture in zip(nearest, pictures, strict=True))
    return round(int(hits) / len(pictures), 4)
