"""Written workflows run in ComfyUI: every input is one that its nodes have, every link of the right type."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from velatura.composer.formats import load_workflow, read, write
from velatura.errors import InputError
from velatura.records import AdapterRecord, Choice, Composition

# ComfyUI's nodes.py: (inputs with the type of what is linked, None for what is typed in), and outputs.
NODES: dict[str, tuple[dict[str, str | None], tuple[str, ...]]] = {
    "CheckpointLoaderSimple": ({"ckpt_name": None}, ("MODEL", "CLIP", "VAE")),
    "LoraLoader": (
        {"model": "MODEL", "clip": "CLIP", "lora_name": None, "strength_model": None, "strength_clip": None},
        ("MODEL", "CLIP"),
    ),
    "LoraLoaderModelOnly": ({"model": "MODEL", "lora_name": None, "strength_model": None}, ("MODEL",)),
    "CLIPTextEncode": ({"text": None, "clip": "CLIP"}, ("CONDITIONING",)),
    "CLIPSetLastLayer": ({"clip": "CLIP", "stop_at_clip_layer": None}, ("CLIP",)),
    "EmptyLatentImage": ({"width": None, "height": None, "batch_size": None}, ("LATENT",)),
    "KSampler": (
        {
            "model": "MODEL",
            "seed": None,
            "steps": None,
            "cfg": None,
            "sampler_name": None,
            "scheduler": None,
            "positive": "CONDITIONING",
            "negative": "CONDITIONING",
            "latent_image": "LATENT",
            "denoise": None,
        },
        ("LATENT",),
    ),
    "VAEDecode": ({"samples": "LATENT", "vae": "VAE"}, ("IMAGE",)),
    "VAELoader": ({"vae_name": None}, ("VAE",)),
    "SaveImage": ({"images": "IMAGE", "filename_prefix": None}, ()),
    "UNETLoader": ({"unet_name": None, "weight_dtype": None}, ("MODEL",)),
    "ModelSamplingDiscrete": ({"model": "MODEL", "sampling": None, "zsnr": None}, ("MODEL",)),
}


def assert_runs(prompt: dict[str, Any]) -> None:
    for key, node in prompt.items():
        inputs, _ = NODES[node["class_type"]]
        assert node["inputs"].keys() == inputs.keys(), key
        for name, kind in inputs.items():
            value = node["inputs"][name]
            if kind is None:
                assert not isinstance(value, list)
            else:
                origin, slot = value
                assert NODES[prompt[origin]["class_type"]][1][slot] == kind, (key, name)
    for start in prompt:  # no circle
        above, seen = [start], set()
        while above:
            key = above.pop()
            for value in prompt[key]["inputs"].values():
                if isinstance(value, list):
                    assert value[0] != start
                    if value[0] not in seen:
                        seen.add(value[0])
                        above.append(value[0])


def assert_editor_runs(workflow: dict[str, Any]) -> None:
    nodes = {node["id"]: node for node in workflow["nodes"]}
    assert len(nodes) == len(workflow["nodes"])
    links = {}
    for link in workflow["links"]:
        if isinstance(link, dict):
            link = [link[name] for name in ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")]
        number, origin, slot, target, place, _ = link
        assert number not in links
        links[number] = link
        out, into = nodes[origin]["outputs"][slot], nodes[target]["inputs"][place]
        assert number in out["links"]
        assert into["link"] == number
        assert out["type"] == into["type"] or "*" in (out["type"], into["type"])
    for node in nodes.values():
        for place, slot in enumerate(node.get("inputs", [])):
            if slot.get("link") is not None:
                assert links[slot["link"]][3:5] == [node["id"], place]
        for place, slot in enumerate(node.get("outputs", [])):
            for number in slot.get("links") or []:
                assert links[number][1:3] == [node["id"], place]
    assert workflow.get("last_node_id", max(nodes)) >= max(nodes)
    assert workflow.get("last_link_id", max(links)) >= max(links)


def composed(*laid: tuple[str, float], prompt: str = "a red fox", **fields: Any) -> Composition:
    return Composition(
        prompt=prompt,
        choices=tuple(
            Choice(
                adapter=AdapterRecord(source="folder", key=file, title=file.upper(), file_name=file, **fields),
                weight=weight,
                span="fox",
                triggers=("saber (fate)",),
            )
            for file, weight in laid
        ),
    )


FOX = composed(("fox.safetensors", 0.8), ("ink.safetensors", -0.5))


def api(**changes: dict[str, Any]) -> dict[str, Any]:
    """A workflow with a loader of the person's own and a skipped layer of CLIP."""

    def node(kind: str, **inputs: Any) -> dict[str, Any]:
        return {"class_type": kind, "inputs": inputs}

    sampler = {"seed": 1, "steps": 2, "cfg": 3, "sampler_name": "euler", "scheduler": "normal", "denoise": 1}
    whole = {
        "4": node("CheckpointLoaderSimple", ckpt_name="sd.safetensors"),
        "5": node("CLIPSetLastLayer", clip=["4", 1], stop_at_clip_layer=-2),
        "6": node(
            "LoraLoader", model=["4", 0], clip=["5", 0], lora_name="own.safetensors", strength_model=1, strength_clip=1
        ),
        "7": node("CLIPTextEncode", text="old words", clip=["6", 1]),
        "8": node("CLIPTextEncode", text="ugly", clip=["6", 1]),
        "9": node("EmptyLatentImage", width=512, height=512, batch_size=1),
        "10": node("KSampler", model=["6", 0], positive=["7", 0], negative=["8", 0], latent_image=["9", 0], **sampler),
        "11": node("VAEDecode", samples=["10", 0], vae=["4", 2]),
        "12": node("SaveImage", images=["11", 0], filename_prefix="x"),
    }
    return whole | changes


def test_a_new_workflow_runs_and_says_what_was_chosen() -> None:
    written = write(FOX, "comfyui", checkpoint="sd/base.safetensors", negative="blurry")
    prompt = json.loads(written.text)
    assert_runs(prompt)
    assert prompt["1"]["inputs"]["ckpt_name"] == "sd/base.safetensors"
    assert prompt["3"]["inputs"]["text"] == "blurry"
    assert prompt["2"]["inputs"]["text"] == "a red fox, saber \\(fate\\)"
    back = read(written.text)
    assert [(one.name, one.weight) for one in back.adapters] == [("fox", 0.8), ("ink", -0.5)]
    assert (back.prompt, back.negative) == ("a red fox, saber \\(fate\\)", "blurry")
    assert not [note for note in written.notes if "checkpoint" in note]
    assert [note for note in write(FOX, "comfyui").notes if "choose a checkpoint" in note]


@pytest.mark.parametrize(("family", "side"), [("sd1", 512), ("unknown", 512), ("pony", 1024), ("flux1", 1024)])
def test_the_picture_has_the_size_of_the_family(family: str, side: int) -> None:
    prompt = json.loads(write(composed(("fox.safetensors", 1), family=family), "comfyui").text)
    assert prompt["4"]["inputs"] == {"width": side, "height": side, "batch_size": 1}


def test_a_chain_is_laid_between_the_checkpoint_and_its_users() -> None:
    before = json.dumps(api())
    base = api()
    written = write(FOX, "comfyui", base=base)
    assert json.dumps(base) == before
    prompt = json.loads(written.text)
    assert_runs(prompt)
    assert prompt["13"]["inputs"] == {
        "lora_name": "fox.safetensors",
        "strength_model": 0.8,
        "strength_clip": 0.8,
        "model": ["4", 0],
        "clip": ["4", 1],
    }
    assert prompt["14"]["inputs"]["model"] == ["13", 0]
    assert prompt["6"]["inputs"]["model"] == ["14", 0]
    assert prompt["5"]["inputs"]["clip"] == ["14", 1]
    assert prompt["7"]["inputs"]["text"] == "a red fox, saber \\(fate\\)"
    assert prompt["8"]["inputs"]["text"] == "ugly"
    assert [one.name for one in read(written.text).adapters] == ["fox", "ink", "own"]


def test_an_earlier_chain_is_replaced() -> None:
    once = load_workflow(write(FOX, "comfyui", base=api()).text)
    assert json.loads(write(FOX, "comfyui", base=once).text) == once
    other = json.loads(write(composed(("sea.safetensors", 1)), "comfyui", base=once).text)
    assert_runs(other)
    assert [one.name for one in read(json.dumps(other)).adapters] == ["sea", "own"]
    none = json.loads(write(Composition(prompt="old words"), "comfyui", base=once).text)
    assert none == api()


def test_a_model_without_text_encoder_takes_the_loader_for_models() -> None:
    base = api(**{"4": {"class_type": "UNETLoader", "inputs": {"unet_name": "u", "weight_dtype": "default"}}})
    for key in ("5", "6", "7", "8"):
        base[key]["inputs"].pop("clip", None)
    base["6"] = {"class_type": "ModelSamplingDiscrete", "inputs": {"model": ["4", 0], "sampling": "eps", "zsnr": False}}
    written = write(FOX, "comfyui", base=base, checkpoint="flux.safetensors")
    prompt = json.loads(written.text)
    assert prompt["13"]["class_type"] == "LoraLoaderModelOnly"
    assert prompt["13"]["inputs"].keys() == NODES["LoraLoaderModelOnly"][0].keys()
    assert prompt["6"]["inputs"]["model"] == ["14", 0]
    assert prompt["4"]["inputs"]["unet_name"] == "flux.safetensors"
    assert any("image model alone" in note for note in written.notes)


def test_a_prompt_that_is_not_plain_is_left_alone() -> None:
    both = api()
    both["10"]["inputs"]["negative"] = ["7", 0]
    written = write(FOX, "comfyui", base=both)
    assert json.loads(written.text)["7"]["inputs"]["text"] == "old words"
    assert any("positive prompt of the workflow was left as it is" in note for note in written.notes)
    assert any("image model" in note for note in written.notes) is False


def test_two_sources_of_a_model_are_refused() -> None:
    base = api(**{"20": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "refiner"}}})
    base["21"] = json.loads(json.dumps(base["10"])) | {}
    base["21"]["inputs"]["model"] = ["20", 0]
    with pytest.raises(InputError, match=r"loads a model in 2 nodes \(4, 20\)"):
        write(FOX, "comfyui", base=base)


@pytest.mark.parametrize(
    "base", [{}, {"nodes": []}, {"1": {"class_type": "SaveImage", "inputs": {}}}, {"a": 1}, {"prompt": {}}]
)
def test_what_has_no_model_is_refused(base: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="workflow"):
        write(FOX, "comfyui", base=base)


def test_a_request_to_the_server_keeps_its_frame() -> None:
    written = json.loads(write(FOX, "comfyui", base={"prompt": api(), "client_id": "x"}).text)
    assert written["client_id"] == "x"
    assert_runs(written["prompt"])
    assert [one.name for one in read(json.dumps(written)).adapters] == ["fox", "ink", "own"]


def test_an_adapter_that_the_workflow_loads_already_is_noted() -> None:
    written = write(composed(("own.safetensors", 1)), "comfyui", base=api())
    assert any("loads 'own' by itself, in node 6" in note for note in written.notes)


def test_subfolders_are_named_below_the_folder(tmp_path: Path) -> None:
    inside = Choice(
        adapter=AdapterRecord(source="folder", key="a", title="A", path="/m/loras/style/ink.safetensors"),
        weight=1,
        span="",
    )
    outside = Choice(
        adapter=AdapterRecord(source="folder", key="b", title="B", path="/else/fox.safetensors"), weight=1, span=""
    )
    windows = Choice(
        adapter=AdapterRecord(source="folder", key="c", title="C", path="C:\\m\\loras\\x\\sea.safetensors"),
        weight=1,
        span="",
    )
    written = write(Composition(prompt="x", choices=(inside, outside)), "comfyui", folder="/m/loras")
    assert [one.file for one in read(written.text).adapters] == ["style/ink.safetensors", "fox.safetensors"]
    assert any("'B' lies outside /m/loras" in note for note in written.notes)
    written = write(Composition(prompt="x", choices=(windows,)), "comfyui", folder="C:\\m\\loras")
    assert [(one.file, one.name) for one in read(written.text).adapters] == [("x\\sea.safetensors", "sea")]


def editor(objects: bool = False) -> dict[str, Any]:
    """An editor's workflow: checkpoint, reroute of the model, two texts, sampler; links as lists or as objects."""

    def node(
        number: int, kind: str, inputs: list[tuple[str, str, int]], outputs: list[tuple[str, list[int]]], *widgets: Any
    ) -> dict[str, Any]:
        return {
            "id": number,
            "type": kind,
            "mode": 0,
            "pos": [0, 0],
            "inputs": [{"name": name, "type": of, "link": link} for name, of, link in inputs],
            "outputs": [{"name": of, "type": of, "links": links} for of, links in outputs],
            "widgets_values": list(widgets),
        }

    links: list[Any] = [
        [1, 1, 0, 9, 0, "*"],
        [2, 1, 1, 2, 0, "CLIP"],
        [3, 1, 1, 3, 0, "CLIP"],
        [4, 9, 0, 4, 0, "MODEL"],
        [5, 2, 0, 4, 1, "CONDITIONING"],
        [6, 3, 0, 4, 2, "CONDITIONING"],
        [7, 5, 0, 4, 3, "LATENT"],
        [8, 4, 0, 6, 0, "LATENT"],
    ]
    if objects:
        names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
        links = [dict(zip(names, link, strict=True)) for link in links]
    counters = {"state": {"lastNodeId": 9, "lastLinkId": 8}} if objects else {"last_node_id": 9, "last_link_id": 8}
    return {
        "nodes": [
            node(1, "CheckpointLoaderSimple", [], [("MODEL", [1]), ("CLIP", [2, 3]), ("VAE", [])], "sd.safetensors"),
            node(2, "CLIPTextEncode", [("clip", "CLIP", 2)], [("CONDITIONING", [5])], "old words"),
            node(3, "CLIPTextEncode", [("clip", "CLIP", 3)], [("CONDITIONING", [6])], "ugly"),
            node(
                4,
                "KSampler",
                [
                    ("model", "MODEL", 4),
                    ("positive", "CONDITIONING", 5),
                    ("negative", "CONDITIONING", 6),
                    ("latent_image", "LATENT", 7),
                ],
                [("LATENT", [8])],
                1,
                "fixed",
                20,
                7,
                "euler",
                "normal",
                1,
            ),
            node(5, "EmptyLatentImage", [], [("LATENT", [7])], 512, 512, 1),
            node(6, "VAEDecode", [("samples", "LATENT", 8)], [("IMAGE", [])]),
            node(9, "Reroute", [("", "*", 1)], [("", [4])]) | {"outputs": [{"name": "", "type": "*", "links": [4]}]},
        ],
        "links": links,
        "groups": [],
        "version": 0.4,
        **counters,
    }


@pytest.mark.parametrize("objects", [False, True])
def test_a_chain_is_laid_into_the_editors_form(objects: bool) -> None:
    base = editor(objects)
    before = json.dumps(base)
    written = write(FOX, "comfyui", base=base, checkpoint="other.safetensors", negative="dark")
    assert json.dumps(base) == before
    workflow = json.loads(written.text)
    assert_editor_runs(workflow)
    back = read(written.text)
    assert [(one.name, one.weight) for one in back.adapters] == [("fox", 0.8), ("ink", -0.5)]
    assert (back.prompt, back.negative) == ("a red fox, saber \\(fate\\)", "dark")
    assert workflow["nodes"][0]["widgets_values"] == ["other.safetensors"]
    nodes = {node["id"]: node for node in workflow["nodes"]}
    assert nodes[10]["widgets_values"] == ["fox.safetensors", 0.8, 0.8]
    assert len(nodes[1]["outputs"][0]["links"]) == 1
    if objects:
        assert workflow["state"] == {"lastNodeId": 11, "lastLinkId": 12}
    assert (
        json.loads(write(FOX, "comfyui", base=workflow, checkpoint="other.safetensors", negative="dark").text)
        == workflow
    )
    none = json.loads(write(Composition(prompt="x"), "comfyui", base=workflow).text)
    assert_editor_runs(none)
    assert read(json.dumps(none)).adapters == ()


def test_an_editors_model_that_is_nowhere_or_in_a_subgraph_is_refused() -> None:
    base = editor()
    base["nodes"][0]["mode"] = 2
    with pytest.raises(InputError, match="no node that loads a model"):
        write(FOX, "comfyui", base=base)


def test_an_editors_text_in_an_unknown_node_is_left_with_a_note() -> None:
    base = editor()
    base["nodes"][1] |= {"type": "SomeEncoder", "widgets_values": ["one", "two"]}
    written = write(FOX, "comfyui", base=base)
    assert json.loads(written.text)["nodes"][1]["widgets_values"] == ["one", "two"]
    assert any("left as it is" in note for note in written.notes)
