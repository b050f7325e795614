"""Adapters laid into a workflow in ComfyUI's API form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .comfy_chain import Loader, Place, is_ours, one_of, wanted_texts
from .comfy_graph import Graph, graph_of
from .foreign import mapping_of
from .written import Export


def splice(base: Mapping[str, Any], loaders: list[Loader], export: Export) -> dict[str, Any]:
    """Return a copy of a workflow with a chain of loaders behind what loads the model, and with the prompt.

    Raises:
        InputError: what loads the model cannot be told.
    """
    nodes = {str(key): dict(node) if isinstance(node, Mapping) else node for key, node in base.items()}
    for node in nodes.values():
        if isinstance(node, dict):
            node["inputs"] = dict(mapping_of(node.get("inputs"))) if "class_type" in node else node.get("inputs")
    _remove_ours(nodes)
    graph = graph_of(nodes)
    place = Place(model=one_of(_roots(graph, "model"), "a model"), clip=_clip(graph, export))
    for node, name, text in wanted_texts(graph, export):
        nodes[node.id]["inputs"][name] = text
    if export.checkpoint:
        _load(nodes, place.model[0], export)
    if loaders:
        _lay(nodes, place, loaders)
    return nodes


def _remove_ours(nodes: dict[str, Any]) -> None:
    """Take an earlier chain out: who used it uses what it used."""
    graph = graph_of(nodes)
    ours = {node.id: node for node in graph.values() if is_ours(node.kind, node.title)}
    for node in graph.values():
        for name, origin in node.links.items():
            seen: set[str] = set()
            while origin[0] in ours and origin[0] not in seen:
                seen.add(origin[0])
                origin = ours[origin[0]].links.get("clip" if origin[1] else "model", origin)
            if origin != node.links[name]:
                nodes[node.id]["inputs"][name] = list(origin)
    for key in ours:
        del nodes[key]


def _roots(graph: Graph, name: str) -> list[tuple[str, int]]:
    """Return where the models (or text encoders) that are used come from: nodes that take none themselves."""
    return [
        node.links[name]
        for node in graph.values()
        if name in node.links and node.links[name][0] in graph and name not in graph[node.links[name][0]].links
    ]


def _clip(graph: Graph, export: Export) -> tuple[str, int] | None:
    roots = list(dict.fromkeys(_roots(graph, "clip")))
    if len(roots) == 1:
        return roots[0]
    export.note("the adapters are laid on the image model alone: the workflow has no text encoder, or several")
    return None


def _load(nodes: dict[str, Any], root: str, export: Export) -> None:
    inputs = nodes[root]["inputs"]
    for name in ("ckpt_name", "unet_name"):
        if isinstance(inputs.get(name), str):
            inputs[name] = export.checkpoint
            return
    export.note("the workflow's own checkpoint was kept: its loader names it in a way that is not known here")


def _lay(nodes: dict[str, Any], place: Place, loaders: list[Loader]) -> None:
    number = max((int(key) for key in nodes if key.isascii() and key.isdigit() and len(key) < 10), default=0) + 1
    keys = [str(number + step) for step in range(len(loaders))]
    last = keys[-1]
    for node in nodes.values():
        users: dict[str, Any] = node["inputs"] if isinstance(node, dict) and "class_type" in node else {}
        for name, value in users.items():
            match value:
                case [int() | str() as origin, int(slot)] if (str(origin), slot) == place.model:
                    users[name] = [last, 0]
                case [int() | str() as origin, int(slot)] if (str(origin), slot) == place.clip:
                    users[name] = [last, 1]
    model, clip = list(place.model), list(place.clip) if place.clip else None
    for key, loader in zip(keys, loaders, strict=True):
        inputs = {"lora_name": loader.file, "strength_model": loader.weight, "model": model}
        if clip:
            inputs |= {"strength_clip": loader.weight, "clip": clip}
        kind = "LoraLoader" if clip else "LoraLoaderModelOnly"
        nodes[key] = {"inputs": inputs, "class_type": kind, "_meta": {"title": loader.label}}
        model, clip = [key, 0], [key, 1] if clip else None
