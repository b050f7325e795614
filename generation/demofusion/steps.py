"""The steps of a phase: DemoFusion's weights, and which parts weigh too little to be painted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a phase."""

    number: int
    """Its place among the time steps of the schedule."""
    residual: float = 0.0
    """The share of the noised picture of the phase before (DemoFusion's c1, eq. 4)."""
    share: float = 0.0
    """The share of the dilated views against the windows (c2, eq. 7)."""
    blur: float = 0.0
    """The share of the strongest blur (c3)."""
    windows: int = 0
    """How many windows are denoised; 0 leaves them out."""
    dilated: int = 0
    """How many dilated views are denoised; 0 leaves them out."""
    whole: int = 0
    """1 where the picture is denoised in one piece."""
    extra: int = 0
    """Samples beside those of the views: ScaleCrafter's plain ones."""

    @property
    def views(self) -> int:
        """All views together."""
        return self.windows + self.dilated + self.whole


def weighed(numbers: Iterable[int], times: Sequence[float], cosine: tuple[float, float, float]) -> list[Step]:
    """Return the steps of an enlarging phase with their weights, all of which fall with the noise (eq. 4 to 7).

    Args:
        numbers: Of the steps that are made.
        times: Of all steps, as shares of pure noise.
        cosine: The exponents of the residual, of the dilated views' share, and of their blur.
    """
    steps = []
    for number in numbers:
        falling = (1 + math.cos(math.pi * (1 - times[number]))) / 2
        residual, share, blur = (falling**power for power in cosine)
        steps.append(Step(number=number, residual=residual, share=share, blur=0.99 * blur + 0.01))
    return steps


def thinned(steps: Sequence[Step], skip: float, windows: int, dilated: int) -> tuple[Step, ...]:
    """Give steps their views, without what weighs less than `skip`.

    That are whole steps that the residual of the next one covers, the windows early on, and the dilated views late.

    Args:
        steps: With their weights.
        skip: 0 leaves nothing out.
        windows: How many windows there are.
        dilated: How many dilated views there are.
    """
    found: list[Step] = []
    covered = False
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        # What was not denoised is too noisy for this step, which therefore takes the residual alone.
        residual = 1.0 if covered else step.residual
        covered = following is not None and 1 - following.residual < skip
        found.append(
            replace(
                step,
                residual=residual,
                windows=0 if covered or 1 - step.share < skip else windows,
                dilated=0 if covered or step.share < skip else dilated,
            )
        )
    return tuple(found)
