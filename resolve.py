"""Adapters that people and other tools name, found in the catalogue: pins in a prompt, and imported compositions."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from .fenced import line
from .records import AdapterRecord, Candidate, Choice, Composition, Refusal
from .syntax import Pinned

if TYPE_CHECKING:
    from .composer.formats import Foreign, Named
    from .db import Store

PROMPT = "prompt"
"""The source of an adapter that only a prompt, or another tool's file, speaks of."""
IMPORTED = "imported"
"""The composer of a composition that another tool made."""
_PINNED = "pinned in the prompt"
_FARTHEST = 100.0
"""The largest weight, either way, that other tools take."""


def pins(
    store: Store, names: Sequence[Pinned], allowed: Collection[int]
) -> tuple[dict[int, Choice], tuple[Refusal, ...], tuple[str, ...]]:
    """Look up the files that a prompt pins: they are kept whatever a composer thinks, within the filter.

    Returns:
        The choices by catalogue number, what is refused, and what a person should know.
    """
    choices: dict[int, Choice] = {}
    refused: list[Refusal] = []
    notes: list[str] = []
    for pin in names:
        # With the suffix it can only be a file's name: `<lora:7:1>` means the file `7`, not number 7.
        name = re.split(r"[\\/]", pin.name)[-1]
        numbers = store.find(f"{name}.safetensors")
        if not numbers:
            unknown = AdapterRecord(source=PROMPT, key=pin.name, title=pin.name)
            refused.append(Refusal(adapter=unknown, reason=f"{_PINNED}, and no file in the catalogue is called so"))
            continue
        number = next((number for number in numbers if number in allowed), numbers[0])
        record = store.adapter(number).record
        if number in choices:
            continue
        if number in allowed:
            span = f"<lora:{pin.name}>"
            weight = min(max(pin.weight, -_FARTHEST), _FARTHEST)
            if weight != pin.weight:
                title = line(record.title, 60) or line(record.key, 60)
                notes.append(f"“{title}” is pinned at {pin.weight:g} and laid on at {weight:g}: tools take no more")
            choices[number] = Choice(adapter=record, weight=weight, span=span, reason=_PINNED)
        else:
            refused.append(Refusal(adapter=record, reason=f"{_PINNED}, and kept out by the filter"))
    return choices, tuple(refused), tuple(notes)


def stands_for(candidate: Candidate, fixed: Mapping[int, Choice]) -> bool:
    """Say whether a candidate is one of the fixed adapters, or another version or copy of one."""
    pages = {choice.adapter.model_id for choice in fixed.values()} - {None}
    return candidate.adapter.record.model_id in pages or not fixed.keys().isdisjoint(
        (candidate.adapter.id, *candidate.alternatives)
    )


def composition_of(store: Store, foreign: Foreign) -> Composition:
    """Return what another tool's file says as a composition of the catalogue's adapters.

    One that the catalogue does not know is kept by its name, with a note.
    """
    if foreign.composition is not None:
        return replace(foreign.composition, notes=(*foreign.composition.notes, *foreign.notes))
    choices: dict[tuple[str, str], Choice] = {}
    notes = list(foreign.notes)
    for named in foreign.adapters:
        number = number_of(store, named)
        if number is None:
            record = AdapterRecord(
                source=PROMPT, key=named.file or named.name, title=named.name, file_name=named.file,
                hashes=named.hashes, model_id=named.model_id, version_id=named.version_id,
            )  # fmt: skip
            notes.append(f"“{named.name}” is not in the catalogue")
        else:
            record = store.adapter(number).record
        if (record.source, record.key) in choices:
            notes.append(f"“{named.name}” is {record.title} again, and was taken once")
            continue
        if named.clip_weight is not None and named.clip_weight != named.weight:
            notes.append(
                f"{record.title} has {named.clip_weight:g} on the text encoder there; {named.weight:g} is kept"
            )
        choices[record.source, record.key] = Choice(
            adapter=record, weight=named.weight, span=named.span, triggers=named.triggers, reason=named.reason
        )
    return Composition(
        prompt=", ".join(part for part in (foreign.prompt, *foreign.triggers) if part),
        choices=tuple(choices.values()),
        composer=f"{IMPORTED} from {foreign.form}",
        notes=tuple(notes),
    )


def number_of(store: Store, named: Named) -> int | None:
    """Return the catalogue number of what another tool names: by hash, version, file, then title; the surest first."""
    return next(_meant(store, named), None)


def _meant(store: Store, named: Named) -> Iterator[int]:
    hashes = named.hashes
    for digest in filter(None, (hashes.sha256, hashes.autov3, hashes.autov2)):
        yield from store.find(digest)
    if named.air:
        yield from store.find(named.air)
    if named.version_id is not None and named.model_id is not None:
        yield from store.find(f"{named.model_id}@{named.version_id}")
    elif named.version_id is not None:
        # A number alone is taken for a catalogue number first.
        version = str(named.version_id)
        yield from (number for number in store.find(version) if str(store.adapter(number).record.version_id) == version)
    name = re.split(r"[\\/]", (named.file or named.name).strip())[-1]
    # With the suffix it can only be a file's name.
    yield from store.find(name if name.casefold().endswith(".safetensors") else f"{name}.safetensors")
    if not name.isdecimal():
        yield from store.find(name)
