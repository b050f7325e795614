"""A one-step model: a smaller UNet that learns to say at once what the base model says in many steps.

The student has no middle, as in SDXS (Song and others, 2024). It learns from pairs of a noise and the picture that
the teacher makes of it (Luhman and Luhman, "Knowledge distillation in iterative generative models", 2021), with the
teacher's guidance in the picture, so that the student needs none.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from ..world import BASE_SCENES, BASE_SUBJECTS, held_out_caption, sheet
from .autoencoder import to_images
from .base import BaseModel, load_base, paint_latents
from .checkpoint import load_tensors, save_tensors, write_whole
from .evaluator import Evaluator, shares_right
from .networks import Sizes, build_quick_unet
from .pictures import BASE, Choices, to_bytes
from .recipe import Progress, Report
from .sampling import read_texts, start_noise
from .texts import describe, encode

if TYPE_CHECKING:
    from .recipe import Share

_CHUNK: Final = 250
_TEACHER_STEPS: Final = 16
_LAST: Final = 999
"""The time at which there is nothing but noise: the velocity is the clean picture with its sign turned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DreamJob:
    """One chunk of the teacher's pictures."""

    base: Path
    file: Path
    number: int
    chunks: int
    count: int


def dream_jobs(base: Path, folder: Path, count: int) -> list[DreamJob]:
    """Return the chunks in which the teacher paints `count` pictures."""
    starts = range(0, count, _CHUNK)
    return [
        DreamJob(
            base=base,
            file=folder / f"{number:03}.safetensors",
            number=number,
            chunks=len(starts),
            count=min(_CHUNK, count - start),
        )
        for number, start in enumerate(starts)
    ]


def dream(job: DreamJob, progress: Progress) -> None:
    """Let the teacher paint a chunk, unless it is there: the captions' tokens, the latents, and the noise before."""
    if job.file.is_file():
        return
    model, words, _ = load_base(job.base)
    lot = random.Random(f"dreams {job.number}")  # noqa: S311
    texts = describe(BASE.draw(lot, job.count), lot, strayed=0.05)
    latents = paint_latents(model, words, texts, seed=job.number, steps=_TEACHER_STEPS)
    noise = start_noise(job.count, latents.shape[1], job.number)
    save_tensors(job.file, {"tokens": encode(words, texts), "latents": latents.half(), "noise": noise.half()})
    progress(Report(stage="dreams", step=job.number + 1, steps=job.chunks, loss=0.0, speed=0.0, left=0.0))


@dataclass(frozen=True)
class QuickTask:
    """Learns the teacher's pictures from the noise that they came from."""

    sizes: Sizes
    base: Path
    dreams: Path

    @cached_property
    def teacher(self) -> BaseModel:
        """The base model."""
        return load_base(self.base)[0]

    @cached_property
    def material(self) -> dict[str, Tensor]:
        """All the teacher's pictures: `tokens`, `latents` and `noise`."""
        chunks = [load_tensors(file)[0] for file in sorted(self.dreams.glob("*.safetensors"))]
        return {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}

    def build(self) -> Any:
        """Return a student that begins with the teacher's weights where they have a place in it."""
        student = build_quick_unet(self.sizes)
        known = {name: weight.shape for name, weight in student.state_dict().items()}
        taught = self.teacher.unet.state_dict()
        student.load_state_dict({n: w for n, w in taught.items() if known.get(n) == w.shape}, strict=False)
        return student

    def is_matrix(self, name: str, weight: Tensor) -> bool:
        """Let Muon move what lies inside the UNet."""
        outside = ("conv_in", "conv_out", "time_embedding", "time_emb_proj")
        return weight.ndim >= 2 and not any(part in name for part in outside)

    def loss(self, model: Any, share: Share) -> Tensor:
        """Compare the student's picture with the teacher's, large mistakes counting less than squared."""
        chosen = [share.lot.randrange(len(self.material["noise"])) for _ in range(share.size)]
        noise = self.material["noise"][chosen].float().to(share.device)
        target = self.material["latents"][chosen].float().to(share.device)
        with torch.no_grad():
            hidden = self.teacher.text.to(share.device)(self.material["tokens"][chosen].to(share.device))
        painted = paint_at_once(model, noise, hidden.last_hidden_state)
        return functional.huber_loss(painted.float(), target, delta=0.3) / 0.3


def paint_at_once(student: Any, noise: Tensor, hidden: Tensor) -> Tensor:
    """Return scaled latents after one step from nothing but noise."""
    velocity: Tensor = student(noise, torch.full((len(noise),), _LAST, device=noise.device), hidden).sample
    return -velocity


class QuickEasel:
    """A student with the parts of its teacher that it keeps: paints, and is judged."""

    def __init__(self, student: Any, base: Path) -> None:
        self.student = student
        self.model, self.words, self.autoencoder = load_base(base)

    def paint(self, texts: list[str], seed: int) -> Tensor:
        """Paint each text in one step: images from -1 to 1, shape (texts, 3, height, width)."""
        noise = start_noise(len(texts), self.student.config.in_channels, seed)
        with torch.inference_mode():
            latents = paint_at_once(self.student, noise, read_texts(self.model.text, self.words, texts))
        return to_images(self.autoencoder, latents).clamp(-1, 1)

    def measure(self, judge: Evaluator, count: int) -> dict[str, float]:
        """Return the share of base pictures that show what they should, part by part."""
        lot = random.Random("one step")  # noqa: S311
        pictures = BASE.draw(lot, count)
        return shares_right(judge, self.paint([held_out_caption(picture, lot) for picture in pictures], 7), pictures)

    def show(self, file: Path) -> None:
        """Write a sheet: each base subject in each base scene."""
        lot = random.Random("one step")  # noqa: S311
        rows = []
        for place, scene in enumerate(BASE_SCENES):
            pictures = [Choices((subject,), (scene,), ("flat",)).draw(lot, 1)[0] for subject in BASE_SUBJECTS]
            rows.append(to_bytes(self.paint([held_out_caption(picture, lot) for picture in pictures], place)))
        page = sheet(rows, row_labels=BASE_SCENES, column_labels=BASE_SUBJECTS, factor=3)
        write_whole(file, lambda beside: page.save(beside, "PNG"))
