"""Estimates cut into slices of their prompts: by length, category, challenge, or words in them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np

from ..errors import InputError
from ..words import words
from .estimates import Estimate, by_prompt, mean_estimate
from .records import Sample

By = Literal["length", "category", "challenge"]
Method = TypeVar("Method", bound=Hashable)
Groups = Mapping[str, Sequence[str]]
"""The ids of the prompts of each slice, by its name, in the order in which slices are shown."""

_WORDS = 5
"""Words by which the lengths of slices grow."""
UNTOLD = "not told"
"""The slice of prompts without a category or challenge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A value of some prompts, or the difference of two."""

    name: str
    prompts: int
    value: float
    low: float | None
    high: float | None
    """The ends of the 95 % interval, by Student's t over prompts; None of one prompt alone."""
    p: float | None
    """The two-sided probability of a value as far from 0, were it 0: of use for differences."""
    adjusted: float | None = None
    """Of a difference: the same, corrected after Holm for all slices that are compared."""


def groups_by(samples: Iterable[Sample], by: By) -> Groups:
    """Return the prompts by how many words they have (0-4, 5-9, ...), by their category or by their challenge."""
    prompts = {sample.prompt_id: sample for sample in samples}
    groups: dict[tuple[int, str], list[str]] = defaultdict(list)
    for name, sample in sorted(prompts.items()):
        if by == "length":
            begin = len(sample.prompt.split()) // _WORDS * _WORDS
            groups[begin, f"{begin}-{begin + _WORDS - 1}"].append(name)
        else:
            told = sample.category if by == "category" else sample.challenge
            groups[(0, told) if told else (1, UNTOLD)].append(name)
    return {slice_name: groups[order, slice_name] for order, slice_name in sorted(groups)}


def groups_by_keyword(samples: Iterable[Sample], keywords: Sequence[str]) -> Groups:
    """Return the prompts in which each keyword stands, as whole words; a prompt may be in several slices, or in none.

    Raises:
        InputError: a keyword has no word.
    """
    prompts = {sample.prompt_id: f" {' '.join(words(sample.prompt))} " for sample in samples}
    groups = {}
    for keyword in keywords:
        sought = " ".join(words(keyword))
        if not sought:
            raise InputError(f"{keyword!r} is no keyword: it has no letters")
        if found := [name for name, said in sorted(prompts.items()) if f" {sought} " in said]:
            groups[keyword] = found
    return groups


def cut(estimate: Estimate, groups: Groups) -> tuple[Slice, ...]:
    """Return the estimate of each slice, with its interval; slices without any of its prompts are left out.

    Args:
        estimate: A mean over prompts, such as CLIP score and dFID are; a Fréchet distance is none and cannot be cut.
        groups: The slices.

    Raises:
        InputError: the estimate is not known prompt by prompt.
    """
    values = by_prompt(estimate)
    if not values:
        raise InputError("this estimate is not known prompt by prompt and cannot be cut")
    slices = []
    for name, members in groups.items():
        held = [prompt for prompt in members if prompt in values]
        if held:
            part = mean_estimate(held, [values[prompt] for prompt in held])
            low, high = part.interval or (None, None)
            slices.append(Slice(name=name, prompts=len(held), value=part.value, low=low, high=high, p=part.p))
    return tuple(slices)


def compare(first: Estimate, second: Estimate, groups: Groups) -> tuple[Slice, ...]:
    """Return the first less the second of each slice, paired over the prompts that both have, corrected after Holm.

    Raises:
        InputError: they have no prompts in common, or are not known prompt by prompt.
    """
    from .stats import holm

    one, other = by_prompt(first), by_prompt(second)
    common = [prompt for prompt in first.prompts if prompt in one and prompt in other]
    if not common:
        raise InputError("the two have no prompts in common, or are not known prompt by prompt")
    slices = cut(mean_estimate(common, [one[prompt] - other[prompt] for prompt in common]), groups)
    adjusted = holm([part.p for part in slices])
    return tuple(replace(part, adjusted=p) for part, p in zip(slices, adjusted, strict=True))


def standardised(estimates: Mapping[Method, Sequence[Estimate]]) -> dict[Method, Estimate]:
    """Return of each method one estimate for several, such as dFID in four widths of features (Stylus, figure 9).

    Each prompt's value becomes 1 + z, by the mean and the standard deviation of the values of all methods together, and
    the mean of that over the estimates is taken. Both are held to be known in the errors.

    Args:
        estimates: Of each method as many estimates, in the same order, all of a method's over the same prompts.

    Raises:
        InputError: methods differ in the number of estimates, or those of one in their prompts; or values are all the
            same.
    """
    rows = {method: [by_prompt(estimate) for estimate in several] for method, several in estimates.items()}
    counts = {len(row) for row in rows.values()}
    if len(counts) != 1 or 0 in counts:
        raise InputError("standardised values need the same estimates of every method")
    for row in rows.values():
        if not row[0] or any(part.keys() != row[0].keys() for part in row):
            raise InputError("standardised values need estimates over the same prompts, known prompt by prompt")
    sums = {method: np.zeros(len(row[0])) for method, row in rows.items()}
    for place in range(min(counts)):
        values = {method: np.array(list(row[place].values())) for method, row in rows.items()}
        pooled = np.concatenate(list(values.values()))
        deviation = float(pooled.std(ddof=1)) if len(pooled) > 1 else 0.0
        if deviation == 0:
            raise InputError("values that are all the same cannot be standardised")
        for method, held in values.items():
            sums[method] += 1 + (held - pooled.mean()) / deviation
    return {
        method: mean_estimate(list(row[0]), sums[method] / len(row), n=estimates[method][0].n)
        for method, row in rows.items()
    }
