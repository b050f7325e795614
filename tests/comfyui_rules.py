"""What ComfyUI asks of a graph before it runs it, by definitions of nodes as facts alone.

A definition is `{"required": {name: kind}, "optional": {...}, "outputs": [type, ...]}`; a kind is the type of what is
linked (`"MODEL"`), of what is typed in (`{"type": "INT", "min": 1, "max": 10000}`), a list to choose from
(`{"options": [...]}`), or a list of the server's own files (`{"files": "loras"}`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

DEFINITIONS = Path(__file__).with_name("comfyui") / "definitions.json"
ANY = "*"
PYTHON = {"INT": int, "FLOAT": (int, float), "STRING": str, "BOOLEAN": bool}


def definitions() -> dict[str, Any]:
    return json.loads(DEFINITIONS.read_text(encoding="utf-8"))


def faults(graph: Mapping[str, Any], known: Mapping[str, Any]) -> list[str]:
    """Return what ComfyUI would refuse, one sentence each."""
    return [fault for key in graph for fault in _faults(graph, key, known)]


def _faults(graph: Mapping[str, Any], key: str, known: Mapping[str, Any]) -> Iterator[str]:
    node = graph[key]
    name = f"{key} ({node['class_type']})"
    if node["class_type"] not in known:
        yield f"{name}: there is no such node"
        return
    definition = known[node["class_type"]]
    inputs = {**definition["required"], **definition.get("optional", {})}
    yield from (f"{name}: {each} is missing" for each in definition["required"].keys() - node["inputs"].keys())
    for each, value in node["inputs"].items():
        if each not in inputs:
            yield f"{name}: there is no input {each}"
        elif isinstance(value, list):
            yield from (f"{name}: {each} {fault}" for fault in _link_faults(graph, value, inputs[each], known))
        elif fault := _value_fault(value, inputs[each]):
            yield f"{name}: {each} {fault}"


def _link_faults(graph: Mapping[str, Any], link: list[Any], kind: Any, known: Mapping[str, Any]) -> Iterator[str]:
    origin, slot = link
    if not isinstance(origin, str) or origin not in graph:
        yield f"comes from {origin!r}, which is no node"
        return
    outputs = known.get(graph[origin]["class_type"], {}).get("outputs", [])
    wanted = kind if isinstance(kind, str) else kind.get("type", "COMBO")
    if not 0 <= slot < len(outputs):
        yield f"comes from output {slot} of {origin}, which has {len(outputs)}"
    elif wanted not in (outputs[slot], ANY):
        yield f"must be {wanted} and is {outputs[slot]}"


def _value_fault(value: Any, kind: Any) -> str | None:
    if isinstance(kind, str):
        return f"must be linked to {kind}"
    if "files" in kind:
        return None if isinstance(value, str) and value else "names no file"
    if "options" in kind:
        return None if value in kind["options"] else f"{value!r} is no option"
    if not isinstance(value, PYTHON[kind["type"]]) or (isinstance(value, bool) and kind["type"] != "BOOLEAN"):
        return f"must be {kind['type']} and is {value!r}"
    if "min" in kind and value < kind["min"]:
        return f"{value} is smaller than {kind['min']}"
    return f"{value} is bigger than {kind['max']}" if "max" in kind and value > kind["max"] else None
