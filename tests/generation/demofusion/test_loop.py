"""The loop over a model that is a formula: seeds, solvers, parts left out, and who looks on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from velatura.errors import InputError
from velatura.generation.demofusion import Painter, Progress, Schedule, SeededDraws, plan
from velatura.generation.demofusion.windows import grid, offsets
from velatura.generation.schedulers import SAMPLERS, scheduler_like
from velatura.records import Enlargement

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")

NATIVE, CHANNELS = 8, 2
NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


class Formula:
    """Predicts from a view's neighbours, its time and its place, as a UNet does; keeps the sizes of its batches."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, views: Tensor, timestep: Tensor, corners: Sequence[tuple[int, int]]) -> Tensor:
        self.batches.append(len(views))
        place = torch.tensor([[top * 0.01 + left * 0.003] for top, left in corners]).view(-1, 1, 1, 1)
        near = views.roll(1, -1) * 0.3 + views.roll(1, -2) * 0.2
        return torch.tanh(views * 0.5 + near + place) + float(timestep) * 1e-4


class Still(SeededDraws):
    """Draws noise, and no jitter."""

    def jitter(self, low: int, high: int) -> int:
        return 0


def own(name: str = "ddim") -> Any:
    from diffusers import DDIMScheduler

    return scheduler_like(DDIMScheduler(**NOISE, clip_sample=False, steps_offset=1), name)


def painted(
    size: tuple[int, int] = (16, 16),
    *,
    seed: int = 1,
    scheduler: str = "ddim",
    steps: int = 5,
    model: Any = None,
    start: Tensor | None = None,
    static: bool = False,
    told: Any = None,
    draws: Any = SeededDraws,
    **wanted: Any,
) -> Tensor:
    schedule = Schedule(own(scheduler), steps)
    found = plan(
        size,
        NATIVE,
        schedule.timesteps.tolist(),
        enlargement=Enlargement(**({"views": 4} | wanted)),
        guided=False,
        start=None if start is None else (start.shape[-2], start.shape[-1]),
    )
    painter = Painter(found, model or Formula(), schedule, channels=CHANNELS, static=static, told=told)
    return painter.paint(draws(torch.Generator().manual_seed(seed)), start)


def test_the_seed_decides_everything() -> None:
    torch.manual_seed(0)
    first = painted(scheduler="euler_a")
    torch.manual_seed(1)
    assert torch.equal(painted(scheduler="euler_a"), first)
    assert not torch.equal(painted(scheduler="euler_a", seed=2), first)


def test_the_first_phase_is_the_picture_of_the_models_own_size() -> None:
    solver = own("euler_a")
    solver.set_timesteps(5)
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn((1, CHANNELS, NATIVE, NATIVE), generator=generator) * solver.init_noise_sigma
    for time in solver.timesteps:
        predicted = Formula()(solver.scale_model_input(latents, time), time, [(0, 0)])
        latents = solver.step(predicted, time, latents, generator=generator).prev_sample
    assert torch.allclose(painted((NATIVE, NATIVE), scheduler="euler_a"), latents, atol=1e-6)


@pytest.mark.parametrize("scheduler", ["dpmpp_2m", "dpmpp_2m_karras", "deis", "unipc"])
def test_every_window_and_every_dilated_view_has_a_solver_of_its_own(scheduler: str) -> None:
    """Compared with a loop that steps each view with a scheduler of its own, where windows do not move."""
    found = painted(scheduler=scheduler, draws=Still, cosine=(3.0, 0.7, 1.0))
    assert torch.allclose(found, by_view(scheduler, 1, (3.0, 0.7, 1.0)), atol=2e-5)


def by_view(scheduler: str, seed: int, cosine: tuple[float, float, float]) -> Tensor:
    size, native = 16, NATIVE
    draws = SeededDraws(torch.Generator().manual_seed(seed))
    clean = painted((native, native), seed=seed, scheduler=scheduler)
    anchor = clean.mean(), clean.std()
    first = own(scheduler)
    first.set_timesteps(5)
    draws.noise((1, CHANNELS, native, native))
    clean = interpolate(clean, size=(size, size), mode="bicubic")
    noise = draws.noise((1, CHANNELS, size, size))
    windows, views = grid((size, size), native, native // 2), list(offsets(2))
    solvers = [own(scheduler) for _ in range(len(windows) + len(views))]
    for solver in solvers:
        solver.set_timesteps(5)
    noiser, model, z = own(scheduler), Formula(), torch.zeros(1, CHANNELS, size, size)
    noiser.set_timesteps(5)
    for time in noiser.timesteps:
        c = (1 + torch.cos(torch.pi * (1 - time / 1000))) / 2
        c1, c2, c3 = c ** cosine[0], c ** cosine[1], 0.99 * c ** cosine[2] + 0.01
        noised = noiser.add_noise(clean, noise, time[None])
        z = noised if time == noiser.timesteps[0] else (1 - c1) * z + c1 * noised
        total, count = torch.zeros_like(z), torch.zeros_like(z)
        for window, solver in zip(windows, solvers, strict=False):
            rows, columns = window.slices
            view = z[..., rows, columns]
            said = model(solver.scale_model_input(view, time), time, [(window.top + 1, window.left + 1)])
            total[..., rows, columns] += solver.step(said, time, view).prev_sample
            count[..., rows, columns] += 1
        place = torch.arange(3) - 1.0
        kernel = torch.exp(-(place**2) / (2 * (0.8 * c3) ** 2))
        kernel = (kernel / kernel.sum())[:, None] * (kernel / kernel.sum())
        blurred = torch.nn.functional.conv2d(pad(z, (1,) * 4), kernel.expand(CHANNELS, 1, 3, 3), groups=CHANNELS)
        blurred = (blurred - blurred.mean()) / blurred.std() * z.std() + z.mean()
        dilated = torch.zeros_like(z)
        for (top, left), solver in zip(views, solvers[len(windows) :], strict=True):
            every = (..., slice(top, None, 2), slice(left, None, 2))
            said = model(solver.scale_model_input(blurred[every], time), time, [(0, 0)])
            dilated[every] = solver.step(said, time, z[every]).prev_sample
        z = (1 - c2) * total / count + c2 * dilated
    return (z - z.mean()) / z.std() * anchor[1] + anchor[0]


@pytest.mark.parametrize("scheduler", sorted(SAMPLERS))
def test_every_scheduler_paints_or_says_why_not(scheduler: str) -> None:
    unfit = ("heun", "heun_karras", "dpm2", "dpm2_karras", "dpm2_a", "dpm2_a_karras", "lms", "lms_karras", "pndm")
    if scheduler in unfit:
        with pytest.raises(InputError, match="painting large does not allow; take ddim"):
            painted(scheduler=scheduler)
        return
    for wanted in ({}, {"skip": 0.2}, {"mode": "multidiffusion"}):
        assert painted(scheduler=scheduler, **wanted).isfinite().all()


def test_noise_that_solvers_add_is_not_averaged_away() -> None:
    class Silent(Formula):
        def __call__(self, views: Tensor, timestep: Tensor, corners: Sequence[tuple[int, int]]) -> Tensor:
            return super().__call__(views, timestep, corners) * 0

    def roughness(stride: int) -> float:
        found = painted(scheduler="euler_a", model=Silent(), stride=stride, steps=30, cosine=(100.0, 1.0, 1.0))
        return float((found[..., 1:] - found[..., :-1]).std())

    assert roughness(2) == pytest.approx(roughness(8), rel=0.2)


@pytest.mark.parametrize("scheduler", ["ddim", "euler", "dpmpp_2m", "euler_a"])
def test_leaving_parts_out_changes_the_picture_as_little_as_they_weigh(scheduler: str) -> None:
    exact = painted((24, 24), scheduler=scheduler, steps=20)
    assert torch.equal(painted((24, 24), scheduler=scheduler, steps=20, skip=1e-9), exact)
    spread = float(exact.std())
    for skip in (0.01, 0.05):
        off = float((painted((24, 24), scheduler=scheduler, steps=20, skip=skip) - exact).abs().mean())
        assert 0 <= off < 2 * skip * spread
    assert not torch.equal(painted((24, 24), scheduler=scheduler, steps=20, skip=0.05), exact)


def test_the_narrowest_blur_is_none() -> None:
    unblurred = painted(sigma=0.0)
    assert not torch.allclose(painted(), unblurred, atol=1e-3)
    for sigma in (1e-300, 1e-12, 0.01):
        assert torch.allclose(painted(sigma=sigma), unblurred, atol=1e-6)


def test_batches_of_one_size_are_of_one_size() -> None:
    model, free = Formula(), Formula()
    still = painted((24, 24), model=model, static=True, views=5)
    assert set(model.batches) == {1, 5}  # the first phase has one view
    assert torch.allclose(still, painted((24, 24), model=free, views=5), atol=1e-5)
    assert set(free.batches) > {1, 5}


def test_views_of_different_shapes_go_in_batches_of_their_own() -> None:
    shapes = set()

    class Shapes(Formula):
        def __call__(self, views: Tensor, timestep: Tensor, corners: Sequence[tuple[int, int]]) -> Tensor:
            shapes.add(views.shape[-2:])
            return super().__call__(views, timestep, corners)

    painted((20, 11), model=Shapes(), scales=())
    assert shapes == {(8, 4), (8, 8), (7, 4)}


def test_with_the_whole_residual_nothing_is_painted_anew() -> None:
    start = torch.randn(1, CHANNELS, NATIVE, NATIVE, generator=torch.Generator().manual_seed(3))
    blind = Formula()
    found = painted((16, 16), start=start, cosine=(0.0, 1.0, 1.0), skip=0.1, scales=(2,), steps=10, model=blind)
    larger = interpolate(start, size=(16, 16), mode="bicubic")
    assert torch.corrcoef(torch.stack([found.flatten(), larger.flatten()]))[0, 1] > 0.95
    assert found.mean() == pytest.approx(float(start.mean()), abs=1e-5)
    assert found.std() == pytest.approx(float(start.std()), rel=1e-4)
    assert len(blind.batches) <= 4  # all but the last step are covered by the residual of the next


def test_multidiffusion_paints_windows_alone_and_does_not_shift_them() -> None:
    corners_seen = set()

    class Corners(Formula):
        def __call__(self, views: Tensor, timestep: Tensor, corners: Sequence[tuple[int, int]]) -> Tensor:
            corners_seen.update(corners)
            return super().__call__(views, timestep, corners)

    found = painted((8, 24), model=Corners(), mode="multidiffusion")
    assert found.shape == (1, CHANNELS, 8, 24)
    assert corners_seen == {(0, 0), (0, 4), (0, 8), (0, 12), (0, 16)}


def test_who_looks_on_sees_every_step_and_may_end_it() -> None:
    told: list[Progress] = []
    painted(told=told.append, steps=3)
    assert [(one.phase, one.step) for one in told] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]
    assert {(one.phases, one.steps) for one in told} == {(2, 3)}
    assert told[0].clean().shape == (1, CHANNELS, NATIVE, NATIVE)
    assert told[-1].clean().shape == (1, CHANNELS, 16, 16)

    class Stop(Exception):
        pass

    def stop(progress: Progress) -> None:
        if progress.phase == 2:
            raise Stop

    model = Formula()
    with pytest.raises(Stop):
        painted(told=stop, steps=3, model=model)
    assert len(model.batches) == 3 + 4


def test_what_is_shown_comes_near_to_the_picture() -> None:
    shown: list[Tensor] = []
    found = painted(told=lambda one: shown.append(one.clean()), steps=12)
    off = [float((one - found).abs().mean()) for one in shown[12:]]
    assert off[-1] < off[len(off) // 2] < off[0]


def test_the_noise_of_every_phase_is_drawn_once() -> None:
    drawn = []

    class Noted(SeededDraws):
        def noise(self, shape: tuple[int, ...]) -> Tensor:
            drawn.append(shape)
            return super().noise(shape)

    painted((24, 24), draws=Noted)
    assert drawn == [(1, CHANNELS, side, side) for side in (8, 16, 24)]
