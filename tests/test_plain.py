"""Records as JSON that people read, edit and paint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from velatura.errors import InputError
from velatura.plain import from_plain, load, to_plain
from velatura.records import (
    AdapterRecord,
    Candidate,
    Choice,
    Composition,
    GenerationRequest,
    Hashes,
    Match,
    RefinedAdapter,
    Refusal,
)

FOX = AdapterRecord(
    source="civitai", key="1/2/3", title="Fox", model_id=1, version_id=2, file_id=3, family="sd1",
    hashes=Hashes(autov3="0123456789ab"), triggers=(("foxy",),), path="/loras/fox.safetensors",
)  # fmt: skip
BRIEF_FOX = AdapterRecord(
    source="civitai", key="1/2/3", title="Fox", model_id=1, version_id=2, file_id=3, family="sd1",
    hashes=Hashes(autov3="0123456789ab"), path="/loras/fox.safetensors",
)  # fmt: skip
COMPOSITION = Composition(
    prompt="a fox",
    choices=(Choice(adapter=FOX, weight=0.8, span="fox", triggers=("foxy",), reason="because"),),
    refused=(Refusal(adapter=FOX, reason="because not"),),
    composer="builtin 1",
)


def test_choice_stands_flat_beside_its_adapter() -> None:
    choice = to_plain(COMPOSITION)["choices"][0]
    assert choice["model_id"] == 1
    assert choice["version_id"] == 2
    assert (choice["weight"], choice["span"], choice["triggers"], choice["reason"]) == (0.8, "fox", ["foxy"], "because")


def test_composition_survives_json_and_back() -> None:
    back = from_plain(Composition, json.loads(json.dumps(to_plain(COMPOSITION))))
    assert back.choices[0].adapter == BRIEF_FOX
    assert back.choices[0].weight == 0.8
    assert back.refused[0].reason == "because not"


def test_request_survives_json_and_back() -> None:
    request = GenerationRequest(
        composition=from_plain(Composition, to_plain(COMPOSITION)), model="m", mask=(True,), seed=9
    )
    assert from_plain(GenerationRequest, json.loads(json.dumps(to_plain(request)))) == request


def test_candidate_names_ids_even_where_they_are_unknown() -> None:
    record = AdapterRecord(source="folder", key="/x.safetensors", title="X")
    candidate = Candidate(
        adapter=RefinedAdapter(id=7, record=record), score=0.25, matched=(Match(by="title", text="x", score=1),)
    )
    plain = to_plain(candidate)
    assert plain["id"] == 7
    assert plain["model_id"] is None
    assert plain["matched"] == [{"by": "title", "text": "x", "score": 1.0}]


@pytest.mark.parametrize(
    ("plain", "sentence"),
    [
        ([], "a composition must be a JSON object, not list"),
        ({}, "composition: prompt: Missing required argument|composition: prompt: Field required"),
        ({"prompt": "x", "choices": {}}, "choices must be a JSON list, not dict"),
        ({"prompt": "x", "choices": [{"title": "t", "source": "s"}]}, "choice 1: key: "),
        (
            {"prompt": "x", "choices": [{"title": "t", "source": "s", "key": "k", "weight": "much"}]},
            "choice 1: weight: ",
        ),
    ],
)
def test_wrong_file_is_told_by_its_first_wrong_field(plain: object, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        from_plain(Composition, plain)


def test_file_that_is_no_json_says_how_to_make_one(tmp_path: Path) -> None:
    path = tmp_path / "fox.json"
    path.write_text("not json")
    with pytest.raises(InputError, match=r"fox\.json is not JSON; write one with"):
        load(Composition, path)


def test_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load(Composition, tmp_path / "none.json")


def edited(*changes: dict[str, object]) -> dict[str, object]:
    """A composition with a choice of its own for each change."""
    choices = [{"source": "s", "key": f"k{n}", "title": "t", "weight": 1, "span": "x"} for n in range(len(changes))]
    return {"prompt": "x", "choices": [choice | change for choice, change in zip(choices, changes, strict=True)]}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"typo_weigth": 1}, "^choice 2: there is no field 'typo_weigth'$"),
        ({"\ud800": 1}, "^choice 2: there is no field"),
        ({"weight": "much"}, "^choice 2: weight: "),
        ({"weight": float("nan")}, "^choice 2: weight: .*not nan$"),
        ({"weight": float("-inf")}, "^choice 2: weight: .*not -inf$"),
        ({"weight": 100.5}, "^choice 2: weight: it must be between -100 and 100, not 100.5$"),
        ({"weight": 10**400}, "^choice 2: weight: "),
        ({"key": 5}, "^choice 2: key: "),
        ({"key": "k0"}, "^choice 2: 't' is choice 1 already; keep one of them$"),
    ],
)
def test_wrong_choice_is_told_by_its_place(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        from_plain(Composition, edited({}, change))
    str(caught.value).encode()


@pytest.mark.parametrize("emphasis", [-3, 0, 2.1, float("nan"), float("inf")])
def test_emphasis_keeps_its_bounds(emphasis: float) -> None:
    with pytest.raises(InputError, match=r"^composition: emphasis: it must be above 0 and at most 2, not"):
        from_plain(Composition, {"prompt": "x", "emphasis": emphasis})
    assert from_plain(Composition, {"prompt": "x", "emphasis": 1.1}).emphasis == 1.1


def test_tags_in_triggers_and_suffix_are_taken_out() -> None:
    plain = edited({"triggers": ["foxy", "red <lora:evil:9>", "<lora:evil:9>"]}) | {"suffix": "sharp <lyco:evil:9>"}
    composition = from_plain(Composition, plain | {"prompt": "a fox <lora:pinned:1>"})
    assert composition.choices[0].triggers == ("foxy", "red")
    assert (composition.suffix, composition.prompt) == ("sharp", "a fox <lora:pinned:1>")


def test_choice_that_is_no_object_is_told_by_its_place() -> None:
    with pytest.raises(InputError, match=r"^choice 1 must be a JSON object, not int$"):
        from_plain(Composition, {"prompt": "x", "choices": [5]})


def test_candidate_copied_among_the_choices_is_read() -> None:
    copied = {"id": 7, "score": 0.5, "matched": [], "alternatives": [8], "weight": -100, "triggers": ["foxy"]}
    assert from_plain(Composition, edited(copied)).choices[0].triggers == ("foxy",)


def test_files_of_one_name_are_two_where_their_hashes_differ() -> None:
    one, other = ({"key": "fox.safetensors", "hashes": {"autov3": digit * 12}} for digit in "ab")
    assert len(from_plain(Composition, edited(one, other)).choices) == 2


@pytest.mark.parametrize("mask", [[], [True, False]])
def test_mask_of_another_length_is_one_sentence(mask: list[bool]) -> None:
    plain = {"composition": edited({}), "model": "m", "mask": mask}
    with pytest.raises(InputError, match="the mask must be as long as the 1 choices"):
        from_plain(GenerationRequest, plain)
