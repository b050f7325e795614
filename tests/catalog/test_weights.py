from __future__ import annotations

import time

import pytest

from velatura.catalog.weights import hash_keys, name_key, read_weight, weights_in_prose, weights_of_image
from velatura.records import Hashes, WeightEvidence


@pytest.mark.parametrize(
    ("value", "weight"),
    [
        (1, 1.0),
        (-0.5, -0.5),
        ("0.8", 0.8),
        (" 0,8 ", 0.8),
        (20, 20.0),
        (0, 0.0),
        (20.1, None),
        (True, None),
        (None, None),
        ("", None),
        ("strong", None),
        ("nan", None),
        (float("inf"), None),
        (10**400, None),
        ("1" * 10**6, None),
        ([1], None),
    ],
)
def test_weights_are_finite_numbers_near_zero(value: object, weight: float | None) -> None:
    assert read_weight(value) == weight


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("Recommended weight: 0.6-0.8", [0.6, 0.8]),
        ("recommended strength: 0.7", [0.7]),
        ("Use at 0.5 to 1.0", [0.5, 1.0]),
        ("Use it at around 0.6 weight.", [0.6]),
        ("Tested at 0.7-0.9 strength.", [0.7, 0.9]),
        ("LORA weight suggestion:0.4~1", [0.4, 1.0]),
        ("Recommended weights for txt2img - 0.45-0.75", [0.45, 0.75]),
        ("Weight can go from 0.7 up to 1.0. I recommend 0.9.", [0.7, 1.0, 0.9]),
        ("Recommended weights 0,7 - 1,0.", [0.7, 1.0]),
        ("weight0.9-1.0 is good", [0.9, 1.0]),
        ("推荐权重0.6左右", [0.6]),
        ("CFG<5，权重0.5-0.7", [0.5, 0.7]),
        ("权重范围从-6到3都能起效", [-6.0, 3.0]),
        ("0.6-0.8 is recommended", [0.6, 0.8]),
        ("Set the weight between -1 and 1", [-1.0, 1.0]),
        ("My models are trained for weight 1.", [1.0]),
        ("fox, <lora:foxy_v10:0.7>, forest", [0.7]),
        ("value <lora: Inoue: 0.7~0.8>", [0.7, 0.8]),
    ],
)
def test_advice_in_prose_is_found(text: str, weights: list[float]) -> None:
    evidence = weights_in_prose(text)
    assert [seen.weight for seen in evidence] == weights
    assert {(seen.source, seen.image) for seen in evidence} == {("prose", None)}


@pytest.mark.parametrize(
    "text",
    [
        "Denoising strength: 0.5",
        "Hires upscale: 2, Denoise strength 0.4 to 0.7",
        "Set the ControlNet weight to 0.8",
        "CFG scale: 7, Clip skip: 2, Steps: 20",
        "(masterpiece:1.2), (best quality:1.4)",
        "Version 1.5 works with SD 1.5",
        "It works on all 1.5 models",
        "Please look here when using version 1.2!",
        "If the weight is below 0.4, nothing happens; never go over 1.5",
        "Text Encoder weight average strength: 0.011727",
        "trained with 40 images, weight decay 0.1 learning rate 0.0001",
        "weight 70% or 512",
        "<lora:one:0.5> and <lora:two:0.6>",
        "by default it's :1 which is usually too high",
        "the trigger word needs a weight of 1.3",
        "",
        None,
    ],
)
def test_other_numbers_are_left_alone(text: str | None) -> None:
    assert weights_in_prose(text) == ()


def test_prose_is_bounded_in_count_and_time() -> None:
    started = time.process_time()
    for text in ("weight 0.5 " * 2_000, "0.5-" * 5_000, "weight: " * 2_500, "1" * 20_000, "<lora:" * 3_000 + "1"):
        assert len(weights_in_prose(text)) <= 60
    assert len({seen.weight for seen in weights_in_prose(" ".join(f"weight 0.{n}," for n in range(10, 99)))}) <= 40
    assert time.process_time() - started < 5


OURS = {"names": {"ink_wash"}, "hashes": hash_keys(Hashes(sha256="ab" * 32, autov3="0123456789ab")), "version_id": 7}


@pytest.mark.parametrize(
    ("meta", "weight", "source"),
    [
        ({"civitaiResources": [{"type": "lora", "modelVersionId": 7, "weight": 0.6}]}, 0.6, "civitaiResources"),
        ({"civitaiResources": [{"type": "lora", "modelVersionId": "7"}]}, 1.0, "civitaiResources"),
        ({"resources": [{"type": "lora", "name": "renamed", "weight": 0.5, "hash": "ABABABABAB"}]}, 0.5, "resources"),
        (
            {"resources": [{"type": "lora", "name": "renamed", "weight": "0.4", "hash": "0123456789ab"}]},
            0.4,
            "resources",
        ),
        ({"resources": [{"type": "lora", "name": "Ink Wash.safetensors", "weight": 0.3}]}, 0.3, "resources"),
        ({"additionalResources": [{"type": "lora", "name": "styles/ink_wash", "strength": 0.9}]}, 0.9, "resources"),
        ({"prompt": "a fox <lora:Ink Wash:0.7>"}, 0.7, "prompt"),
        ({"prompt": "a fox <lora:ink_wash:1:0.2>"}, 0.2, "prompt"),
        ({"prompt": "a <lora:mine:0.8>", "hashes": {"lora:mine": "ABABABABAB"}}, 0.8, "prompt"),
    ],
)
def test_a_picture_tells_the_weight_of_this_adapter(meta: dict[str, object], weight: float, source: str) -> None:
    found = weights_of_image(meta, **OURS, image="https://x/1.png")
    assert found == (WeightEvidence(weight=weight, source=source, image="https://x/1.png"),)


def test_a_picture_is_counted_once_by_its_surest_place() -> None:
    meta = {
        "prompt": "<lora:ink_wash:0.1>",
        "resources": [
            {"type": "lora", "name": "ink_wash", "weight": 0.2},
            {"type": "lora", "name": "ink_wash", "weight": 0.3, "hash": "ababababab"},
        ],
        "civitaiResources": [{"modelVersionId": 7, "weight": 0.4}, {"modelVersionId": 8, "weight": 0.5}],
    }
    assert [seen.weight for seen in weights_of_image(meta, **OURS)] == [0.4]
    del meta["civitaiResources"]
    assert [seen.weight for seen in weights_of_image(meta, **OURS)] == [0.3]


def test_other_adapters_and_models_tell_nothing() -> None:
    meta = {
        "prompt": "<lora:other:0.5> <hypernet:ink_wash:1>",
        "resources": [
            {"type": "model", "name": "ink_wash", "weight": 1},
            {"type": "lora", "name": "other", "weight": 1},
        ],
        "civitaiResources": [{"modelVersionId": 8, "weight": 0.5}],
    }
    assert weights_of_image(meta, **OURS) == ()


def test_the_only_adapter_of_a_picture_on_the_own_page_is_this_one() -> None:
    alone = {"prompt": "<lora:my_local_name:0.65>"}
    assert weights_of_image(alone, **OURS) == ()
    assert [seen.weight for seen in weights_of_image(alone, **OURS, shown_for=True)] == [0.65]
    two = {"prompt": "<lora:mine:0.65> <lora:detail:0.3>"}
    assert weights_of_image(two, **OURS, shown_for=True) == ()
    contradicted = {"prompt": "<lora:mine:0.65>", "hashes": {"lora:mine": "ffffffffff"}}
    assert weights_of_image(contradicted, **OURS, shown_for=True) == ()


@pytest.mark.parametrize(
    "meta",
    [
        {
            "resources": "lora",
            "civitaiResources": {"a": 1},
            "additionalResources": [None, 5],
            "prompt": 7,
            "hashes": [],
        },
        {"resources": [{"type": 5, "name": [], "weight": {}, "hash": 9}], "prompt": "<lora:>"},
        {"civitaiResources": [{"modelVersionId": 7, "weight": "a lot"}]},
        {},
    ],
)
def test_strange_metadata_tells_nothing(meta: dict[str, object]) -> None:
    assert weights_of_image(meta, **OURS, shown_for=True) == ()


def test_names_are_compared_without_folder_case_and_extension() -> None:
    assert name_key("a\\b/C d.SafeTensors") == "c_d"
    assert name_key("v1.5") == "v1.5"
