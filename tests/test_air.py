"""AIR names are written and read as Civitai's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velatura.air import Air, air_of, parse_air
from velatura.records import AdapterRecord


def record(**fields: object) -> AdapterRecord:
    return AdapterRecord(source="civitai", key="k", title="x", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("family", "kind", "name"),
    [
        ("sd1", "lora", "urn:air:sd1:lora:civitai:1@2"),
        ("illustrious", "locon", "urn:air:sdxl:lycoris:civitai:1@2"),
        ("flux1", "dora", "urn:air:flux1:dora:civitai:1@2"),
        ("noobai", "embedding", "urn:air:sdxl:embedding:civitai:1@2"),
    ],
)
def test_names_are_civitais(family: str, kind: str, name: str) -> None:
    assert air_of(record(family=family, kind=kind, model_id=1, version_id=2)) == name
    read = parse_air(name)
    assert read is not None
    assert (read.model_id, read.version_id, read.source) == (1, 2, "civitai")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"model_id": 1},
        {"model_id": "a/b", "version_id": "main", "family": "sd1"},
        {"model_id": 1, "version_id": 2},
        {"model_id": 1, "version_id": 2, "family": "other"},
    ],
)
def test_what_has_no_numbers_or_family_has_no_name(fields: dict[str, object]) -> None:
    assert air_of(record(**fields)) is None


def test_other_spellings_are_read() -> None:
    assert parse_air(" URN:AIR:SD1:LORA:CIVITAI:1@2+3.safetensors ") == Air(
        source="civitai", model_id=1, version_id=2, file_id=3, ecosystem="sd1", type="lora"
    )
    assert parse_air("civitai:1@2") == Air(source="civitai", model_id=1, version_id=2)
    hub = parse_air("urn:air:sdxl:lora:huggingface:some/one@main")
    assert hub is not None
    assert (hub.model_id, hub.version_id) == ("some/one", "main")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "civitai:5",
        "civitai:",
        "air:x",
        "urn:isbn:1",
        "urn:air:sd1:lora:elsewhere:1@2",
        "a" * 10**6,
        "urn:air:" * 1000,
        "civitai:1@2\nx",
    ],
)
def test_what_is_no_name_is_none(text: str) -> None:
    assert parse_air(text) is None


@given(st.text(max_size=60))
def test_any_text_is_read_or_not(text: str) -> None:
    found = parse_air(text)
    assert found is None or found.model_id is not None
