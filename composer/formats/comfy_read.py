"""Adapters and prompts of ComfyUI's workflows, of either form, whichever of the usual loader nodes they use."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...errors import InputError
from ...syntax import without_tags
from . import lora_manager, rgthree
from .a1111 import read_tags
from .comfy_graph import MOST_NODES, Graph, Node, graph_of, scalar, subgraphs, texts
from .content import parse
from .foreign import Foreign, Named, list_of, mapping_of, named, text_of

_MANAGED = frozenset({
    "Lora Loader (LoraManager)", "LoraLoaderLM", "Lora Stacker (LoraManager)", "LoraStackerLM",
})  # fmt: skip
_TEXT_LOADERS = frozenset({"LoRA Text Loader (LoraManager)", "LoraTextLoaderLM"})
_ROWS = "Power Lora Loader (rgthree)"
_TOGGLES = frozenset({"TriggerWord Toggle (LoraManager)", "TriggerWordToggleLM"})
_NUMBERED = re.compile(r"lora(?:_name)?_0?(\d{1,3})")
_STRENGTHS = ("strength_{}", "strength_0{}", "lora_wt_{}", "model_weight_{}", "model_str_{}")
_CLIPS = ("clip_weight_{}", "clip_str_{}")


def read(workflow: Mapping[str, Any]) -> Foreign:
    """Read a workflow.

    Nodes that are muted or bypassed, and loaders that nothing uses, are left out.

    Raises:
        InputError: it has more nodes than any workflow has.
    """
    notes: list[str] = []
    graph = graph_of(workflow)
    adapters = list(_adapters(graph, notes))
    triggers = list(_triggers(graph))
    inner = subgraphs(workflow)
    positive, negative = _prompt(graph, "positive", notes), _prompt(graph, "negative", notes)
    for kind in dict.fromkeys(node.kind for node in graph.values() if not node.muted and not node.bypassed):
        if kind in inner:
            part = graph_of(inner[kind])
            adapters += _adapters(part, notes)
            triggers += _triggers(part)
            positive = positive or _prompt(part, "positive", notes)
            negative = negative or _prompt(part, "negative", notes)
    positive, negative = _told(workflow, positive, negative)
    if (tagged := read_tags(positive, notes)) and (new := _unnamed(tagged, adapters)):
        notes.append("adapters were read from tags in the prompt, which only some of ComfyUI's nodes obey")
        adapters += new
    if not positive:
        notes.append("which text of the workflow is its prompt cannot be told")
    return Foreign(
        form="comfyui",
        prompt=without_tags(positive),
        negative=without_tags(negative),
        adapters=tuple(_once(adapters, notes)),
        triggers=tuple(dict.fromkeys(triggers)),
        notes=tuple(dict.fromkeys(notes)),
    )


def _adapters(graph: Graph, notes: list[str]) -> Iterator[Named]:
    """Yield the adapters in the order in which they are laid on."""
    order = _running(graph)
    for node in order:
        yield from _loaded(graph, node, notes) or ()
    reached = {node.id for node in order}
    for node in graph.values():
        if node.id not in reached and not node.muted and _loaded(graph, node, []) and not node.bypassed:
            notes.append(f"nothing uses the loader node {node.id}, so its adapters were left out")


def _running(graph: Graph) -> list[Node]:
    """Return the nodes that lead to a result, each after what it takes from; without a result, all of them."""
    used = {origin for node in graph.values() if not node.muted for origin, _ in node.links.values()}
    ends = [node for node in graph.values() if node.id not in used and _loaded(graph, node, []) is None]
    order: list[Node] = []
    seen: set[str] = set()
    pending: list[tuple[Node, bool]] = [(node, False) for node in reversed(ends or list(graph.values()))]
    while pending:
        node, done = pending.pop()
        if done:
            order.append(node)
        elif node.id not in seen and not node.muted:
            seen.add(node.id)
            pending.append((node, True))
            above = (graph[origin] for origin, _ in reversed(node.links.values()) if origin in graph)
            pending.extend((node, False) for node in above)
    return [node for node in order if not node.bypassed]


def _loaded(graph: Graph, node: Node, notes: list[str]) -> list[Named] | None:
    """Return the adapters that a node loads; None where it is no loader."""
    if node.kind == _ROWS:
        rows = [value for name, value in node.values.items() if name.lower().startswith("lora_")]
        return rgthree.read_rows(rows or list_of(node.widgets), notes)
    if node.kind in _MANAGED:
        return lora_manager.read_list(_list(node), notes)
    if node.kind in _TEXT_LOADERS:
        return lora_manager.read_text(text_of(scalar(graph, node, "lora_syntax")), notes)
    if "lora_name" in node.values or "lora_name" in node.links:
        return _single(graph, node, notes)
    if any(_NUMBERED.fullmatch(name) for name in node.values):
        return list(_stacked(graph, node, notes))
    if "lora" in node.kind.lower().partition("(")[0] and {"model", "clip"} & node.links.keys():
        notes.append(f"the node {node.kind!r} may load adapters in a way that is not known here")
    return None


def _single(graph: Graph, node: Node, notes: list[str]) -> list[Named]:
    name = scalar(graph, node, "lora_name")
    if isinstance(name, Mapping):  # some nodes keep a picture beside the name
        name = name.get("content")
    get: Callable[[str], Any] = lambda key: scalar(graph, node, key)  # noqa: E731
    strength = get("strength_model")
    weight = strength if strength is not None else get("strength")
    if name == "None":  # what the editor calls an empty choice
        return []
    one = named(name, weight, notes, clip=0 if node.kind == "LoraLoaderModelOnly" else get("strength_clip"))
    return [one] if one else []


def _stacked(graph: Graph, node: Node, notes: list[str]) -> Iterator[Named]:
    """Yield the adapters of nodes that number their inputs, such as rgthree's, Efficiency's and Comfyroll's stacks."""
    count = node.values.get("lora_count")
    for name in node.values:
        match = _NUMBERED.fullmatch(name)
        if match is None or node.values[name] == "None" or (isinstance(count, int) and int(match[1]) > count):
            continue
        if str(node.values.get(f"switch_{match[1]}", "On")).lower() in ("off", "false"):
            continue
        weights = [scalar(graph, node, form.format(match[1])) for form in _STRENGTHS]
        clips = [scalar(graph, node, form.format(match[1])) for form in _CLIPS]
        weight = next((value for value in weights if value is not None), None)
        clip = next((value for value in clips if value is not None), None)
        if one := named(node.values[name], weight, notes, clip=clip):
            yield one


def _list(node: Node) -> list[Any]:
    """Return the list of Lora Manager's nodes: bare, under `__value__`, in a list of its own, or among the widgets."""
    value = node.values.get("loras")
    value = value.get("__value__") if isinstance(value, Mapping) else value
    if not isinstance(value, list):
        lists = (widget for widget in list_of(node.widgets) if isinstance(widget, list))
        value = next((found for found in lists if any(lora_manager.is_entry(one) for one in found)), [])
    return list_of(value[0]) if len(value) == 1 and isinstance(value[0], list) else value


def _triggers(graph: Graph) -> Iterator[str]:
    """Yield the trigger words that Lora Manager's toggles leave on."""
    for node in graph.values():
        if node.kind not in _TOGGLES or node.muted or node.bypassed:
            continue
        value = node.values.get("toggle_trigger_words")
        value = value.get("__value__") if isinstance(value, Mapping) else value
        words = value or next((list_of(widget) for widget in list_of(node.widgets) if isinstance(widget, list)), [])
        for word in list_of(words):
            if mapping_of(word).get("active") is True and (text := text_of(mapping_of(word).get("text")).strip()):
                yield text


def _prompt(graph: Graph, side: str, notes: list[str]) -> str:
    found = list(dict.fromkeys(_joined(places) for places in texts(graph, side)))
    if not found:
        found = [
            text_of(node.values.get("text"))
            for node in graph.values()
            if "TextEncode" in node.kind and node.title.lower().startswith(side)
        ][:1]
    if len(found) > 1:
        notes.append(f"the workflow paints with {len(found)} {side} prompts; the first is taken")
    return found[0] if found else ""


def _joined(places: list[tuple[Node, str]]) -> str:
    return ", ".join(text for node, name in places if (text := text_of(node.values.get(name)).strip()))


def _told(workflow: Mapping[str, Any], positive: str, negative: str) -> tuple[str, str]:
    """Take Civitai's own words where the graph has none: its generator adds them as JSON in a text."""
    extra = workflow.get("extraMetadata")
    if not isinstance(extra, str) or (positive and negative):
        return positive, negative
    try:
        told = mapping_of(parse(extra, "extraMetadata"))
    except InputError:
        return positive, negative
    return positive or text_of(told.get("prompt")), negative or text_of(told.get("negativePrompt"))


def _unnamed(tagged: list[Named], adapters: list[Named]) -> list[Named]:
    known = {one.name for one in adapters}
    return [one for one in tagged if one.name not in known]


def _once(adapters: list[Named], notes: list[str]) -> Iterator[Named]:
    """Yield each adapter once: some workflows load one for every pass of a picture."""
    first: dict[tuple[str, str | None], Named] = {}
    for one in adapters[:MOST_NODES]:
        key = (one.name, one.file)
        if key in first and first[key].weight != one.weight:
            notes.append(f"{one.name!r} is loaded with different weights; the first, {first[key].weight:g}, is taken")
        if first.setdefault(key, one) is one:
            yield one
