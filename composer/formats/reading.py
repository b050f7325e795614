"""Which form a foreign content has, found by looking at it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ...errors import InputError
from ...records import Hashes
from . import a1111, airs, comfy_read, invokeai, lora_manager, own, rgthree, swarm, table
from .content import parse, text_in
from .foreign import Foreign, Named, few, list_of, mapping_of, text_of

PICTURE_TEXTS = (
    "velatura", "parameters", "invokeai_metadata", "prompt", "workflow", "invokeai_graph", "invokeai_workflow",
)  # fmt: skip
"""The texts inside a picture that `read` knows, the one that tells most first."""

_JSON = re.compile(r"\s*(?:\[\s*)?\{\s*(?:\"|\})")
"""What begins so is JSON, or was; other brackets are a prompt's emphasis."""
_ALIKE = 8
"""Of the adapters of one name, how many are looked at for what another one lacks."""
_RECIPE = "Recipe metadata: "
_FORMS = "a prompt, ComfyUI, rgthree, Lora Manager, InvokeAI, SwarmUI, AIR names, our CSV and our JSON"


def read(content: bytes | str | Mapping[str, str], name: str = "this") -> Foreign:
    """Read what another tool, or this one, wrote.

    Args:
        content: a file's bytes, a text, or the texts of a picture by keyword (of `PICTURE_TEXTS`).
        name: what to call it in errors.

    Raises:
        InputError: it is too large, damaged, or of no form that is known.
    """
    if isinstance(content, Mapping):
        return _read_picture(content, name)
    text = text_in(content, name)
    if not text.strip():
        raise InputError(f"{name} is empty")
    return _read_text(text, name)


def load_workflow(content: bytes | str, name: str = "this") -> Mapping[str, Any]:
    """Read a workflow to write into.

    Raises:
        InputError: it is too large, no JSON, or no object.
    """
    workflow = parse(text_in(content, name), name)
    if not isinstance(workflow, Mapping):
        raise InputError(f"{name} is no workflow: it holds a {type(workflow).__name__}, not an object")
    return workflow


def _read_text(text: str, name: str) -> Foreign:
    if text.lstrip()[:1] in ("{", "["):
        try:
            value = parse(text, name)
        except InputError:
            if _JSON.match(text):
                raise
        else:
            return _read_json(value, name)
    if _RECIPE in text:
        found = text.rpartition(_RECIPE)[2].strip()
        return lora_manager.read(mapping_of(parse(found, name)))
    if airs.are_airs(text):
        return airs.read(text)
    return table.read(text) if table.is_table(text) else a1111.read(text)


def _read_json(value: Any, name: str) -> Foreign:
    if isinstance(value, list):
        return _read_list(value, name)
    if isinstance(value, Mapping):
        for fits, reader in _OBJECTS:
            if fits(value):
                return reader(value)
    raise InputError(f"{name} holds JSON of a form that is not known; known are {_FORMS}")


def _read_list(values: list[Any], name: str) -> Foreign:
    if values and all(isinstance(value, str) for value in values) and airs.are_airs("\n".join(values)):
        return airs.read("\n".join(values))
    few(values)
    if any(rgthree.is_row(value) for value in values):
        return rgthree.read(values)
    if any(lora_manager.is_entry(value) for value in values):
        notes: list[str] = []
        adapters = tuple(lora_manager.read_list(values, notes))
        return Foreign(form="lora-manager", adapters=adapters, notes=tuple(notes))
    if any(invokeai.is_entry(value) for value in values):
        return invokeai.read({"loras": values})
    raise InputError(f"{name} holds a JSON list of a form that is not known; known are {_FORMS}")


def _is_ours(value: Mapping[str, Any]) -> bool:
    return "velatura" in value or (isinstance(value.get("choices"), list) and "prompt" in value)


def _is_wrapped(value: Mapping[str, Any]) -> bool:
    return any(_is_workflow(mapping_of(value.get(key))) for key in ("prompt", "workflow"))


def _is_workflow(value: Mapping[str, Any]) -> bool:
    nodes = value.get("nodes")
    return isinstance(nodes, list) or any("class_type" in mapping_of(node) for node in value.values())


def _is_invoke_graph(value: Mapping[str, Any]) -> bool:
    nodes = value.get("nodes")
    if isinstance(nodes, Mapping):
        return "edges" in value
    return any("data" in mapping_of(node) for node in list_of(nodes)[:100])


def _is_recipe(value: Mapping[str, Any]) -> bool:
    loras = list_of(value.get("loras"))
    entries = [mapping_of(one) for one in loras]
    return "gen_params" in value or any("file_name" in one or "modelVersionId" in one for one in entries)


def _is_metadata(value: Mapping[str, Any]) -> bool:
    entries = list_of(value.get("loras"))
    return "positive_prompt" in value or any(invokeai.is_entry(one) for one in entries)


def _read_wrapped(value: Mapping[str, Any]) -> Foreign:
    inner = (mapping_of(value.get(key)) for key in ("prompt", "workflow"))
    return comfy_read.read(next(one for one in inner if _is_workflow(one)))


_OBJECTS: tuple[tuple[Callable[[Mapping[str, Any]], bool], Callable[[Mapping[str, Any]], Foreign]], ...] = (
    (lambda value: "sui_image_params" in value, swarm.read),
    (_is_invoke_graph, invokeai.read_graph),
    (_is_workflow, comfy_read.read),
    (_is_wrapped, _read_wrapped),
    (_is_ours, own.read),
    (_is_recipe, lora_manager.read),
    (_is_metadata, invokeai.read),
    (lambda value: any(rgthree.is_row(row) for row in value.values()), lambda value: rgthree.read(value.values())),
    (lambda value: "__value__" in value, lambda value: _read_list(list_of(value["__value__"]), "the list")),
)
"""What tells each form's object from the others', and its reader; tried in order."""


def _read_picture(texts: Mapping[str, str], name: str) -> Foreign:
    """Read the text that tells of adapters first, and let the others add the hashes and numbers that they know."""
    found: list[Foreign] = []
    problems: list[str] = []
    for keyword in PICTURE_TEXTS:
        if not (text := text_of(texts.get(keyword)).strip()):
            continue
        try:
            found.append(
                _read_text(text_in(text, f"the text {keyword!r} of {name}"), f"the text {keyword!r} of {name}")
            )
        except InputError as error:
            problems.append(str(error))
    if not found:
        raise InputError(problems[0] if problems else f"{name} does not tell how it was made")
    best = next((one for one in found if one.adapters), found[0])
    prompt = best.prompt or next((one.prompt for one in found if one.prompt), "")
    negative = best.negative or next((one.negative for one in found if one.negative), "")
    known: dict[str, list[Named]] = {}
    for one in (one for other in found if other is not best for one in other.adapters):
        known.setdefault(one.name, []).append(one)
    # Of an adapter that is named very often the first few tell as much as all.
    adapters = tuple(_completed(one, known.get(one.name, [])[:_ALIKE]) for one in best.adapters)
    return replace(best, prompt=prompt, negative=negative, adapters=adapters, notes=(*best.notes, *problems))


def _completed(one: Named, known: list[Named]) -> Named:
    """Add what others of its name tell of an adapter."""
    for other in known:
        hashes = {key: getattr(one.hashes, key) or getattr(other.hashes, key) for key in Hashes.__slots__}
        fields = ("air", "model_id", "version_id", "file")
        missing = {field: getattr(other, field) for field in fields if getattr(one, field) is None}
        one = replace(one, hashes=Hashes(**hashes), **missing)
    return one
