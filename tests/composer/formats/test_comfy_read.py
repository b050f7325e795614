"""Loaders and prompts are found in workflows, however they are wired."""

from __future__ import annotations

import json
from typing import Any

import pytest

from velatura.composer.formats import Foreign, read

Nodes = dict[str, Any]


def node(kind: str, title: str = "", **inputs: Any) -> Nodes:
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": title}}


def told(foreign: Foreign) -> list[tuple[str, float, float | None]]:
    return [(one.name, one.weight, one.clip_weight) for one in foreign.adapters]


def painted(*loaders: Nodes, **more: Nodes) -> Nodes:
    """A workflow whose loaders, each with its own id, hang between checkpoint 1 and sampler 9."""
    last, graph = "1", {"1": node("CheckpointLoaderSimple", ckpt_name="sd")}
    for place, loader in enumerate(loaders):
        key = str(20 + place)
        loader["inputs"] |= {"model": [last, 0], "clip": [last, 1]}
        graph[key] = loader
        last = key
    graph |= {
        "7": node("CLIPTextEncode", text="a fox", clip=[last, 1]),
        "8": node("CLIPTextEncode", text="ugly", clip=[last, 1]),
        "9": node("KSampler", model=[last, 0], positive=["7", 0], negative=["8", 0]),
        "10": node("SaveImage", images=["9", 0]),
    }
    return graph | more


def loaded(graph: Nodes) -> Foreign:
    return read(json.dumps(graph))


def test_loaders_are_told_from_the_checkpoint_on() -> None:
    back = loaded(
        painted(
            node("LoraLoader", lora_name="styles\\ink.safetensors", strength_model=0.5, strength_clip=0.25),
            node("LoraLoaderModelOnly", lora_name="lcm.safetensors", strength_model=1),
            node("LoraLoader", lora_name="fox.safetensors", strength_model=-1.0, strength_clip=-1.0),
        )
    )
    assert told(back) == [("ink", 0.5, 0.25), ("lcm", 1.0, 0.0), ("fox", -1.0, None)]
    assert back.adapters[0].file == "styles\\ink.safetensors"
    assert (back.prompt, back.negative, back.notes) == ("a fox", "ugly", ())


def test_power_lora_loader_rows_that_are_on_are_read() -> None:
    back = loaded(
        painted(
            node(
                "Power Lora Loader (rgthree)",
                PowerLoraLoaderHeaderWidget={"type": "PowerLoraLoaderHeaderWidget"},
                lora_1={"on": True, "lora": "a/fox.safetensors", "strength": 0.8},
                lora_2={"on": False, "lora": "off.safetensors", "strength": 0.8},
                lora_3={"on": True, "lora": "ink.safetensors", "strength": 0.6, "strengthTwo": 0.3},
                lora_4={"on": True, "lora": "None", "strength": 1},
            )
        )
    )
    assert told(back) == [("fox", 0.8, None), ("ink", 0.6, 0.3)]


@pytest.mark.parametrize("kind", ["Lora Loader (LoraManager)", "LoraLoaderLM", "Lora Stacker (LoraManager)"])
@pytest.mark.parametrize("frame", [lambda rows: {"__value__": rows}, lambda rows: rows, lambda rows: [rows]])
def test_lora_managers_list_is_read(kind: str, frame: Any) -> None:
    rows = [
        {"name": "folder/fox", "strength": "0.60", "clipStrength": 0.4, "active": True},
        {"name": "off", "strength": 1, "active": False},
        {"name": "__dummy_item1__", "strength": 0, "active": False, "_isDummy": True},
    ]
    back = loaded(painted(node(kind, text="<lora:fox:0.6:0.4> <lora:off:1>", loras=frame(rows))))
    assert told(back) == [("fox", 0.6, 0.4)]


def test_lora_managers_text_has_the_models_number_first() -> None:
    loader = node("LoRA Text Loader (LoraManager)", lora_syntax="<lora:fox:0.9:0.3> and <lora:ink:-0.5>")
    assert told(loaded(painted(loader))) == [("fox", 0.9, 0.3), ("ink", -0.5, None)]


def test_numbered_stacks_are_read() -> None:
    stacks = painted(
        node("Lora Loader Stack (rgthree)", lora_01="fox.pt", strength_01=0.5, lora_02="None", strength_02=1.0),
        node("LoRA Stacker", lora_count=1, lora_name_1="ink.pt", lora_wt_1=0.7, lora_name_2="over.pt", lora_wt_2=1.0),
        node(
            "CR LoRA Stack",
            switch_1="On",
            lora_name_1="cr.pt",
            model_weight_1=0.2,
            clip_weight_1=0.1,
            switch_2="Off",
            lora_name_2="off.pt",
            model_weight_2=1,
        ),
    )
    assert told(loaded(stacks)) == [("fox", 0.5, None), ("ink", 0.7, None), ("cr", 0.2, 0.1)]


def test_names_of_civitai_give_its_numbers() -> None:
    back = loaded(
        painted(
            node("LoraLoader", lora_name="urn:air:sdxl:lora:civitai:12@34", strength_model=0.5, strength_clip=0.5),
            node("LoraLoader", lora_name="civitai:56@78", strength_model=1, strength_clip=1),
        )
    )
    assert [(one.model_id, one.version_id, one.file) for one in back.adapters] == [(12, 34, None), (56, 78, None)]


def test_civitais_extra_tells_the_prompt_where_the_graph_does_not() -> None:
    graph = painted(node("LoraLoader", lora_name="civitai:5@7", strength_model=1, strength_clip=1))
    graph["7"]["inputs"]["text"] = graph["8"]["inputs"]["text"] = ""
    graph["extraMetadata"] = json.dumps({"prompt": "a cat", "negativePrompt": "dog"})
    assert (loaded(graph).prompt, loaded(graph).negative) == ("a cat", "dog")
    graph["extraMetadata"] = "{"
    assert loaded(graph).prompt == ""


def test_a_loader_that_nothing_uses_is_left_out_with_a_note() -> None:
    loose = node("LoraLoader", lora_name="loose.pt", strength_model=1, strength_clip=1, model=["1", 0], clip=["1", 1])
    back = loaded(painted(node("LoraLoader", lora_name="fox.pt", strength_model=1), **{"50": loose}))
    assert told(back) == [("fox", 1.0, None)]
    assert any("nothing uses the loader node 50" in note for note in back.notes)
    alone = loaded({"1": node("LoraLoader", lora_name="fox.pt", strength_model=1)})
    assert told(alone) == [("fox", 1.0, None)]


def test_a_strength_may_come_from_another_node() -> None:
    loader = node("LoraLoader", lora_name="fox.pt", strength_model=["30", 0], strength_clip=["30", 0])
    assert told(loaded(painted(loader, **{"30": node("PrimitiveFloat", value=0.4)}))) == [("fox", 0.4, None)]
    lost = loaded(
        painted(node("LoraLoader", lora_name="fox.pt", strength_model=["30", 0]), **{"30": node("Math", a=1)})
    )
    assert told(lost) == [("fox", 1.0, None)]


def test_an_adapter_that_is_loaded_for_every_pass_is_told_once() -> None:
    first, second = (node("LoraLoader", lora_name="fox.pt", strength_model=w, strength_clip=w) for w in (0.5, 0.7))
    back = loaded(painted(first, second))
    assert told(back) == [("fox", 0.5, None)]
    assert any("different weights" in note for note in back.notes)


@pytest.mark.parametrize(
    ("changes", "prompt"),
    [
        (
            {"7": node("CLIPTextEncode", text=["31", 0]), "31": node("StringConstant", string="by a string")},
            "by a string",
        ),
        (
            {
                "7": node("CLIPTextEncode", text=["31", 0]),
                "31": node("Reroute", **{"": ["32", 0]}),
                "32": node("PrimitiveString", value="far away"),
            },
            "far away",
        ),
        (
            {
                "7": node("ConditioningCombine", conditioning_1=["31", 0], conditioning_2=["32", 0]),
                "31": node("CLIPTextEncode", text="one"),
                "32": node("CLIPTextEncode", text="two"),
            },
            "one, two",
        ),
        (
            {
                "7": node("ControlNetApplyAdvanced", positive=["31", 0], negative=["32", 0], control_net=["33", 0]),
                "31": node("CLIPTextEncode", text="yes"),
                "32": node("CLIPTextEncode", text="no"),
                "33": node("X", text="net"),
            },
            "yes",
        ),
        ({"7": node("CLIPTextEncodeSDXL", text_g="big", text_l="big")}, "big"),
        ({"7": node("CLIPTextEncodeSDXL", text_g="big", text_l="small")}, "big, small"),
        ({"7": node("CLIPTextEncodeFlux", clip_l="", t5xxl="a sentence", guidance=3)}, "a sentence"),
        ({"7": node("ImpactWildcardEncode", wildcard_text="__x__", populated_text="a real fox")}, "a real fox"),
        (
            {
                "7": node("ConditioningSetTimestepRange", conditioning=["31", 0]),
                "31": node("CLIPTextEncode", text="late"),
            },
            "late",
        ),
        ({"7": node("ttN text", text_positive="side", text_negative="other")}, "side"),
    ],
)
def test_the_prompt_is_followed_to_its_text(changes: Nodes, prompt: str) -> None:
    assert loaded(painted(**changes)).prompt == prompt


def test_joined_texts_are_told_without_what_joins_them() -> None:
    workflow = editor()
    workflow["nodes"][6] = editor_node(7, "JoinStrings", {"string1": 8, "string2": 9}, [[7]], ", ")
    workflow["links"].append([9, 10, 0, 7, 1, "STRING"])
    back = loaded(workflow)
    assert (back.prompt, back.triggers, back.notes) == ("a typed fox", ("foxy",), ())


def test_lora_managers_own_prompt_node_is_no_loader() -> None:
    graph = painted()
    graph["7"] = node("Prompt (LoraManager)", text="a fox", clip=["1", 1], model=["1", 0])
    assert (loaded(graph).prompt, loaded(graph).notes) == ("a fox", ())


def test_a_guider_leads_to_the_prompt() -> None:
    graph = {
        "1": node("UNETLoader", unet_name="flux"),
        "2": node("LoraLoaderModelOnly", lora_name="fox.pt", strength_model=1.0, model=["1", 0]),
        "3": node("CLIPTextEncode", text="a fox", clip=["9", 0]),
        "4": node("FluxGuidance", conditioning=["3", 0], guidance=3.5),
        "5": node("BasicGuider", model=["2", 0], conditioning=["4", 0]),
        "6": node("SamplerCustomAdvanced", guider=["5", 0]),
    }
    back = loaded(graph)
    assert (back.prompt, told(back)) == ("a fox", [("fox", 1.0, 0.0)])


def test_tags_in_a_workflows_prompt_are_read_with_a_note() -> None:
    back = loaded(painted(**{"7": node("Power Prompt (rgthree)", prompt="a fox <lora:foxy:0.5>")}))
    assert (back.prompt, told(back)) == ("a fox", [("foxy", 0.5, None)])
    assert any("tags" in note for note in back.notes)


def test_two_passes_with_other_prompts_are_noted() -> None:
    second = node("KSampler", model=["1", 0], positive=["41", 0], negative=["8", 0])
    back = loaded(painted(**{"40": second, "41": node("CLIPTextEncode", text="a cat")}))
    assert back.prompt == "a fox"
    assert any("2 positive prompts" in note for note in back.notes)


def test_an_unknown_loader_is_noted() -> None:
    back = loaded(painted(node("Mega LoRA Thing", secret="fox")))
    assert any("'Mega LoRA Thing'" in note for note in back.notes)


def editor_node(
    number: int, kind: str, links: dict[str, int], outs: list[list[int]], *widgets: Any, **more: Any
) -> Nodes:
    return {
        "id": number,
        "type": kind,
        "mode": 0,
        "widgets_values": list(widgets),
        "inputs": [{"name": name, "type": "*", "link": link} for name, link in links.items()],
        "outputs": [{"name": "", "type": "*", "links": links} for links in outs],
        **more,
    }


def editor() -> Nodes:
    """Checkpoint, three loaders in a row, a text through a primitive and a reroute, Lora Manager's toggle."""
    row = [
        {"on": True, "lora": "row.pt", "strength": 0.3, "strengthTwo": None},
        {"on": False, "lora": "x.pt", "strength": 1},
    ]
    return {
        "nodes": [
            editor_node(1, "CheckpointLoaderSimple", {}, [[1]], "sd.safetensors"),
            editor_node(2, "LoraLoader", {"model": 1}, [[2]], "fox.pt", 0.5, 0.25),
            editor_node(3, "Power Lora Loader (rgthree)", {"model": 2}, [[3]], {}, {"type": "header"}, *row, {}, ""),
            editor_node(
                4,
                "Lora Loader (LoraManager)",
                {"model": 3},
                [[4]],
                {"version": 1},
                "<lora:lm:1>",
                [{"name": "lm", "strength": 0.6, "clipStrength": 0.6, "active": True}],
            ),
            editor_node(5, "KSampler", {"model": 4, "positive": 5, "negative": 6}, [[]], 1, "fixed", 20),
            editor_node(6, "CLIPTextEncode", {"text": 7}, [[5]], "stale words"),
            editor_node(7, "Reroute", {"": 8}, [[7]]),
            editor_node(8, "PrimitiveNode", {}, [[8]], "a typed fox", "fixed"),
            editor_node(9, "CLIPTextEncode", {}, [[6]], "ugly"),
            editor_node(
                10,
                "TriggerWord Toggle (LoraManager)",
                {},
                [[]],
                True,
                True,
                [{"text": "foxy", "active": True}, {"text": "off", "active": False}],
            ),
        ],
        "links": [
            [1, 1, 0, 2, 0, "MODEL"],
            [2, 2, 0, 3, 0, "MODEL"],
            [3, 3, 0, 4, 0, "MODEL"],
            [4, 4, 0, 5, 0, "MODEL"],
            [5, 6, 0, 5, 1, "C"],
            [6, 9, 0, 5, 2, "C"],
            [7, 7, 0, 6, 0, "S"],
            [8, 8, 0, 7, 0, "S"],
        ],
    }


def test_the_editors_form_is_read() -> None:
    back = loaded(editor())
    assert told(back) == [("fox", 0.5, 0.25), ("row", 0.3, None), ("lm", 0.6, None)]
    assert (back.prompt, back.negative, back.triggers) == ("a typed fox", "ugly", ("foxy",))


@pytest.mark.parametrize("mode", [2, 4])
def test_muted_and_bypassed_loaders_are_left_out(mode: int) -> None:
    workflow = editor()
    workflow["nodes"][2]["mode"] = mode
    names = [one.name for one in loaded(workflow).adapters]
    # What is muted stops what hangs on it; what is bypassed lets the model through.
    assert names == (["lm"] if mode == 2 else ["fox", "lm"])


def test_what_a_bypassed_text_says_is_not_the_prompt() -> None:
    workflow = editor()
    workflow["nodes"][5]["mode"] = 4
    assert loaded(workflow).prompt == ""


def test_subgraphs_are_looked_into() -> None:
    inner = editor()
    outer = {
        "nodes": [editor_node(1, "abc-def", {}, [[]])],
        "links": [],
        "definitions": {
            "subgraphs": [
                {"id": "abc-def", **inner},
                {"id": "unused", "nodes": [editor_node(1, "LoraLoader", {}, [[]], "z", 1, 1)]},
            ]
        },
    }
    back = loaded(outer)
    assert [one.name for one in back.adapters] == ["fox", "row", "lm"]
    assert back.prompt == "a typed fox"
    outer["nodes"][0]["mode"] = 2  # type: ignore[index]
    assert loaded(outer).adapters == ()


def test_wrapped_workflows_are_unwrapped() -> None:
    graph = painted(node("LoraLoader", lora_name="fox.pt", strength_model=1.0, strength_clip=1))
    assert told(read(json.dumps({"prompt": graph, "client_id": "x"}))) == [("fox", 1.0, None)]
    assert told(read(json.dumps({"workflow": editor()})))[0] == ("fox", 0.5, 0.25)
