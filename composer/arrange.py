"""From picks to a composition: weights, triggers, what cannot go together, and the strength of all together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from ..looks import debias
from ..records import Choice, Composition, Probe, RefinedAdapter, Refusal
from .budget import Load, borne_by, within_budget
from .conflicts import Overlap, conflicts, repair
from .picks import Pick, Picked
from .triggers import share_room
from .weights import Rule, advise
from .worn import Conflict, Worn, is_pinned, part_of

Loads = Callable[[Sequence[int]], Mapping[int, Load]]
"""What is measured of adapters, by catalogue number."""

_QUIET = ("budget", "weight", "untriggered", "unknown", "settings")
"""What arranging takes care of itself, or what is no matter of choosing."""
_UNLAYABLE = ("twice", "family")
"""What no model can lay on: one adapter twice, or adapters of another base."""
_PINS_OWN = ("weight", "untriggered")
"""What of that nobody takes care of for an adapter that is pinned."""


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
    repairs: bool = True
    """Whether what does not go together is left out; otherwise only what no model can lay on is, as where a method is
    compared that knows nothing of it."""

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
    probes: Mapping[int, Probe] = MappingProxyType({}),
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
        probes: What adapters really do, by catalogue number, for their weights.
        family: The base family of the model, where it is known.
    """
    pinned = [Worn(choice=choice, adapter=_of(number, choice), sure=1.0) for number, choice in fixed.items()]
    worn = [*pinned, *(_worn(pick) for pick in picked.picks)]
    found = conflicts(worn, prompt=prompt, family=family, overlap=overlap if manner.repairs else None)
    if not manner.repairs:
        found = tuple(item for item in found if item.kind in _UNLAYABLE)
    kept, told = repair(worn, found)
    staying = [worn[place] for place in kept]
    # Errors come first, and the first that leaves one out is why it went.
    why = {place: item.explanation for item in reversed(found) for place in item.drop}
    dropped = [
        Refusal(adapter=worn[place].choice.adapter, reason=why[place])
        for place in range(len(worn))
        if place not in kept
    ]
    warned = tuple(item.explanation for item in found if set(item.places) <= set(kept) and _is_told(worn, item))
    free = staying[len(pinned) :]
    triggers = share_room(prompt, [item.refined for item in free], suffix=manner.suffix) if manner.triggers else ()
    choices = [item.choice for item in staying]
    for place, phrases in enumerate(triggers, len(pinned)):
        choices[place] = replace(choices[place], triggers=phrases)
    alone = weigh(choices, [item.refined for item in staying], manner, probes)
    laid = lay_together(alone, [item.refined for item in staying], len(pinned), manner=manner, loads=loads)
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
    manner: Manner,
    probes: Mapping[int, Probe] = MappingProxyType({}),
) -> list[Choice]:
    """Return the choices with the weights that each would have alone; pinned ones keep theirs."""
    weighed = []
    for choice, adapter in zip(choices, adapters, strict=True):
        if not is_pinned(choice):
            together = len(choices) if manner.weighing == "evidence" else 1
            advice = advise(adapter, together, manner.weighing, probe=probes.get(adapter.id))
            reason = _joined(choice.reason, f"weight {advice.weight:g}: {advice.reason}")
            choice = replace(choice, weight=advice.weight, reason=reason)
        weighed.append(choice)
    return weighed


def lay_together(
    choices: Sequence[Choice],
    adapters: Sequence[RefinedAdapter],
    fixed: int,
    *,
    manner: Manner,
    loads: Loads | None = None,
) -> tuple[Choice, ...]:
    """Return choices, whose weights are those that each has alone, with the weights that they have together.

    Those of one task, which decide the same part of the picture for the same words, share its strength: by how sure
    each is, and by Stylus's rules evenly. Then all are lowered together where they are too much. One that changes
    keeps the former weight in `advised`.

    Args:
        choices: Those that keep their weights first.
        adapters: What is known of each.
        fixed: How many keep their weights: they are pinned, or a person set them.
        manner: How.
        loads: What is measured of them.
    """
    laid = list(choices[:fixed])
    # Of what another tool chose nobody knows which words it serves: it shares them with none.
    tasks = [
        (choice.span, part_of(adapter)) if choice.span else place
        for place, (choice, adapter) in enumerate(zip(choices, adapters, strict=True))
    ]
    for choice, task in zip(choices[fixed:], tasks[fixed:], strict=True):
        mates = [other for other, of in zip(choices[fixed:], tasks[fixed:], strict=True) if of == task]
        share = _share(choice, mates, manner.weighing)
        if share < 1:
            told = f"{share:.0%} of it, since {len(mates)} adapters serve “{choice.span}”"
            weight, reason = _rounded(choice.weight * share), f"{choice.reason}; {told}"
            choice = replace(choice, weight=weight, advised=choice.weight, reason=reason)
        laid.append(choice)
    if not manner.budget:
        return tuple(laid)
    known = loads([adapter.id for adapter in adapters]) if loads is not None else {}
    measured = [known.get(adapter.id, Load()) for adapter in adapters]
    return within_budget(laid, borne_by(adapters, measured), fixed)


def _worn(pick: Pick) -> Worn:
    choice = Choice(
        adapter=pick.candidate.adapter.record, weight=1.0, span=pick.span, reason=pick.reason, sure=pick.score
    )
    return Worn(choice=choice, adapter=pick.candidate.adapter, sure=pick.score)


def _of(number: int, choice: Choice) -> RefinedAdapter:
    return RefinedAdapter(id=number, record=choice.adapter)


def _is_told(worn: Sequence[Worn], found: Conflict) -> bool:
    """Say whether whoever reads the composition should know of a conflict that stays."""
    if found.kind in _PINS_OWN and worn[found.places[0]].pinned:
        return found.severity != "note"
    return found.severity == "warning" and found.kind not in _QUIET


def _share(choice: Choice, mates: Sequence[Choice], weighing: Rule) -> float:
    """Return the part of its weight that an adapter has beside others of its task."""
    if weighing == "constant":
        return 1.0
    whole = sum(mate.sure or 0.0 for mate in mates)
    return (choice.sure or 0.0) / whole if whole > 0 and weighing == "evidence" else 1 / len(mates)


def _rounded(weight: float) -> float:
    """Return a weight as people write it, never rounded to nothing."""
    return round(weight, 2) or weight


def _joined(reason: str, more: str) -> str:
    return f"{reason}; {more}" if reason else more
