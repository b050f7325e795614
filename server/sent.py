"""Compositions that clients send: the catalogue's own adapters, with what the client decided about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Final

from pydantic_core import from_json

from ..errors import InputError
from ..fenced import line
from ..gates import admitted
from ..plain import brief, from_plain
from ..records import AdapterRecord, Choice, Composition
from .json_answer import dumped
from .studio import Refused, bounded

if TYPE_CHECKING:
    from .answers import Answers
    from .studio import Studio, Wishes

LARGEST: Final = 1 << 20
"""Bytes of a composition: it is kept with its job."""
MOST: Final = 100
"""Adapters of a composition."""

_TOLD: Final = frozenset(
    {"id", "preview", "page", *(field.name for field in fields(AdapterRecord))}
    - {field.name for field in fields(Choice)}
)
"""What an answer tells of a choice's adapter; the catalogue alone is asked for it."""


def composition_of(studio: Studio, plain: Mapping[str, Any], *, wishes: Wishes | None = None) -> Composition:
    """Return a composition that a client sent, as `Studio.admit` lets it in.

    Args:
        studio: The catalogue.
        plain: As `Answers.composition` tells one; a choice that has an `id` is the adapter of that number, whatever
            else it says of it.
        wishes: What may be chosen.

    Raises:
        InputError: a field is wrong, an adapter is not in the catalogue, or the gates keep one out.
        Refused: it is larger than a server keeps.
    """
    content = dumped(plain)
    if len(content) > LARGEST:
        raise Refused(f"the composition is larger than {LARGEST >> 20} MB")
    plain = from_json(content)  # whose texts are whole and whose numbers are finite now
    choices = plain.get("choices", [])
    if isinstance(choices, list):
        if len(choices) > MOST:
            raise Refused(f"the composition has {len(choices):,} adapters, and this server takes at most {MOST}")
        choices = [_identified(studio, choice) for choice in choices]
    composition = from_plain(Composition, {**plain, "choices": choices, "refused": []})
    return studio.admit(composition, **({} if wishes is None else {"wishes": wishes}))


def _identified(studio: Studio, choice: object) -> object:
    """Return a plain choice with the catalogue's record in brief, where it says which adapter it is."""
    if not isinstance(choice, Mapping):
        return choice
    number = choice.get("id")
    if number is None:
        return {name: value for name, value in choice.items() if name not in ("preview", "page", "path", "id")}
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number < 2**63:
        raise InputError(f"{str(number)[:40]!r} is no number of an adapter")
    decided = {name: value for name, value in choice.items() if name not in _TOLD}
    return decided | brief(studio.velatura.store.adapter(number).record)


def named(studio: Studio, adapters: Sequence[tuple[int, float]], prompt: str) -> Composition:
    """Return a composition of adapters by their catalogue numbers and weights.

    Raises:
        InputError: there is no such adapter, or the gates keep one out.
    """
    store = studio.velatura.store
    numbers = admitted(store, [(str(number), [number]) for number, _ in adapters], studio.filter())
    choices = tuple(
        Choice(adapter=store.adapter(number).record, weight=weight, span="")
        for number, (_, weight) in zip(numbers, adapters, strict=True)
    )
    return Composition(prompt=prompt, choices=choices)


def within_gates(studio: Studio, answers: Answers, composition: Composition) -> Composition:
    """Return what another tool's file says without the adapters that the gates keep out, and with notes that say so.

    What the catalogue does not know is kept by the name that the file gives it.

    Raises:
        Refused: its prompt is longer than this server reads, as a text is that was no prompt.
    """
    bounded(composition.prompt)
    store = studio.velatura.store
    choices, notes = [], list(composition.notes)
    for choice in composition.choices:
        number = store.number_of(choice.adapter)
        if number is None:
            choices.append(replace(choice, adapter=replace(choice.adapter, path=None)))
            continue
        try:
            admitted(store, [(choice.adapter.title, [number])], studio.filter())
        except InputError as error:
            notes.append(answers.sentence(error))
            continue
        choices.append(replace(choice, adapter=store.adapter(number).record))
    told = tuple(line(note, 300) for note in notes)
    return replace(composition, choices=tuple(choices), refused=(), notes=told)
