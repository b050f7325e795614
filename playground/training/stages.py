"""The stages of training, each a function that goes on where it was cut off and does nothing once it is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from ...errors import InputError
from .adapters import Lesson, LoraJob, LoraTask, every_lesson, recipe_for, train_adapter
from .autoencoder import AutoencoderTask, load_autoencoder, measure_autoencoder, save_autoencoder, show_autoencoder
from .base import BaseTask, save_base, save_latents, show_base
from .broaden import BroadTask, save_varied
from .checkpoint import append_line, load_json, save_json
from .composition import Easel, show_composition
from .distil import QuickEasel, QuickTask, dream, dream_jobs
from .evaluator import EvaluatorTask, load_evaluator, measure_evaluator, save_evaluator
from .folders import copy_folder, digest_of, save_model
from .ledger import Ledger
from .plan import Plan, processor_plan
from .recipe import Progress, Recipe, Task, Trained
from .texts import known_words
from .tokenizer import load_tokenizer, save_tokenizer
from .trainer import train_model
from .workers import run_side_by_side
from .xl import XlTask, save_xl, show_xl

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
    def narrow(self) -> Path:
        """The folder of the base model before it is broadened."""
        return self.folder / "parts" / "narrow"

    @property
    def base(self) -> Path:
        """The base model's folder."""
        return self.folder / "base"

    @property
    def onestep(self) -> Path:
        """The one-step model's folder."""
        return self.folder / "onestep"

    @property
    def xl(self) -> Path:
        """The folder of the sibling in the form of SDXL."""
        return self.folder / "xl"

    @property
    def loras(self) -> Path:
        """The folder of the adapters' files."""
        return self.folder / "loras"

    @property
    def lessons(self) -> list[Lesson]:
        """What the plan's adapters are to learn."""
        chosen = self.plan.adapters
        return [lesson for lesson in every_lesson(self.plan.lesson) if not chosen or lesson.name in chosen]

    def kept(self, name: str, *models: Path, count: int) -> Path:
        """Where something goes that these models and a count decide: with others it has another name."""
        file = self.folder / "state" / name
        return file.with_name(f"{file.stem}_{digest_of(models, count)}{file.suffix}")

    def sheet(self, name: str) -> Path:
        """Where a sheet of samples goes."""
        return self.folder / "sheets" / f"{name}.png"

    def train(self, stage: str, task: Task, recipe: Recipe, watch: Callable[[int, Any], None] | None = None) -> Trained:
        """Train a model of this studio."""
        state = self.folder / "state" / f"{stage}.safetensors"
        return train_model(
            task, recipe, stage=stage, state=state, progress=self.progress, watch=watch, watched=self.plan.looks
        )

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

    result = studio.train("evaluator", task, recipe, watch)
    save_evaluator(trained(task, result), studio.tokenizer, studio.evaluator)
    figures = measure_evaluator(load_evaluator(studio.evaluator), words, blur, 20 * count)
    studio.ledger.write("evaluator", recipe, result, figures)


def keep_latents(studio: Studio) -> Path:
    """Encode the base's pictures unless that is done, and return the file of their latents."""
    file = studio.kept("latents.npy", studio.autoencoder, count=studio.plan.thinned)
    save_latents(load_autoencoder(studio.autoencoder), file, studio.plan.thinned)
    return file


def train_base(studio: Studio) -> None:
    """Train the base model."""
    plan = studio.plan
    task = BaseTask(plan.sizes, studio.tokenizer, keep_latents(studio), plan.thinned)
    _train_denoiser(studio, "base", task, plan.base, studio.narrow)


def broaden_base(studio: Studio) -> None:
    """Train the base model further, on other colours and on things without a name."""
    plan = studio.plan
    others = studio.kept("varied.npy", studio.autoencoder, count=plan.varied)
    save_varied(load_autoencoder(studio.autoencoder), others, plan.varied)
    latents = keep_latents(studio)
    task = BroadTask(plan.sizes, studio.tokenizer, latents, plan.thinned, narrow=studio.narrow, others=others)
    _train_denoiser(studio, "broad", task, plan.broad, studio.base)


def _train_denoiser(studio: Studio, stage: str, task: BaseTask, recipe: Recipe, folder: Path) -> None:
    """Train what paints the base's pictures, and write its pipeline to a folder."""
    autoencoder = load_autoencoder(studio.autoencoder)

    def watch(step: int, model: Any) -> None:
        quarters = task.validate(model)
        studio.note(stage, {"step": step, "loss": round(sum(quarters) / 4, 4), "quarters": quarters})
        show_base(model.cpu(), task.words, autoencoder, studio.sheet(f"{stage}_{step}"))

    result = studio.train(stage, task, recipe, watch)
    model = trained(task, result)
    save_base(model, studio.tokenizer, studio.autoencoder, folder)
    show_base(model, task.words, autoencoder, studio.sheet(stage))
    studio.ledger.write(stage, recipe, result, {"validation": task.validate(model)})


def train_adapters(studio: Studio) -> None:
    """Train an adapter for each new subject, style and scene, and the over-trained one, several at a time."""
    plan = studio.plan
    jobs = [
        LoraJob(
            task=LoraTask(studio.base, lesson, plan.ranks, seed=number),
            recipe=recipe_for(lesson, plan.adapter),
            file=studio.loras / f"{lesson.name}.safetensors",
            state=studio.folder / "state" / f"lora_{lesson.name}.safetensors",
        )
        for number, lesson in enumerate(studio.lessons)
    ]
    waiting = [job for job in jobs if studio.ledger.read(f"adapter {job.file.stem}") is None]
    results = run_side_by_side(train_adapter, waiting, plan.workers, studio.progress)
    easel = Easel(studio.base, studio.loras, studio.evaluator)
    for job, result in zip(waiting, results, strict=True):
        name = job.file.stem
        figures = easel.measure(job.task.lesson.choices, {name: 1.0}, plan.measured)
        studio.ledger.write(f"adapter {name}", job.recipe, result, figures)
    if not plan.adapters:
        show_composition(easel, studio.sheet("composition"))


def train_onestep(studio: Studio) -> None:
    """Let the base paint, and train the one-step model on its pictures."""
    plan, recipe = studio.plan, studio.plan.quick
    dreams = studio.kept("dreams", studio.base / "unet", studio.base / "text_encoder", count=plan.dreams)
    run_side_by_side(dream, dream_jobs(studio.base, dreams, plan.dreams), plan.workers, studio.progress)
    task, judge = QuickTask(plan.sizes, studio.base, dreams), load_evaluator(studio.evaluator)

    def watch(step: int, model: Any) -> None:
        easel = QuickEasel(model.cpu(), studio.base)
        studio.note("onestep", {"step": step, **easel.measure(judge, plan.measured)})
        easel.show(studio.sheet(f"onestep_{step}"))

    result = studio.train("onestep", task, recipe, watch)
    student = trained(task, result)
    save_model(student, studio.onestep / "unet")
    for part in ("tokenizer", "vae", "text_encoder", "scheduler"):
        copy_folder(studio.base / part, studio.onestep / part)
    save_json(studio.onestep / "model_index.json", load_json(studio.base / "model_index.json"))
    easel = QuickEasel(student, studio.base)
    easel.show(studio.sheet("onestep"))
    studio.ledger.write("onestep", recipe, result, easel.measure(judge, 5 * plan.measured))


def train_xl(studio: Studio) -> None:
    """Train the sibling in the form of SDXL."""
    plan, recipe = studio.plan, studio.plan.xl
    task = XlTask(plan.sizes, studio.tokenizer, studio.autoencoder, keep_latents(studio), plan.thinned)
    result = studio.train("xl", task, recipe)
    save_xl(trained(task, result), studio.tokenizer, studio.autoencoder, studio.xl)
    figures = show_xl(studio.xl, load_evaluator(studio.evaluator), studio.sheet("xl"))
    studio.ledger.write("xl", recipe, result, figures)


STAGES: Final[dict[str, Callable[[Studio], None]]] = {
    "autoencoder": train_autoencoder,
    "base": train_base,
    "broad": broaden_base,
    "evaluator": train_evaluator,
    "adapters": train_adapters,
    "onestep": train_onestep,
    "xl": train_xl,
}
"""The stages in the order in which they rest on each other."""

_NEEDS: Final[dict[str, tuple[str, ...]]] = {
    "base": ("autoencoder",),
    "broad": ("base",),
    "evaluator": ("autoencoder",),
    "adapters": ("broad", "evaluator"),
    "onestep": ("broad", "evaluator"),
    "xl": ("autoencoder", "evaluator"),
}


def _recipes(studio: Studio, stage: str) -> dict[str, Recipe]:
    """Return the recipes of a stage by the names of the ledger's entries."""
    if stage == "adapters":
        return {f"adapter {lesson.name}": recipe_for(lesson, studio.plan.adapter) for lesson in studio.lessons}
    return {stage: studio.plan.quick if stage == "onestep" else getattr(studio.plan, stage)}


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
        InputError: a stage is not known, the one it rests on is not done, or either was trained by another plan.

    """
    unknown = [name for name in stages if name not in STAGES]
    if unknown:
        raise InputError(f"there is no stage {unknown[0]!r}; the stages are {', '.join(STAGES)}")
    studio = Studio(folder, plan or processor_plan(), Ledger(folder, machine), progress)
    for name in stages:
        for part in (name, *_NEEDS.get(name, ())):
            for entry, recipe in _recipes(studio, part).items():
                studio.ledger.check(entry, recipe)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # other processors train, or are busy: threads that wait for each other would crawl
    try:
        for name in STAGES:
            if name in stages and studio.ledger.read(name) is None:
                for needed in _NEEDS.get(name, ()):
                    if studio.ledger.read(needed) is None:
                        raise InputError(f"the stage {name} needs {needed}; train that first")
                STAGES[name](studio)
    finally:
        torch.set_num_threads(threads)
