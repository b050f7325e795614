"""What each prompt gained from a method over the baseline: what the gallery is sorted by and failures are found in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..records import Better, CellName


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gains:
    """The difference of each prompt in one metric."""

    metric: str
    cell: CellName
    baseline: CellName
    values: Mapping[str, float]
    """By the prompt's id."""
    unit: str = ""
    better: Better = "higher"

    def oriented(self, prompt_id: str) -> float | None:
        """Return a prompt's difference turned so that more is better; None where it has none."""
        value = self.values.get(prompt_id)
        return None if value is None else (value if self.better == "higher" else -value)

    @property
    def ordered(self) -> tuple[str, ...]:
        """The prompts, the best first; those of one value by their ids."""
        return tuple(sorted(self.values, key=lambda name: (-(self.oriented(name) or 0.0), name)))

    @property
    def spread(self) -> float:
        """How far prompts usually lie from the median, as a standard deviation; a few extreme ones do not move it."""
        values = np.fromiter(self.values.values(), np.float64)
        if not len(values):
            return 0.0
        # 1.4826: what makes the median of absolute deviations a normal distribution's standard deviation.
        robust = 1.4826 * float(np.median(np.abs(values - np.median(values))))
        return robust or float(values.std())
