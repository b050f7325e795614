"""The `parameters` text reads, for A1111's and Civitai's own rules, as what was painted, whatever the names hold."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from velatura.generation.checksums import digests
from velatura.generation.metadata import parameters_text, parse_parameters
from velatura.records import AdapterRecord, Choice, Composition, GeneratedImage, GenerationRequest, Hashes


def painted(
    prompt: str = "a red fox", *choices: Choice, model_hash: str | None = None, **fields: Any
) -> GeneratedImage:
    composition = Composition(prompt=prompt, choices=choices)
    request = GenerationRequest(composition=composition, **{"model": "/models/tiny", "scheduler": "ddim", **fields})
    return GeneratedImage(image=Image.new("RGB", (64, 72)), request=request, seed=7, model_hash=model_hash)


def choice(title: str = "Fox", weight: float = 0.8, **fields: Any) -> Choice:
    record = AdapterRecord(source="folder", key=title, title=title, **fields)
    return Choice(adapter=record, weight=weight, span="fox")


def as_a1111_reads(text: str) -> dict[str, str]:
    """A1111's own reading, written anew from its rules: settings in the last line, values quoted as JSON."""
    *lines, last = text.strip().split("\n")
    pairs = re.findall(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)', last)
    assert len(pairs) >= 3
    found = {key: json.loads(value) if value[:1] == value[-1:] == '"' else value for key, value in pairs}
    done = False
    prompt, negative = [], []
    for line in lines:
        if line.strip().startswith("Negative prompt:"):
            done, line = True, line.strip()[len("Negative prompt:") :].strip()
        (negative if done else prompt).append(line.strip())
    return {**found, "Prompt": "\n".join(prompt), "Negative prompt": "\n".join(negative)}


def as_civitai_reads(text: str) -> dict[str, Any]:
    """Civitai's own reading of the resources, written anew from its rules."""
    last = text.split("\n")[-1]
    hashes = re.search(r", Hashes:\s*({[^}]+})", last)
    resources = re.search(r", Civitai resources:\s*(\[\{.*?\}\])", last)
    return {
        "hashes": json.loads(hashes[1]) if hashes else {},
        "resources": json.loads(resources[1]) if resources else [],
        "tags": re.findall(r"<(lora|hypernet):([a-zA-Z0-9_\.\-]+):([0-9.]+)>", text),
    }


def test_the_text_is_a1111s_to_the_letter() -> None:
    fox = choice(
        path="/loras/foxy.safetensors",
        version_name="v2",
        model_id=11,
        version_id=22,
        family="sd1",
        hashes=Hashes(autov2="AB" * 5, autov3="cd" * 6),
    )
    request = {"negative": "blurry, dark", "steps": 20, "guidance": 6.5, "clip_skip": 1, "scheduler": "dpmpp_2m_karras"}
    text = parameters_text(painted("a red fox", fox, model_hash="0123456789", **request))
    version = text.rpartition("Velatura ")[2]
    assert text == (
        "a red fox <lora:foxy:0.8>\n"
        "Negative prompt: blurry, dark\n"
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 7, Size: 64x72, "
        "Model hash: 0123456789, Model: tiny, Clip skip: 2, "
        'Lora hashes: "foxy: cdcdcdcdcdcd", '
        'Hashes: {"model": "0123456789", "lora:foxy": "ababababab"}, '
        'Civitai resources: [{"type": "lora", "weight": 0.8, "modelVersionId": 22, "modelName": "Fox", '
        '"versionName": "v2", "air": "urn:air:sd1:lora:civitai:11@22"}], '
        f"Version: Velatura {version}"
    )


def test_triggers_are_in_the_prompt_and_masked_choices_are_not() -> None:
    composition = Composition(
        prompt="a fox",
        choices=(
            Choice(adapter=choice("A").adapter, weight=1, span="fox", triggers=("foxy",)),
            Choice(adapter=choice("B").adapter, weight=1, span="fox", triggers=("inky",)),
        ),
    )
    request = GenerationRequest(composition=composition, model="m", mask=(True, False))
    image = GeneratedImage(image=Image.new("RGB", (8, 8)), request=request, seed=1)
    assert parameters_text(image).split("\n")[0] == "a fox, foxy <lora:A:1>"


def test_tags_that_were_written_but_not_laid_are_not_claimed() -> None:
    text = parameters_text(painted("a fox <lora:other:1>", choice("Fox", -0.3), negative="x <lora:y:1>"))
    assert text.startswith("a fox <lora:Fox:-0.3>\nNegative prompt: x\n")


def test_hashes_are_computed_from_the_file_where_nobody_told(adapters: list[Path]) -> None:
    content = adapters[0].read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    whole, tensors = hashlib.sha256(content).hexdigest(), hashlib.sha256(content[header:]).hexdigest()
    assert digests(adapters[0]) == (whole, tensors)
    text = parameters_text(painted("a fox", choice(path=str(adapters[0]))))
    assert as_a1111_reads(text)["Lora hashes"] == f"style1: {tensors[:12]}"
    assert as_civitai_reads(text)["hashes"] == {"lora:style1": whole[:10]}


def test_a_file_shorter_than_its_header_says_is_hashed_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xff" * 8 + b"x")
    assert digests(tmp_path / "a").tensors == hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize("known", ["e3b0c44298fc", "xyz", "abc", ""])
def test_bogus_hashes_are_not_written(known: str) -> None:
    text = parameters_text(painted("a fox", choice(hashes=Hashes(autov2=known, autov3=known))))
    assert "ashes" not in text


def test_only_numbered_versions_are_civitais() -> None:
    assert "Civitai" not in parameters_text(painted("a fox", choice(version_id="main", model_id="someone/fox")))
    no_page = as_civitai_reads(parameters_text(painted("a fox", choice(version_id=5))))["resources"]
    assert no_page == [{"type": "lora", "weight": 0.8, "modelVersionId": 5, "modelName": "Fox"}]
    pony = choice(version_id=5, model_id=4, family="pony", kind="locon")
    assert "urn:air:sdxl:lycoris:civitai:4@5" in parameters_text(painted("a fox", pony))


def test_two_files_of_one_name_are_told_apart() -> None:
    same = [choice(path=f"/{folder}/fox.safetensors", hashes=Hashes(autov3="ab" * 6)) for folder in "abc"]
    text = parameters_text(painted("a fox", *same))
    assert text.split("\n")[0] == "a fox <lora:fox:0.8> <lora:fox-2:0.8> <lora:fox-3:0.8>"
    assert as_a1111_reads(text)["Lora hashes"].count("abababababab") == 3


HOSTILE = (
    "a, b: c",
    'quo"te\\',
    "x}], Steps: 1, Seed: 666, Version: evil",
    "new\nline\nNegative prompt: mine\nSteps: 9, Seed: 666, Size: 1x1",
    "<lora:other:1>",
    "狐 \U0001f98a ünï",
    "\ud800 lone",
    "\x00\x1b[31m",
    "",
    "   ",
    "{" * 50,
)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_can_pass_for_a_setting(name: str) -> None:
    hashes = Hashes(autov2="ab" * 5, autov3="cd" * 6)
    fox = choice(name, path=f"/loras/{name}.safetensors", version_name=name, version_id=1, hashes=hashes)
    text = parameters_text(painted(name, fox, choice("Plain"), negative=name, model=f"/models/{name}", steps=12))
    text.encode()
    read = as_a1111_reads(text)
    assert (read["Steps"], read["Seed"], read["Size"], read["Sampler"]) == ("12", "7", "64x72", "DDIM")
    assert read["Version"].startswith("Velatura")
    assert read["Lora hashes"].endswith(": cdcdcdcdcdcd")
    assert read["Lora hashes"].count(":") == 1
    civitai = as_civitai_reads(text)
    assert list(civitai["hashes"].values()) == ["ababababab"]
    assert civitai["resources"][0]["modelVersionId"] == 1
    ours = parse_parameters(text)
    assert ours["settings"]["Steps"] == "12"
    assert ours["settings"]["Civitai resources"] == civitai["resources"]
    assert [adapter["weight"] for adapter in ours["adapters"]] == [0.8, 0.8]
    assert read["Prompt"].endswith("<lora:Plain:0.8>")


@settings(max_examples=150, deadline=None)
@given(
    prompt=st.text(max_size=60),
    negative=st.text(max_size=60),
    names=st.lists(st.text(max_size=20), max_size=3),
    model=st.text(max_size=20),
    weight=st.floats(-5, 5),
)
@example(prompt="", negative="", names=[], model='"', weight=0.0)
def test_any_text_keeps_its_place(prompt: str, negative: str, names: list[str], model: str, weight: float) -> None:
    laid = [choice(name, weight, version_id=number, version_name=name) for number, name in enumerate(names)]
    text = parameters_text(painted(prompt, *laid, negative=negative, model=model, steps=12))
    text.encode()
    read = as_a1111_reads(text)
    assert (read["Steps"], read["Seed"], read["Size"]) == ("12", "7", "64x72")
    assert [one["modelVersionId"] for one in as_civitai_reads(text)["resources"]] == list(range(len(names)))
    assert len(re.findall(r"<lora:[^<>:]+:-?[0-9.]+>", read["Prompt"])) >= len(names)


def test_a_foreign_text_is_read() -> None:
    read = parse_parameters(
        "a castle, (tower:1.2)\nat night <lora:foo bar:0.5>\nNegative prompt: people,\ncars\n"
        'Steps: 28, Sampler: DPM++ 2M Karras, CFG scale: 5, Seed: 123, Size: 512x768, Model: "a, b", '
        'Lora hashes: "foo bar: 0123456789ab", TI hashes: "x: y", '
        'Hashes: {"model": "abc", "lora:foo": "def"}, Version: v1.10.1'
    )
    assert read["prompt"] == "a castle, (tower:1.2)\nat night <lora:foo bar:0.5>"
    assert read["negative"] == "people,\ncars"
    assert read["adapters"] == [{"name": "foo bar", "weight": 0.5}]
    assert read["settings"] == {
        "Steps": "28",
        "Sampler": "DPM++ 2M Karras",
        "CFG scale": "5",
        "Seed": "123",
        "Size": "512x768",
        "Model": "a, b",
        "Lora hashes": "foo bar: 0123456789ab",
        "TI hashes": "x: y",
        "Hashes": {"model": "abc", "lora:foo": "def"},
        "Version": "v1.10.1",
    }


def test_prose_alone_is_a_prompt() -> None:
    read = parse_parameters("a fox\nin snow, Seed: of doubt")
    assert read == {"prompt": "a fox\nin snow, Seed: of doubt", "negative": "", "adapters": [], "settings": {}}


@pytest.mark.parametrize(
    "text",
    ["a" * 10**6, 'ab:"' * 200_000, "Hashes: " + "[" * 10**5, ", Hashes: {" * 50_000, "\n" * 10**6, "a " * 500_000],
)
def test_a_hostile_text_costs_little(text: str) -> None:
    parse_parameters(text)
