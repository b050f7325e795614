"""ComfyUI's two forms of a workflow as one graph: the API form, and the form that its editor saves.

API form: `{id: {"class_type", "inputs": {name: value or [id, slot]}}}`. Editor's form: `nodes` with `inputs` that name
links, `widgets_values` by place, and `links` as `[id, from, slot, to, slot, type]` or as objects. There a node is
muted (mode 2: it and what hangs on it do not run) or bypassed (mode 4: what comes in goes out).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...errors import InputError
from .foreign import list_of, mapping_of, text_of

MOST_NODES = 20_000
_MOST_PASSES = 64
"""Nodes that paint, whose prompts are looked for."""
WIDGETS: dict[str, tuple[str, ...]] = {
    "CheckpointLoaderSimple": ("ckpt_name",),
    "CLIPTextEncode": ("text",),
    "CLIPTextEncodeFlux": ("clip_l", "t5xxl"),
    "CLIPTextEncodeSDXL": (
        "width", "height", "crop_w", "crop_h", "target_width", "target_height", "text_g", "text_l",
    ),
    "CLIPTextEncodeSDXLRefiner": ("ascore", "width", "height", "text"),
    "Lora Loader Stack (rgthree)": tuple(f"{name}_0{place}" for place in range(1, 5) for name in ("lora", "strength")),
    "LoraLoader": ("lora_name", "strength_model", "strength_clip"),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "PrimitiveNode": ("value",),
}  # fmt: skip
"""What stands where in `widgets_values`, of the nodes that matter here; of others, their only text is `text`."""
_MUTED, _BYPASSED = 2, 4
_SEPARATOR = re.compile(r"(?:[^\w]|_)+")
"""What joins texts is none itself."""
_SIDES = {"positive": "negative", "negative": "positive"}
_TEXTS = ("text", "prompt", "string", "value", "String", "text_g", "text_l", "clip_l", "t5xxl")


@dataclass(slots=True, eq=False)
class Node:
    """A node, however it was written."""

    id: str
    kind: str
    title: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    """What was typed in, by name."""
    links: dict[str, tuple[str, int]] = field(default_factory=dict)
    """What comes from another node: its id, and which of its outputs."""
    widgets: Any = None
    """The editor's `widgets_values`."""
    muted: bool = False
    bypassed: bool = False

    def place_of(self, name: str) -> int | str | None:
        """Return where in `widgets` a typed value stands."""
        if isinstance(self.widgets, Mapping):
            return name if name in self.widgets else None
        texts = [place for place, value in enumerate(list_of(self.widgets)) if isinstance(value, str)]
        if self.kind in WIDGETS:
            return WIDGETS[self.kind].index(name) if name in WIDGETS[self.kind] else None
        return texts[0] if name == "text" and len(texts) == 1 else None


Graph = dict[str, Node]


def graph_of(workflow: Mapping[str, Any]) -> Graph:
    """Return the graph of a workflow of either form.

    Raises:
        InputError: it has more nodes than any workflow has.
    """
    return _editor_graph(workflow) if isinstance(workflow.get("nodes"), list) else _api_graph(workflow)


def subgraphs(workflow: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the editor's subgraphs by the type of the nodes that stand for them."""
    found = list_of(mapping_of(workflow.get("definitions")).get("subgraphs"))
    return {text_of(one.get("id")): one for one in found if isinstance(one, Mapping)}


def links_of(workflow: Mapping[str, Any]) -> dict[int, tuple[str, int]]:
    """Return where each link of the editor's form comes from, by the link's number."""
    found: dict[int, tuple[str, int]] = {}
    for link in list_of(workflow.get("links")):
        match link:
            case [int(number), int() | str() as origin, int(slot), *_]:
                found[number] = (str(origin), slot)
            case {"id": int(number), "origin_id": int() | str() as origin, "origin_slot": int(slot)}:
                found[number] = (str(origin), slot)
    return found


def scalar(graph: Graph, node: Node, name: str) -> Any:
    """Return a value of a node, also where it is typed into a primitive node that feeds it."""
    seen: set[str] = set()
    while name in node.links and node.links[name][0] in graph and node.id not in seen:
        seen.add(node.id)
        node = graph[node.links[name][0]]
        name = next(iter(node.links), "") if "Reroute" in node.kind else "value"
    if name in node.values or "Primitive" not in node.kind:
        return node.values.get(name)
    return next(iter(list_of(node.widgets)), None)


def texts(graph: Graph, side: str) -> list[list[tuple[Node, str]]]:
    """Return, for each node that paints, the typed texts that reach its `positive` or `negative` side: (node, name).

    Nodes that paint alike, as the passes of one picture do, are told once.
    """
    found: list[list[tuple[Node, str]]] = []
    for node in _painting(graph, side):
        origin = node.links.get(side) or node.links["conditioning"]
        places = list(_typed(graph, origin[0], side))
        if places and places not in found:
            found.append(places)
    return found


def _painting(graph: Graph, side: str) -> list[Node]:
    running = [node for node in graph.values() if not node.muted and not node.bypassed]
    samplers = [node for node in running if side in node.links and "model" in node.links]
    guiders = [node for node in running if side == "positive" and {"model", "conditioning"} <= node.links.keys()]
    painting = samplers + guiders or [node for node in running if side in node.links]
    return painting[:_MOST_PASSES]


def _typed(graph: Graph, start: str, side: str) -> Iterator[tuple[Node, str]]:
    """Yield the texts above a node, in the order of the inputs that lead to them."""
    pending, seen = [start], set[str]()
    while pending:
        node = graph.get(pending.pop())
        if node is None or node.id in seen or node.muted or "TriggerWord" in node.kind:  # triggers are told apart
            continue
        seen.add(node.id)
        above: list[str] = []
        if not node.bypassed:
            for name in _own_texts(node, side):
                if name in node.links:
                    above.append(node.links[name][0])
                elif not _SEPARATOR.fullmatch(text_of(node.values[name])):
                    yield node, name
        above += [origin for name, (origin, _) in node.links.items() if _leads_on(node, name, side)]
        pending.extend(reversed(above))


def _own_texts(node: Node, side: str) -> list[str]:
    if "populated_text" in node.values:
        return ["populated_text"]
    names = [name for name in (*_TEXTS, f"text_{side}") if _is_text(node, name)]
    if isinstance(node.values.get(side), str):
        names.append(side)
    # The second encoder is mostly told the same as the first, or nothing.
    return [name for name in names if name not in ("text_l", "clip_l") or _tells_more(node, name)]


def _tells_more(node: Node, name: str) -> bool:
    first = "text_g" if name == "text_l" else "t5xxl"
    return _filled(node, name) not in ("", _filled(node, first))


def _is_text(node: Node, name: str) -> bool:
    return name in node.links or isinstance(node.values.get(name), str)


def _filled(node: Node, name: str) -> object:
    return node.links.get(name) or node.values.get(name)


def _leads_on(node: Node, name: str, side: str) -> bool:
    if "Reroute" in node.kind:
        return True
    low = name.lower()
    if low in _SIDES:
        return low == side
    return low.startswith(("conditioning", "cond", "string", "text", "prompt")) and (
        name not in _TEXTS and low != f"text_{_SIDES[side]}"
    )


def _api_graph(prompt: Mapping[str, Any]) -> Graph:
    nodes = {str(key): node for key, node in prompt.items() if isinstance(mapping_of(node).get("class_type"), str)}
    _refuse_crowds(len(nodes))
    graph: Graph = {}
    for key, node in nodes.items():
        made = Node(key, node["class_type"], title=text_of(mapping_of(node.get("_meta")).get("title")))
        for name, value in mapping_of(node.get("inputs")).items():
            match value:
                case [int() | str() as origin, int(slot)] if str(origin) in nodes:
                    made.links[str(name)] = (str(origin), slot)
                case _:
                    made.values[str(name)] = value
        graph[key] = made
    return graph


def _editor_graph(workflow: Mapping[str, Any]) -> Graph:
    nodes = list_of(workflow.get("nodes"))
    _refuse_crowds(len(nodes))
    origins = links_of(workflow)
    graph: Graph = {}
    for node in nodes:
        if not isinstance(node, Mapping) or not isinstance(node.get("type"), str):
            continue
        made = Node(str(node.get("id")), node["type"], title=text_of(node.get("title")))
        made.muted, made.bypassed = node.get("mode") == _MUTED, node.get("mode") == _BYPASSED
        made.widgets = node.get("widgets_values")
        for slot in list_of(node.get("inputs")):
            slot = mapping_of(slot)
            number = slot.get("link")
            if isinstance(number, int) and number in origins:
                made.links[text_of(slot.get("name"))] = origins[number]
        made.values = _typed_in(made)
        graph[made.id] = made
    return graph


def _typed_in(node: Node) -> dict[str, Any]:
    if isinstance(node.widgets, Mapping):
        return {str(name): value for name, value in node.widgets.items()}
    values = list_of(node.widgets)
    if node.kind in WIDGETS:
        return dict(zip(WIDGETS[node.kind], values, strict=False))
    place = node.place_of("text")
    return {"text": values[place]} if isinstance(place, int) else {}


def _refuse_crowds(count: int) -> None:
    if count > MOST_NODES:
        raise InputError(f"the workflow has {count:,} nodes; at most {MOST_NODES:,} are read")
