"""How sure a figure is. The unit is the prompt: the pictures of one prompt are averaged first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...eval.stats import wilson

Values = NDArray[np.float64]

_DRAWS: Final = 2000
_NORMAL: Final = 1.959964
"""The half width of a 95 % interval in standard errors."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    def plain(self, digits: int = 4) -> dict[str, float]:
        """Return it as JSON has it."""
        return {"value": round(self.value, digits), "low": round(self.low, digits), "high": round(self.high, digits)}


def mean_over_prompts(values: Values) -> Figure:
    """Return the mean of one value a prompt, with a percentile bootstrap over prompts.

    >>> mean_over_prompts(np.array([1.0, 1.0, 1.0]))
    Figure(value=1.0, low=1.0, high=1.0)
    """
    low, high = np.percentile(values[_redrawn(len(values))].mean(1), (2.5, 97.5))
    return Figure(float(values.mean()), float(low), float(high))


def ratio_over_prompts(above: Values, below: Values) -> Figure | None:
    """Return the ratio of two sums over the same prompts, with a bootstrap; None where the lower sum is no gain.

    Args:
        above: One value a prompt: what our picks gain.
        below: One value a prompt: what the right adapters gain.
    """
    if not below.sum() > 0:
        return None
    drawn = _redrawn(len(below))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = above[drawn].sum(1) / below[drawn].sum(1)
    low, high = np.nanpercentile(ratios, (2.5, 97.5))
    return Figure(float(above.sum() / below.sum()), float(low), float(high))


def share(hits: int, count: int) -> Figure | None:
    """Return a share of independent trials with Wilson's interval; None of no trials.

    >>> share(20, 20).plain(3)
    {'value': 1.0, 'low': 0.839, 'high': 1.0}
    """
    found = wilson(hits, count)
    return None if found.value is None else Figure(found.value, found.low, found.high)


def by_error(value: float, error: float) -> Figure:
    """Return a value with the interval that its standard error gives."""
    return Figure(value, value - _NORMAL * error, value + _NORMAL * error)


def _redrawn(count: int) -> NDArray[np.int64]:
    return np.random.default_rng(1).integers(0, count, (_DRAWS, count))
