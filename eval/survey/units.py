"""What can be shown together: of each prompt, one group of pictures of each method, from the same noise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ...errors import InputError
from ..datasets import subsample
from ..records import CellName, Prompt, Sample
from .lots import Lot
from .records import Questionnaire


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A prompt, and of each method as many samples as groups have."""

    prompt_id: str
    prompt: str
    samples: Mapping[str, tuple[Sample, ...]]
    """By method; those at one place have the same index."""


def choose_units(
    samples: Iterable[Sample], methods: Sequence[str], questionnaire: Questionnaire, limit: int | None, lot: Lot
) -> tuple[list[Unit], tuple[str, ...]]:
    """Return the units of a survey, and notes on what was left out.

    Args:
        samples: Of these and other methods.
        methods: Names of methods; `name@guidance` where a method has several guidances.
        questionnaire: Says how many pictures a group has at most.
        limit: Prompts at most; None takes all.
        lot: Draws the samples' indices where there are more than needed; its seed alone chooses prompts, which the page
            shows anyway.

    Raises:
        InputError: a method is unknown, ambiguous or named twice, or no prompt has pictures of all.
    """
    held = _held(list(samples), methods)
    common = set.intersection(*({sample.prompt_id for sample in of} for of in held.values()))
    largest = max(question.pictures for question in questionnaire.questions)
    by_pair = {method: {sample.pair: sample for sample in of} for method, of in held.items()}
    texts = {sample.prompt_id: sample.prompt for of in held.values() for sample in of}
    shared = set.intersection(*(set(pairs) for pairs in by_pair.values()))
    indices: dict[str, list[int]] = {}
    for prompt_id, index in sorted(shared):
        indices.setdefault(prompt_id, []).append(index)
    if not indices:
        raise InputError(f"no prompt has a picture of the same index by each of {', '.join(methods)}")
    notes = []
    unmatched = len(set(texts) - set(indices))
    if unmatched:
        notes.append(f"{unmatched:,} prompts were left out: not every method painted them with the same index")
    if len(common) > len(indices):
        notes.append("some prompts have pictures by every method, and none of the same index")
    chosen = subsample([Prompt(id=name, text=texts[name]) for name in sorted(indices)], limit, seed=lot.seed)
    draw = lot.draw("samples")
    units = []
    for prompt in chosen:
        drawn = draw.permutation(indices[prompt.id])[:largest].tolist()
        taken = {method: tuple(by_pair[method][prompt.id, index] for index in drawn) for method in methods}
        units.append(Unit(prompt_id=prompt.id, prompt=prompt.text, samples=taken))
    return units, (*notes, *_selection(units))


def answerable(questionnaire: Questionnaire, units: Sequence[Unit], references: int) -> tuple[Questionnaire, list[str]]:
    """Return the questionnaire less what these pictures cannot answer, and why.

    Raises:
        InputError: nothing is left of it.
    """
    notes, kept = [], []
    grouped = any(len(next(iter(unit.samples.values()))) > 1 for unit in units)
    for question in questionnaire.questions:
        if question.references and not references:
            notes.append(f"“{question.text}” is not asked: there are no reference pictures")
        elif question.pictures > 1 and not grouped:
            notes.append(f"“{question.text}” is not asked: no prompt has two pictures of each method")
        else:
            kept.append(question)
    if not kept:
        raise InputError(f"nothing of the questionnaire {questionnaire.name} can be asked: {'; '.join(notes)}")
    return replace(questionnaire, questions=tuple(kept)), notes


def _held(samples: Sequence[Sample], methods: Sequence[str]) -> dict[str, list[Sample]]:
    """Return the samples of each method, of one cell each."""
    cells = sorted({sample.cell for sample in samples}, key=str)
    if len(methods) < 2 or len(set(methods)) < len(methods):
        raise InputError("a survey compares two or more different methods; name them as `--methods a,b`")
    chosen: dict[str, CellName] = {}
    for method in methods:
        found = [cell for cell in cells if method.replace(" ", "") in (cell.method, str(cell).replace(" ", ""))]
        found = found or [cell for cell in cells if cell.method == method]
        if not found:
            raise InputError(f"there are no pictures of {method!r}; there are those of {', '.join(map(str, cells))}")
        if len(found) > 1:
            listed = ", ".join(f"{cell.method}@{cell.guidance:g}" for cell in found if cell.guidance is not None)
            raise InputError(f"{method!r} was painted at several guidances; name one of {listed}")
        chosen[method] = found[0]
    if len(set(chosen.values())) < len(chosen):
        raise InputError("two of the methods are the same")
    return {method: [sample for sample in samples if sample.cell == cell] for method, cell in chosen.items()}


def _selection(units: Sequence[Unit]) -> tuple[str, ...]:
    first = next(iter(units[0].samples.values()))[0]
    if first.best_of < 2:
        return ()
    return (f"every picture is the best of {first.best_of} by {first.selector or 'an unnamed metric'}",)
