"""A composition as a text for people: what was chosen for which words, what was not, and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..fenced import line
from ..records import Choice, Composition

_TITLE, _REASON = 100, 400


def told(composition: Composition, names: Sequence[str | None], notes: Iterable[str] = ()) -> str:
    """Return the text; titles and reasons, which strangers may have written, have a line each.

    Args:
        composition: What was composed.
        names: The file of each choice as ComfyUI lists it; None for what is not handed on.
        notes: What else a person should know.
    """
    parts = [_chosen(choice, name) for choice, name in zip(composition.choices, names, strict=True) if name is not None]
    if not composition.choices:
        parts = ["No LoRA serves this prompt; it is painted as it is."]
    if composition.refused:
        refused = [
            f"- {line(each.adapter.title, _TITLE)}: {line(each.reason, _REASON)}" for each in composition.refused
        ]
        parts.append("\n".join(["Not taken:", *refused]))
    said = dict.fromkeys(line(note, _REASON) for note in (*notes, *composition.notes))
    if said:
        parts.append("\n".join(["Notes:", *(f"- {note}" for note in said)]))
    return "\n\n".join(parts)


def _chosen(choice: Choice, name: str) -> str:
    served = f" for “{line(choice.span, _TITLE)}”" if choice.span else ""
    rows = [f"{line(choice.adapter.title, _TITLE)} at {choice.weight:g}{served}", f"  file: {line(name, _REASON)}"]
    if choice.triggers:
        rows.append(f"  adds: {line(', '.join(choice.triggers), _REASON)}")
    if choice.reason:
        rows.append(f"  why: {line(choice.reason, _REASON)}")
    return "\n".join(rows)
