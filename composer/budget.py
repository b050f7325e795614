"""The total strength of several adapters, kept to what a model of the family bears.

Each adapter counts by its weight times the strength of its file. Together they come to

    total = sqrt((S² + Q) / 2),   S = Σ |w_i| s_i,   Q = Σ_ij w_i s_i w_j s_j cos_ij

S is the sum rule that users scale by: some of what an adapter does, such as contrast and saturation, adds up whatever
it was made for. Q is the size of the difference that really lies on the weights, where adapters of one direction add
up, strangers (cos 0) add as the sides of a right angle do, and opposites cancel. Where nothing is measured, adapters
are of strength 1 and strangers, which measured ones nearly are; then n adapters of one weight w come to
w sqrt((n² + n) / 2), and one alone to w. A weight beyond 1 counts as 1 where evidence bears it: it is meant for a file
that does little, such as a slider's. What a person sets beyond that counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..families import TITLES
from ..records import Choice, RefinedAdapter, WeightMeasure
from .weights import bears

BOUNDS: dict[str, float] = {
    "sd1": 1.75,
    **dict.fromkeys(("sdxl", "pony", "illustrious", "noobai"), 1.5),
}
"""The most by family. People lay two adapters on SD 1.x at up to 1 each, which is 1.73; with three they come to 1.66 in
the median and with four to 1.79, and 1.75 is where lowering brings the advised weights nearest to theirs
(`benchmarks/weights.py`). Of SDXL's families users report over-baked pictures earlier (willmiao/ComfyUI-Lora-Manager
#857, Haoming02/sd-webui-forge-classic #312 with a sum of 1.5); no such data is behind that bound."""
OTHERS = 1.75
"""For families of which nothing is known, that of SD 1.x."""
FLOOR = 0.25
"""The least that is left of an advised weight: below it an adapter might as well be dropped."""
_STRENGTHS = (0.5, 2.0)
"""How much a measured strength may count. Norms of files that do no harm differ twentyfold, since trainers set the
scale, and the advised weight makes up for most of that."""
_FARTHEST = 100.0
"""Weights count no further, so that no number is too large to reckon with."""
_ALIKE = 0.5
"""The least cosine at which two adapters are said to push the same way."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Load:
    """What is measured of an adapter; the default is that nothing is."""

    strength: float | None = None
    """How strong its file is at weight 1; 1 is usual for its family."""
    sketch: ArrayLike | None = None
    """A vector whose cosines estimate overlaps."""
    method: str = ""
    """What made the sketch; only sketches of one method are compared."""
    borne: float = math.inf
    """The weight up to which one beyond 1 counts as 1; the default is for weights that all come from evidence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table of a budget."""

    title: str
    advised: float
    """The weight before."""
    laid: float
    strength: float
    """What a weight of 1 counts."""
    is_measured: bool
    share: float
    """Its part of the total's square; the parts sum to 1, and one that works against the others has a part below 0."""


def load_of(measure: WeightMeasure | None, usual: float | None) -> Load:
    """Return what is measured of an adapter as a load.

    Args:
        measure: Its measure, None when it has none.
        usual: The norm of the usual file of its family: the median of those that were measured. None when too few
            were; then strengths are not compared.
    """
    if measure is None or measure.failure is not None:
        return Load()
    norm = measure.whole.norm
    # What depends on a model's weights is left out of the norm, which is then too small.
    comparable = usual is not None and usual > 0 and norm > 0 and math.isfinite(norm) and not measure.unmeasured
    return Load(
        strength=norm / usual if comparable and usual else None, sketch=measure.sketch or None, method=measure.method
    )


def borne_by(adapters: Sequence[RefinedAdapter], loads: Sequence[Load]) -> list[Load]:
    """Return the loads of adapters with the weight that each bears, for weights that a person may have set."""
    return [replace(load, borne=bears(adapter.record)) for adapter, load in zip(adapters, loads, strict=True)]


def within_budget(choices: Sequence[Choice], loads: Sequence[Load], fixed: int = 0) -> tuple[Choice, ...]:
    """Return the choices, those that are free lowered together where all would be more than the model bears.

    They keep their proportions and signs, and at least a quarter of their weights. A choice alone is never lowered: its
    weight was advised for that.

    Args:
        choices: In any order of adapters, but the fixed ones first.
        loads: What is measured of each, as many.
        fixed: How many are a person's own, and are counted but never changed.

    Returns:
        As many, in their order; a lowered one keeps its former weight in `advised`, and its reason tells why.
    """
    if len(choices) < 2 or fixed >= len(choices):
        return tuple(choices)
    weights, matrix, size = _terms(choices, loads)
    free = np.arange(len(choices)) >= fixed
    bound = bound_of(choices)
    factor = _factor(weights, matrix, size, free, bound)
    if factor >= 1:
        return tuple(choices)
    told = f"{_total(weights, matrix, size):.2f}, more than the {bound:g} that {_family(choices)} bears"
    return (
        *choices[:fixed],
        *(
            _lowered(choice, factor, told, _alike(choices, matrix, place))
            for place, choice in enumerate(choices[fixed:], fixed)
        ),
    )


def total_of(choices: Sequence[Choice], loads: Sequence[Load]) -> float:
    """Return how strong the choices are together.

    >>> from ..records import AdapterRecord
    >>> def laid(weight):
    ...     return Choice(adapter=AdapterRecord(source="folder", key="a", title="A"), weight=weight, span="")
    >>> round(total_of([laid(0.8)], [Load()]), 2), round(total_of([laid(0.8)] * 3, [Load()] * 3), 2)
    (0.8, 1.96)
    """
    return _total(*_terms(choices, loads)) if choices else 0.0


def bound_of(choices: Sequence[Choice]) -> float:
    """Return the most that the choices may come to: the least of their families' bounds."""
    return min((BOUNDS.get(choice.adapter.family, OTHERS) for choice in choices), default=OTHERS)


def table(choices: Sequence[Choice], loads: Sequence[Load]) -> tuple[Row, ...]:
    """Return a row for each choice: its weight before and after, and how much of the total it is."""
    if not choices:
        return ()
    weights, matrix, size = _terms(choices, loads)
    parts = size * float(size @ np.abs(weights)) * np.abs(weights) + weights * (matrix @ weights)
    whole = float(parts.sum())
    return tuple(
        Row(
            title=choice.adapter.title,
            advised=choice.weight if choice.advised is None else choice.advised,
            laid=choice.weight,
            strength=float(strength),
            is_measured=load.strength is not None,
            share=float(part) / whole if whole > 0 else 0.0,
        )
        for choice, load, strength, part in zip(choices, loads, size, parts, strict=True)
    )


_Array = NDArray[np.float64]


def _terms(choices: Sequence[Choice], loads: Sequence[Load]) -> tuple[_Array, _Array, _Array]:
    """Return the weights, the products of strengths and cosines (n, n), and the strengths."""
    size = np.array([_strength(choice, load) for choice, load in zip(choices, loads, strict=True)])
    cosines = np.eye(len(size))
    units = [_unit(load.sketch) for load in loads]
    for one in range(len(size)):
        for other in range(one):
            cosines[one, other] = cosines[other, one] = _cosine(units, loads, one, other)
    weights = np.clip([choice.weight for choice in choices], -_FARTHEST, _FARTHEST)
    return weights.astype(float), size[:, None] * cosines * size, size


def _strength(choice: Choice, load: Load) -> float:
    strength = 1.0 if load.strength is None else min(max(load.strength, _STRENGTHS[0]), _STRENGTHS[1])
    weight = min(abs(choice.weight if choice.advised is None else choice.advised), _FARTHEST)
    return strength / max(1.0, min(weight, load.borne))


def _unit(sketch: ArrayLike | None) -> _Array | None:
    if sketch is None:
        return None
    vector = np.asarray(sketch, np.float64)
    norm = float(np.linalg.norm(vector))
    return vector / norm if vector.ndim == 1 and 0 < norm < math.inf else None


def _cosine(units: Sequence[_Array | None], loads: Sequence[Load], one: int, other: int) -> float:
    mine, theirs = units[one], units[other]
    if mine is None or theirs is None or mine.shape != theirs.shape or loads[one].method != loads[other].method:
        return 0.0
    return float(mine @ theirs)


def _total(weights: _Array, matrix: _Array, size: _Array) -> float:
    plain = float(size @ np.abs(weights))
    return math.sqrt(max(plain**2 + float(weights @ matrix @ weights), 0.0) / 2)


def _factor(weights: _Array, matrix: _Array, size: _Array, free: NDArray[np.bool_], bound: float) -> float:
    """Return what the free weights are multiplied by: the root of a quadratic, between the floor and 1."""
    if _total(weights, matrix, size) <= bound:
        return 1.0
    mine, theirs = np.where(free, weights, 0.0), np.where(free, 0.0, weights)
    plain, rest = float(size @ np.abs(mine)), float(size @ np.abs(theirs))
    square = plain**2 + float(mine @ matrix @ mine)
    linear = 2 * (plain * rest + float(theirs @ matrix @ mine))
    constant = rest**2 + float(theirs @ matrix @ theirs) - 2 * bound**2
    if square <= 0:
        return 1.0
    if constant >= 0:
        return FLOOR
    root = (-linear + math.sqrt(linear**2 - 4 * square * constant)) / (2 * square)
    return min(max(root, FLOOR), 1.0)


def _lowered(choice: Choice, factor: float, told: str, alike: str | None) -> Choice:
    # Rounded towards nothing, so that what is within the bound stays within it.
    whole = min(max(choice.weight, -_FARTHEST), _FARTHEST)
    weight = math.trunc(whole * factor * 100 + math.copysign(1e-9, whole)) / 100
    weight = weight or choice.weight * factor
    same = f", and {alike} pushes the same way" if alike else ""
    reason = f"lowered from {choice.weight:g} since together they come to {told}{same}"
    return replace(
        choice,
        weight=weight,
        advised=choice.weight if choice.advised is None else choice.advised,
        reason=f"{choice.reason}; {reason}" if choice.reason else reason,
    )


def _alike(choices: Sequence[Choice], matrix: _Array, place: int) -> str | None:
    """Return the title of the adapter that pushes most the same way as this one, where one does."""
    scale = np.maximum(np.sqrt(np.diag(matrix)), 1e-150)
    signs = np.sign([choice.weight for choice in choices])
    cosines = matrix[place] / (scale[place] * scale) * signs * signs[place]
    cosines[place] = 0.0
    nearest = int(np.argmax(cosines))
    return choices[nearest].adapter.title if cosines[nearest] >= _ALIKE else None


def _family(choices: Sequence[Choice]) -> str:
    tightest = min(choices, key=lambda choice: BOUNDS.get(choice.adapter.family, OTHERS))
    title = TITLES.get(tightest.adapter.family, "")
    return title if tightest.adapter.family in BOUNDS else "a model"
