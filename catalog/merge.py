"""Who is believed when several places tell the same thing about a file.

Each reader of a header or a sidecar says what it found as a `Told`. Places are asked in the order of their level
and, within a level, in the order in which they are given; `_RULES` says how each field is made from the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from typing import Any

from ..families import OTHER, UNKNOWN, family_of
from ..records import Hashes, Licence, WeightEvidence
from .architecture import Architecture, related
from .nsfw import worst
from .told import Told

Answers = Sequence[tuple[str, object]]
"""(place, value), most believed first; never empty."""
Rule = Callable[[Answers], tuple[object, str]]


def _first(answers: Answers) -> tuple[object, str]:
    place, value = answers[0]
    return value, place


def _every_weight(answers: Answers) -> tuple[object, str]:
    """Evidence adds up; the same weight seen at the same place through two sidecars counts once."""
    seen: dict[WeightEvidence, None] = {}
    for _, value in answers:
        seen.update(dict.fromkeys(value))  # type: ignore[call-overload]
    return tuple(seen), _places(answers)


def _worst_rating(answers: Answers) -> tuple[object, str]:
    """Nobody's rating makes another's milder."""
    return worst(value for _, value in answers if isinstance(value, int)), _places(answers)


def _any_yes(answers: Answers) -> tuple[object, str]:
    yes = [answer for answer in answers if answer[1] is True] or answers[:1]
    return _first(yes)


def _any_no(answers: Answers) -> tuple[object, str]:
    no = [answer for answer in answers if answer[1] is False] or answers[:1]
    return _first(no)


def _each_digest(answers: Answers) -> tuple[object, str]:
    """Each digest from the first place that tells it."""
    digests: dict[str, str] = {}
    places: dict[str, None] = {}
    for place, value in answers:
        for field in fields(Hashes):
            digest = getattr(value, field.name)
            if digest is not None and field.name not in digests:
                digests[field.name] = digest
                places[place] = None
    if "sha256" in digests:
        digests["autov2"] = digests["sha256"][:10]
    return Hashes(**digests), ", ".join(places)


_RULES: dict[str, Rule] = {
    "title": _first,
    "version_name": _first,
    "model_id": _first,
    "version_id": _first,
    "file_id": _first,
    "creator": _first,
    "url": _first,
    "rank": _first,
    "alpha": _first,
    "triggers": _first,
    "tags": _first,
    "training_tags": _first,
    "description": _first,
    "notes": _first,
    "negative": _first,
    "examples": _first,
    "licence": _first,
    "downloads": _first,
    "published": _first,
    "weights": _every_weight,
    "nsfw": _worst_rating,
    "real_person": _any_yes,
    "minor": _any_yes,
    "available": _any_no,
    "hashes": _each_digest,
}
"""How each field is made from what several places tell about it."""


def merge(told: Iterable[Told], architecture: Architecture) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return the fields of a record and, for each, where its value came from.

    Args:
        told: What each place says; of the same level, the more believed first.
        architecture: What the tensors say. It decides the family's architecture; names only choose within it.
    """
    asked = sorted(told, key=lambda one: one.level)
    answers: dict[str, list[tuple[str, object]]] = {}
    for one in asked:
        for field, value in one.fields.items():
            if field in _RULES and _is_told(value):
                answers.setdefault(field, []).append((one.place, value))
    merged: dict[str, Any] = {}
    provenance: list[tuple[str, str]] = []
    for field, rule in _RULES.items():
        if field in answers:
            merged[field], place = rule(answers[field])
            provenance.append((field, place))
    family, base_model, notes = _choose_family(asked, architecture)
    merged["family"] = family
    merged["base_model"] = base_model
    return merged, provenance + notes


def _is_told(value: object) -> bool:
    if isinstance(value, Licence | Hashes):
        return value not in (Licence(), Hashes())
    return value is not None and value != "" and value != ()


def _places(answers: Answers) -> str:
    return ", ".join(dict.fromkeys(place for place, _ in answers))


def _choose_family(asked: Sequence[Told], architecture: Architecture) -> tuple[str, str | None, list[tuple[str, str]]]:
    """Return (family, the base as the place spells it, provenance).

    The tensors decide the architecture. Among the names that agree with it, a child such as Pony is believed before
    its parent: A1111 and kohya can only say SDXL. Names that contradict the tensors are noted and not used.
    """
    names = [(one.place, *_named(one)) for one in asked]
    names = [name for name in names if name[1] != UNKNOWN]
    known = [name for name in names if name[1] != OTHER]
    if architecture.family == UNKNOWN:
        for place, family, base in known or names:
            return family, base, [("family", place)]
        return UNKNOWN, None, []
    notes = []
    fitting = [name for name in known if related(name[1], architecture.family)]
    fitting.sort(key=lambda name: name[1] == architecture.family)
    if fitting:
        place, family, base = fitting[0]
    else:
        place, family, base = "tensors", architecture.family, None
    by_tensors = f"tensors ({architecture.evidence})"
    notes.append(("family", by_tensors if family == architecture.family else f"{by_tensors}; {place}"))
    if base:
        notes.append(("base_model", place))
    notes += [
        ("family", f"{where} says {spelt or other}, which the tensors contradict")
        for where, other, spelt in known
        if not related(other, architecture.family)
    ]
    return family, base, notes


def _named(one: Told) -> tuple[str, str | None]:
    base = one.fields.get("base_model")
    base = base if isinstance(base, str) and base else None
    family = one.fields.get("family")
    if not isinstance(family, str) or family == UNKNOWN:
        family = family_of(base)
    return family, base
