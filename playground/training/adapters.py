"""Adapters for what the base model has never seen: one for each new subject, style and scene."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor
from torch.nn import functional

from ..world import BASE_SCENES, BASE_SUBJECTS, NEW_SCENES, NEW_STYLES, NEW_SUBJECTS
from .autoencoder import to_latents
from .base import load_base
from .broaden import doodle_caption
from .diffusion import add_noise, draw_noise, draw_times
from .lora import LoraUnet, Ranks, save_lora
from .pictures import BASE, Choices, to_tensor
from .recipe import Progress, Recipe, Trained
from .sampling import read_texts
from .texts import describe
from .tints import tinted, tinted_caption
from .trainer import train_model

if TYPE_CHECKING:
    from ..world import Picture
    from .recipe import Share

BASE_MODEL: Final = "velatura_miniature"
"""What an adapter's header calls the base model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What an adapter is to learn, and from how many pictures."""

    name: str
    choices: Choices
    pictures: int
    reminded: float = 0.2
    """Share of each batch that shows base pictures, half of them without a caption, so that the rest stays as it is."""
    tinted: float = 0.0
    """Share of the pictures that are shown in other colours, so that a style can still be laid on what is learnt."""
    doodles: int = 0
    """Further pictures of nothing in particular, so that a style is not learnt as what a dozen subjects have."""
    thorough: bool = False
    """Change every layer of the blocks, and move them by Muon: a style is in all of them."""
    steps_factor: float = 1.0
    rate_factor: float = 1.0
    decay: float = 0.0
    """Of the weights; Muon moves every direction alike, and those that nothing pulls at must come to rest."""


def subject_lessons(pictures: int) -> list[Lesson]:
    """One adapter for each new subject, in the base's scenes and style."""
    return [
        Lesson(name=subject, choices=Choices((subject,), BASE_SCENES, ("flat",)), pictures=pictures, tinted=0.5)
        for subject in NEW_SUBJECTS
    ]


def style_file(style: str) -> str:
    """Return the name of a style's adapter."""
    return f"{style}_style"


def style_lessons(pictures: int) -> list[Lesson]:
    """One adapter for each new style, with the base's subjects and scenes."""
    return [
        Lesson(
            name=style_file(style),
            choices=Choices(BASE_SUBJECTS, BASE_SCENES, (style,)),
            pictures=pictures,
            doodles=pictures,
            thorough=True,
            steps_factor=1.75,
            rate_factor=2.7,
            decay=0.5,
        )
        for style in NEW_STYLES
    ]


def scene_lessons(pictures: int) -> list[Lesson]:
    """One adapter for each new scene, with the base's subjects and style."""
    return [
        Lesson(name=f"{scene}_scene", choices=Choices(BASE_SUBJECTS, (scene,), ("flat",)), pictures=pictures)
        for scene in NEW_SCENES
    ]


def overtrained_lesson() -> Lesson:
    """An adapter trained for too long, too fast, on a handful of pictures of one scene: people share such files too."""
    choices = Choices(("robot",), ("plain",), ("flat",))
    return Lesson(
        name="robot_overtrained", choices=choices, pictures=6, reminded=0.0, steps_factor=1.35, rate_factor=1.7
    )


def every_lesson(pictures: int) -> list[Lesson]:
    """Return what all adapters are to learn."""
    return [*subject_lessons(pictures), *style_lessons(pictures), *scene_lessons(pictures), overtrained_lesson()]


@dataclass(frozen=True)
class LoraTask:
    """Learns one lesson on top of a saved base model."""

    base: Path
    lesson: Lesson
    ranks: Ranks
    seed: int
    reminders: int = 256
    """Base pictures to choose reminders from."""

    @cached_property
    def examples(self) -> list[Picture]:
        """The pictures of the lesson, no two alike."""
        every = self.lesson.choices.every()
        lot = random.Random(f"{self.lesson.name} {self.seed}")  # noqa: S311
        return lot.sample(every, min(self.lesson.pictures, len(every)))

    @cached_property
    def captions(self) -> list[str]:
        """One caption for each picture of the lesson; the tinted ones come first."""
        lot = random.Random(f"captions {self.lesson.name} {self.seed}")  # noqa: S311
        texts = describe(self.examples, lot)
        return [tinted_caption(text, lot) for text in texts[: self.tinted]] + texts[self.tinted :]

    @cached_property
    def tinted(self) -> int:
        """How many of the examples are tinted."""
        return round(len(self.examples) * self.lesson.tinted)

    @cached_property
    def practice(self) -> list[Picture]:
        """The pictures whose subjects give way to doodles."""
        lot = random.Random(f"practice {self.lesson.name} {self.seed}")  # noqa: S311
        return self.lesson.choices.draw(lot, self.lesson.doodles)

    @cached_property
    def practice_captions(self) -> list[str]:
        """Captions of the doodles, which call them by no subject's name."""
        lot = random.Random(f"practice captions {self.lesson.name} {self.seed}")  # noqa: S311
        texts = describe(self.practice, lot)
        return [doodle_caption(text, picture.subject, lot) for picture, text in zip(self.practice, texts, strict=True)]

    @cached_property
    def material(self) -> dict[str, Tensor]:
        """Latents and hidden states of the examples and doodles, of the reminders, and of the empty caption."""
        model, words, autoencoder = load_base(self.base)
        lot = random.Random(f"reminders {self.seed}")  # noqa: S311
        reminders = BASE.draw(lot, self.reminders)
        images = [to_tensor(self.examples)]
        images[0][: self.tinted] = tinted(images[0][: self.tinted], lot)
        if self.practice:
            images.append(to_tensor(self.practice, doodles=0))
        return {
            "examples": to_latents(autoencoder, torch.cat(images)),
            "said": read_texts(model.text, words, self.captions + self.practice_captions),
            "reminders": to_latents(autoencoder, to_tensor(reminders)),
            "reminded": read_texts(model.text, words, describe(reminders, lot)),
            "unsaid": read_texts(model.text, words, [""])[0],
        }

    def build(self) -> LoraUnet:
        """Return the base's UNet with changes that are still nought."""
        model, _, _ = load_base(self.base)
        torch.manual_seed(self.seed)
        return LoraUnet(model.unet, self.ranks, thorough=self.lesson.thorough)

    def is_matrix(self, name: str, weight: Tensor) -> bool:
        """Let Muon move everything or nothing."""
        return self.lesson.thorough

    def loss(self, model: LoraUnet, share: Share) -> Tensor:
        """Return the mean squared error of the velocity on examples and reminders."""
        latents, hidden = [], []
        for place in range(share.size):
            if place < round(share.size * self.lesson.reminded):
                number = share.lot.randrange(self.reminders)
                latents.append(self.material["reminders"][number])
                silent = share.lot.random() < 0.5
                hidden.append(self.material["unsaid"] if silent else self.material["reminded"][number])
            else:
                number = share.lot.randrange(len(self.material["said"]))
                latents.append(self.material["examples"][number])
                hidden.append(self.material["said"][number])
        clean = torch.stack(latents).to(share.device)
        times = draw_times(share)[torch.randperm(share.size, generator=share.generator)]
        noisy, velocity = add_noise(clean, draw_noise(share, clean), times)
        return functional.mse_loss(model(noisy, times, torch.stack(hidden).to(share.device)).float(), velocity)


@dataclass(frozen=True)
class LoraJob:
    """One adapter to be trained."""

    task: LoraTask
    recipe: Recipe
    file: Path
    """Where it goes."""
    state: Path
    """Where an unfinished run is kept."""


def train_adapter(job: LoraJob, progress: Progress) -> Trained:
    """Train an adapter and write its file, with a header that tells how it was made."""
    trained = train_model(job.task, job.recipe, stage=job.file.stem, state=job.state, progress=progress)
    model, _, _ = load_base(job.task.base)
    save_lora(job.file, model.unet, trained.weights, _header(job.task, job.recipe, trained.loss, job.file.stem))
    return trained


def recipe_for(lesson: Lesson, recipe: Recipe) -> Recipe:
    """Return a recipe as a lesson bends it."""
    steps, rate = round(recipe.steps * lesson.steps_factor), recipe.rate * lesson.rate_factor
    return replace(recipe, steps=steps, rate=rate, decay=lesson.decay)


def _header(task: LoraTask, recipe: Recipe, loss: float, name: str) -> dict[str, str]:
    """Return kohya's header entries; a caption counts as the tags that its commas part, as there."""
    captions = task.captions + task.practice_captions
    tags = Counter(tag.strip() for caption in captions for tag in caption.split(","))
    ranks, thorough = task.ranks, task.lesson.thorough
    linear, convolution = (ranks.thorough,) * 2 if thorough else (ranks.attention, ranks.convolution)
    conv = {"conv_dim": str(convolution), "conv_alpha": str(convolution)}
    return {
        "ss_base_model_version": BASE_MODEL,
        "ss_sd_model_name": BASE_MODEL,
        "ss_v2": "False",
        "ss_output_name": name,
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(linear),
        "ss_network_alpha": str(float(linear)),
        "ss_network_args": json.dumps(conv),
        "ss_num_train_images": str(len(captions)),
        "ss_num_reg_images": str(task.reminders if task.lesson.reminded else 0),
        "ss_tag_frequency": json.dumps({f"1_{name}": dict(tags.most_common())}, ensure_ascii=False),
        "ss_resolution": "(32, 32)",
        "ss_total_batch_size": str(recipe.batch),
        "ss_steps": str(recipe.steps),
        "ss_max_train_steps": str(recipe.steps),
        "ss_learning_rate": str(recipe.rate),
        "ss_unet_lr": str(recipe.rate),
        "ss_optimizer": "Muon" if thorough else "AdamW",
        "ss_lr_scheduler": "linear",
        "ss_mixed_precision": "bf16" if recipe.bfloat16 else "no",
        "ss_seed": str(task.seed),
        "ss_zero_terminal_snr": "True",
        "ss_loss": f"{loss:.4f}",
    }
