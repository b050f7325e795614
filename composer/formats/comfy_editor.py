"""Adapters laid into a workflow in the form that ComfyUI's editor saves."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from ...errors import InputError
from .comfy_chain import Loader, Place, is_ours, one_of, wanted_texts
from .comfy_graph import graph_of, links_of
from .foreign import list_of, mapping_of, text_of
from .written import Export

_MUTED, _BYPASSED = 2, 4
_STEP = 340
"""Pixels from one loader to the next."""


class _Editor:
    """A workflow's nodes and links, while they are changed."""

    def __init__(self, base: Mapping[str, Any]) -> None:
        try:
            self.workflow: dict[str, Any] = copy.deepcopy(dict(base))
        except RecursionError:
            raise InputError("the workflow is nested too deep to be read") from None
        graph_of(self.workflow)  # refuses crowds
        nodes = list_of(self.workflow.get("nodes"))
        for place, node in enumerate(nodes, 1):
            if not _is_sound(node):
                raise InputError(f"the workflow is damaged: its node number {place} is not as ComfyUI saves nodes")
        self.nodes: dict[str, dict[str, Any]] = {str(node["id"]): node for node in nodes}
        self.links: list[Any] = list_of(self.workflow.get("links"))
        self.objects = any(isinstance(link, Mapping) for link in self.links)

    def outputs(self, kind: str) -> list[tuple[str, int]]:
        """Return the used outputs of a type, of nodes that run and take nothing of that type themselves."""
        used = set(links_of(self.workflow).values())
        found = []
        for key, node in self.nodes.items():
            takes = any(_linked(slot) and mapping_of(slot).get("type") == kind for slot in list_of(node.get("inputs")))
            runs = node.get("mode") not in (_MUTED, _BYPASSED)
            for place, slot in enumerate(list_of(node.get("outputs"))):
                if runs and not takes and mapping_of(slot).get("type") == kind and (key, place) in used:
                    found.append((key, place))
        return [origin for origin in found if "Reroute" not in text_of(self.nodes[origin[0]].get("type"))]

    def next_link(self) -> int:
        numbers = [number for number in links_of(self.workflow) if number < 1 << 40]
        return max(numbers, default=0) + 1

    def next_node(self) -> int:
        numbers = [node["id"] for node in self.nodes.values() if isinstance(node.get("id"), int)]
        return max((number for number in numbers if number < 1 << 40), default=0) + 1

    def connect(self, origin: tuple[str, int], target: tuple[str, int], kind: str) -> None:
        """Add a link."""
        number = self.next_link()
        source, goal = self.nodes[origin[0]], self.nodes[target[0]]
        if self.objects:
            names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
            values = (number, source["id"], origin[1], goal["id"], target[1], kind)
            self.links.append(dict(zip(names, values, strict=True)))
        else:
            self.links.append([number, source["id"], origin[1], goal["id"], target[1], kind])
        goal["inputs"][target[1]]["link"] = number
        _leaving(source, origin[1]).append(number)

    def move(self, old: tuple[str, int], new: tuple[str, int]) -> None:
        """Let all links that come from one output come from another."""
        leaving = _leaving(self.nodes[old[0]], old[1])
        for link in self.links:
            match link:
                case [_, origin, slot, *_] if (str(origin), slot) == old:
                    link[1:3] = [self.nodes[new[0]]["id"], new[1]]
                case {"origin_id": origin, "origin_slot": slot} if (str(origin), slot) == old:
                    link |= {"origin_id": self.nodes[new[0]]["id"], "origin_slot": new[1]}
        _leaving(self.nodes[new[0]], new[1]).extend(leaving)
        leaving.clear()

    def remove(self, key: str) -> None:
        """Take a loader out: who used it uses what it used."""
        origins = links_of(self.workflow)
        for place, slot in enumerate(list_of(self.nodes[key].get("inputs"))[:2]):
            number = mapping_of(slot).get("link")
            origin = origins.get(number) if isinstance(number, int) else None
            if origin is None or origin[0] not in self.nodes or origin[0] == key:
                continue
            self.links[:] = [link for link in self.links if _number(link) != number]
            leaving = _leaving(self.nodes[origin[0]], origin[1])
            leaving[:] = [other for other in leaving if other != number]
            self.move((key, place), origin)
        node = self.nodes.pop(key)
        self.links[:] = [link for link in self.links if not _touches(link, key)]
        self.workflow["nodes"].remove(node)

    def add(self, node: dict[str, Any]) -> None:
        self.nodes[str(node["id"])] = node
        self.workflow["nodes"].append(node)

    def counted(self) -> dict[str, Any]:
        """Return the workflow with its counters brought up to date."""
        counts = {"last_node_id": self.next_node() - 1, "last_link_id": self.next_link() - 1}
        self.workflow |= {name: count for name, count in counts.items() if name in self.workflow}
        if isinstance(self.workflow.get("state"), dict):
            self.workflow["state"] |= {
                "lastNodeId": counts["last_node_id"], "lastLinkId": counts["last_link_id"],
            }  # fmt: skip
        return self.workflow


def splice_editor(base: Mapping[str, Any], loaders: list[Loader], export: Export) -> dict[str, Any]:
    """Return a copy of a workflow with a chain of loaders behind what loads the model, and with the prompt.

    Raises:
        InputError: what loads the model cannot be told, also where it lies in a subgraph.
    """
    editor = _Editor(base)
    for key in [key for key, node in editor.nodes.items() if is_ours(node.get("type"), node.get("title"))]:
        editor.remove(key)
    clips = editor.outputs("CLIP")
    place = Place(one_of(editor.outputs("MODEL"), "a model"), clips[0] if len(clips) == 1 else None)
    if place.clip is None:
        export.note("the adapters are laid on the image model alone: the workflow has no text encoder, or several")
    _say(editor, export)
    if export.checkpoint:
        _load(editor.nodes[place.model[0]], export)
    if loaders:
        _lay(editor, place, loaders)
    return editor.counted()


def _say(editor: _Editor, export: Export) -> None:
    for node, name, text in wanted_texts(graph_of(editor.workflow), export):
        place = node.place_of(name)
        widgets = editor.nodes[node.id].get("widgets_values")
        if place is None and node.kind.startswith("Primitive"):
            place = 0
        if place is None or not isinstance(widgets, list | dict) or not widgets:
            export.note(f"the text of the node {node.id} was left as it is: where it keeps it is not known here")
        else:
            widgets[place] = text  # type: ignore[index]


def _load(root: dict[str, Any], export: Export) -> None:
    widgets = root.get("widgets_values")
    if isinstance(widgets, list) and widgets and isinstance(widgets[0], str):
        widgets[0] = export.checkpoint
    else:
        export.note("the workflow's own checkpoint was kept: its loader names it in a way that is not known here")


def _lay(editor: _Editor, place: Place, loaders: list[Loader]) -> None:
    made: list[str] = []
    root = editor.nodes[place.model[0]]
    for step, loader in enumerate(loaders):
        node = _node(editor.next_node(), loader, step, root, with_clip=place.clip is not None)
        editor.add(node)
        made.append(str(node["id"]))
    # First those who used the model, then the chain's own links, which must not be moved with them.
    editor.move(place.model, (made[-1], 0))
    if place.clip:
        editor.move(place.clip, (made[-1], 1))
    model, clip = place.model, place.clip
    for key in made:
        editor.connect(model, (key, 0), "MODEL")
        model = (key, 0)
        if clip:
            editor.connect(clip, (key, 1), "CLIP")
            clip = (key, 1)


def _node(number: int, loader: Loader, step: int, root: Mapping[str, Any], *, with_clip: bool) -> dict[str, Any]:
    sides = ("model", "clip") if with_clip else ("model",)
    kind = "LoraLoader" if with_clip else "LoraLoaderModelOnly"
    left, top = _corner(root)
    return {
        "id": number,
        "type": kind,
        "pos": [left + step * _STEP, top - 220],
        "size": [315, 126],
        "flags": {},
        "order": number,
        "mode": 0,
        "inputs": [{"name": side, "type": side.upper(), "link": None} for side in sides],
        "outputs": [
            {"name": side.upper(), "type": side.upper(), "links": [], "slot_index": place}
            for place, side in enumerate(sides)
        ],
        "title": loader.label,
        "properties": {"Node name for S&R": kind},
        "widgets_values": [loader.file, loader.weight, loader.weight][: 3 if with_clip else 2],
    }


def _corner(node: Mapping[str, Any]) -> tuple[float, float]:
    pos = node.get("pos")
    pair = [pos.get("0"), pos.get("1")] if isinstance(pos, Mapping) else list_of(pos)[:2]
    match pair:
        case [int() | float() as left, int() | float() as top]:
            return left, top
    return 0, 0


def _leaving(node: dict[str, Any], slot: int) -> list[Any]:
    """Return the numbers of the links that leave an output, to be changed in place."""
    outputs = list_of(node.get("outputs"))
    if not 0 <= slot < len(outputs):
        raise InputError(
            f"the workflow is damaged: a link comes from output {slot} of node {node['id']}, which has none"
        )
    if not isinstance(outputs[slot].get("links"), list):
        outputs[slot]["links"] = []
    leaving: list[Any] = outputs[slot]["links"]
    return leaving


def _is_sound(node: object) -> bool:
    """Say whether a node has the parts that are changed here, each of its type."""
    if not isinstance(node, dict) or not isinstance(node.get("id"), int | str) or not isinstance(node.get("type"), str):
        return False
    slots = [node.get(name) or [] for name in ("inputs", "outputs")]
    return all(isinstance(side, list) and all(isinstance(slot, dict) for slot in side) for side in slots)


def _linked(slot: object) -> bool:
    return mapping_of(slot).get("link") is not None


def _number(link: object) -> object:
    return link.get("id") if isinstance(link, Mapping) else link[0] if isinstance(link, list) and link else None


def _touches(link: object, key: str) -> bool:
    if isinstance(link, Mapping):
        return key in (str(link.get("origin_id")), str(link.get("target_id")))
    return isinstance(link, list) and len(link) > 3 and key in (str(link[1]), str(link[3]))
