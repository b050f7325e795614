"""Recipes of ComfyUI-Lora-Manager, the list of its loader, and the tags that the loader takes.

Its tags are `<lora:name:model[:clip]>`: the second and third number stand the other way round than in A1111's.
A recipe is kept as `<id>.recipe.json` beside its picture; `fingerprint` is its own rule, `hash:strength` sorted.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...records import Choice
from ...syntax import encodable, without_tags
from .a1111 import read_tags, tags
from .foreign import Foreign, Named, few, hashes_of, list_of, mapping_of, named, text_of
from .written import Export, as_json, file_stem, flat

_NAMESPACE = uuid.UUID("5f0d1d0e-6d7c-5b60-9d34-6d2d6f6c7570")
_TITLE = 80


def write(export: Export) -> str:
    """Return a recipe."""
    made = recipe(export)
    name = made["id"]
    export.note(
        f"Lora Manager looks for recipes beside their pictures: save this as {name}.recipe.json with {name}.webp"
    )
    return as_json(made)


def recipe(export: Export) -> dict[str, Any]:
    """Return a recipe as Lora Manager keeps it, but for the times; its `id` is the same for the same content."""
    prompt = export.prompt("()")
    loras = [entry for choice in export.composition.choices if (entry := _entry(choice, export))]
    number = uuid.uuid5(_NAMESPACE, f"{prompt}\n{encodable(export.negative)}\n{loras!r}")
    bases = {choice.adapter.base_model or "" for choice in export.composition.choices}
    generation = {"prompt": prompt} | ({"negative_prompt": export.negative} if export.negative else {})
    return {
        "id": str(number),
        "file_path": f"{number}.webp",
        "title": (flat(export.composition.prompt) or "Velatura")[:_TITLE],
        "base_model": next(iter(bases)) if len(bases) == 1 else "",
        "loras": loras,
        "gen_params": generation,
        "fingerprint": _fingerprint(loras),
        "tags": [],
    }


def write_tags(export: Export) -> str:
    """Return the text that the loader takes."""
    export.note("the loader's text holds no prompt; write it into the workflow's own text")
    return " ".join(tags(export))


def read(recipe: Mapping[str, Any]) -> Foreign:
    """Read a recipe; adapters that are excluded are left out."""
    notes: list[str] = []
    adapters = []
    for entry in few(list_of(recipe.get("loras"))):
        if not isinstance(entry, Mapping):
            notes.append("an entry of the recipe is no object and was left out")
        elif entry.get("exclude") is True:
            notes.append(f"{text_of(entry.get('modelName')) or 'an adapter'} is excluded in the recipe")
        elif one := _named(entry, notes):
            adapters.append(one)
        else:
            notes.append("an entry of the recipe names no file and was left out")
    generation = mapping_of(recipe.get("gen_params"))
    return Foreign(
        form="lora-manager",
        prompt=without_tags(text_of(generation.get("prompt"))),
        negative=without_tags(text_of(generation.get("negative_prompt"))),
        adapters=tuple(adapters),
        notes=tuple(notes),
    )


def read_list(entries: Sequence[Any], notes: list[str]) -> list[Named]:
    """Return the active adapters of the loader's list."""
    found = (
        named(entry.get("name"), entry.get("strength"), notes, clip=entry.get("clipStrength"))
        for entry in few(entries)
        if is_entry(entry) and entry.get("active") is not False and not entry.get("_isDummy")
    )
    return [one for one in found if one]


def read_text(text: str, notes: list[str]) -> list[Named]:
    """Return the adapters of the loader's text."""
    return read_tags(text, notes, model_first=True)


def is_entry(value: object) -> bool:
    """Say whether a foreign value is an entry of the loader's list."""
    return isinstance(value, Mapping) and "name" in value and "strength" in value


def _entry(choice: Choice, export: Export) -> dict[str, Any] | None:
    record = choice.adapter
    digest = (record.hashes.sha256 or record.hashes.autov3 or record.hashes.autov2 or "").lower()
    version = record.version_id if isinstance(record.version_id, int) else 0
    stem = file_stem(record)
    if not stem and not digest and not version:
        export.note(f"{record.title!r} has no file name, hash or number on Civitai, so it was left out")
        return None
    if not digest and not version:
        export.note(f"{record.title!r} has neither hash nor number on Civitai; its file name alone names it")
    elif not stem:
        export.note(f"{record.title!r} has no file name; its hash or number alone names it")
    return {
        "file_name": stem,
        "hash": digest,
        "strength": choice.weight,
        "modelVersionId": version,
        "modelName": flat(record.title),
        "modelVersionName": flat(record.version_name or ""),
        "isDeleted": False,
        "exclude": False,
    }


def _named(entry: Mapping[str, Any], notes: list[str]) -> Named | None:
    version = entry.get("modelVersionId", entry.get("id"))
    file = text_of(entry.get("file_name")).strip()
    titles = (text_of(entry.get(key)).strip() for key in ("modelName", "name", "hash"))
    return named(
        file or next((title for title in titles if title), str(version or "")),
        entry.get("strength", entry.get("weight")),
        notes,
        digests=hashes_of(entry.get("hash")),
        title=not file,
        **({"version_id": version} if isinstance(version, int) and version > 0 else {}),
    )


def _fingerprint(loras: Iterable[Mapping[str, Any]]) -> str:
    known = ((lora["hash"] or str(lora["modelVersionId"] or ""), round(lora["strength"], 2)) for lora in loras)
    return "|".join(f"{digest}:{strength}" for digest, strength in sorted(known) if digest)
