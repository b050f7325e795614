"""Adapters that do not go together, on one model or on one prompt: why, and what to do about it.

The rules need no database and no model: they read what a composition and the catalogue's records say. They serve the
composer, which repairs, and whoever has chosen a set by hand, who is told.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

from ..categories import tool_of
from ..families import OTHER, TITLES, UNKNOWN, support
from ..fenced import line
from ..records import RefinedAdapter
from ..syntax import plain_text
from .budget import Load, borne_by, bound_of, total_of, within_budget
from .people import people
from .triggers import category_for, fitting, naming
from .weights import FARTHEST, MOST, advise, farthest
from .worn import Conflict, Severity, Worn, are_alternatives, choose, listed, padded, title_of

Overlap = Callable[[RefinedAdapter, RefinedAdapter], float | None]
"""The cosine of what two adapters do to weights; None where it is not measured."""

_SAME = 0.95
"""The overlap from which on two files are one."""
_STYLES = 2
"""Styles that can be mixed; more are none."""
_MOST = 1.5
"""The weight beyond which adapters come out too strong."""
_STEPS, _GUIDANCE = 12, 3.0
"""The most that adapters for speed bear."""
_OF_A_KIND = ("people", "styles", "trigger")
"""Conflicts of what is alike."""


def conflicts(
    worn: Sequence[Worn],
    *,
    prompt: str | None = None,
    family: str | None = None,
    overlap: Overlap | None = None,
    loads: Sequence[Load] | None = None,
    steps: int | None = None,
    guidance: float | None = None,
) -> tuple[Conflict, ...]:
    """Return what does not go together, errors first.

    Args:
        worn: The set.
        prompt: As its writer wrote it; None where there is none, and then two persons are no error.
        family: The base family of the model; None compares the adapters with each other alone.
        overlap: Measures two adapters against each other.
        loads: What is measured of each, for the budget.
        steps: The steps that are to be made, where they are known.
        guidance: The guidance that is meant, where it is known.
    """
    if not worn:
        return ()
    found = [
        *_unknown(worn),
        *_doubles(worn, overlap),
        *_families(worn, family),
        *_speed(worn, steps, guidance),
        *people(worn, prompt),
        *_styles(worn),
        *_weights(worn),
        *_budget(worn, loads),
    ]
    same = {conflict.places for conflict in found if conflict.kind in ("twice", "duplicate")}
    found += [*_shared_triggers(worn, same), *_untriggered(worn, prompt)]
    # That alternatives are of a kind is what they are for.
    found = [item for item in found if item.kind not in _OF_A_KIND or not _alternatives(worn, item.places)]
    order = {"error": 0, "warning": 1, "note": 2}
    return tuple(sorted(found, key=lambda conflict: order[conflict.severity]))


def _alternatives(worn: Sequence[Worn], places: Sequence[int]) -> bool:
    return are_alternatives([worn[place].choice for place in places])


def repair(worn: Sequence[Worn], found: Sequence[Conflict]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the places that stay when the errors are settled by leaving adapters out, and what was done.

    A pinned adapter is never left out; what it spoils is told.
    """
    kept = list(range(len(worn)))
    told: list[str] = []
    for conflict in found:
        if conflict.severity != "error" or conflict.stay is None:
            continue
        too_many = sum(place in kept for place in conflict.places) - conflict.stay
        going = [place for place in conflict.drop if place in kept][: max(too_many, 0)]
        for place in going:
            kept.remove(place)
            told.append(f"{title_of(worn, place)} is left out: {conflict.explanation}")
        if too_many > len(going):
            told.append(f"kept as pinned, though {conflict.explanation}")
    return tuple(kept), tuple(told)


# ---------------------------------------------------------------- one adapter by itself


def _unknown(worn: Sequence[Worn]) -> Iterator[Conflict]:
    for place, item in enumerate(worn):
        if item.adapter is None:
            yield Conflict(
                kind="unknown",
                severity="note",
                places=(place,),
                explanation=f"{title_of(worn, place)} is not in the catalogue, so that little can be said about it",
            )


def _weights(worn: Sequence[Worn]) -> Iterator[Conflict]:
    for place, item in enumerate(worn):
        told = _odd_weight(item)
        if told is not None:
            severity, reason = told
            usual = advise(item.refined).weight
            better = ((place, usual),) if severity != "note" and usual != item.choice.weight else ()
            yield Conflict(
                kind="weight",
                severity=severity,
                places=(place,),
                explanation=f"{title_of(worn, place)} {reason}",
                weights=better,
            )


def _odd_weight(item: Worn) -> tuple[Severity, str] | None:
    weight, record = item.choice.weight, item.refined.record
    if not math.isfinite(weight):
        return "error", "has a weight that is no number"
    if weight == 0:
        return "note", "has the weight 0 and does nothing"
    most = farthest(record)
    used = [evidence.weight for evidence in record.weights if abs(evidence.weight) <= most]
    if min(used, default=0.0) <= weight <= max(used, default=0.0):
        return None
    if most == FARTHEST:
        beyond = abs(weight) > FARTHEST
        return ("error", f"has a weight of {weight:g}, and even sliders go to {FARTHEST:g} alone") if beyond else None
    if weight < 0:
        return "warning", f"has a weight of {weight:g}, which takes out of the picture what it was made for"
    if weight > MOST:
        return "error", f"has a weight of {weight:g}, and beyond {MOST:g} adapters break the picture"
    if weight > _MOST:
        return "warning", f"has a weight of {weight:g}, and few adapters bear more than {_MOST:g}"
    return None


def _untriggered(worn: Sequence[Worn], prompt: str | None) -> Iterator[Conflict]:
    """Yield the adapters that are not called: neither by the prompt nor by what was added to it."""
    if prompt is None:
        return
    whole = ", ".join((prompt, *(phrase for item in worn for phrase in item.choice.triggers)))
    text = padded(plain_text(whole))
    for place, item in enumerate(worn):
        lacking = fitting(item.refined, whole)
        if lacking and not any(padded(phrase) in text for group in item.refined.record.triggers for phrase in group):
            yield Conflict(
                kind="untriggered",
                severity="warning",
                places=(place,),
                explanation=f"nothing in the prompt calls {title_of(worn, place)}; add “{line(lacking[0], 60)}”",
                triggers=lacking,
            )


# ---------------------------------------------------------------- two of a kind


def _doubles(worn: Sequence[Worn], overlap: Overlap | None) -> Iterator[Conflict]:
    for one, other in combinations(range(len(worn)), 2):
        mine, theirs = worn[one].refined, worn[other].refined
        names = f"{title_of(worn, one)} and {title_of(worn, other)}"
        if (mine.record.source, mine.record.key) == (theirs.record.source, theirs.record.key):
            yield choose(worn, "twice", "error", (one, other), f"{title_of(worn, one)} is there twice")
        elif _same_file(mine, theirs):
            yield choose(worn, "duplicate", "error", (one, other), f"{names} are the same file")
        elif (cosine := overlap(mine, theirs) if overlap else None) is not None and cosine >= _SAME:
            reason = f"{names} do the same to the model (overlap {cosine:.2f})"
            yield choose(worn, "duplicate", "error", (one, other), reason)
        elif _same_page(mine, theirs):
            reason = f"{names} are versions of one page, made for the same thing"
            yield choose(worn, "duplicate", "error", (one, other), reason)


def _same_file(mine: RefinedAdapter, theirs: RefinedAdapter) -> bool:
    one, other = mine.record, theirs.record
    pairs = (
        (one.hashes.sha256, other.hashes.sha256),
        (one.hashes.autov3, other.hashes.autov3),
        (one.hashes.autov2, other.hashes.autov2),
        (one.fingerprint, other.fingerprint),
    )
    return any(first is not None and first == second for first, second in pairs)


def _same_page(mine: RefinedAdapter, theirs: RefinedAdapter) -> bool:
    """Say whether two are versions of one thing: of one page, and not named by different triggers."""
    one, other = mine.record, theirs.record
    if one.model_id is None or (one.source, one.model_id) != (other.source, other.model_id):
        return False
    names = [{padded(phrase) for phrase in naming(adapter)} for adapter in (mine, theirs)]
    return not all(names) or bool(names[0] & names[1])


def _styles(worn: Sequence[Worn]) -> Iterator[Conflict]:
    styles = tuple(place for place, item in enumerate(worn) if category_for(item.refined) == "style")
    if len(styles) < 2:
        return
    if len(styles) > _STYLES:
        reason = f"{listed(worn, styles)} are {len(styles)} styles, and of more than {_STYLES} none is recognised"
        yield choose(worn, "styles", "error", styles, reason, stay=_STYLES)
    else:
        yield choose(
            worn, "styles", "warning", styles, f"{listed(worn, styles)} are two styles, and the picture has a mixture"
        )


def _shared_triggers(worn: Sequence[Worn], same: set[tuple[int, ...]]) -> Iterator[Conflict]:
    names = [{padded(phrase): phrase for phrase in naming(item.refined)} for item in worn]
    for one, other in combinations(range(len(worn)), 2):
        shared = [phrase for key, phrase in names[one].items() if key in names[other]]
        if shared and (one, other) not in same:
            reason = f"“{line(shared[0], 60)}” calls both {title_of(worn, one)} and {title_of(worn, other)}"
            yield choose(worn, "trigger", "warning", (one, other), f"{reason}, so that neither comes alone")


# ---------------------------------------------------------------- the model, and what it bears


def _families(worn: Sequence[Worn], family: str | None) -> Iterator[Conflict]:
    if family is not None and family not in (UNKNOWN, OTHER):
        for place, item in enumerate(worn):
            record = item.refined.record
            level = support(record.family, family, kind=record.kind)
            made = f"{title_of(worn, place)} is made for {TITLES.get(record.family, record.family)}"
            model = f"the model is {TITLES.get(family, family)}"
            if level == "none":
                yield choose(worn, "family", "error", (place,), f"{made} and {model}, which cannot wear it", stay=0)
            elif level == "partial":
                reason = f"{made} and {model}, on which it works in part"
                yield Conflict(kind="family", severity="warning", places=(place,), explanation=reason)
            elif level is None:
                reason = f"it is not known for which base {title_of(worn, place)} is made"
                yield Conflict(kind="family", severity="note", places=(place,), explanation=reason)
        return
    for one, other in combinations(range(len(worn)), 2):
        mine, theirs = worn[one].refined.record, worn[other].refined.record
        # Which of the two is no lora decides: an embedding is worn more widely.
        kind = mine.kind if theirs.kind == "lora" else theirs.kind
        if support(mine.family, theirs.family, kind=kind) == "none" == support(theirs.family, mine.family, kind=kind):
            reason = (
                f"{title_of(worn, one)} is made for {TITLES.get(mine.family, mine.family)} and "
                f"{title_of(worn, other)} for {TITLES.get(theirs.family, theirs.family)}, and no model wears both"
            )
            yield choose(worn, "family", "error", (one, other), reason)


def _speed(worn: Sequence[Worn], steps: int | None, guidance: float | None) -> Iterator[Conflict]:
    tools = {place: tool_of(item.refined.record) for place, item in enumerate(worn)}
    fast = {place: tool for place, tool in tools.items() if tool is not None and tool.kind == "speed"}
    if len(fast) > 1:
        reason = f"{listed(worn, tuple(fast))} each change how many steps a picture takes, and together they break it"
        yield choose(worn, "speed", "error", tuple(fast), reason)
    for place, tool in fast.items():
        known = steps is not None or guidance is not None
        if known and (steps is None or steps <= _STEPS) and (guidance is None or guidance <= _GUIDANCE):
            continue
        made = f"{tool.steps} steps" if tool.steps else "1 to 8 steps"
        asked = [f"{steps} steps"] if steps is not None else []
        asked += [f"guidance {guidance:g}"] if guidance is not None else []
        reason = f"{title_of(worn, place)} paints in {made} with a guidance of 1 to 2"
        yield Conflict(
            kind="settings",
            severity="warning" if known else "note",
            places=(place,),
            explanation=f"{reason}, not with {' and '.join(asked)}" if asked else reason,
        )


def _budget(worn: Sequence[Worn], loads: Sequence[Load] | None) -> Iterator[Conflict]:
    choices = [item.choice for item in worn]
    if len(choices) < 2 or not all(math.isfinite(choice.weight) for choice in choices):
        return
    loads = borne_by([item.refined for item in worn], loads or [Load()] * len(choices))
    total, bound = total_of(choices, loads), bound_of(choices)
    if total > bound:
        lowered = within_budget(choices, loads)
        yield Conflict(
            kind="budget",
            severity="warning",
            places=tuple(range(len(worn))),
            explanation=f"together the adapters come to {total:.2f}, and pictures come out over-baked beyond {bound:g}",
            weights=tuple((place, choice.weight) for place, choice in enumerate(lowered)),
        )
