"""AIR names, one a line. They name adapters of Civitai and nothing else: no weights, no prompt."""

from __future__ import annotations

from ...air import air_of, parse_air
from .foreign import MOST_ADAPTERS, Foreign, few, named
from .written import Export


def write(export: Export) -> str:
    """Return the names of the adapters that have one."""
    lines = []
    for choice in export.composition.choices:
        if name := air_of(choice.adapter):
            lines.append(name)
        else:
            export.note(f"{choice.adapter.title!r} has no page on Civitai that is known, so it has no AIR")
    export.note("AIR names tell neither weights nor the prompt")
    return "\n".join(lines)


def read(text: str) -> Foreign:
    """Read such lines."""
    notes = ["AIR names tell no weights; 1 is taken"]
    found = (named(line.strip(), None, notes) for line in few(text.splitlines()))
    return Foreign(form="air", adapters=tuple(one for one in found if one), notes=tuple(notes))


def are_airs(text: str) -> bool:
    """Say whether every line of a text is such a name, of the first as many as are read."""
    lines = [line for line in text.splitlines() if line.strip()]
    return bool(lines) and all(parse_air(line) for line in lines[:MOST_ADAPTERS])
