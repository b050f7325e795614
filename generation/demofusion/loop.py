"""The loop that paints what a plan says, over any model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

from .draws import Draws
from .plan import Phase, Plan
from .solver import Schedule, Solver
from .steps import Step
from .windows import Size, Window, offsets, padding, shifted

Corner = tuple[int, int]
"""The row and the column of a view's first cell."""

_NO_BLUR = 0.01
"""So narrow a Gaussian is no blur: what it gives the next cell is less than a float32 can tell from 0."""


class Model(Protocol):
    """What a diffusion model predicts of views, with guidance."""

    def __call__(self, views: Tensor, timestep: Tensor, corners: Sequence[Corner]) -> Tensor:
        """Predict.

        Args:
            views: Noisy latents at the scale that the model knows, shape (views, channels, height, width).
            timestep: Of all of them.
            corners: Where each view begins in the picture.

        Returns:
            Of the shape of `views`, float32.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an enlargement is, told after every step."""

    done: int
    """Samples that passed through the model."""
    of: int
    phase: int
    """From 1."""
    phases: int
    step: int
    """Of the phase, from 1."""
    steps: int
    clean: Callable[[], Tensor]
    """Tells what the clean latents would be if the model was right now, shape (1, channels, height, width). To be
    asked before the next step."""


@dataclass(frozen=True, slots=True)
class _View:
    latents: Tensor
    """At the scale that the model knows."""
    corner: Corner


class Painter:
    """Paints what a plan says.

    Args:
        plan: What is done in every step.
        model: Predicts views.
        first: The time steps of the first phase.
        later: Those of the others; None takes the same.
        channels: Of the latents.
        device: Where the latents lie.
        static: Whether every batch of views of one size is as large as the plan's, the last ones filled up; a compiled
            model is then compiled once.
        told: Called after every step; may raise, which ends the painting.
    """

    def __init__(
        self,
        plan: Plan,
        model: Model,
        first: Schedule,
        later: Schedule | None = None,
        *,
        channels: int = 4,
        device: torch.device | str = "cpu",
        static: bool = False,
        told: Callable[[Progress], None] | None = None,
    ) -> None:
        self._plan, self._model, self._first, self._later = plan, model, first, later or first
        self._channels, self._device, self._static, self._told = channels, device, static, told
        self._done = 0

    @torch.no_grad()
    def paint(self, draws: Draws, start: Tensor | None = None) -> Tensor:
        """Paint.

        Args:
            draws: The source of all noise and jitter.
            start: The latents to enlarge, shape (1, channels, height, width); None where the plan begins with noise.

        Returns:
            The finished latents, float32, shape (1, channels, height, width).
        """
        self._done = 0
        latents = None if start is None else start.to(self._device, torch.float32)
        anchor = None if latents is None else (latents.mean(), latents.std())
        for number, phase in enumerate(self._plan.phases, 1):
            if latents is None or not phase.dilation:
                latents = self._at_once(number, phase, draws, latents)
            else:
                latents = self._enlarged(number, phase, draws, latents)
            if anchor is None:
                anchor = latents.mean(), latents.std()
            elif phase.dilation:
                latents = (latents - latents.mean()) / latents.std() * anchor[1] + anchor[0]
        if latents is None:
            raise ValueError("the plan has no phase")
        return latents

    def _at_once(self, number: int, phase: Phase, draws: Draws, latents: Tensor | None) -> Tensor:
        """Paint at one size: the picture in one piece, or in windows that do not move (MultiDiffusion)."""
        schedule = self._first
        noise = self._noise(draws, phase.size)
        begin = phase.steps[0].number
        clean = None if latents is None else _resized(latents, phase.size)
        z = schedule.first(noise) if clean is None else schedule.noised(clean, noise, begin)
        solver = schedule.solver(begin)
        whole = (Window(0, 0, *phase.size),)
        for place, step in enumerate(phase.steps, 1):
            scaled = solver.scaled(z, step.number)
            windows = phase.windows or whole
            predicted = self._predicted(_cut(scaled, windows), schedule.timesteps[step.number])
            z = solver.step(_averaged(predicted, windows, z), step.number, z, draws.generator)
            self._tell(number, phase, place, partial(solver.clean, z))
        return z

    def _enlarged(self, number: int, phase: Phase, draws: Draws, latents: Tensor) -> Tensor:
        """Paint a picture of the phase before at a larger size (DemoFusion, section 3)."""
        schedule = self._later
        clean = _resized(latents, phase.size)
        noise = self._noise(draws, phase.size)
        local = _Part(schedule)
        dilated = _Part(schedule)
        z = torch.zeros_like(clean)
        for place, step in enumerate(phase.steps, 1):
            share = 1.0 if place == 1 else step.residual
            if share > 0:
                z = z * (1 - share) + schedule.noised(clean, noise, step.number) * share
            # Drawn whether they are needed or not, so that leaving a part out changes nothing else.
            windows = shifted(phase.windows, phase.size, phase.reach, draws.jitter)
            seed = draws.seed()
            views: list[_View] = []
            if step.windows:
                views += _cut(pad(local.at(step.number).scaled(z, step.number), [phase.reach] * 4), windows)
            if step.dilated:
                blurred = self._blurred(dilated.at(step.number), z, phase, step)
                views += [
                    _View(blurred[..., top :: phase.dilation, left :: phase.dilation], (0, 0))
                    for top, left in offsets(phase.dilation)
                ]
            if views:
                predicted = self._predicted(views, schedule.timesteps[step.number])
                z = self._joined(phase, step, windows, predicted, z, local, dilated, seed)
            self._tell(number, phase, place, partial((local if step.windows else dilated).clean, z))
        return z

    def _blurred(self, solver: Solver, z: Tensor, phase: Phase, step: Step) -> Tensor:
        """Return the latents as dilated views see them: padded, blurred, and at the model's scale (eq. 6)."""
        above, before = padding(phase.size, phase.dilation)
        padded = pad(z, (before, 0, above, 0))
        blurred = _gaussian(padded, 2 * phase.dilation - 1, self._plan.sigma * step.blur)
        blurred = (blurred - blurred.mean()) / blurred.std() * padded.std() + padded.mean()
        return solver.scaled(blurred, step.number)

    def _joined(
        self,
        phase: Phase,
        step: Step,
        windows: Sequence[Window],
        predicted: Sequence[Tensor],
        z: Tensor,
        local: _Part,
        dilated: _Part,
        seed: int,
    ) -> Tensor:
        """Step with what the windows say and with what the dilated views say, and mix both (eq. 7)."""
        mixed = torch.zeros_like(z)
        weight = 0.0
        if step.windows:
            frame = torch.zeros_like(pad(z, [phase.reach] * 4))
            said = _averaged(predicted[: len(windows)], windows, frame)
            said = said[..., phase.reach :, phase.reach :][..., : phase.size[0], : phase.size[1]]
            mixed += (1 - step.share) * local.at(step.number).step(said, step.number, z, _generator(seed))
            weight += 1 - step.share
        if step.dilated:
            above, before = padding(phase.size, phase.dilation)
            said = torch.zeros_like(pad(z, (before, 0, above, 0)))
            for (top, left), view in zip(offsets(phase.dilation), predicted[-step.dilated :], strict=True):
                said[..., top :: phase.dilation, left :: phase.dilation] = view
            said = said[..., above:, before:]
            # With the same noise as the windows', which mixing would dampen otherwise.
            mixed += step.share * dilated.at(step.number).step(said, step.number, z, _generator(seed))
            weight += step.share
        return mixed / weight

    def _predicted(self, views: Sequence[_View], timestep: Tensor) -> list[Tensor]:
        """Let the model see views, those of one size together; return its predictions in their order."""
        found: dict[int, Tensor] = {}
        order = sorted(range(len(views)), key=lambda place: tuple(views[place].latents.shape))
        for _, alike in groupby(order, key=lambda place: tuple(views[place].latents.shape)):
            for places in self._batches(list(alike)):
                batch = torch.cat([views[place].latents for place in places])
                said = self._model(batch, timestep, [views[place].corner for place in places])
                found.update((place, said[row : row + 1]) for row, place in enumerate(places))
        return [found[place] for place in range(len(views))]

    def _batches(self, places: list[int]) -> Iterator[list[int]]:
        """Part places into batches: as equal as may be, or all of one size with the last place repeated."""
        if self._static and len(places) > 1:
            size = self._plan.batch
            places = places + places[-1:] * (-len(places) % size)
        else:
            size = -(-len(places) // -(-len(places) // self._plan.views))
        return (places[first : first + size] for first in range(0, len(places), size))

    def _noise(self, draws: Draws, size: Size) -> Tensor:
        return draws.noise((1, self._channels, *size)).to(self._device)

    def _tell(self, number: int, phase: Phase, place: int, clean: Callable[[], Tensor]) -> None:
        step = phase.steps[place - 1]
        self._done += step.views * (2 if phase.guided else 1) + step.extra
        if self._told is not None:
            progress = Progress(
                done=self._done,
                of=self._plan.samples,
                phase=number,
                phases=len(self._plan.phases),
                step=place,
                steps=len(phase.steps),
                clean=clean,
            )
            self._told(progress)


class _Part:
    """The windows' solver, or the dilated views', which begins at the first step that it is needed for.

    Parts of a step are left out at the beginning and at the end of a phase only, so no history has gaps.
    """

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._solver: Solver | None = None

    def at(self, number: int) -> Solver:
        if self._solver is None:
            self._solver = self._schedule.solver(number)
        return self._solver

    def clean(self, latents: Tensor) -> Tensor:
        return latents if self._solver is None else self._solver.clean(latents)


def _cut(latents: Tensor, windows: Sequence[Window]) -> list[_View]:
    return [_View(latents[..., *window.slices], (window.top, window.left)) for window in windows]


def _averaged(predicted: Sequence[Tensor], windows: Sequence[Window], like: Tensor) -> Tensor:
    """Put windows together, averaged where they overlap (MultiDiffusion, eq. 5); cells of none are 0."""
    total, count = torch.zeros_like(like), torch.zeros_like(like[:, :1])
    for window, said in zip(windows, predicted, strict=True):
        total[..., *window.slices] += said
        count[..., *window.slices] += 1
    return total / count.clamp(min=1)


def _resized(latents: Tensor, size: Size) -> Tensor:
    return interpolate(latents, size=size, mode="bicubic") if latents.shape[-2:] != size else latents


def _gaussian(latents: Tensor, length: int, sigma: float) -> Tensor:
    """Blur each channel with a Gaussian kernel of an odd length; beyond the edges there are zeros."""
    if length == 1 or sigma < _NO_BLUR:
        return latents
    place = torch.arange(length, device=latents.device, dtype=latents.dtype) - (length - 1) / 2
    kernel = torch.exp(-(place**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(latents.shape[1], 1, 1, length)
    across = conv2d(latents, kernel, padding=(0, length // 2), groups=latents.shape[1])
    return conv2d(across, kernel.transpose(2, 3), padding=(length // 2, 0), groups=latents.shape[1])


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
