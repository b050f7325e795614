"""Whatever is thrown at the readers, they answer with a sentence or with what can be read, and soon."""

from __future__ import annotations

import contextlib
import json
import random
from typing import Any

import pytest

from velatura.composer.formats import PICTURE_TEXTS, load_workflow, read, write
from velatura.errors import InputError, VelaturaError
from velatura.records import AdapterRecord, Choice, Composition

FOX = Composition(
    prompt="a fox",
    choices=(
        Choice(adapter=AdapterRecord(source="f", key="k", title="Fox", file_name="fox.pt"), weight=1, span="fox"),
    ),
)
ODD: list[Any] = [
    None,
    True,
    -1,
    10**400,
    1e308,
    "",
    "x",
    "\ud800",
    [],
    [[]],
    {},
    {"a": {}},
    ["1", 0],
    [1, 2, 3],
    ["9", 10**9],
    [None, None],
    "../../etc/passwd",
    "<lora:x:1>",
    float("nan"),
]


def test_what_is_too_large_is_refused() -> None:
    with pytest.raises(InputError, match=r"big\.json has 20 MiB; .* at most 16 MiB"):
        read(b" " * (20 << 20), "big.json")
    with pytest.raises(InputError, match="at most 16 MiB"):
        load_workflow("x" * (20 << 20))
    with pytest.raises(InputError, match="the text 'prompt' of picture has 20 MiB"):
        read({"prompt": "x" * (20 << 20)}, "picture")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"\xff\x00\xfa", "not text in UTF-8"),
        (b"\x89PNG\r\n\x1a\n", "is a picture"),
        (b"\xff\xd8\xff\xe0", "is a picture"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "is a picture"),
        ('{"a":' * 200_000, "nested too deep"),
        ('{"nodes": [1,', "is not JSON"),
        ("{}", "form that is not known"),
        ("[]", "form that is not known"),
        ('[{"x": 1}]', "form that is not known"),
        ('{"x": ' + "1" * 5000 + "}", "number is too long"),
        ({}, "does not tell"),
        ({"prompt": "", "workflow": None}, "does not tell"),
        ({"prompt": '{"a": 1}'}, "form that is not known"),
    ],
)
def test_what_cannot_be_read_is_told_in_a_sentence(content: Any, why: str) -> None:
    with pytest.raises(InputError, match=why):
        read(content, "this file")


def test_a_crowd_of_nodes_is_refused() -> None:
    with pytest.raises(InputError, match="20,001 nodes; at most 20,000"):
        read(json.dumps({"nodes": [{}] * 20_001, "links": []}))
    with pytest.raises(InputError, match="20,001 nodes"):
        read(json.dumps({str(n): {"class_type": "x"} for n in range(20_001)}))
    with pytest.raises(InputError, match="20,001 nodes"):
        write(FOX, "comfyui", base={"nodes": [{}] * 20_001, "links": []})


def test_claims_of_a_million_nodes_cost_nothing() -> None:
    workflow = {
        "last_node_id": 10**30,
        "last_link_id": 10**6,
        "nodes": [
            {
                "id": 10**15,
                "type": "CheckpointLoaderSimple",
                "outputs": [{"name": "MODEL", "type": "MODEL", "links": [1]}],
            },
            {"id": 7, "type": "KSampler", "inputs": [{"name": "model", "type": "MODEL", "link": 1}]},
        ],
        "links": [[1, 10**15, 0, 7, 0, "MODEL"]],
    }
    written = json.loads(write(FOX, "comfyui", base=workflow).text)
    assert [node["id"] for node in written["nodes"]] == [10**15, 7, 8]


def ring(size: int) -> dict[str, Any]:
    """A workflow in which every node feeds the next, and the last the first."""
    return {
        str(n): {
            "class_type": ("LoraLoader", "Reroute", "KSampler", "CLIPTextEncode")[n % 4],
            "inputs": {
                "lora_name": f"{n}.pt",
                "strength_model": [str((n + 1) % size), 0],
                **{
                    name: [str((n + 1) % size), 0] for name in ("model", "clip", "text", "positive", "conditioning", "")
                },
            },
            "_meta": {"title": "Velatura: x"},
        }
        for n in range(size)
    }


@pytest.mark.parametrize("size", [1, 2, 4, 5000])
def test_circles_end(size: int) -> None:
    back = read(json.dumps(ring(size)))
    assert len(back.adapters) <= size
    with pytest.raises(InputError):
        write(FOX, "comfyui", base=ring(size))


def test_a_long_chain_is_no_recursion() -> None:
    chain = {
        str(n): {
            "class_type": "LoraLoader",
            "inputs": {"lora_name": f"{n}.pt", "strength_model": 1, "model": [str(n - 1), 0]},
        }
        for n in range(1, 15_000)
    }
    chain["0"] = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "x"}}
    chain["s"] = {"class_type": "KSampler", "inputs": {"model": ["14999", 0], "positive": ["0", 0]}}
    assert [one.name for one in read(json.dumps(chain)).adapters][:2] == ["1", "2"]


def test_names_that_climb_are_only_names() -> None:
    graph = {"1": {"class_type": "LoraLoader", "inputs": {"lora_name": "../../etc/passwd", "strength_model": 1}}}
    one = read(json.dumps(graph)).adapters[0]
    assert (one.name, one.file) == ("passwd", "../../etc/passwd")
    climbing = AdapterRecord(source="f", key="k", title="x", path="/loras/../../etc/passwd")
    written = write(
        Composition(prompt="x", choices=(Choice(adapter=climbing, weight=1, span=""),)), "comfyui", folder="/loras"
    )
    assert read(written.text).adapters[0].file is None


def test_a_name_beyond_measure_is_left_out() -> None:
    back = read(json.dumps([{"on": True, "lora": "x" * 5000, "strength": 1}]))
    assert back.adapters == ()
    assert "5,000 characters" in back.notes[0]


def test_numbers_that_json_cannot_tell_are_passed_over() -> None:
    loader = '"lora_name": "fox", "strength_model": NaN, "strength_clip": 1e999'
    back = read('{"1": {"class_type": "LoraLoader", "is_changed": [NaN], "inputs": {' + loader + "}}}")
    assert (back.adapters[0].weight, back.adapters[0].clip_weight) == (1.0, None)
    sampler = '{"class_type": "KSampler", "is_changed": [NaN], "inputs": {"model": ["1", 0]}}'
    base = load_workflow('{"1": {"class_type": "A", "inputs": {}}, "2": ' + sampler + "}")
    written = write(FOX, "comfyui", base=base)
    json.loads(written.text, parse_constant=lambda name: pytest.fail(name))


def mutated(value: Any, dice: random.Random) -> Any:
    """A copy with one value in ten replaced."""
    if dice.random() < 0.1:
        return dice.choice(ODD)
    if isinstance(value, dict):
        return {key: mutated(inner, dice) for key, inner in value.items()}
    if isinstance(value, list):
        return [mutated(inner, dice) for inner in value]
    return value


def samples() -> list[Any]:
    from_writers = [
        json.loads(write(FOX, form).text) for form in ("comfyui", "rgthree", "lora-manager", "invokeai", "json")
    ]
    editor = {
        "nodes": [
            {
                "id": 1,
                "type": "CheckpointLoaderSimple",
                "mode": 0,
                "pos": [1, 2],
                "widgets_values": ["x"],
                "outputs": [
                    {"name": "MODEL", "type": "MODEL", "links": [1]},
                    {"name": "CLIP", "type": "CLIP", "links": [2]},
                ],
            },
            {
                "id": 2,
                "type": "KSampler",
                "mode": 0,
                "inputs": [{"name": "model", "type": "MODEL", "link": 1}, {"name": "positive", "link": 3}],
            },
            {
                "id": 3,
                "type": "CLIPTextEncode",
                "widgets_values": ["a"],
                "inputs": [{"name": "clip", "type": "CLIP", "link": 2}],
                "outputs": [{"name": "C", "type": "C", "links": [3]}],
            },
        ],
        "links": [[1, 1, 0, 2, 0, "MODEL"], [2, 1, 1, 3, 0, "CLIP"], [3, 3, 0, 2, 1, "C"]],
        "last_node_id": 3,
        "last_link_id": 3,
        "definitions": {"subgraphs": [{"id": "KSampler", "nodes": []}]},
        "state": {},
    }
    laid = json.loads(write(FOX, "comfyui", base=editor).text)
    swarm = {
        "sui_image_params": {"prompt": "x", "loras": ["a"], "loraweights": ["1"]},
        "sui_models": [{"name": "a", "hash": "0x" + "a" * 64}],
    }
    managed = {
        "1": {
            "class_type": "LoraLoaderLM",
            "inputs": {"loras": {"__value__": [{"name": "a", "strength": 1, "active": True}]}},
        }
    }
    invoke = {
        "nodes": [{"id": "a", "data": {"type": "lora_loader", "inputs": {"lora": {"value": {"name": "x"}}}}}],
        "edges": [{"source": "a", "target": "b"}],
    }
    return [*from_writers, laid, swarm, managed, invoke]


@pytest.mark.parametrize("seed", range(150))
def test_values_of_wrong_types_end_in_a_sentence_or_in_what_is_left(seed: int) -> None:
    dice = random.Random(seed)
    for sample in samples():
        value = mutated(sample, dice)
        content = json.dumps(value)
        try:
            back = read(content)
            assert all(abs(one.weight) <= 100 and one.name for one in back.adapters)
        except VelaturaError:
            pass
        if isinstance(value, dict):
            with contextlib.suppress(VelaturaError):
                write(FOX, "comfyui", base=value).text.encode()
        for keyword in PICTURE_TEXTS:
            with contextlib.suppress(VelaturaError):
                read({keyword: content})


@pytest.mark.parametrize("seed", range(60))
def test_torn_and_garbled_texts_end(seed: int) -> None:
    dice = random.Random(seed)
    texts = [json.dumps(sample) for sample in samples()]
    texts += [write(FOX, form).text for form in ("a1111", "csv", "air")]
    for text in texts:
        torn = text[: dice.randrange(len(text) + 1)]
        garbled = "".join(chr(dice.randrange(0x3000)) if dice.random() < 0.02 else letter for letter in text)
        for content in (torn, garbled, garbled.encode("utf-8")[1:]):
            with contextlib.suppress(VelaturaError):
                read(content)


@pytest.mark.parametrize(
    "text",
    [
        "<lora:" * 50_000,
        "<lora:a:1>" * 50_000,
        "(" * 10**6,
        "[" * 10**6,
        "weight,file\n" + '"' * 10**5,
        "a:1," * 10**5,
        "urn:air:" * 10**4,
    ],
    ids=lambda text: text[:10],
)
def test_long_texts_cost_little(text: str) -> None:
    with contextlib.suppress(VelaturaError):
        read(text)
