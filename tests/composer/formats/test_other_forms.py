"""Rows, recipes, metadata, lists and pictures of the other tools."""

from __future__ import annotations

import json
from typing import Any

import pytest

from velatura.composer.formats import read, write
from velatura.errors import InputError
from velatura.records import AdapterRecord, Choice, Composition, Hashes


def composed(**fields: Any) -> Composition:
    record = AdapterRecord(source="civitai", key="1/2/3", title="Red Fox", file_name="fox.safetensors", **fields)
    return Composition(
        prompt="a (red:1.2) fox", choices=(Choice(adapter=record, weight=0.8, span="fox", triggers=("f (x)",)),)
    )


def test_rows_are_rgthrees() -> None:
    rows = json.loads(write(composed(), "rgthree").text)
    assert rows == {"lora_1": {"on": True, "lora": "fox.safetensors", "strength": 0.8}}
    bare = read(
        json.dumps(
            [
                {"on": True, "lora": "a\\b.pt", "strength": 1, "strengthTwo": None},
                {"on": False, "lora": "c", "strength": 1},
            ]
        )
    )
    assert [(one.name, one.file) for one in bare.adapters] == [("b", "a\\b.pt")]


def test_a_recipe_is_lora_managers() -> None:
    composition = composed(
        model_id=1, version_id=2, version_name="v1", base_model="SD 1.5", hashes=Hashes(sha256="AB" * 32)
    )
    written = write(composition, "lora-manager", negative="blurry")
    recipe = json.loads(written.text)
    assert {"id", "file_path", "title"} <= recipe.keys()  # what its scanner asks for
    assert recipe["loras"] == [
        {
            "file_name": "fox",
            "hash": "ab" * 32,
            "strength": 0.8,
            "modelVersionId": 2,
            "modelName": "Red Fox",
            "modelVersionName": "v1",
            "isDeleted": False,
            "exclude": False,
        }
    ]
    assert recipe["gen_params"] == {"prompt": r"a (red:1.2) fox, f \(x\)", "negative_prompt": "blurry"}
    assert recipe["fingerprint"] == "ab" * 32 + ":0.8"
    assert recipe["base_model"] == "SD 1.5"
    back = read(written.text)
    assert (back.prompt, back.negative) == (r"a (red:1.2) fox, f \(x\)", "blurry")
    assert back.adapters[0].version_id == 2


def test_a_recipe_in_a_pictures_comment_is_read() -> None:
    recipe = {
        "title": "x",
        "loras": [
            {"file_name": "fox", "hash": "0123456789ab", "strength": 0.5, "modelVersionId": 0},
            {"file_name": "no", "strength": 1, "exclude": True},
            7,
        ],
        "gen_params": {"prompt": "a fox <lora:fox:0.5>"},
    }
    back = read({"parameters": "a fox\nSteps: 20 \n Recipe metadata: " + json.dumps(recipe)})
    assert [(one.name, one.weight, one.hashes.autov3, one.version_id) for one in back.adapters] == [
        ("fox", 0.5, "0123456789ab", None)
    ]
    assert back.prompt == "a fox"
    assert len(back.notes) == 2


def test_lora_managers_list_is_read_alone() -> None:
    back = read(json.dumps({"__value__": [{"name": "fox", "strength": 0.5, "active": True}]}))
    assert (back.form, back.adapters[0].name) == ("lora-manager", "fox")


def test_metadata_is_invokes() -> None:
    composition = composed(family="noobai", hashes=Hashes(blake3="CD" * 32))
    written = write(composition, "invokeai", negative="dark")
    metadata = json.loads(written.text)
    assert metadata == {
        "positive_prompt": r"a (red:1.2) fox, f \(x\)",
        "negative_prompt": "dark",
        "loras": [
            {
                "model": {"key": "", "hash": "blake3:" + "cd" * 32, "name": "fox", "base": "sdxl", "type": "lora"},
                "weight": 0.8,
            }
        ],
    }
    assert ["stress" in note for note in written.notes] == [True]
    back = read({"invokeai_metadata": written.text})
    assert back.adapters[0].hashes == Hashes(blake3="cd" * 32)


def test_invokes_older_metadata_is_read() -> None:
    metadata = {
        "app_version": "3.4",
        "positive_prompt": "a fox",
        "loras": [
            {"lora": {"model_name": "fox", "base_model": "sd-1"}, "weight": 0.75},
            {"model": {"name": "off"}, "weight": 1, "isEnabled": False},
        ],
    }
    back = read(json.dumps(metadata))
    assert [(one.name, one.weight) for one in back.adapters] == [("fox", 0.75)]


def test_invokes_graph_and_workflow_are_read() -> None:
    graph = {
        "nodes": {
            "a": {"type": "lora_loader", "lora": {"name": "fox", "hash": "blake3:" + "ab" * 32}, "weight": 0.5},
            "b": {"type": "string", "value": "a fox"},
            "c": {"type": "compel", "prompt": ""},
            "d": {"type": "compel", "prompt": "ugly"},
            "e": {"type": "denoise_latents"},
            "f": {
                "type": "core_metadata",
                "loras": [{"model": {"name": "fox"}, "weight": 0.5}, {"model": {"name": "ink"}, "weight": 1}],
            },
        },
        "edges": [
            {"source": {"node_id": "b", "field": "value"}, "destination": {"node_id": "c", "field": "prompt"}},
            {
                "source": {"node_id": "c", "field": "conditioning"},
                "destination": {"node_id": "e", "field": "positive_conditioning"},
            },
            {
                "source": {"node_id": "d", "field": "conditioning"},
                "destination": {"node_id": "e", "field": "negative_conditioning"},
            },
        ],
    }
    back = read(json.dumps(graph))
    assert (back.prompt, back.negative) == ("a fox", "ugly")
    assert {(one.name, one.weight) for one in back.adapters} == {("fox", 0.5), ("ink", 1.0)}
    assert back.adapters[-1].hashes.blake3 == "ab" * 32


def test_swarms_picture_is_read() -> None:
    picture = {
        "sui_image_params": {
            "prompt": "a fox <lora:tagged:0.4>",
            "negativeprompt": "ugly",
            "loras": ["a/fox", "ink"],
            "loraweights": ["0.5"],
        },
        "sui_models": [
            {"name": "a/fox.safetensors", "param": "loras", "hash": "0x" + "ab" * 32},
            {"name": "m", "param": "model"},
        ],
    }
    back = read({"parameters": json.dumps(picture)})
    assert [(one.name, one.weight, one.hashes.autov3) for one in back.adapters] == [
        ("fox", 0.5, "ab" * 6),
        ("ink", 1.0, None),
        ("tagged", 0.4, None),
    ]
    assert (back.form, back.prompt, back.negative) == ("swarmui", "a fox", "ugly")


def test_a_table_may_have_its_columns_in_any_order() -> None:
    back = read("Weight,other,FILE\n0.5,x,a/fox.safetensors\n,y,ink.pt\n1,z,\n")
    assert [(one.name, one.weight, one.file) for one in back.adapters] == [
        ("fox", 0.5, "a/fox.safetensors"),
        ("ink", 1.0, "ink.pt"),
    ]
    assert back.notes == ("row 3 names no adapter and was left out",)


def test_our_own_json_is_kept_whole_and_checked() -> None:
    back = read(write(composed(model_id=1), "json").text)
    assert back.composition == composed(model_id=1)
    assert back.adapters[0].triggers == ("f (x)",)
    with pytest.raises(InputError, match="weight"):
        read('{"prompt": "x", "choices": [{"source": "a", "key": "b", "title": "c", "weight": 1e9, "span": ""}]}')


def test_the_story_of_our_picture_is_read() -> None:
    story = {
        "velatura": "Velatura 1",
        "seed": 1,
        "request": {"negative": "ugly", "composition": json.loads(write(composed(), "json").text)},
    }
    back = read({"velatura": json.dumps(story), "parameters": "x"})
    assert (back.form, back.negative, back.composition) == ("json", "ugly", composed())


def test_texts_of_a_picture_complete_each_other() -> None:
    graph = {
        "1": {
            "class_type": "LoraLoader",
            "inputs": {"lora_name": "sub/fox.safetensors", "strength_model": 0.5, "strength_clip": 0.5},
        }
    }
    settings = "Steps: 20, Sampler: Euler, Seed: 1, Hashes: " + json.dumps({"lora:fox": "0123456789"})
    back = read({"prompt": json.dumps(graph), "parameters": "a fox <lora:fox:0.5>\n" + settings, "workflow": "{broken"})
    assert back.adapters[0].hashes.autov2 == "0123456789"
    assert back.adapters[0].file == "sub/fox.safetensors"
    assert back.prompt == "a fox"
