"""A prompt to a stack, of the adapters that ComfyUI can load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..records import Filter
from .folders import names_by_place, place, spelt
from .reasons import told
from .stack import Stack

if TYPE_CHECKING:
    from ..pipeline import Velatura


def choose(velatura: Velatura, prompt: str, handed: Stack, *, family: str | None, safe: bool) -> tuple[Stack, str, str]:
    """Return the stack with the choices behind what was handed on, the prompt with their triggers, and the reasons.

    Args:
        velatura: The catalogue.
        prompt: As its writer wrote it.
        handed: What another node chose already, which is kept and not chosen again.
        family: The base family of the model; None for any.
        safe: Whether only what is rated PG or PG13 is chosen.

    Raises:
        VelaturaError: what the composer needs is not there.
    """
    from ..composer.formats.written import Export
    from ..syntax import encodable

    prompt = encodable(prompt)
    names = names_by_place()
    files = {file.number: names.get(place(file.path)) for file in velatura.store.weight_files("")}
    loadable = {number: name for number, name in files.items() if name is not None}
    wanted = _filter(velatura, loadable, family=family, safe=safe)
    composition = velatura.compose(prompt, filter=wanted)
    held = {spelt(name) for name, _, _ in handed}
    notes = _notes(velatura, outside=len(files) - len(loadable), listed=len(loadable))
    stack = list(handed)
    new: list[str | None] = []
    for choice in composition.choices:
        name = names[place(choice.adapter.path or "")]
        if spelt(name) in held:
            notes.append(f"{choice.adapter.title} is in the stack already, and keeps its weight there")
            new.append(None)
        else:
            stack.append((name, choice.weight, choice.weight))
            new.append(name)
    export = Export(composition)
    painted = export.prompt("()")
    return stack, painted, told(composition, new, (*notes, *export.notes))


def _filter(velatura: Velatura, loadable: dict[int, str], *, family: str | None, safe: bool) -> Filter:
    """Return the filter of the settings, less what ComfyUI cannot load."""
    settings = velatura.settings
    others = set(velatura.store.select(Filter(installed=True)).tolist()) - loadable.keys()
    return Filter(
        family=family,
        nsfw=settings.ratings(safe=safe),
        commercial=settings.commercial,
        installed=True,
        real_people=settings.real_people,
        blocked=(*velatura.blocked(), *sorted(others)),
    )


def _notes(velatura: Velatura, *, outside: int, listed: int) -> list[str]:
    notes = []
    if not listed:
        notes.append("no LoRA of ComfyUI's folders is in the catalogue; run “Velatura: Index LoRA Folders”")
    if outside:
        notes.append(
            f"{outside:,} adapters of the catalogue lie outside ComfyUI's folders of LoRAs; none was considered"
        )
    _, left = velatura.unembedded()
    if left:
        notes.append(f"{left:,} adapters are found by their words alone; index with `embed` to find them by meaning")
    return notes
