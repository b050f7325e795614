"""Prompts of A1111, Forge and all that read them: `a fox, foxy <lora:fox:0.8>`.

`<lora:NAME[:TE[:UNET]]>` (A1111's `extra_networks_lora.py`): the second number is the text encoder's and the third the
UNet's; a missing one is as the one before. Lora Manager and Efficiency Nodes have them the other way round.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ...air import parse_air
from ...parameters import parse_parameters
from ...records import Hashes
from ...syntax import decimal, pinned, without_tags
from .foreign import Foreign, Named, few, hashes_of, list_of, mapping_of, named, stem_of, text_of, weight_of
from .written import Export

_TAG = re.compile(r"<(?:lora|lyco):([^<>]+)>", re.IGNORECASE)
_BREAKS = re.compile(r"[<>:=\x00-\x1f\x7f]|;(?=[a-z]+=)")
_DIGEST = re.compile(r"[0-9A-Fa-f]{6,64}")
_ADDED = re.compile(r"(.+)\(([0-9a-f]{8,12})\)")


def write(export: Export) -> str:
    """Return the prompt with a tag for each adapter that can be named in one."""
    return " ".join(part for part in (export.prompt("()[]"), *tags(export)) if part)


def tags(export: Export) -> list[str]:
    """Return a tag for each adapter; those that no tag can name are noted and left out."""
    written: list[str] = []
    taken: dict[str, str] = {}
    for choice, file in export.files():
        stem, title = stem_of(file), choice.adapter.title
        if bad := _BREAKS.search(stem):
            export.note(f"{title!r} was left out: {bad[0]!r} in its file name ends a tag; rename the file {file!r}")
        elif stem in taken:
            export.note(f"{title!r} was left out: its file has the name of {taken[stem]!r}, {stem!r}; rename one")
        else:
            taken[stem] = title
            written.append(f"<lora:{stem}:{decimal(choice.weight)}>")
    return written


def read(text: str) -> Foreign:
    """Read a prompt, or the `parameters` text of a picture."""
    parsed = parse_parameters(text)
    notes: list[str] = []
    adapters = read_tags(parsed["prompt"], notes)
    settings = parsed["settings"]
    adapters += _additional(settings, notes)
    adapters = _with_hashes(adapters, settings, notes)
    adapters = _with_resources(adapters, list_of(settings.get("Civitai resources")), notes)
    prompt, negative = without_tags(parsed["prompt"]), without_tags(parsed["negative"])
    return Foreign(form="a1111", prompt=prompt, negative=negative, adapters=tuple(adapters), notes=tuple(notes))


def read_tags(prompt: str, notes: list[str], *, model_first: bool = False) -> list[Named]:
    """Return the adapters that a prompt names by tags, each name once; `model_first` is Lora Manager's order."""
    found: dict[str, Named] = {}
    for tag in _TAG.finditer(prompt):
        name, *arguments = re.split(r":|;(?=[a-z]+=)", tag[1])
        pins = pinned(tag[0])
        if not pins:
            continue
        first = next((argument for argument in arguments if "=" not in argument), None)
        second = next((argument for argument in arguments[1:] if "=" not in argument), None)
        named_te = next((a.partition("=")[2] for a in arguments if a.strip().lower().startswith("te=")), None)
        weight, clip = (first, second) if model_first else (pins[0].weight, named_te or first)
        if (one := named(name, weight, notes, clip=clip)) is None:
            continue
        if name in found and found[name].weight != one.weight:
            notes.append(f"{name!r} is named twice; its first weight {found[name].weight:g} is taken")
        found.setdefault(name, one)
    return list(few(list(found.values())))


def _additional(settings: Mapping[str, Any], notes: list[str]) -> Iterator[Named]:
    """Yield the adapters of sd-webui-additional-networks: `AddNet Model 1: name(hash)`."""
    if settings.get("AddNet Enabled") != "True":
        return
    for place in range(1, 6):
        model = text_of(settings.get(f"AddNet Model {place}"))
        if model == "None":
            continue
        match = _ADDED.fullmatch(model)
        weight = settings.get(f"AddNet Weight A {place}", settings.get(f"AddNet Weight {place}"))
        clip = settings.get(f"AddNet Weight B {place}")
        digests = hashes_of(match[2]) if match else Hashes()
        if one := named(match[1] if match else model, weight, notes, clip=clip, digests=digests):
            yield one


def _with_hashes(adapters: list[Named], settings: Mapping[str, Any], notes: list[str]) -> list[Named]:
    """Give the adapters the digests that `Lora hashes` and `Hashes` list by their names."""
    digests: dict[str, list[object]] = {}
    spelt: dict[str, str] = {}
    listed: list[tuple[str, object]] = [*_listed(text_of(settings.get("Lora hashes")))]
    for key, digest in mapping_of(settings.get("Hashes")).items():
        kind, _, name = key.partition(":")
        if kind.lower() in ("lora", "lyco") and name:
            listed.append((name, digest))
    for name, digest in listed:
        digests.setdefault(_key(name), []).append(digest)
        spelt.setdefault(_key(name), name.strip())
    told = [
        replace(one, hashes=_joined(one.hashes, hashes_of(*digests.pop(_key(one.name), ())))) for one in adapters
    ]  # fmt: skip
    for key, values in digests.items():
        if one := named(spelt[key], None, notes, digests=hashes_of(*values)):
            notes.append(f"{spelt[key]!r} stands among the hashes alone, without a weight; 1 is taken")
            told.append(one)
    return told


def _listed(text: str) -> Iterator[tuple[str, str]]:
    """Yield names and digests of `fox: 1a2b3c4d5e, ink: ...`."""
    for part in text.split(","):
        names, _, digest = map(str.strip, part.rpartition(":"))
        if (name := names.rpartition(":")[2].lstrip()) and _DIGEST.fullmatch(digest):
            yield name, digest


def _with_resources(adapters: list[Named], resources: list[Any], notes: list[str]) -> list[Named]:
    """Give the adapters the numbers on Civitai that `Civitai resources` lists, by order where the weights agree."""
    entries = [entry for entry in resources if isinstance(entry, Mapping) and _is_adapter(entry)]
    free = list(range(len(adapters)))
    weights = [weight_of(entry.get("weight", 1)) for entry in entries]
    told = list(adapters)
    in_order = len(entries) == len(free) and all(
        _alike(weight, one.weight) for weight, one in zip(weights, adapters, strict=True)
    )
    unplaced: list[Mapping[str, Any]] = []
    for place, (entry, weight) in enumerate(zip(entries, weights, strict=True)):
        alike = [place] if in_order else [index for index in free if _alike(weight, adapters[index].weight)]
        if in_order or (len(alike) == 1 and Counter(weights)[weight] == 1):
            told[alike[0]] = _numbered(told[alike[0]], entry)
            free.remove(alike[0])
        else:
            unplaced.append(entry)
    if free and unplaced:
        notes.append("which of Civitai's resources is which of the prompt's adapters cannot be told; names are kept")
        return told
    for entry in unplaced:
        name = text_of(entry.get("modelName")) or text_of(entry.get("air")) or f"version {entry.get('modelVersionId')}"
        if one := named(name, entry.get("weight"), notes, title=True):
            told.append(_numbered(one, entry))
    return told


def _is_adapter(entry: Mapping[str, Any]) -> bool:
    air = parse_air(text_of(entry.get("air")))
    kind = text_of(entry.get("type")) or (air.type if air else None) or "lora"
    return kind.lower() in ("lora", "lycoris", "locon", "dora")


def _numbered(one: Named, entry: Mapping[str, Any]) -> Named:
    name = text_of(entry.get("air"))
    air = parse_air(name)
    version = entry.get("modelVersionId")
    number = version if isinstance(version, int) and not isinstance(version, bool) else None
    return replace(
        one,
        air=name if air else one.air,
        model_id=air.model_id if air else one.model_id,
        version_id=number or (air.version_id if air else one.version_id),
    )


def _alike(one: float | None, other: float) -> bool:
    return one is not None and abs(one - other) < 1e-4


def _joined(one: Hashes, other: Hashes) -> Hashes:
    return replace(
        one, **{name: getattr(other, name) for name in Hashes.__slots__ if getattr(one, name) is None}
    )  # fmt: skip


def _key(name: str) -> str:
    return re.sub(r"[:,]", "", name).strip().casefold()
