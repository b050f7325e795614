"""The stages of training, each a function that goes on where it was cut off and does nothing once it is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ...errors import InputError
from .autoencoder import AutoencoderTask, load_autoencoder, measure_autoencoder, save_autoencoder, show_autoencoder
from .base import BaseTask, save_base, save_latents, show_base
from .checkpoint import append_line
from .evaluator import EvaluatorTask, load_evaluator, measure_evaluator, save_evaluator
from .ledger import Ledger
from .plan import Plan, processor_plan
from .texts import known_words
from .tokenizer import load_tokenizer, save_tokenizer
from .trainer import Progress, Recipe, Task, Trained, train_model

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class Studio:
    """Where things lie, and how they are trained."""

    folder: Path
    plan: Plan
    ledger: Ledger
    progress: Progress | None = None

    @property
    def tokenizer(self) -> Path:
        """The tokenizer's files."""
        return self.folder / "parts" / "tokenizer"

    @property
    def autoencoder(self) -> Path:
        """The autoencoder's folder."""
        return self.folder / "parts" / "vae"

    @property
    def evaluator(self) -> Path:
        """The evaluator's folder."""
        return self.folder / "evaluator"

    @property
    def base(self) -> Path:
        """The base model's folder."""
        return self.folder / "base"

    @property
    def loras(self) -> Path:
        """The folder of the adapters' files."""
        return self.folder / "loras"

    @property
    def latents(self) -> Path:
        """The latents of all base pictures."""
        return self.folder / "state" / "latents.npy"

    def sheet(self, name: str) -> Path:
        """Where a sheet of samples goes."""
        return self.folder / "sheets" / f"{name}.png"

    def train(
        self, stage: str, task: Task, recipe: Recipe, watch: Callable[[int, Any], None] | None = None, watched: int = 4
    ) -> Trained:
        """Train a model of this studio."""
        state = self.folder / "state" / f"{stage}.safetensors"
        return train_model(task, recipe, stage=stage, state=state, progress=self.progress, watch=watch, watched=watched)

    def note(self, stage: str, figures: dict[str, Any]) -> None:
        """Add a line of figures to a stage's curve."""
        append_line(self.folder / "curves" / f"{stage}.jsonl", {**figures, "time": round(time.time())})


def trained(task: Task, result: Trained) -> Any:
    """Return a task's model with the weights that came out of its training."""
    model = task.build()
    model.load_state_dict(result.weights, strict=False)
    return model.eval().requires_grad_(False)


def train_autoencoder(studio: Studio) -> None:
    """Write the tokenizer, and train the autoencoder."""
    save_tokenizer(studio.tokenizer, known_words())
    task, recipe = AutoencoderTask(studio.plan.sizes), studio.plan.autoencoder

    def watch(step: int, model: nn.Module) -> None:
        studio.note("autoencoder", {"step": step, **measure_autoencoder(model.cpu(), studio.plan.measured)})

    result = studio.train("autoencoder", task, recipe, watch)
    model = trained(task, result)
    save_autoencoder(model, studio.autoencoder)
    model = load_autoencoder(studio.autoencoder)
    show_autoencoder(model, studio.sheet("autoencoder"))
    studio.ledger.write("autoencoder", recipe, result, measure_autoencoder(model, studio.plan.measured))


def train_evaluator(studio: Studio) -> None:
    """Train the evaluator."""
    task, recipe = EvaluatorTask(studio.plan.sizes, studio.tokenizer, studio.autoencoder), studio.plan.evaluator
    words, blur, count = load_tokenizer(studio.tokenizer), load_autoencoder(studio.autoencoder), studio.plan.measured

    def watch(step: int, model: Any) -> None:
        studio.note("evaluator", {"step": step, **measure_evaluator(model.cpu(), words, blur, 5 * count)})

    result = studio.train("evaluator", task, recipe, watch, watched=8)
    save_evaluator(trained(task, result), studio.tokenizer, studio.evaluator)
    figures = measure_evaluator(load_evaluator(studio.evaluator), words, blur, 20 * count)
    studio.ledger.write("evaluator", recipe, result, figures)


def train_base(studio: Studio) -> None:
    """Train the base model."""
    autoencoder = load_autoencoder(studio.autoencoder)
    save_latents(autoencoder, studio.latents)
    task, recipe = BaseTask(studio.plan.sizes, studio.tokenizer, studio.latents), studio.plan.base

    def watch(step: int, model: Any) -> None:
        quarters = task.validate(model)
        studio.note("base", {"step": step, "loss": round(sum(quarters) / 4, 4), "quarters": quarters})
        show_base(model.cpu(), task.words, autoencoder, studio.sheet(f"base_{step}"))

    result = studio.train("base", task, recipe, watch, watched=10)
    model = trained(task, result)
    save_base(model, studio.tokenizer, studio.autoencoder, studio.base)
    show_base(model, task.words, autoencoder, studio.sheet("base"))
    studio.ledger.write("base", recipe, result, {"validation": task.validate(model)})


STAGES: Final[dict[str, Callable[[Studio], None]]] = {
    "autoencoder": train_autoencoder,
    "evaluator": train_evaluator,
    "base": train_base,
}
"""The stages in the order in which they rest on each other."""


def train(
    folder: Path,
    stages: Sequence[str] = tuple(STAGES),
    *,
    plan: Plan | None = None,
    machine: str | None = None,
    progress: Progress | None = None,
) -> None:
    """Train the playground, or what is missing of it.

    Args:
        folder: Where everything goes: `base`, `onestep`, `xl`, `evaluator`, `loras`, `sheets`, and `training.json`.
        stages: Names of `STAGES`, trained in that order.
        plan: How; without one, the plan for two processor cores.
        machine: What `training.json` calls the machine.
        progress: Called with a report every few seconds.

    Raises:
        InputError: a stage is not known, or the one it rests on is not done.

    """
    unknown = [name for name in stages if name not in STAGES]
    if unknown:
        raise InputError(f"there is no stage {unknown[0]!r}; the stages are {', '.join(STAGES)}")
    studio = Studio(folder, plan or processor_plan(), Ledger(folder, machine), progress)
    for name in STAGES:
        if name in stages and studio.ledger.read(name) is None:
            STAGES[name](studio)
