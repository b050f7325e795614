"""What is planned is what the paper's method takes, and what the loop then does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from velatura.errors import InputError
from velatura.generation.demofusion import Painter, Plan, Schedule, SeededDraws, plan
from velatura.generation.demofusion.scalecrafter import ScaleCrafter
from velatura.records import Enlargement

NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def schedule(steps: int) -> Schedule:
    from diffusers import EulerDiscreteScheduler

    return Schedule(EulerDiscreteScheduler(**NOISE, timestep_spacing="leading", steps_offset=1), steps)


TIMES = schedule(50).timesteps.tolist()


class Counting:
    """A model that counts what it is given, and says hardly anything."""

    guided = True

    def __init__(self, *, guided: bool) -> None:
        self.samples = 0
        self.each = 2 if guided else 1

    def __call__(self, views: Tensor, timestep: Tensor, corners: Sequence[tuple[int, int]]) -> Tensor:
        assert len(corners) == len(views)
        self.samples += len(views) * self.each
        return views * 0.01


@pytest.mark.parametrize(
    ("side", "samples", "tiles"), [(1, 100, 1), (2, 1400, 9), (3, 4800, 16), (4, 11300, 25), (6, 37600, 64)]
)
def test_samples_are_those_of_the_published_method(side: int, samples: int, tiles: int) -> None:
    found = plan((128 * side, 128 * side), 128, TIMES)
    assert found.samples == samples
    assert found.tiles == tiles
    assert sum(phase.samples for phase in found.phases) == samples


def test_levers_take_what_they_are_said_to_take() -> None:
    def samples(**wanted: Any) -> int:
        return plan((512, 512), 128, TIMES, enlargement=Enlargement(**wanted)).samples

    assert samples(stride=96) == 8000
    assert samples(scales=(4,)) == 6600
    assert plan((512, 512), 128, TIMES, guided=False).samples == 5650
    few = plan((512, 512), 128, TIMES, later=schedule(8).timesteps.tolist(), guided=False)
    assert few.samples == 50 + 8 * 112
    assert 11300 > samples(skip=0.01) > samples(skip=0.02) > samples(skip=0.05) > samples(skip=0.1) > 8000


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(5, 40),
    width=st.integers(5, 40),
    stride=st.integers(3, 8),
    skip=st.sampled_from((0.0, 0.02, 0.2, 0.5)),
    mode=st.sampled_from(("demofusion", "demofusion", "multidiffusion")),
    guided=st.booleans(),
    given_start=st.booleans(),
    later=st.integers(1, 6),
)
def test_the_loop_does_what_was_planned_at_any_size(
    height: int,
    width: int,
    stride: int,
    skip: float,
    mode: Any,
    guided: bool,
    given_start: bool,
    later: int,
) -> None:
    first, second = schedule(3), schedule(later)
    start = (math.ceil(height / 5), math.ceil(width / 5)) if given_start else None
    found = plan(
        (height, width),
        8,
        first.timesteps.tolist(),
        later=second.timesteps.tolist(),
        enlargement=Enlargement(stride=stride, skip=skip, mode=mode, views=5),
        guided=guided,
        start=start,
        strength=0.7,
    )
    model = Counting(guided=guided)
    told = []
    painter = Painter(found, model, first, second, channels=2, told=told.append)
    latents = None if start is None else torch.randn(1, 2, *start)
    painted = painter.paint(SeededDraws(torch.Generator().manual_seed(1)), latents)
    assert painted.shape == (1, 2, height, width)
    assert painted.isfinite().all()
    assert model.samples == found.samples
    assert told[-1].done == told[-1].of == found.samples
    assert [one.done for one in told] == sorted(one.done for one in told)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ((128, 128), [(128, 128)]),
        ((96, 64), [(96, 64)]),
        ((256, 192), [(128, 96), (256, 192)]),
        ((140, 140), [(128, 128), (140, 140)]),
        ((320, 200), [(128, 80), (256, 160), (320, 200)]),
        ((100, 330), [(38, 128), (77, 256), (100, 330)]),
        ((100, 305), [(41, 128), (100, 305)]),
    ],
)
def test_any_size_is_gone_through_to_the_end(cells: tuple[int, int], expected: list[tuple[int, int]]) -> None:
    assert [phase.size for phase in plan(cells, 128, TIMES).phases] == expected


def test_a_picture_is_painted_over_at_the_models_own_size_and_then_enlarged() -> None:
    found = plan((256, 256), 128, TIMES, start=(128, 128))
    assert [phase.size for phase in found.phases] == [(128, 128), (256, 256)]
    assert [phase.samples for phase in found.phases] == [50 * 2 * 2, 50 * 13 * 2]
    larger = plan((512, 512), 128, TIMES, start=(300, 300), strength=0.5)
    assert [phase.scale for phase in larger.phases] == [3.0, 4.0]
    assert [step.number for step in larger.phases[0].steps] == list(range(25, 50))


def test_what_is_left_out_weighs_less_than_was_said() -> None:
    [_, phase] = plan((256, 256), 128, TIMES, enlargement=Enlargement(skip=0.05)).phases
    [_, whole] = plan((256, 256), 128, TIMES).phases
    assert {(step.windows, step.dilated) for step in whole.steps} == {(9, 4)}
    left_out = 0
    for step, exact, after in zip(phase.steps, whole.steps, [*whole.steps[1:], None], strict=True):
        if step.views == 0:
            left_out += 1
            assert after is not None
            assert 1 - after.residual < 0.05
            continue
        assert (step.windows == 0) == (1 - exact.share < 0.05)
        assert (step.dilated == 0) == (exact.share < 0.05)
    assert left_out == phase.left_out > 0
    first = next(step for step in phase.steps if step.views)
    assert first.residual == 1.0


def test_scalecrafter_takes_one_sample_more_where_guidance_is_damped() -> None:
    wanted = Enlargement(mode="scalecrafter")
    assert plan((256, 256), 128, TIMES, enlargement=wanted).samples == 100
    damped = sum(time > 400 for time in TIMES)
    assert plan((512, 512), 128, TIMES, enlargement=wanted).samples == 100 + damped
    assert plan((512, 512), 128, TIMES, enlargement=wanted, guided=False).samples == 50
    found = plan((24, 24), 8, TIMES, enlargement=wanted)
    counted = Samples()
    Painter(found, ScaleCrafter(counted, _Empty(), 3.0), schedule(50), channels=2).paint(
        SeededDraws(torch.Generator().manual_seed(1))
    )
    assert counted.samples == found.samples


class Samples:
    """Stands in for a guided denoiser."""

    guided = True

    def __init__(self) -> None:
        self.samples = 0

    def __call__(self, views: Tensor, timestep: Tensor, corners: Sequence[tuple[int, int]]) -> Tensor:
        self.samples += 2 * len(views)
        return views * 0

    def both(self, views: Tensor, timestep: Tensor, corners: Sequence[tuple[int, int]]) -> Tensor:
        self.samples += 2 * len(views)
        return torch.cat([views, views]) * 0

    def negative(self, views: Tensor, timestep: Tensor, corners: Sequence[tuple[int, int]]) -> Tensor:
        self.samples += len(views)
        return views * 0

    def guide(self, negative: Tensor, difference: Tensor) -> Tensor:
        return negative + difference


class _Empty(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        block = torch.nn.Module()
        block.resnets = torch.nn.ModuleList()
        self.down_blocks, self.mid_block, self.up_blocks = [block], block, [block]


def test_time_is_estimated_from_a_sample_and_by_area() -> None:
    assert plan((512, 512), 128, TIMES).seconds is None
    assert plan((512, 512), 128, TIMES, seconds_per_sample=0.1).seconds == pytest.approx(1130)
    half = plan((128, 64), 128, TIMES, seconds_per_sample=0.1).seconds
    assert half == pytest.approx(5)
    whole = plan((512, 512), 128, TIMES, enlargement=Enlargement(mode="scalecrafter"), guided=False)
    assert plan(
        (512, 512), 128, TIMES, enlargement=Enlargement(mode="scalecrafter"), guided=False, seconds_per_sample=1.0
    ).seconds == pytest.approx(16 * whole.samples)


def test_bytes_grow_with_the_picture() -> None:
    def taken(side: int) -> int:
        return plan((side, side), 128, TIMES).bytes

    assert taken(1024) == 4 * taken(512)
    assert taken(1024) < 2**29


@pytest.mark.parametrize(("side", "views"), [(256, 16), (384, 16), (512, 12), (512, 1)])
def test_batches_of_one_size_are_within_what_is_allowed_and_pad_little(side: int, views: int) -> None:
    found: Plan = plan((side, side), 128, TIMES, enlargement=Enlargement(views=views))
    counts = [step.views for phase in found.phases[1:] for step in phase.steps]
    assert 1 <= found.batch <= views
    padded = sum(-(-count // found.batch) * found.batch for count in counts)
    assert padded <= 1.15 * sum(counts)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"mode": "upscale"}, "a plain upscaler has no plan"),
        ({"stride": 0}, "the stride must be between 1 and the window's 128 cells, not 0"),
        ({"stride": 129}, "not 129"),
        ({"mode": "big"}, "there is no mode 'big' of painting large; take one of demofusion, multidiffusion"),
        ({"views": 0}, "the views must be between 1 and 1000, not 0"),
        ({"views": 10**9}, "the views must be"),
        ({"later_steps": -3}, "later_steps must be between 1 and 1000, not -3"),
        ({"later_steps": 0}, "later_steps must be"),
        ({"later_steps": 100_000}, "later_steps must be"),
        ({"skip": 0.9}, "skip must be between 0 and 0.5"),
        ({"skip": math.nan}, "skip must be"),
        ({"skip": -math.inf}, "skip must be"),
        ({"cosine": (1.0, -1.0, 1.0)}, "three numbers between 0 and 100"),
        ({"cosine": (1.0, math.nan, 1.0)}, "three numbers between 0 and 100"),
        ({"cosine": (1.0, 1.0)}, "three numbers between 0 and 100"),
        ({"sigma": math.inf}, "sigma must be between 0 and 100"),
        ({"sigma": math.nan}, "sigma must be"),
        ({"scales": (3, 2)}, "ascending"),
        ({"scales": (0, 2)}, "at least 1"),
        ({"scales": (2, math.nan)}, "at least 1"),
        ({"scales": (3, 2), "mode": "multidiffusion"}, "ascending"),
    ],
)
def test_what_cannot_be_is_one_sentence(wanted: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        plan((512, 512), 128, TIMES, enlargement=Enlargement(**wanted))


def test_a_start_must_fit_into_the_picture() -> None:
    with pytest.raises(InputError, match="larger than the size"):
        plan((256, 256), 128, TIMES, start=(256, 300))
    with pytest.raises(InputError, match="strength"):
        plan((256, 256), 128, TIMES, start=(128, 128), strength=0.0)
