"""From picks to a composition: weights, triggers, what cannot go together, and the strength of all together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..records import Choice, Composition, RefinedAdapter, Refusal
from .budget import Load, within_budget
from .conflicts import Overlap, conflicts, repair
from .picks import Pick, Picked
from .triggers import debias, share_room
from .weights import Rule, advise
from .worn import Worn

Loads = Callable[[Sequence[int]], Mapping[int, Load]]
"""What is measured of adapters, by catalogue number."""

_QUIET = ("budget", "weight", "untriggered", "unknown", "settings")
"""Warnings that arranging takes care of itself, or that are no matter of choosing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How picks become a composition."""

    weighing: Rule = "evidence"
    budget: bool = True
    """Whether weights are lowered together to what a model of the family bears."""
    triggers: bool = True
    """Whether missing trigger words are added to the prompt."""
    emphasis: float | None = None
    """How much tasks without an adapter are stressed."""
    debias: str | None = None
    """Words that hold the checkpoint to its own look; `auto` takes those that are known for it."""
    model: str | None = None
    """The checkpoint, for `auto`."""

    @property
    def suffix(self) -> str:
        """The words that close every prompt."""
        return debias(self.model) if self.debias == "auto" else self.debias or ""


def arrange(
    prompt: str,
    picked: Picked,
    fixed: Mapping[int, Choice],
    *,
    composer: str,
    manner: Manner = Manner(),
    loads: Loads | None = None,
    overlap: Overlap | None = None,
    family: str | None = None,
) -> Composition:
    """Turn picks into a composition.

    Args:
        prompt: As its writer wrote it.
        picked: What a composer chose.
        fixed: What a person pinned, by catalogue number: it stays as it is, and counts.
        composer: Who chose.
        manner: How.
        loads: What is measured of adapters, for the budget.
        overlap: Measures two adapters against each other.
        family: The base family of the model, where it is known.
    """
    pinned = [Worn(choice=choice, adapter=_of(number, choice), sure=1.0) for number, choice in fixed.items()]
    worn = [*pinned, *(_worn(pick) for pick in picked.picks)]
    found = [
        item
        for item in conflicts(worn, prompt=prompt, family=family, overlap=overlap)
        # Adapters of one task are alternatives that share their strength: that they are of a kind is what they are for.
        if item.kind not in ("people", "styles", "trigger") or not _one_task(worn, item.places)
    ]
    kept, told = repair(worn, found)
    staying = [worn[place] for place in kept]
    # Errors come first, and the first that leaves one out is why it went.
    why = {place: item.explanation for item in reversed(found) for place in item.drop}
    dropped = [
        Refusal(adapter=worn[place].choice.adapter, reason=why[place])
        for place in range(len(worn))
        if place not in kept
    ]
    warned = tuple(
        item.explanation
        for item in found
        if item.severity == "warning" and item.kind not in _QUIET and set(item.places) <= set(kept)
    )
    free = staying[len(pinned) :]
    triggers = share_room(prompt, [item.refined for item in free], suffix=manner.suffix) if manner.triggers else ()
    choices = [item.choice for item in staying]
    for place, phrases in enumerate(triggers, len(pinned)):
        choices[place] = replace(choices[place], triggers=phrases)
    numbers = [item.refined.id for item in staying]
    laid = weigh(choices, [item.refined for item in staying], numbers, manner=manner, loads=loads)
    return Composition(
        prompt=prompt,
        choices=laid,
        refused=(*picked.refused, *dropped),
        composer=composer,
        tasks=picked.tasks,
        notes=(*picked.notes, *told, *warned),
        emphasis=manner.emphasis,
        suffix=manner.suffix,
        usage=picked.usage,
    )


def weigh(
    choices: Sequence[Choice],
    adapters: Sequence[RefinedAdapter],
    numbers: Sequence[int],
    *,
    manner: Manner,
    loads: Loads | None = None,
) -> tuple[Choice, ...]:
    """Return the choices with the weights that they have together; pinned ones, which stand first, keep theirs.

    By evidence each has the weight that it would have alone; those of one task share it by how sure each is, and all
    are lowered together where they are too much. Stylus's rules divide by the number of a task's adapters themselves.
    """
    fixed = sum(choice.span.startswith("<lora:") for choice in choices)
    laid = list(choices[:fixed])
    alone: dict[int, float] = {}
    for place, (choice, adapter) in enumerate(zip(choices[fixed:], adapters[fixed:], strict=True), fixed):
        # Of what another tool chose nobody knows which words it serves: it shares them with none.
        mates = [other for other in choices[fixed:] if other is choice or (other.span and other.span == choice.span)]
        together = len(choices) if manner.weighing == "evidence" else len(mates)
        advice = advise(adapter, together, manner.weighing)
        share = _share(choice, mates) if manner.weighing == "evidence" else 1.0
        reason = _joined(choice.reason, f"weight {advice.weight:g}: {advice.reason}")
        if share < 1:
            alone[place] = advice.weight
            reason += f"; {share:.0%} of it, since {len(mates)} adapters serve “{choice.span}”"
        laid.append(replace(choice, weight=_rounded(advice.weight * share), advised=None, reason=reason))
    if manner.budget:
        known = loads(numbers) if loads is not None else {}
        laid = list(within_budget(laid, [known.get(number, Load()) for number in numbers], fixed))
    return tuple(
        replace(choice, advised=alone[place]) if place in alone else choice for place, choice in enumerate(laid)
    )


def _worn(pick: Pick) -> Worn:
    choice = Choice(
        adapter=pick.candidate.adapter.record, weight=1.0, span=pick.span, reason=pick.reason, sure=pick.score
    )
    return Worn(choice=choice, adapter=pick.candidate.adapter, sure=pick.score)


def _of(number: int, choice: Choice) -> RefinedAdapter:
    return RefinedAdapter(id=number, record=choice.adapter)


def _one_task(worn: Sequence[Worn], places: Sequence[int]) -> bool:
    return len({worn[place].choice.span for place in places}) == 1


def _share(choice: Choice, mates: Sequence[Choice]) -> float:
    """Return the part of its weight that an adapter has beside others of its task."""
    whole = sum(mate.sure or 0.0 for mate in mates)
    return (choice.sure or 0.0) / whole if whole > 0 else 1 / len(mates)


def _rounded(weight: float) -> float:
    """Return a weight as people write it, never rounded to nothing."""
    return round(weight, 2) or weight


def _joined(reason: str, more: str) -> str:
    return f"{reason}; {more}" if reason else more
