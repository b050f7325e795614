"""Prompts with tags, and the text of A1111's pictures, are read as A1111, Civitai and Lora Manager write them."""

from __future__ import annotations

import json
import re

import pytest

from velatura.composer.formats import read, write
from velatura.records import AdapterRecord, Choice, Composition, Hashes

SETTINGS = "Steps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 512x512, Model: sd"


def choice(file: str, weight: float = 1.0, *triggers: str) -> Choice:
    record = AdapterRecord(source="folder", key=file, title=file, file_name=file)
    return Choice(adapter=record, weight=weight, span="fox", triggers=triggers)


def test_the_prompt_is_a1111s() -> None:
    composition = Composition(
        prompt="a (red:1.2) fox in <lora:pinned:1> <hypernet:h:1> snow",
        choices=(
            choice("styles/Ink v1.5.safetensors", -0.35, "ink (wash)", r"saber \(fate\)", "(glow:1.1)", "a[b]"),
            choice("fox.pt", 1e-9),
        ),
        suffix="best quality",
    )
    written = write(composition, "a1111")
    assert written.text == (
        r"a (red:1.2) fox in snow, ink \(wash\), saber \(fate\), (glow:1.1), a\[b\], best quality "
        "<lora:Ink v1.5:-0.35> <lora:fox:0.000000001>"
    )
    assert written.notes == ("<hypernet:h:1> was left out of the prompt: only adapters are carried over",)


@pytest.mark.parametrize("form", ["a1111", "comfyui", "invokeai", "lora-manager"])
def test_a_tag_in_triggers_or_suffix_lays_nothing_on(form: str) -> None:
    composition = Composition(
        prompt="a fox <lora:pinned:1>",
        choices=(choice("fox.pt", 0.5, "foxy <lora:evil:9>", "<lora:ev<lora:x:1>il:8>", "<lora:cut", ":9>"),),
        suffix="sharp <LYCO:evil:7>",
        tasks=("snow",),
    )
    written = write(composition, form)
    assert not re.search(r"<\w+:[^>]*evil", written.text)
    assert "<lora:cut" not in written.text
    assert "foxy" in written.text
    assert "<lora:evil:9> was left out of the triggers: they lay no adapters on" in written.notes


def test_a_trigger_that_the_prompt_has_is_not_repeated() -> None:
    composition = Composition(prompt="saber (fate) in snow", choices=(choice("s.pt", 1, "saber (fate)"),))
    assert write(composition, "a1111").text == "saber (fate) in snow <lora:s:1>"


@pytest.mark.parametrize("bad", ["a:b", "a<b", "a>b", "a=b", "a;te=1", "a\nb"])
def test_a_file_whose_name_ends_a_tag_is_left_out_and_noted(bad: str) -> None:
    written = write(Composition(prompt="x", choices=(choice(f"{bad}.pt"), choice("b.pt"))), "a1111")
    assert written.text == "x <lora:b:1>"
    assert "rename the file" in written.notes[0]


def test_two_files_of_one_name_cannot_both_be_named() -> None:
    written = write(Composition(prompt="x", choices=(choice("a/fox.pt", 0.5), choice("b/fox.safetensors", 1))), "a1111")
    assert written.text == "x <lora:fox:0.5>"
    assert "has the name of 'a/fox.pt'" in written.notes[0]


def test_the_numbers_of_a_tag_are_a1111s() -> None:
    back = read("fox <lora:one:0.3:0.9> <lyco:two:te=0.2:unet=0.6> <lora:three> <LORA:four:0@0,0.8@0.5> <lora:one:1>")
    assert [(one.name, one.weight, one.clip_weight) for one in back.adapters] == [
        ("one", 0.9, 0.3),
        ("two", 0.6, 0.2),
        ("three", 1.0, None),
        ("four", 0.8, None),
    ]
    assert back.prompt == "fox"
    assert back.notes == ("'one' is named twice; its first weight 0.9 is taken",)


def test_hashes_are_told_apart_and_given_to_the_tags() -> None:
    back = read(
        "a fox <lora:foo bar:0.5> <lora:ink:-1>\nNegative prompt: ugly <lora:no:1>\n"
        + SETTINGS
        + ', Lora hashes: "foo bar: 0123456789ab, gone: ffffffffffff"'
        + ', Hashes: {"model": "0000000000", "LORA:ink": "ABCDEF0123", "lora:foo bar": ""}'
    )
    assert [(one.name, one.weight) for one in back.adapters] == [("foo bar", 0.5), ("ink", -1.0), ("gone", 1.0)]
    assert [one.hashes for one in back.adapters] == [
        Hashes(autov3="0123456789ab"),
        Hashes(autov2="abcdef0123"),
        Hashes(autov3="f" * 12),
    ]
    assert back.negative == "ugly"
    assert "without a weight" in back.notes[0]


def test_resources_of_civitai_are_linked_in_order() -> None:
    resources = [
        {"type": "checkpoint", "modelVersionId": 9},
        {
            "type": "lora",
            "weight": 0.5,
            "modelVersionId": 11,
            "modelName": "Foo Page",
            "air": "urn:air:sd1:lora:civitai:1@11",
        },
        {"weight": -1, "air": "urn:air:sd1:lycoris:civitai:2@22"},
    ]
    back = read(
        f"a fox <lora:foo:0.5> <lora:ink:-1>\n{SETTINGS}, Civitai resources: {json.dumps(resources)}, Version: v1"
    )
    assert [(one.name, one.model_id, one.version_id) for one in back.adapters] == [("foo", 1, 11), ("ink", 2, 22)]


def test_resources_are_linked_by_their_weights_where_some_are_missing() -> None:
    resources = [{"type": "lora", "weight": 0.7, "modelVersionId": 11}]
    back = read(f"a fox <lora:foo:0.5> <lora:ink:0.7>\n{SETTINGS}, Civitai resources: {json.dumps(resources)}")
    assert [(one.name, one.version_id) for one in back.adapters] == [("foo", None), ("ink", 11)]
    two = read(f"a fox <lora:foo:0.7> <lora:ink:0.7> \n{SETTINGS}, Civitai resources: {json.dumps(resources)}")
    assert [one.version_id for one in two.adapters] == [None, None]
    assert "cannot be told" in two.notes[0]


def test_resources_alone_are_adapters() -> None:
    resources = [{"type": "lora", "weight": 0.7, "modelVersionId": 11, "modelName": "Fate/Zero", "versionName": "v1"}]
    back = read(f"a fox\n{SETTINGS}, Civitai resources: {json.dumps(resources)}")
    assert [(one.name, one.file, one.weight, one.version_id) for one in back.adapters] == [("Fate/Zero", None, 0.7, 11)]


def test_additional_networks_are_read() -> None:
    back = read(
        f"a fox\n{SETTINGS}, AddNet Enabled: True, AddNet Module 1: LoRA, AddNet Model 1: foxy_v1(0123456789ab), "
        "AddNet Weight A 1: 0.6, AddNet Weight B 1: 0.4, AddNet Model 2: None"
    )
    assert [(one.name, one.weight, one.clip_weight, one.hashes.autov3) for one in back.adapters] == [
        ("foxy_v1", 0.6, 0.4, "0123456789ab")
    ]


def test_a_prompt_of_colons_is_no_line_of_settings() -> None:
    back = read("the fox: red, style: ink, time: night <lora:fox:0.5>")
    assert (back.prompt, back.adapters[0].name) == ("the fox: red, style: ink, time: night", "fox")


@pytest.mark.parametrize("weight", ["1e400", "nan", "x", "101", "", "0.5@"])
def test_a_weight_that_cannot_be_read_is_one(weight: str) -> None:
    back = read(f"a fox <lora:fox:{weight}>")
    assert back.adapters[0].name == "fox"
    assert abs(back.adapters[0].weight) <= 100
