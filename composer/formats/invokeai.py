"""InvokeAI: the metadata of its pictures, and its graphs and workflows.

Metadata (`core_metadata`): `{"positive_prompt": ..., "loras": [{"model": {"key", "hash", "name", "base", "type"},
"weight"}]}`; before version 4 a model was `{"lora": {"model_name", "base_model"}}`. A key is made anew in every
installation, so a written one is empty and InvokeAI has to find the adapter by its hash or name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...errors import InputError
from ...records import AdapterRecord
from ...syntax import without_tags
from .comfy_graph import MOST_NODES
from .foreign import Foreign, Named, few, hashes_of, list_of, mapping_of, named, stem_of, text_of
from .written import Export, as_json

_BASES = {
    "sd1": "sd-1", "sd2": "sd-2", "sdxl": "sdxl", "pony": "sdxl", "illustrious": "sdxl", "noobai": "sdxl",
    "sd3": "sd-3", "sd35": "sd-3", "flux1": "flux",
}  # fmt: skip
_STRESS = re.compile(r"\([^()]{1,500}:\s*[\d.]{1,10}\s*\)")
_LOADERS = frozenset({"lora_loader", "sdxl_lora_loader", "lora_selector", "flux_lora_loader"})
_PROMPTS = frozenset({"compel", "sdxl_compel_prompt", "flux_text_encoder", "sd3_text_encoder", "string"})
_TRIALS = 20
"""Ways back from what is denoised that are followed for each side's text."""


def write(export: Export) -> str:
    """Return the metadata that InvokeAI recalls prompts and adapters from."""
    loras = []
    for choice, file in export.files():
        model = _model(choice.adapter, file, export)
        loras.append({"model": model, "weight": choice.weight})
    if _STRESS.search(export.composition.prompt) or export.composition.emphasis is not None:
        export.note("InvokeAI writes stress as (words)1.2; the prompt's (words:1.2) means something else there")
    metadata: dict[str, Any] = {
        "positive_prompt": export.prompt("()"),
        "negative_prompt": export.negative,
        "loras": loras,
    }
    return as_json(metadata)


def read(metadata: Mapping[str, Any]) -> Foreign:
    """Read metadata."""
    notes: list[str] = []
    adapters = _read_loras(list_of(metadata.get("loras")), notes)
    return Foreign(
        form="invokeai",
        prompt=without_tags(text_of(metadata.get("positive_prompt"))),
        negative=without_tags(text_of(metadata.get("negative_prompt"))),
        adapters=tuple(adapters),
        notes=tuple(notes),
    )


def read_graph(graph: Mapping[str, Any]) -> Foreign:
    """Read a graph or a workflow: its loaders in the order of its nodes, and its prompts by where they lead."""
    notes: list[str] = []
    nodes = dict(_nodes(graph))
    if len(nodes) > MOST_NODES:
        raise InputError(f"the workflow has {len(nodes):,} nodes; at most {MOST_NODES:,} are read")
    adapters: list[Named] = []
    for kind, inputs in nodes.values():
        if kind == "core_metadata" and not adapters:
            adapters = _read_loras(list_of(inputs.get("loras")), notes)
    loaded: dict[str, Named] = {}
    for kind, inputs in nodes.values():
        if kind not in _LOADERS:
            continue
        if one := _named(inputs.get("lora"), inputs.get("weight"), notes):
            loaded.pop(one.name, None)  # of two loaders of one adapter the last counts, in its place
            loaded[one.name] = one
        else:
            notes.append("a LoRA node of the workflow has no adapter chosen")
    adapters = [*(one for one in adapters if one.name not in loaded), *loaded.values()]
    positive, negative = _prompts(graph, nodes)
    return Foreign(
        form="invokeai",
        prompt=without_tags(positive),
        negative=without_tags(negative),
        adapters=tuple(adapters),
        notes=tuple(notes),
    )


def is_entry(value: object) -> bool:
    """Say whether a foreign value is an adapter of such metadata."""
    return isinstance(value, Mapping) and any(isinstance(value.get(name), Mapping) for name in ("model", "lora"))


def _model(record: AdapterRecord, file: str, export: Export) -> dict[str, str]:
    base = _BASES.get(record.family)
    if base is None:
        export.note(f"the base of {record.title!r} is none that InvokeAI loads adapters for, or is not known")
    blake3 = (record.hashes.blake3 or "").lower()
    if not blake3:
        export.note(f"{record.title!r} has no BLAKE3 hash; InvokeAI finds it by its name alone")
    return {
        "key": "",
        "hash": f"blake3:{blake3}" if blake3 else "",
        "name": stem_of(file),
        "base": base or "any",
        "type": "lora",
    }


def _read_loras(entries: Sequence[Any], notes: list[str]) -> list[Named]:
    found = []
    for entry in few(entries):
        if not is_entry(entry):
            notes.append("an adapter of the metadata is no object and was left out")
            continue
        if entry.get("isEnabled") is False:
            continue
        if one := _named(entry.get("model") or entry.get("lora"), entry.get("weight"), notes):
            found.append(one)
    return found


def _named(model: object, weight: object, notes: list[str]) -> Named | None:
    model = mapping_of(model)
    return named(model.get("name") or model.get("model_name"), weight, notes, digests=hashes_of(model.get("hash")))


def _nodes(graph: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, Mapping[str, Any]]]]:
    """Yield (id, (type, inputs)) of a graph's nodes, or of a workflow's, whose inputs hold their values one deeper."""
    nodes = graph.get("nodes")
    if isinstance(nodes, Mapping):
        for key, node in nodes.items():
            yield str(key), (text_of(mapping_of(node).get("type")), mapping_of(node))
    for node in list_of(nodes):
        data = mapping_of(mapping_of(node).get("data"))
        fields = mapping_of(data.get("inputs"))
        values = {name: mapping_of(field).get("value") for name, field in fields.items()}
        yield str(mapping_of(node).get("id")), (text_of(data.get("type")), values)


def _prompts(
    graph: Mapping[str, Any], nodes: Mapping[str, tuple[str, Mapping[str, Any]]]
) -> tuple[str, str]:  # fmt: skip
    """Follow the edges back from what is denoised to the first text on each side."""
    sources: dict[tuple[str, str], str] = {}
    for edge in list_of(graph.get("edges")):
        source, target, handle = _edge(mapping_of(edge))
        sources.setdefault((target, handle), source)
    found = {"positive": "", "negative": ""}
    tried = dict.fromkeys(found, 0)
    for target, handle in list(sources):
        side = handle.partition("_")[0]
        if side not in found or found[side] or tried[side] == _TRIALS:
            continue
        if handle.endswith(("conditioning", "text_conditioning")):
            tried[side] += 1
            found[side] = _text(sources[target, handle], nodes, sources)
    return found["positive"], found["negative"]


def _edge(edge: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return (source, target, target's field) of a graph's edge or of a workflow's."""
    source, target = mapping_of(edge.get("source")), mapping_of(edge.get("destination"))
    if target:
        return str(source.get("node_id")), str(target.get("node_id")), str(target.get("field"))
    return str(edge.get("source")), str(edge.get("target")), str(edge.get("targetHandle"))


def _text(
    key: str, nodes: Mapping[str, tuple[str, Mapping[str, Any]]], sources: Mapping[tuple[str, str], str]
) -> str:  # fmt: skip
    seen: set[str] = set()
    while key in nodes and key not in seen:
        seen.add(key)
        kind, inputs = nodes[key]
        field = "value" if kind == "string" else "prompt"
        linked = sources.get((key, field)) or sources.get((key, "item")) or sources.get((key, "collection"))
        if linked:
            key = linked
        else:
            return text_of(inputs.get(field)) if kind in _PROMPTS else ""
    return ""
