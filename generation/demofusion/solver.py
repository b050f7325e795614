"""A scheduler of diffusers as the loop needs it: noise for any step, and a solver that begins at any step.

A solver steps over the whole latent, with what views of it predicted put together. Every scheduler is linear in what
is predicted, so that this equals stepping each view by itself and averaging afterwards; and the history that a
multistep solver keeps is then one of every cell, which stays right where windows move from step to step.
"""

from __future__ import annotations

import inspect
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from ...errors import InputError
from ..previews import Seen
from ..schedulers import without_numpy_warning

_FROM_THE_START = ("LMSDiscreteScheduler", "PNDMScheduler")
"""These must make every step from the first on."""


def fits(scheduler: Any) -> bool:
    """Whether a scheduler can step as an enlargement needs it: from any step on, with one prediction for each."""
    return scheduler.order == 1 and type(scheduler).__name__ not in _FROM_THE_START


class Schedule:
    """The time steps of one phase.

    Args:
        scheduler: Of diffusers; it stays as it is.
        steps: How many steps are made.
        device: Where latents lie.
        eta: How much noise each step adds anew, for the schedulers that ask for it.

    Raises:
        InputError: the scheduler cannot step as an enlargement needs it; one sentence.
    """

    def __init__(self, scheduler: Any, steps: int, *, device: torch.device | str = "cpu", eta: float = 0.0) -> None:
        if not fits(scheduler):
            why = "must begin at its first step" if scheduler.order == 1 else "asks the model twice in a step"
            name = type(scheduler).__name__
            raise InputError(f"{name} {why}, which painting large does not allow; take ddim, euler or dpmpp_2m")
        self._eta = eta
        self._scheduler = deepcopy(scheduler)
        with without_numpy_warning():
            self._scheduler.set_timesteps(steps, device=device)
        self.timesteps: Tensor = self._scheduler.timesteps
        self.train_timesteps = int(scheduler.config.num_train_timesteps)

    def first(self, noise: Tensor) -> Tensor:
        """Return noise at the strength of the first step."""
        first: Tensor = noise * self._scheduler.init_noise_sigma
        return first

    def noised(self, latents: Tensor, noise: Tensor, number: int) -> Tensor:
        """Return clean latents with as much noise as the step of that number begins with."""
        with without_numpy_warning():
            noised: Tensor = self._at(number).add_noise(latents, noise, self.timesteps[number : number + 1])
        return noised

    def solver(self, number: int = 0) -> Solver:
        """Return a solver without a history that begins at the step of that number."""
        return Solver(self._at(number), self.timesteps, self._eta)

    def _at(self, number: int) -> Any:
        scheduler = deepcopy(self._scheduler)
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(number)
        return scheduler


class Solver:
    """Steps from noise to picture; keeps its own history.

    Args:
        scheduler: A fresh one of diffusers, which begins where the first step is to be.
        timesteps: All of them.
        eta: How much noise each step adds anew, for the schedulers that ask for it.
    """

    def __init__(self, scheduler: Any, timesteps: Tensor, eta: float = 0.0) -> None:
        self._scheduler, self._timesteps = scheduler, timesteps
        taken = inspect.signature(scheduler.step).parameters
        self._takes_generator = "generator" in taken
        self._options = {"eta": eta} if "eta" in taken else {}
        self._seen = Seen(scheduler)

    def scaled(self, latents: Tensor, number: int) -> Tensor:
        """Return latents as the model is to see them at a step."""
        with without_numpy_warning():
            scaled: Tensor = self._scheduler.scale_model_input(latents, self._timesteps[number])
        return scaled

    def step(self, predicted: Tensor, number: int, latents: Tensor, generator: torch.Generator) -> Tensor:
        """Make the step of that number; steps are made in order.

        Args:
            predicted: What the model says of the latents.
            number: Of the step.
            latents: As they are before it.
            generator: Of the noise that some solvers add.
        """
        options: dict[str, Any] = {**self._options, "generator": generator} if self._takes_generator else self._options
        timestep = self._timesteps[number]
        with without_numpy_warning():
            output = self._scheduler.step(predicted, timestep, latents, **options)
        self._seen.hear(output, predicted, timestep, latents)
        stepped: Tensor = output.prev_sample
        return stepped

    def clean(self, latents: Tensor) -> Tensor:
        """Return what the clean latents would be if the last prediction was right, as far as that is known.

        Args:
            latents: As they are after the last step.
        """
        return self._seen.clean(latents)
