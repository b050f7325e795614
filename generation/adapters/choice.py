"""On the weights or beside them: which is cheaper, by counting multiplications.

Laying a set costs 2 K o i multiplications and additions for a weight of o x i values and a total rank K, and one pass
over the memory; then every evaluation is free. A branch beside the weight costs 2 K (o + i) for every position of
every sample. On SD 1.5 at 512x512 the weights win after 1.2 samples, on SDXL at 1024x1024 after 0.6, and the pass over
the memory adds to that what 16 ranks do. A difference without thin factors is made either way, so it is never cheaper
beside the weight.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor, nn

from .kinds import LowRank
from .patch import by_parameter, checked
from .plan import AdapterPlan, Part

Way = Literal["weights", "beside"]

_PASS = 32
"""What reading and writing one value costs, in operations: 8 bytes at some 4 operations a byte."""
_TEXT = 77

_LEVEL = re.compile(r"unet\.(?:(?P<down>down)|(?P<up>up))_blocks\.(?P<n>\d+)\.")


def choose(
    sets: Sequence[Mapping[AdapterPlan, float]],
    modules: Mapping[str, nn.Module],
    *,
    samples: int,
    height: int,
    width: int,
) -> Way:
    """Say where the adapters of a batch are cheaper, or where alone they can be.

    Args:
        sets: What each image wears; equal sets count once.
        modules: The model's modules by name (see `names.targets`).
        samples: How often one image passes through the denoiser: its steps, twice with guidance.
        height: Of the latents.
        width: Of the latents.
    """
    wanted = [checked(weights) for weights in sets]
    if any(plan.timed for one in wanted for plan, _ in one):
        return "beside"
    distinct = [by_parameter(one) for one in {tuple(one): one for one in wanted}.values()]
    names = dict.fromkeys(name for parts in distinct for name in parts)
    if any(_quantised(modules, name) for name in names):
        return "beside"
    depth = 1 + max((int(match["n"]) for name in modules if (match := _LEVEL.match(name))), default=0)
    on = beside = 0.0
    for name in names:
        module, _, parameter = name.rpartition(".")
        values: Tensor = getattr(modules[module], parameter)
        if values.ndim < 2:
            continue
        outputs, inputs = values.shape[0], math.prod(values.shape[1:])
        calls = 2 if name.startswith("text_encoder") else samples * len(sets)
        seen = _positions(name, depth, height * width) * calls
        thin: dict[Part, int] = {}
        for parts in distinct:
            if found := [part for part, _ in parts.get(name, ())]:
                ranks = {part: part.network.rank or 1 for part in found}
                laying = (2.0 * sum(ranks.values()) + _PASS) * outputs * inputs
                on += laying
                if all(isinstance(part.network, LowRank) for part in found):
                    thin |= ranks
                else:
                    beside += laying + 2.0 * outputs * inputs * seen
        # Every image of a batch passes through the ranks of all the sets; an adapter of several sets counts once.
        beside += 2.0 * sum(thin.values()) * (outputs + inputs) * seen
    return "beside" if beside < on else "weights"


def _positions(name: str, depth: int, latent: int) -> int:
    """How many positions of one sample a module sees."""
    if name.startswith("text_encoder") or ".attn2.to_k" in name or ".attn2.to_v" in name:
        return _TEXT
    if "time_emb" in name or "add_embedding" in name:
        return 1
    if name.startswith("transformer."):
        return latent // 4 + 512
    match = _LEVEL.match(name)
    if match is None:
        level = depth - 1 if ".mid_block." in name else 0
    else:
        level = int(match["n"]) if match["down"] else depth - 1 - int(match["n"])
    return max(1, latent // int(4**level))


def _quantised(modules: Mapping[str, nn.Module], name: str) -> bool:
    module, _, parameter = name.rpartition(".")
    values = getattr(modules[module], parameter)
    return not isinstance(values, Tensor) or not values.is_floating_point() or values.element_size() < 2
