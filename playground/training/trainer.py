"""Trains one model, in one process or in several that share its weights.

Each process has a thread of its own, draws its own part of every batch, and moves only its part of the weights, so
nothing is computed twice and nothing is sent: all weights lie in one tensor of shared memory. What a process draws
depends on the seed, the step and the process alone; a run that was killed goes on as if it had not been.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import BrokenBarrierError
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from ...errors import VelaturaError
from .checkpoint import load_tensors, save_tensors
from .flat import Layout
from .muon import muon_updates
from .recipe import Progress, Recipe, Report, Share, Task, Trained

if TYPE_CHECKING:
    from pathlib import Path

_PATIENCE: Final = 3600.0
"""Seconds that a process waits for the others before it takes them for dead."""


@dataclass(slots=True)
class _Memory:
    """What the processes share."""

    values: Tensor
    """Weights, averaged weights, first and second moments: shape (4, numbers)."""
    gradients: Tensor
    """One row for each process."""
    meters: Tensor
    """Loss of the step and processor seconds, for each process: shape (processes, 2), double."""
    step: int = 0
    seconds: float = 0.0
    used: float = 0.0
    """Processor seconds of earlier runs."""
    loss: float = float("nan")


class _Worker:
    """One of the processes that train a model."""

    def __init__(self, task: Task, recipe: Recipe, memory: _Memory, barrier: Any, number: int) -> None:
        self.task, self.recipe, self.memory, self.barrier, self.number = task, recipe, memory, barrier, number
        self.device = torch.device(recipe.device)
        torch.manual_seed(recipe.seed)
        self.model = task.build().to(self.device)
        self.layout = Layout(self.model, task.is_matrix)
        self.layout.bind(self.model, memory.values[0], memory.gradients[number])
        self.matrices = self.layout.matrices_of(number, recipe.processes)
        self.plain = self.layout.plain_of(number, recipe.processes)

    def wait(self) -> None:
        """Wait until all processes have come this far."""
        if self.barrier is not None:
            self.barrier.wait(_PATIENCE)

    def take_step(self, step: int) -> None:
        """Draw, differentiate and move this process's part of the weights."""
        recipe, memory = self.recipe, self.memory
        seed = (recipe.seed * 1_000_003 + step) * 64 + self.number
        share = Share(
            size=recipe.batch,
            lot=random.Random(seed),  # noqa: S311
            generator=torch.Generator().manual_seed(seed),
            device=self.device,
        )
        torch.manual_seed(seed)
        memory.gradients[self.number].zero_()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=recipe.bfloat16):
            loss = self.task.loss(self.model, share)
        loss.backward()  # type: ignore[no-untyped-call]
        memory.meters[self.number, 0] = loss.detach()
        self.wait()
        with torch.no_grad():
            rate = recipe.rate_at(step)
            self._step_adamw(step, rate)
            self._step_muon(rate)
        memory.meters[self.number, 1] = time.process_time()
        self.wait()

    def _step_adamw(self, step: int, rate: float) -> None:
        """AdamW with betas of 0.9 and 0.99 (Loshchilov and Hutter, 2019)."""
        weights, average, first, second = self.memory.values
        gradient = self.memory.gradients[:, : self.layout.plain].mean(0)
        gradient *= (self.recipe.clip / (gradient.norm() + 1e-6)).clamp(max=1.0)
        mine = gradient[self.plain]
        first[self.plain].lerp_(mine, 0.1)
        second[self.plain].lerp_(mine.square(), 0.01)
        mean = first[self.plain] / (1 - 0.9 ** (step + 1))
        spread = (second[self.plain] / (1 - 0.99 ** (step + 1))).sqrt_().add_(1e-8)
        weights[self.plain].mul_(1 - rate * self.recipe.decay).addcdiv_(mean, spread, value=-rate)
        average[self.plain].lerp_(weights[self.plain], 1 - self.recipe.average)

    def _step_muon(self, rate: float) -> None:
        weights, average, first, _ = self.memory.values
        for (rows, columns), places in self.matrices.items():
            stretches = [slice(place.start, place.start + place.size) for place in places]
            gradient = torch.stack([self.memory.gradients[:, part].mean(0).view(rows, columns) for part in stretches])
            momentum = torch.stack([first[part].view(rows, columns) for part in stretches])
            updates = muon_updates(gradient, momentum, beta=0.95)
            for part, kept, update in zip(stretches, momentum, updates, strict=True):
                first[part].copy_(kept.flatten())
                weights[part].mul_(1 - rate * self.recipe.decay).add_(update.flatten(), alpha=-rate)
                average[part].lerp_(weights[part], 1 - self.recipe.average)


def train_model(
    task: Task,
    recipe: Recipe,
    *,
    stage: str,
    state: Path,
    progress: Progress | None = None,
    every: float = 90.0,
    watch: Callable[[int, nn.Module], None] | None = None,
    watched: int = 4,
) -> Trained:
    """Train a model, or go on where an earlier run was cut off.

    Args:
        task: What is trained.
        recipe: How; a state made by another recipe is refused.
        stage: The name that reports carry.
        state: The safetensors file that holds all of an unfinished or finished run.
        progress: Called about every five seconds.
        every: Seconds between two savings of the state.
        watch: Called with the step and the averaged model, `watched` times on the way and at the end.
        watched: How often `watch` is called.

    Raises:
        VelaturaError: the state is of another recipe, or a process died.

    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    children: list[Any] = []
    try:
        memory = _remember(task, recipe, state)
        context = torch.multiprocessing.get_context("spawn")
        barrier = context.Barrier(recipe.processes) if recipe.processes > 1 else None
        worker = _Worker(task, recipe, memory, barrier, 0)
        for number in range(1, recipe.processes if memory.step < recipe.steps else 1):
            child = context.Process(target=_follow, args=(task, recipe, memory, barrier, number), daemon=True)
            child.start()
            children.append(child)
        _lead(worker, stage, state, progress, every, watch, watched)
        for child in children:
            child.join()
    except BrokenBarrierError:
        for child in children:
            child.join(10)  # so that it can say why
        raise VelaturaError(f"{stage}: a training process died; run the same command again to go on") from None
    finally:
        for child in children:
            child.terminate()
        torch.set_num_threads(threads)
    return Trained(
        weights={place.name: place.view(memory.values[1]).clone().cpu() for place in worker.layout.places},
        samples=memory.step * recipe.batch * recipe.processes,
        seconds=memory.seconds,
        processor_seconds=memory.used,
        loss=memory.loss,
    )


def _remember(task: Task, recipe: Recipe, state: Path) -> _Memory:
    """Lay out the shared memory, as the state's file left it or new."""
    torch.manual_seed(recipe.seed)
    model = task.build()
    layout = Layout(model, task.is_matrix)
    device = torch.device(recipe.device)
    memory = _Memory(
        values=torch.zeros(4, layout.size, device=device),
        gradients=torch.zeros(recipe.processes, layout.size, device=device),
        meters=torch.zeros(recipe.processes, 2, dtype=torch.float64),
    )
    if state.is_file():
        tensors, told = load_tensors(state)
        if told.get("recipe") != repr(recipe) or tensors["values"].shape != memory.values.shape:
            raise VelaturaError(f"{state} was made with other settings; delete it to train this stage anew")
        memory.values.copy_(tensors["values"])
        memory.step, memory.seconds = int(told["step"]), float(told["seconds"])
        memory.used, memory.loss = float(told["processor_seconds"]), float(told["loss"])
    else:
        layout.gather(model, memory.values[0])
        memory.values[1].copy_(memory.values[0])
    if recipe.processes > 1:
        for tensor in (memory.values, memory.gradients, memory.meters):
            tensor.share_memory_()  # type: ignore[no-untyped-call]
    return memory


def _follow(task: Task, recipe: Recipe, memory: _Memory, barrier: Any, number: int) -> None:
    """Train in a child process."""
    torch.set_num_threads(1)
    worker = _Worker(task, recipe, memory, barrier, number)
    try:
        for step in range(memory.step, recipe.steps):
            worker.take_step(step)
            worker.wait()  # the leader may save or look here
    except BrokenBarrierError:
        return
    except BaseException:
        barrier.abort()
        raise


def _lead(
    worker: _Worker,
    stage: str,
    state: Path,
    progress: Progress | None,
    every: float,
    watch: Callable[[int, nn.Module], None] | None,
    watched: int,
) -> None:
    """Train in the first process, which also reports and saves."""
    memory, recipe = worker.memory, worker.recipe
    before, began, first = memory.seconds, time.monotonic(), memory.step
    used, start = memory.used, time.process_time()
    saved = told = began
    moments = {recipe.steps * part // max(1, watched) for part in range(1, watched + 1)}
    for step in range(first, recipe.steps):
        worker.take_step(step)
        now = time.monotonic()
        loss = float(memory.meters[:, 0].mean())
        memory.loss = loss if memory.step == 0 else memory.loss + (loss - memory.loss) * 0.02
        memory.step, memory.seconds = step + 1, before + now - began
        memory.used = used + float(memory.meters[:, 1].sum()) - start
        if watch is not None and memory.step in moments:
            watch(memory.step, _averaged(worker))
        if now - saved >= every or memory.step == recipe.steps:
            _save(memory, recipe, state)
            saved = now
        if progress is not None and (now - told >= 5 or memory.step == recipe.steps):
            pace = (now - began) / (memory.step - first)
            speed = recipe.batch * recipe.processes / pace
            left = pace * (recipe.steps - memory.step)
            progress(
                Report(stage=stage, step=memory.step, steps=recipe.steps, loss=memory.loss, speed=speed, left=left)
            )
            told = now
        worker.wait()


def _averaged(worker: _Worker) -> nn.Module:
    """Return a model of its own with the averaged weights."""
    torch.manual_seed(worker.recipe.seed)
    model = worker.task.build().to(worker.device)
    worker.layout.bind(model, worker.memory.values[1].clone())
    return model.eval()


def _save(memory: _Memory, recipe: Recipe, state: Path) -> None:
    told = {
        "recipe": repr(recipe),
        "step": str(memory.step),
        "seconds": repr(memory.seconds),
        "processor_seconds": repr(memory.used),
        "loss": repr(memory.loss),
    }
    save_tensors(state, {"values": memory.values}, told)
