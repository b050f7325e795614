"""What we paint is what the published implementation paints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from generation.demofusion.golden import (
    CASES,
    CHANNELS,
    FACTOR,
    FIXTURE,
    NATIVE,
    NOISE,
    Case,
    ReplayedDraws,
    conditions,
    given,
    tiny_unet,
)
from safetensors.torch import load_file
from torch import Tensor

from velatura.generation.demofusion import Denoiser, Painter, Schedule, plan
from velatura.generation.schedulers import without_numpy_warning
from velatura.records import Enlargement

TOLERANCE = 2e-4
"""The latents' deviation is 1 to 5; what is left is rounding."""


class ScaledAsTheReferenceDoes:
    """Sees what the reference's UNet sees under Euler: views scaled by the number of steps that were made before."""

    def __init__(self, model: Denoiser, sigmas: Tensor, timesteps: Tensor) -> None:
        self._model, self._sigmas, self._timesteps = model, sigmas.tolist(), timesteps.tolist()
        self._made = 0

    def __call__(self, views: Tensor, timestep: Tensor, corners: Sequence[tuple[int, int]]) -> Tensor:
        step = self._timesteps.index(float(timestep))
        right, wrong = ((self._sigmas[number] ** 2 + 1) ** 0.5 for number in (step, self._made))
        self._made = step + 1
        return self._model(views * right / wrong, timestep, corners)


@pytest.fixture(scope="module")
def unet() -> Any:
    return tiny_unet()


def scheduler(name: str) -> Any:
    from diffusers import DDIMScheduler, EulerDiscreteScheduler

    if name == "ddim":
        return DDIMScheduler(**NOISE, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    return EulerDiscreteScheduler(**NOISE, timestep_spacing="leading", steps_offset=1)


def painted(case: Case, unet: Any, *, static: bool = False) -> Tensor:
    own = scheduler(case.scheduler)
    schedule = Schedule(own, case.steps)
    wanted = Enlargement(stride=case.stride, views=case.views, cosine=case.cosine, sigma=case.sigma)
    start = given() if case.picture else None
    planned = plan(
        case.size,
        NATIVE,
        schedule.timesteps.tolist(),
        enlargement=wanted,
        start=None if start is None else (NATIVE,) * 2,
    )
    words = conditions()
    model: Any = Denoiser(
        unet,
        (words["prompt_embeds"], words["pooled_prompt_embeds"]),
        (words["negative_prompt_embeds"], words["negative_pooled_prompt_embeds"]),
        guidance=case.guidance,
        size=(case.size[0] * FACTOR, case.size[1] * FACTOR),
        factor=FACTOR,
    )
    if case.scheduler == "euler_as_it_is":
        with without_numpy_warning():
            own.set_timesteps(case.steps)
        model = ScaledAsTheReferenceDoes(model, own.sigmas, own.timesteps)
    painter = Painter(planned, model, schedule, channels=CHANNELS, static=static)
    draws = ReplayedDraws(case.seed)
    if case.picture:
        draws.noise((1, CHANNELS, NATIVE, NATIVE))  # the reference draws it and does not use it
    return painter.paint(draws, start)


@pytest.mark.parametrize("name", CASES)
def test_the_latents_are_those_of_the_published_implementation(name: str, unet: Any) -> None:
    expected = load_file(FIXTURE)[name]
    found = painted(CASES[name], unet)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < TOLERANCE


def test_batches_of_one_size_change_rounding_only(unet: Any) -> None:
    expected = load_file(FIXTURE)["ddim_oblong"]
    assert (painted(CASES["ddim_oblong"], unet, static=True) - expected).abs().max() < TOLERANCE


def test_the_cases_tell_other_formulas_apart(unet: Any) -> None:
    fixture = load_file(FIXTURE)
    assert (fixture["euler_3"] - fixture["euler_as_it_is"]).abs().max() > 100 * TOLERANCE
    for change in ({"stride": 10}, {"sigma": 0.7}, {"cosine": (3.0, 1.1, 1.0)}, {"guidance": 2.9}, {"seed": 1}):
        other = painted(replace(CASES["ddim"], **change), unet)
        assert (other - fixture["ddim"]).abs().max() > 100 * TOLERANCE
