"""A thousand mutated pages among good neighbours: nothing breaks, and no neighbour is lost."""

from __future__ import annotations

import copy
import json
import sqlite3
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from velatura.catalog.civitai import CivitaiDump
from velatura.errors import InputError
from velatura.protocols import Entry
from velatura.records import AdapterRecord, Rejection

GOOD: dict[str, Any] = {
    "id": 7,
    "name": "Fox",
    "description": "<p>Weight: 0.8</p>",
    "type": "LORA",
    "poi": False,
    "nsfw": False,
    "nsfwLevel": 1,
    "mode": None,
    "allowNoCredit": True,
    "allowCommercialUse": ["Image"],
    "creator": {"username": "vulpes"},
    "tags": ["fox", "style"],
    "stats": {"downloadCount": 3},
    "modelVersions": [
        {
            "id": 70,
            "modelId": 7,
            "name": "v1",
            "publishedAt": "2025-05-01T10:00:00.000Z",
            "trainedWords": ["foxy, fur"],
            "baseModel": "SD 1.5",
            "description": "<p>x</p>",
            "stats": {"downloadCount": 2},
            "downloadUrl": "https://civitai.com/api/download/models/70",
            "files": [
                {
                    "id": 700,
                    "name": "fox.safetensors",
                    "sizeKB": 9.5,
                    "type": "Model",
                    "metadata": {"format": "SafeTensor"},
                    "hashes": {"AutoV2": "0123456789", "SHA256": "ab" * 32},
                    "downloadUrl": "https://civitai.com/api/download/models/70",
                }
            ],
            "images": [
                {
                    "id": 1,
                    "url": "https://i/1.png",
                    "nsfwLevel": 1,
                    "meta": {
                        "prompt": "fox <lora:fox:0.8>",
                        "negativePrompt": "dog",
                        "resources": [{"type": "lora", "name": "fox", "weight": 0.8, "hash": "0123456789"}],
                        "civitaiResources": [{"type": "lora", "modelVersionId": 70, "weight": 0.7}],
                        "hashes": {"lora:fox": "0123456789"},
                    },
                }
            ],
        }
    ],
}


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in inner for found in paths(item, (*path, key)))]


PLACES = [path for path in paths(GOOD) if path]

DEEP: Any = "x"
for _ in range(200):
    DEEP = {"meta": [DEEP]}

values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([2**63, -(2**70), 10**300, 1e308, -1, 0, float("nan"), float("inf"), float("-inf")]),
    st.floats(),
    st.text(st.characters(), max_size=20),
    st.sampled_from(
        ["\ud800", "\udfff fox", "\x00", "\u202e", "x" * 200_000, "<p>" * 5_000, "<lora:" * 2_000, "{Image", "0" * 400]
    ),
    st.lists(st.none() | st.integers() | st.text(max_size=5), max_size=5),
    st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.lists(st.text(max_size=3)), max_size=3),
    st.sampled_from([DEEP, [[]] * 500, [{}] * 500, list(range(5_000)), {str(n): n for n in range(500)}]),
)
changes = st.lists(
    st.tuples(st.sampled_from(PLACES), st.just("drop") | st.tuples(st.just("set"), values)), min_size=1, max_size=4
)


def mutated(number: int, edits: list[tuple[tuple[Any, ...], Any]]) -> Any:
    page = copy.deepcopy(GOOD) | {"id": 10 + number}
    for path, edit in edits:
        place: Any = page
        for key in path[:-1]:
            try:
                place = place[key]
            except (KeyError, IndexError, TypeError):
                break
        else:
            try:
                if edit == "drop":
                    del place[path[-1]]
                else:
                    place[path[-1]] = copy.copy(edit[1])
            except (KeyError, IndexError, TypeError):
                pass
    return page


def good(number: int) -> dict[str, Any]:
    page = copy.deepcopy(GOOD)
    page["id"] = number
    page["modelVersions"][0]["id"] = number
    return page


def assert_storable(record: AdapterRecord) -> None:
    def walk(value: Any) -> None:
        if isinstance(value, str):
            value.encode("utf-8")
            assert len(value) <= 20_000
        elif isinstance(value, int):
            assert abs(value) < 2**63
        elif isinstance(value, dict):
            for item in value.values():
                walk(item)
        elif isinstance(value, tuple):
            assert len(value) <= 500
            for item in value:
                walk(item)
        else:
            assert value is None or isinstance(value, float)
            assert value == value

    walk(asdict(record))
    json.dumps(asdict(record), allow_nan=False)
    sqlite3.connect(":memory:").execute("select ?, ?, ?", (record.model_id, record.version_id, record.title))


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(changes, min_size=10, max_size=10))
def test_mutated_pages_break_nothing_and_cost_no_neighbour(tmp_path_factory: Any, batch: list[Any]) -> None:
    path: Path = tmp_path_factory.mktemp("dump") / "pages.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number, edits in enumerate(batch):
            file.write(json.dumps(mutated(number, edits)) + "\n")
            file.write(json.dumps(good(1_000_000 + number)) + "\n")
    neighbours = set()
    for offered in CivitaiDump(path).entries():
        try:
            results = offered.read() if isinstance(offered, Entry) else [offered]
        except InputError as error:
            results = [Rejection(source="civitai", locator="-", reason=str(error))]
        for result in results:
            if isinstance(result, Rejection):
                assert result.reason
                assert "\n" not in result.reason
                assert len(result.reason) < 500
            else:
                assert_storable(result)
                if result.model_id == result.version_id:
                    neighbours.add(result.model_id)
    assert neighbours == {1_000_000 + number for number in range(len(batch))}
