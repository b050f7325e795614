"""What the figures of a probe mean, for what makes probes and for all that goes by them."""

from __future__ import annotations

import re
from typing import Final

from .fenced import line
from .records import Probe

METHOD: Final = "2"
"""Changes when the same features would give another probe; those of another version count for nothing."""
COLLAPSED: Final = 0.25
"""The share of the spread of pictures whose loss is too much. In the playground good adapters lose up to 0.15 at
weight 1, and the over-trained one 0.45; of which four prompts leave so much open (0.21 to 0.69) that it is not called
too strong, and neither do eight or twelve (0.39, 0.24 to 0.54) suffice."""

_NAME: Final = 60
"""Characters of a checkpoint's name."""


def cap_of(probe: Probe) -> float | None:
    """Return the most that a probe lets an adapter be laid on at; None where it did not find it too strong.

    That is the last weight before pictures lose their variety. Where no weight was best, it is the least that was
    tried: what breaks pictures, and adds nothing that it is said to, is laid on as lightly as is known.
    """
    if "too strong" not in probe.flags or not probe.weights:
        return None
    least = probe.weights[0].weight
    if probe.best is None:
        return least
    borne = least
    for one in probe.weights:
        if one.collapse > COLLAPSED:
            break
        borne = one.weight
    return borne


def checkpoint_of(probe: Probe) -> str:
    """Return the bare name of the checkpoint that an adapter was probed on."""
    return line(re.split(r"[\\/]", probe.model.rstrip("\\/"))[-1], _NAME) or "another checkpoint"
