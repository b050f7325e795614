"""Names of schedulers mean what people mean by them, on whatever noise schedule the model brings."""

from __future__ import annotations

import math
import sys
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from velatura.errors import InputError, MissingDependency
from velatura.generation.schedulers import SAMPLERS, eta_of, name_of, scheduler_like, without_numpy_warning

NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
with without_numpy_warning():
    SD = diffusers.PNDMScheduler(**NOISE, skip_prk_steps=True, steps_offset=1, set_alpha_to_one=False)
    SDXL = diffusers.EulerDiscreteScheduler(**NOISE, steps_offset=1, timestep_spacing="leading")
    TURBO = diffusers.EulerAncestralDiscreteScheduler(**NOISE, steps_offset=1, timestep_spacing="trailing")
    SDXS = diffusers.DEISMultistepScheduler(**NOISE, steps_offset=1)
    PURE = diffusers.DDIMScheduler(
        **NOISE,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=False,
    )
FORMULAS = ("_karras", "_exponential", "_beta")


def timed(scheduler: Any, steps: int) -> Any:
    with without_numpy_warning():
        scheduler.set_timesteps(steps)
    return scheduler


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_name_is_told_of_what_it_makes(name: str) -> None:
    for own in (SD, SDXL, SDXS):
        assert name_of(scheduler_like(own, name)) == name


@pytest.mark.parametrize(
    ("own", "name"),
    [(SD, "pndm"), (SDXL, "euler"), (TURBO, "euler_a_sgm_uniform"), (SDXS, "deis"), (PURE, "ddim_trailing")],
)
def test_the_models_own_has_a_name_and_making_it_anew_changes_nothing(own: Any, name: str) -> None:
    assert name_of(own) == name
    for same in (scheduler_like(own, None), scheduler_like(own, name)):
        assert type(same) is type(own)
        assert timed(same, 7).timesteps.tolist() == timed(own, 7).timesteps.tolist()
        assert torch.equal(same.alphas_cumprod, own.alphas_cumprod)


def test_a_scheduler_that_is_none_of_ours_has_no_name() -> None:
    with without_numpy_warning():
        assert name_of(diffusers.SASolverScheduler(**NOISE)) is None


@pytest.mark.parametrize("name", [name for name in SAMPLERS if not name.endswith(FORMULAS)])
def test_what_the_model_predicts_and_its_pure_noise_survive(name: str) -> None:
    scheduler = timed(scheduler_like(PURE, name), 6)
    assert scheduler.config.prediction_type == "v_prediction"
    assert scheduler.alphas_cumprod[-1] < 1e-7
    assert round(float(scheduler.timesteps[0])) == 999
    assert torch.allclose(scheduler.alphas_cumprod[:-1], PURE.alphas_cumprod[:-1], rtol=1e-4)


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name.endswith(FORMULAS)])
def test_formulas_are_refused_where_noise_is_pure(name: str) -> None:
    with pytest.raises(InputError, match=f"pure noise, where {name} would lose most of its steps; take (.+)$") as told:
        scheduler_like(PURE, name)
    scheduler_like(PURE, str(told.value).rpartition(" ")[2])


@pytest.mark.parametrize("steps", [1, 2, 4, 7, 20])
def test_sgm_uniform_is_comfyuis_to_within_a_time(steps: int) -> None:
    """ComfyUI: `linspace(999, 0, steps + 1)[:-1]`; `simple` takes the nearest whole times."""
    theirs = np.linspace(999, 0, steps + 1)[:-1]
    for name in SAMPLERS:
        if name.endswith(("_sgm_uniform", "_trailing")):
            for own in (SD, SDXL, PURE):
                times = np.asarray(timed(scheduler_like(own, name), steps).timesteps, dtype=float)
                assert np.abs(times - theirs).max() <= 1.5, name


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name.endswith("_karras")])
def test_karras_spans_all_that_was_trained_on(name: str) -> None:
    """Also on SDXL, whose own spacing leaves the ends out; A1111 and ComfyUI span them."""
    sigmas = timed(scheduler_like(SDXL, name), 5).sigmas.unique().flip(0)
    ends = ((1 - SDXL.alphas_cumprod) / SDXL.alphas_cumprod).sqrt()[[-1, 0]] ** (1 / 7)
    theirs = torch.linspace(float(ends[0]), float(ends[1]), 5) ** 7
    assert torch.allclose(sigmas[:5].float(), theirs, rtol=1e-3)


def test_an_unknown_name_lists_the_known_and_tells_the_nearest() -> None:
    with pytest.raises(InputError, match=r"no scheduler 'magic'; take one of ddim, ddpm, .*tcd$"):
        scheduler_like(SD, "magic")
    for said, nearest in (
        ("DPM++ 2M Karras", "dpmpp_2m_karras"),
        ("DPM++ 3M SDE SGM Uniform", "dpmpp_3m_sde_sgm_uniform"),
        ("Euler a", "euler_a"),
        ("euler_ancestral", "euler_a"),
        ("euler trailing", "euler_sgm_uniform"),
        ("uni_pc_bh2 karras", "unipc_karras"),
        ("dpmpp_2m_kras", "dpmpp_2m_karras"),
    ):
        with pytest.raises(InputError, match=f"take {nearest}, or another of ddim"):
            scheduler_like(SD, said)
    with pytest.raises(InputError) as told:
        scheduler_like(SD, "x" * 10_000)
    assert len(str(told.value)) < 1500


def test_lcm_says_how_many_steps_it_makes() -> None:
    scheduler_like(SD, "lcm", steps=50)
    with pytest.raises(InputError, match="lcm makes at most 50 steps, not 60"):
        scheduler_like(SD, "lcm", steps=60)
    own = diffusers.LCMScheduler(**NOISE)
    with pytest.raises(InputError, match="the scheduler of the model makes at most 50 steps, not 60"):
        scheduler_like(own, None, steps=60)


def test_dmd2_gets_the_times_that_it_was_trained_at() -> None:
    assert timed(scheduler_like(SDXL, "lcm_sgm_uniform"), 4).timesteps.tolist() == [999, 749, 499, 249]


def test_only_tcd_adds_noise_of_its_own() -> None:
    assert {name for name in SAMPLERS if eta_of(name)} == {"tcd"}
    assert eta_of(None) == eta_of("magic") == 0


def test_without_scipy_beta_says_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules[diffusers.EulerDiscreteScheduler.__module__]
    monkeypatch.setattr(module, "is_scipy_available", lambda: False)
    with pytest.raises(MissingDependency, match="scipy is not installed"):
        scheduler_like(SD, "euler_beta")


def test_nothing_is_reported_on_the_screen(capfd: pytest.CaptureFixture[str]) -> None:
    for name in SAMPLERS:
        scheduler_like(SD, name)
    assert capfd.readouterr() == ("", "")


def test_a1111_reads_sampler_and_schedule_apart() -> None:
    for name, sampler in SAMPLERS.items():
        assert not any(word in sampler.title for word in ("Karras", "Exponential", "SGM")), name
        assert (sampler.schedule is None) == (not name.endswith((*FORMULAS, "_sgm_uniform", "_trailing"))), name


def by_k_diffusion(x: float, sigmas: list[float], noise: list[float]) -> float:
    """`sample_dpmpp_3m_sde` with eta 1 for a clean value of 1 or -1, each as likely; by k-diffusion's formulas."""
    clean: list[float] = []
    widths: list[float] = []
    for here, after, drawn in zip(sigmas, sigmas[1:], noise, strict=False):
        clean.append(math.tanh(x / here**2))
        if after == 0:
            return clean[-1]
        h = math.log(here / after)
        twice = 2 * h
        x = math.exp(-twice) * x - math.expm1(-twice) * clean[-1]
        second = math.expm1(-twice) / twice + 1
        if len(widths) > 1:
            r0, r1 = widths[-1] / h, widths[-2] / h
            d0, d1 = (clean[-1] - clean[-2]) / r0, (clean[-2] - clean[-3]) / r1
            x += second * (d0 + (d0 - d1) * r0 / (r0 + r1)) - (second / twice - 0.5) * (d0 - d1) / (r0 + r1)
        elif widths:
            x += second * (clean[-1] - clean[-2]) * h / widths[-1]
        x += after * math.sqrt(-math.expm1(-twice)) * drawn
        widths.append(h)
    return x


def test_dpmpp_3m_sde_is_that_of_k_diffusion() -> None:
    for name in (name for name in SAMPLERS if name.startswith("dpmpp_3m_sde")):
        scheduler = timed(scheduler_like(SD, name), 9)
        sigmas = [float(sigma) for sigma in scheduler.sigmas]
        noise = [0.7, -1.2, 0.4, 1.1, -0.3, -0.9, 0.2, 0.6, 0.0]
        start = 0.9
        x = torch.tensor([start], dtype=torch.float64)
        for time, sigma, drawn in zip(scheduler.timesteps, sigmas, noise, strict=False):
            scale = math.sqrt(1 + sigma**2)
            clean = torch.tanh(x * scale / sigma**2)
            eps = (x * scale - clean) / sigma
            x = scheduler.step(eps, time, x, variance_noise=torch.tensor([drawn])).prev_sample.double()
            after = sigmas[scheduler.step_index]
            theirs = by_k_diffusion(start * math.sqrt(1 + sigmas[0] ** 2), sigmas[: scheduler.step_index + 1], noise)
            assert float(x) * math.sqrt(1 + after**2) == pytest.approx(theirs, abs=2e-3), (name, after)
