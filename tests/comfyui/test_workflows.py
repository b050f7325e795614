"""Workflows that are written here are ones that ComfyUI accepts, by the definitions of its nodes.

`benchmarks/comfyui_definitions.py` reads the definitions out of ComfyUI's source and compares them with the file.
"""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from comfyui_rules import PYTHON, definitions, faults

from velatura.comfyui import NODE_CLASS_MAPPINGS
from velatura.composer.formats import write
from velatura.generation.remote.comfyui_graph import Uploaded, graph_of
from velatura.generation.remote.names import File
from velatura.generation.remote.plan import Plan
from velatura.generation.schedulers import SAMPLERS
from velatura.records import AdapterRecord, Choice, Composition, Control, GenerationRequest, Picture, Start

KNOWN = definitions()
ROOT = Path(__file__).resolve().parents[2]


def composition(*weights: float) -> Composition:
    choices = tuple(
        Choice(
            adapter=AdapterRecord(source="folder", key=str(n), title=f"A {n}", path=f"/loras/art/{n}.safetensors"),
            weight=weight,
            span="",
            triggers=(f"word (of {n})",),
        )
        for n, weight in enumerate(weights)
    )
    return Composition(prompt="a fox", choices=choices)


def exported(*weights: float, **options: Any) -> dict[str, Any]:
    return json.loads(write(composition(*weights), "comfyui", **options).text)


@pytest.mark.parametrize("weights", [(), (0.8,), (0.8, -100.0, 100.0, 0.0)])
@pytest.mark.parametrize("options", [{}, {"checkpoint": "sd15/dream.safetensors", "negative": "x", "folder": "/loras"}])
def test_exported_workflow_is_accepted(weights: tuple[float, ...], options: dict[str, Any]) -> None:
    graph = exported(*weights, **options)
    assert faults(graph, KNOWN) == []
    assert sum(node["class_type"] == "LoraLoader" for node in graph.values()) == len(weights)


def test_workflow_that_adapters_were_laid_into_is_accepted() -> None:
    base = exported(0.8)
    assert faults(exported(0.5, 0.6, base=base), KNOWN) == []
    model_alone = {key: node for key, node in base.items() if node["class_type"] != "CLIPTextEncode"}
    sampler = next(node for node in model_alone.values() if node["class_type"] == "KSampler")
    del sampler["inputs"]["positive"], sampler["inputs"]["negative"]
    graph = exported(0.5, base=model_alone)
    assert [node["class_type"] for node in graph.values()].count("LoraLoaderModelOnly") == 1
    left = [fault for fault in faults(graph, KNOWN) if "tive is missing" not in fault]
    assert left == []


@pytest.mark.parametrize("sampler", sorted({each.comfyui for each in SAMPLERS.values() if each.comfyui}))
def test_painted_graph_is_accepted_with_every_scheduler(sampler: tuple[str, str]) -> None:
    assert faults(painted(sampler=sampler), KNOWN) == []


@pytest.mark.parametrize(
    "request_",
    [
        {"start": Start(picture=Picture(path="a.png"), strength=0.4)},
        {"start": Start(picture=Picture(path="a.png"), mask=Picture(path="b.png"))},
        {"clip_skip": 2, "freeu": (0.9, 0.2, 1.1, 1.2)},
    ],
)
def test_painted_graph_is_accepted(request_: dict[str, Any]) -> None:
    assert faults(painted(**request_), KNOWN) == []


def painted(sampler: tuple[str, str] = ("euler", "normal"), **wanted: Any) -> dict[str, Any]:
    control = Control(model="canny", picture=Picture(path="c.png"))
    request = GenerationRequest(
        composition=composition(0.8),
        model="dream",
        **{"steps": 20, "guidance": 7.0, "width": 512, "height": 768, "seed": 2**63, **wanted},
    )
    plan = Plan(
        request=request,
        checkpoint=File("dream.safetensors", "dream.safetensors"),
        sampler=sampler,
        adapters=((File("art/0.safetensors", "art/0.safetensors"), 0.8),),
        controls=((control, File("canny.safetensors", "canny.safetensors")),),
    )
    mask = "b.png" if request.start and request.start.mask else ""
    return graph_of(plan, request.seed, Uploaded(start="a.png", mask=mask, maps=("c.png",)), family="sd1")


def changed(node: str, **inputs: Any) -> dict[str, Any]:
    graph = copy.deepcopy(exported(0.8))
    found = next(each for each in graph.values() if each["class_type"] == node)
    found["inputs"] |= inputs
    return graph


@pytest.mark.parametrize(
    ("graph", "fault"),
    [
        (changed("KSampler", steps=0), "steps 0 is smaller than 1"),
        (changed("KSampler", steps=2.5), "steps must be INT"),
        (changed("KSampler", sampler_name="eular"), "'eular' is no option"),
        (changed("KSampler", model=["1", 1]), "model must be MODEL and is CLIP"),
        (changed("KSampler", model=["1", 3]), "comes from output 3"),
        (changed("KSampler", model=["99", 0]), "which is no node"),
        (changed("LoraLoader", strength_model=101), "101 is bigger than 100"),
        (changed("LoraLoader", lora_name=""), "names no file"),
        (changed("SaveImage", images="a.png"), "must be linked to IMAGE"),
        (changed("SaveImage", quality=3), "there is no input quality"),
    ],
)
def test_what_comfyui_refuses_is_seen(graph: dict[str, Any], fault: str) -> None:
    (told,) = faults(graph, KNOWN)
    assert fault in told


def test_the_workflow_in_the_documents_is_accepted() -> None:
    page = (ROOT / "docs" / "comfyui.md").read_text(encoding="utf-8")
    (graph,) = map(json.loads, re.findall(r"```json\n(.*?)```", page, re.DOTALL))
    ours = {
        name: {part: {each: _kind(*kind) for each, kind in given.items()} for part, given in node.INPUT_TYPES().items()}
        | {"outputs": list(node.RETURN_TYPES)}
        for name, node in NODE_CLASS_MAPPINGS.items()
    }
    assert faults(graph, {**KNOWN, **ours}) == []
    assert {node["class_type"] for node in graph.values()} > ours.keys()


def _kind(kind: Any, options: dict[str, Any]) -> Any:
    if isinstance(kind, list):
        return {"options": kind}
    return {**options, "type": kind} if kind in PYTHON else kind


def test_rows_have_what_the_power_lora_loader_looks_for() -> None:
    rows = json.loads(write(composition(0.8, -1.0), "rgthree").text)
    assert list(rows) == ["lora_1", "lora_2"]
    for row in rows.values():
        assert row.keys() >= {"on", "lora", "strength"}  # else its `load_loras` passes the row over
        assert row["on"] is True
