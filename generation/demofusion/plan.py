"""What an enlargement does, phase by phase and step by step, told before anything is painted.

The same plan is what the loop follows, so its counts are those of the painting.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...errors import InputError
from ...records import Enlargement
from .settings import check, filled
from .steps import Step, thinned, weighed
from .windows import Size, Window, grid, margin, tiles

DILATED = 0.4
"""The share of noise above which ScaleCrafter dilates convolutions: in 30 of 50 steps."""
_PLAIN = 2.0
"""The scale up to which it need not dampen the guidance."""

_HELD = 14
"""Latents of the largest phase that the loop holds at once, with the histories of two solvers of second order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One size that is gone through."""

    scale: float
    """The longer side over the model's own size."""
    size: Size
    """Height and width in cells."""
    steps: tuple[Step, ...]
    windows: tuple[Window, ...] = ()
    reach: int = 0
    """How far windows are shifted."""
    dilation: int = 0
    """Dilated views take every row and column of this number; 0 where there are none."""
    guided: bool = True

    @property
    def views(self) -> int:
        """How many views are denoised in all steps."""
        return sum(step.views for step in self.steps)

    @property
    def samples(self) -> int:
        """How many latents pass through the denoiser: with guidance, each view twice."""
        return self.views * (2 if self.guided else 1) + sum(step.extra for step in self.steps)

    @property
    def left_out(self) -> int:
        """The steps of which nothing is denoised."""
        return sum(step.views == 0 for step in self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All phases of an enlargement, and what they take."""

    mode: str
    native: int
    """The side of the model's own latents, in cells."""
    phases: tuple[Phase, ...]
    batch: int
    """How many views pass through the denoiser at once, where batches must be of one size."""
    views: int
    """How many may at most."""
    sigma: float
    tiles: int
    """How many pieces of the model's own size the autoencoder decodes."""
    bytes: int
    """Roughly what the loop and the finished picture take beside the model and what works in it."""
    seconds: float | None = None
    """The estimated time of denoising; None where it is not known how long a sample takes."""

    @property
    def size(self) -> Size:
        """Height and width of the finished latents, in cells."""
        return self.phases[-1].size

    @property
    def samples(self) -> int:
        """How many latents pass through the denoiser in all."""
        return sum(phase.samples for phase in self.phases)


def plan(
    size: Size,
    native: int,
    timesteps: Sequence[float],
    *,
    later: Sequence[float] | None = None,
    enlargement: Enlargement | None = None,
    guided: bool = True,
    start: Size | None = None,
    strength: float = 1.0,
    train_timesteps: int = 1000,
    channels: int = 4,
    factor: int = 8,
    seconds_per_sample: float | None = None,
) -> Plan:
    """Plan an enlargement.

    Args:
        size: Height and width of the finished latents, in cells.
        native: The side of the latents that the model was trained on.
        timesteps: Those of the scheduler for the first phase, the noisiest first.
        later: Those for the other phases; None takes the same.
        enlargement: Mode, stride, phases and so on; what is None, in it too, is taken as published. Its `later_steps`
            say nothing here: `later` does.
        guided: Whether there is classifier-free guidance, which takes two samples a view.
        start: The size of the given latents that are enlarged; None paints the first phase from noise.
        strength: With `start`: the share of the steps that every phase makes.
        train_timesteps: What the scheduler calls pure noise.
        channels: Of the latents.
        factor: Pixels of a cell's side.
        seconds_per_sample: How long a sample of the model's own size takes.

    Raises:
        InputError: the enlargement asks for what cannot be; one sentence.
    """
    wanted = filled(enlargement or Enlargement(), native)
    check(wanted, native)
    if wanted.mode == "upscale":
        raise InputError("a plain upscaler has no plan: it paints one picture of the model's own size")
    if not 0 < strength <= 1:
        raise InputError(f"the strength must be above 0 and at most 1, not {strength:g}")
    if start is not None and (start[0] > size[0] or start[1] > size[1]):
        raise InputError("the picture that is to be enlarged is larger than the size that is asked for")
    asked = _Asked(
        size=size,
        native=native,
        times=tuple(float(time) / train_timesteps for time in timesteps),
        later=tuple(float(time) / train_timesteps for time in (timesteps if later is None else later)),
        wanted=wanted,
        stride=int(wanted.stride or 0),
        cosine=wanted.cosine or (0.0, 0.0, 0.0),
        guided=guided,
        start=start,
        strength=strength,
    )
    phases = tuple({"multidiffusion": _windowed, "scalecrafter": _whole}.get(wanted.mode, _progressive)(asked))
    cells = math.prod(phases[-1].size)
    return Plan(
        mode=wanted.mode,
        native=native,
        phases=phases,
        batch=_batch(phases, int(wanted.views or 0)),
        views=int(wanted.views or 0),
        sigma=float(wanted.sigma or 0.0),
        tiles=len(tiles(phases[-1].size, native)),
        bytes=cells * channels * 4 * _HELD + cells * factor**2 * 3,
        seconds=None if seconds_per_sample is None else seconds_per_sample * _native_samples(phases, native),
    )


def damped(noise: float, scale: float) -> bool:
    """Whether ScaleCrafter dampens the guidance at a share of noise, which takes a sample without dilation more."""
    return scale > _PLAIN and noise > DILATED


def scales(size: Size, native: int, asked: Sequence[float] = (), *, start: float | None = None) -> tuple[float, ...]:
    """Return the multiples of the model's own size that are painted from a smaller picture, ascending.

    The size itself comes last, whether it is a whole multiple or not, and what is not below it is left out; left to
    us, a whole multiple that is less than half a multiple below it makes way, too.

    Args:
        size: Of the finished latents.
        native: The side of the model's own.
        asked: Those to go through; empty for all whole multiples.
        start: The multiple at which a picture is given; it is painted over at the model's own size first.

    >>> scales((512, 512), 128), scales((320, 200), 128), scales((140, 140), 128), scales((128, 64), 128)
    ((2.0, 3.0, 4.0), (2.0, 2.5), (1.09375,), ())
    >>> scales((512, 512), 128, start=1.0), scales((512, 512), 128, start=2.5), scales((512, 512), 128, (3,))
    ((1.0, 2.0, 3.0, 4.0), (3.0, 4.0), (3.0, 4.0))
    """
    last = max(size) / native
    if start is None and last <= 1:
        return ()
    between = asked or [scale for scale in range(1, math.ceil(last)) if last - scale >= 0.5]
    kept = (scale for scale in between if scale < last and (scale > 1 if start is None else scale >= start))
    return (*(float(scale) for scale in kept), last)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    size: Size
    native: int
    times: tuple[float, ...]
    """The time steps, as shares of pure noise."""
    later: tuple[float, ...]
    wanted: Enlargement
    stride: int
    cosine: tuple[float, float, float]
    guided: bool
    start: Size | None
    strength: float

    @property
    def scale(self) -> float:
        return max(self.size) / self.native

    def numbers(self, times: Sequence[float]) -> range:
        """Return the places of the steps that are made: from a given picture, the last of them only."""
        made = len(times) if self.start is None else max(1, min(len(times), int(len(times) * self.strength)))
        return range(len(times) - made, len(times))


def _progressive(asked: _Asked) -> Iterator[Phase]:
    """Plan DemoFusion: the model's own size first, then ever larger ones."""
    wanted, native = asked.wanted, asked.native
    if asked.start is None:
        first = _at(asked.size, min(1.0, 1 / asked.scale))
        whole = tuple(Step(number=number, whole=1) for number in asked.numbers(asked.times))
        yield Phase(scale=max(first) / native, size=first, steps=whole, guided=asked.guided)
    given = None if asked.start is None else max(1.0, max(asked.start) / native)
    steps = weighed(asked.numbers(asked.later), asked.later, asked.cosine)
    for scale in scales(asked.size, native, wanted.scales, start=given):
        shape = _at(asked.size, scale / asked.scale)
        windows, dilation = grid(shape, native, asked.stride), max(1, math.floor(scale + 0.5))
        yield Phase(
            scale=scale,
            size=shape,
            steps=thinned(steps, wanted.skip, len(windows), dilation**2),
            windows=windows,
            reach=margin(native, asked.stride),
            dilation=dilation,
            guided=asked.guided,
        )


def _windowed(asked: _Asked) -> Iterator[Phase]:
    """Plan MultiDiffusion: windows alone, at the size itself."""
    windows = grid(asked.size, asked.native, asked.stride)
    steps = tuple(Step(number=number, windows=len(windows)) for number in asked.numbers(asked.times))
    yield Phase(scale=asked.scale, size=asked.size, steps=steps, windows=windows, guided=asked.guided)


def _whole(asked: _Asked) -> Iterator[Phase]:
    """Plan ScaleCrafter: the picture in one piece, at the size itself."""
    steps = tuple(
        Step(number=number, whole=1, extra=int(asked.guided and damped(asked.times[number], asked.scale)))
        for number in asked.numbers(asked.times)
    )
    yield Phase(scale=asked.scale, size=asked.size, steps=steps, guided=asked.guided)


def _at(size: Size, share: float) -> Size:
    """Return a share of a size; the tolerance keeps 3 x (1/3) at 1."""
    height, width = (max(1, math.floor(side * share + 1e-6)) for side in size)
    return height, width


def _batch(phases: Sequence[Phase], views: int) -> int:
    """Return the batch of at most `views` that serves every step with the least padding, and then in the fewest calls.

    Small batches need no padding and are slow, so it is no less than half of what may be.
    """
    counts = [count for phase in phases for step in phase.steps if (count := step.windows + step.dilated)]
    most = min(views, max(counts, default=1))

    def cost(batch: int) -> tuple[int, int]:
        calls = sum(-(-count // batch) for count in counts)
        return calls * batch, calls

    return min(range((most + 1) // 2, most + 1), key=cost)


def _native_samples(phases: Sequence[Phase], native: int) -> float:
    """Count samples in those of the model's own size, as if time went with area."""
    total = 0.0
    for phase in phases:
        whole = math.prod(phase.size) / native**2
        window = math.prod(min(native, side) for side in phase.size) / native**2
        dilated = whole / phase.dilation**2 if phase.dilation else 0.0
        for step in phase.steps:
            views = step.whole * whole + step.windows * window + step.dilated * dilated
            total += views * (2 if phase.guided else 1) + step.extra * whole
    return total
