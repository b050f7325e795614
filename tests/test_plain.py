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
        ({"prompt": "x", "choices": [{"title": "t", "source": "s"}]}, "adapter: key: "),
        ({"prompt": "x", "choices": [{"title": "t", "source": "s", "key": "k", "weight": "much"}]}, "choice: weight: "),
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
