"""The tools for language models that find, choose and judge: what they answer, as values and as a short text.

Titles, descriptions and triggers were written by strangers, and some speak to the model that reads them. Each stands
on one line, bounded, without what is invisible and without anything that could close a fence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from ...errors import InputError
from ...families import TITLES
from ...fenced import line
from ...gates import admitted
from ...records import Choice, Composition, Refusal
from ..site_pages import page_of
from .asked import AdapterNamed, SearchAdapters, SuggestAdapters, ValidateCombination
from .told import (
    AdapterTold,
    ChosenTold,
    ConflictTold,
    FoundTold,
    NamedTold,
    RefusedTold,
    SearchTold,
    SuggestTold,
    ToolTold,
    ValidateTold,
)

if TYPE_CHECKING:
    from ...composer.worn import Conflict
    from ...records import AdapterRecord, Candidate, RefinedAdapter
    from ..studio import Studio

_TITLE: Final = 80
"""Characters of a title;"""
_SENTENCE: Final = 300
"""of a reason or a note;"""
_PHRASE: Final = 60
"""of a trigger;"""
_ABOUT: Final = 240
"""of what an adapter does."""
_TRIGGERS: Final = 8
"""Triggers of an adapter that are told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a tool answers."""

    told: ToolTold
    text: str
    """The same, short, for whoever reads no values."""
    pictures: tuple[tuple[bytes, str], ...] = ()
    """(content, media type)."""


# -------------------------------------------------------------------------------------------------- the tools


def search(studio: Studio, asked: SearchAdapters) -> Answer:
    """Return the adapters that could serve a query."""
    found = studio.search(asked.query, wishes=asked.wishes(), limit=asked.limit)
    told = SearchTold(query=asked.query, adapters=[_found(each) for each in found], notes=_catalogue_notes(studio))
    rows = [
        f"{place}. {each.title} (id {each.id}, {each.family or 'family unknown'}): {each.score:.0%}; "
        + ("; ".join(each.because) or "near in meaning")
        for place, each in enumerate(told.adapters, 1)
    ]
    return Answer(told=told, text="\n".join([*(rows or ["nothing serves this"]), *_noted(told.notes)]))


def suggest(studio: Studio, asked: SuggestAdapters) -> Answer:
    """Return the adapters for a prompt, weighed, with reasons."""
    from ...composer.formats import write

    wishes = replace(asked.wishes(), banned=tuple(asked.without))
    if asked.family is None and studio.settings.model is not None:
        wishes = studio.for_painting(wishes)
    composition = studio.compose(asked.prompt, wishes=wishes)
    conflicts = _conflicts(studio, composition, wishes.family)
    told_twice = {conflict.explanation for conflict in conflicts}
    composition = replace(composition, notes=tuple(note for note in composition.notes if note not in told_twice))
    if asked.most is not None and len(composition.choices) > asked.most:
        composition = _at_most(studio, composition, asked.most)
        conflicts = _conflicts(studio, composition, wishes.family)
    told = SuggestTold(
        prompt=asked.prompt,
        painted_prompt=one_line(composition.painted_prompt),
        choices=chosen(studio, composition),
        refused=refused(studio, composition),
        conflicts=[_conflict(each, composition) for each in conflicts],
        a1111=one_line(write(studio.velatura.localised(composition), "a1111").text),
        composer=line(composition.composer, _TITLE),
        notes=[*notes_of(composition), *_catalogue_notes(studio)],
    )
    rows = [*choice_lines(told.choices)] or ["no adapter serves this prompt: paint it without"]
    turned = [f"not taken: {each.title}: {each.reason}" for each in told.refused]
    prompt = [f"prompt: {told.painted_prompt}", f"A1111: {told.a1111}"]
    return Answer(
        told=told, text="\n".join([*rows, *prompt, *turned, *conflict_lines(told.conflicts), *_noted(told.notes)])
    )


def validate(studio: Studio, asked: ValidateCombination) -> Answer:
    """Return what does not go together in a set."""
    if asked.family is not None and asked.family not in TITLES:
        raise InputError(f"the family {line(asked.family, 40)!r} is none of {', '.join(TITLES)}")
    composition = exactly(studio, asked.adapters, asked.prompt or "", triggers=False)
    conflicts = studio.velatura.validate(composition, family=asked.family)
    told = ValidateTold(
        fits=not any(each.severity == "error" for each in conflicts),
        adapters=named(studio, composition.choices),
        conflicts=[_conflict(each, composition) for each in conflicts],
    )
    set_of = ", ".join(f"{each.title} (id {each.id}) at {each.weight:g}" for each in told.adapters)
    rows = conflict_lines(told.conflicts) or ["nothing speaks against this set"]
    return Answer(told=told, text="\n".join([set_of, *rows]))


# -------------------------------------------------------------------------------------------------- compositions


def exactly(studio: Studio, adapters: Sequence[AdapterNamed], prompt: str, *, triggers: bool = True) -> Composition:
    """Return a composition of the adapters that a caller names and of no others.

    Args:
        studio: The catalogue.
        adapters: By number or name, with weights; of copies, one on this machine is taken.
        prompt: Their prompt.
        triggers: Whether the triggers that the prompt lacks are added.

    Raises:
        InputError: nothing is called so, two names mean one adapter, or the gates keep one out.
    """
    from ...composer.triggers import share_room
    from ...composer.weights import advise

    store = studio.velatura.store
    meant = [(_name(each), _meant(studio, each)) for each in adapters]
    numbers = admitted(store, meant, studio.filter())
    for place, number in enumerate(numbers):
        if number in numbers[:place]:
            first = meant[numbers.index(number)][0]
            raise InputError(f"“{meant[place][0]}” is “{first}” again; name each adapter once")
    refined = [store.adapter(number) for number in numbers]
    added = share_room(prompt, refined) if triggers else [()] * len(refined)
    choices = []
    for each, adapter, phrases in zip(adapters, refined, added, strict=True):
        weight = advise(adapter, 1, "evidence").weight if each.weight is None else each.weight
        choices.append(Choice(adapter=adapter.record, weight=weight, span="", triggers=phrases, reason="you named it"))
    return Composition(prompt=prompt, choices=tuple(choices), composer="as named")


def _name(adapter: AdapterNamed) -> str:
    return f"id {adapter.id}" if adapter.name is None else line(adapter.name, _TITLE)


def _meant(studio: Studio, adapter: AdapterNamed) -> list[int]:
    if adapter.id is not None:
        return [adapter.id]
    numbers = studio.velatura.store.find(adapter.name or "")
    if not numbers:
        raise InputError(f"nothing in the catalogue is called “{_name(adapter)}”; look for it with search_adapters")
    return numbers


def _at_most(studio: Studio, composition: Composition, most: int) -> Composition:
    """Return a composition with the surest of its choices alone, at the weights that they have without the others."""
    surest = sorted(composition.choices, key=lambda choice: -(1.0 if choice.sure is None else choice.sure))[:most]
    mask = [choice in surest for choice in composition.choices]
    kept = studio.velatura.composing.masked(composition, mask)
    choices = tuple(choice for choice, on in zip(kept.choices, mask, strict=True) if on)
    reason = f"you asked for {most} at the most, and it is less surely meant"
    less = tuple(Refusal(adapter=choice.adapter, reason=reason) for choice in kept.choices if choice not in choices)
    return replace(kept, choices=choices, refused=(*less, *kept.refused))


def _conflicts(studio: Studio, composition: Composition, family: str | None) -> tuple[Conflict, ...]:
    return studio.velatura.validate(composition, family=family) if composition.choices else ()


# -------------------------------------------------------------------------------------------------- telling


def one_line(text: str) -> str:
    """Return a text as one line in which nothing is invisible; its tags stay, since tools read them."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def chosen(studio: Studio, composition: Composition) -> list[ChosenTold]:
    """Return the choices of a composition."""
    here = studio.velatura.localised(composition).choices
    return [
        ChosenTold(
            **_brief(studio.velatura.store.number_of(choice.adapter), choice.adapter),
            weight=choice.weight,
            words=line(choice.span, _SENTENCE),
            reason=line(choice.reason, _SENTENCE),
            triggers=[line(trigger, _PHRASE) for trigger in choice.triggers],
            installed=local.adapter.path is not None,
        )
        for choice, local in zip(composition.choices, here, strict=True)
    ]


def named(studio: Studio, choices: Sequence[Choice]) -> list[NamedTold]:
    """Return adapters with their weights alone."""
    store = studio.velatura.store
    return [
        NamedTold(id=store.number_of(each.adapter), title=_title(each.adapter), weight=each.weight) for each in choices
    ]


def refused(studio: Studio, composition: Composition) -> list[RefusedTold]:
    """Return what a composition refuses."""
    store = studio.velatura.store
    return [
        RefusedTold(id=store.number_of(one.adapter), title=_title(one.adapter), reason=line(one.reason, _SENTENCE))
        for one in composition.refused
    ]


def notes_of(composition: Composition) -> list[str]:
    """Return what happened while a composition was made."""
    return [line(note, _SENTENCE) for note in composition.notes]


def choice_lines(choices: Sequence[ChosenTold]) -> list[str]:
    """Return a line for each choice."""
    return [
        f"{each.title} (id {each.id}) at {each.weight:g}"
        + (f" for “{each.words}”" if each.words else "")
        + (f": {each.reason}" if each.reason else "")
        for each in choices
    ]


def conflict_lines(conflicts: Sequence[ConflictTold]) -> list[str]:
    """Return a line for each conflict."""
    return [f"{each.severity}: {each.explanation}" for each in conflicts]


def _found(candidate: Candidate) -> FoundTold:
    from ...composer.weights import advise

    refined = candidate.adapter
    record, refinement = refined.record, refined.refinement
    about = line(refinement.description or record.notes or record.description or "", _ABOUT)
    return FoundTold(
        **_brief(refined.id, record),
        score=candidate.score,
        because=[line(each, _SENTENCE) for each in candidate.because],
        category=None if refinement.category is None else line(refinement.category, _PHRASE),
        about=about or None,
        triggers=_triggers(refined),
        weight=advise(refined, 1, "evidence").weight,
        installed=record.path is not None,
    )


def _triggers(refined: RefinedAdapter) -> list[str]:
    groups = refined.refinement.triggers or refined.record.triggers
    phrases = dict.fromkeys(line(phrase, _PHRASE) for group in groups for phrase in group)
    return [phrase for phrase in phrases if phrase][:_TRIGGERS]


def _brief(number: int | None, record: AdapterRecord) -> dict[str, Any]:
    family = None if record.family is None else line(record.family, _PHRASE)
    told = AdapterTold(
        id=number, title=_title(record), family=family, kind=line(record.kind, _PHRASE), page=page_of(record)
    )
    return dict(told)


def _title(record: AdapterRecord) -> str:
    return line(record.title, _TITLE) or line(record.key.replace("\\", "/").rpartition("/")[2], _TITLE)


def _conflict(conflict: Conflict, composition: Composition) -> ConflictTold:
    titles = [_title(choice.adapter) for choice in composition.choices]
    return ConflictTold(
        kind=conflict.kind,
        severity=conflict.severity,
        adapters=[titles[place] for place in conflict.places],
        explanation=line(conflict.explanation, 2 * _SENTENCE),
        drop=[titles[place] for place in conflict.drop],
        weights={titles[place]: weight for place, weight in conflict.weights},
        triggers=[line(trigger, _PHRASE) for trigger in conflict.triggers],
    )


def _catalogue_notes(studio: Studio) -> list[str]:
    present, left = studio.velatura.unembedded()
    if not present:
        return ["the catalogue is empty; `velatura index FOLDER` fills it"]
    return [f"{left:,} of {present:,} adapters are not embedded and are found by their words alone"] if left else []


def _noted(notes: Sequence[str]) -> list[str]:
    return [f"note: {note}" for note in notes]
