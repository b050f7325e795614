"""Which pictures of two methods a judge is shown together, and in which order: by a seed, so that it can be told."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

from ...errors import InputError
from ..datasets import subsample
from ..records import CellName, Prompt, Sample
from .records import CRITERIA, GROUP, Criterion, Pairing, Pairings

_Paired = Mapping[str, Sequence[tuple[Sample, Sample]]]
"""By the prompt's id, its pairs by index."""


def pair_up(
    samples: Sequence[Sample],
    of: str,
    against: str,
    *,
    criteria: Sequence[Criterion] = CRITERIA,
    guidance: float | None = None,
    limit: int | None = None,
    per_prompt: int = 1,
    seed: int = 0,
) -> Pairings:
    """Pair the samples of two methods that share prompt and index.

    Args:
        samples: Of any methods.
        of: The method that is asked about.
        against: The other one.
        criteria: For diversity a prompt is one pair of groups, of up to five pictures each.
        guidance: Of both; None takes the one that both have, if there is but one.
        limit: So many prompts alone, chosen by a digest of their ids and the seed; None takes all.
        per_prompt: For the other criteria, the most pairs of one prompt, those of the lowest indices.
        seed: Decides the order of the pairs, and which side of each stands first when it is asked first.

    Raises:
        InputError: a method or guidance is not there, or the two have no pair in common.
    """
    if of == against:
        raise InputError(f"{of} cannot be judged against itself; name two methods")
    cells = _cells(samples, of, against, guidance)
    by_pair = [{sample.pair: sample for sample in samples if sample.cell == cell} for cell in cells]
    common = sorted(by_pair[0].keys() & by_pair[1].keys())
    if not common:
        raise InputError(f"{cells[0]} and {cells[1]} have no pair of equal prompt_id and index")
    paired: dict[str, list[tuple[Sample, Sample]]] = {}
    for pair in common:
        paired.setdefault(pair[0], []).append((by_pair[0][pair], by_pair[1][pair]))
    prompts = [Prompt(id=prompt, text=pairs[0][0].prompt) for prompt, pairs in paired.items()]
    kept = [prompt.id for prompt in subsample(prompts, limit, seed=seed)]
    pairs = [pairing for criterion in criteria for pairing in _pairings(criterion, paired, kept, per_prompt, seed)]
    too_few = sum(len(paired[prompt]) < 2 for prompt in kept) if "diversity" in criteria else 0
    return Pairings(
        of=cells[0],
        against=cells[1],
        pairs=tuple(sorted(pairs, key=lambda pairing: _lot(seed, pairing))),
        seed=seed,
        unpaired=sum(len(each) - len(common) for each in by_pair),
        too_few=too_few,
    )


def _cells(samples: Sequence[Sample], of: str, against: str, guidance: float | None) -> tuple[CellName, CellName]:
    known = {name: sorted({_order(sample.guidance) for sample in samples if sample.method == name})
             for name in (of, against)}  # fmt: skip
    for name, found in known.items():
        if not found:
            methods = ", ".join(sorted({sample.method for sample in samples}))
            raise InputError(f"there are no pictures of the method {name}; there are {methods}")
    chosen = {name: _guidance(found, guidance) for name, found in known.items()}
    if guidance is None and len(common := set(known[of]) & set(known[against])) == 1:
        chosen = dict.fromkeys(known, common.pop())
    for name, value in chosen.items():
        if value is None:
            listed = ", ".join("none" if each < 0 else f"{each:g}" for each in known[name])
            wanted = "several guidances" if guidance is None else f"no pictures at guidance {guidance:g}"
            raise InputError(f"{name} has {wanted}; name one with --guidance, of {listed}")
    first, second = (CellName(method=name, guidance=_told(chosen[name])) for name in (of, against))
    return first, second


def _guidance(found: Sequence[float], wanted: float | None) -> float | None:
    """Return the guidance that is meant, below zero for a method that has none; None where it is not there."""
    if len(found) == 1 and (wanted is None or found[0] < 0):
        return found[0]
    return wanted if wanted in found else None


def _order(guidance: float | None) -> float:
    return -1.0 if guidance is None else guidance


def _told(guidance: float | None) -> float | None:
    return None if guidance is None or guidance < 0 else guidance


def _pairings(
    criterion: Criterion, paired: _Paired, prompts: Sequence[str], per_prompt: int, seed: int
) -> Iterator[Pairing]:
    for prompt in prompts:
        pairs = paired[prompt]
        if criterion == "diversity":
            groups = [pairs[:GROUP]] if len(pairs) > 1 else []
        else:
            groups = [[pair] for pair in pairs[:per_prompt]]
        for group in groups:
            of, against = zip(*group, strict=True)
            digit = _digest(f"first {seed} {criterion} {prompt} {of[0].index}")[0]
            yield Pairing(
                criterion=criterion,
                prompt_id=prompt,
                prompt=of[0].prompt,
                of=of,
                against=against,
                of_is_asked_first=int(digit, 16) < 8,
            )


def _lot(seed: int, pairing: Pairing) -> str:
    return _digest(f"order {seed} {pairing.criterion} {pairing.prompt_id} {pairing.index}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
