from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest

from velatura.catalog.civitai_files import file_fields, read_hashes, read_id, read_url
from velatura.catalog.civitai_json import read_page, version_fields
from velatura.errors import InputError
from velatura.records import AdapterRecord, Hashes, Rejection

SHA = "336ca6afbcd712b14fdfc7c3f9db044ab6020bdcbec5ed66c926caf639fd2691"


def old_page() -> dict[str, Any]:
    """A page as the API gave it in 2023."""
    return {
        "id": 100,
        "name": "Red Fox | Style",
        "description": "<p>Recommended weight: 0.6-0.8.</p><p>Buy me a coffee!</p>",
        "type": "LORA",
        "poi": False,
        "nsfw": False,
        "allowNoCredit": True,
        "allowCommercialUse": "Rent",
        "allowDerivatives": True,
        "allowDifferentLicense": False,
        "stats": {"downloadCount": 500},
        "creator": {"username": "vulpes"},
        "tags": ["fox", "Fox", "style"],
        "modelVersions": [
            {
                "id": 11,
                "modelId": 100,
                "name": "v1",
                "createdAt": "2023-02-17T05:12:35.241Z",
                "trainedWords": ["foxy, red fur,", "<lora:fox:1>"],
                "baseModel": "SD 1.5",
                "description": "<p>Better fur.</p>",
                "stats": {"downloadCount": 300},
                "files": [
                    {
                        "name": "redFox_v1.safetensors",
                        "id": 21,
                        "sizeKB": 1024.5,
                        "type": "Model",
                        "metadata": {"format": "SafeTensor"},
                        "hashes": {"AutoV2": "336CA6AFBC", "SHA256": SHA.upper(), "CRC32": "A6033DE1"},
                        "downloadUrl": "https://civitai.com/api/download/models/11",
                    },
                    {"name": "images.zip", "id": 22, "type": "Training Data", "sizeKB": 9},
                ],
                "images": [
                    {
                        "id": 31,
                        "url": "https://image/31.jpeg",
                        "nsfw": "None",
                        "meta": {
                            "prompt": "a fox <lora:redFox_v1:0.7>",
                            "negativePrompt": "dog",
                            "resources": [{"type": "lora", "name": "redFox_v1", "weight": 0.7}],
                        },
                    },
                    {"id": 32, "url": "https://image/32.jpeg", "nsfw": "Soft", "meta": None},
                ],
                "downloadUrl": "https://civitai.com/api/download/models/11",
            }
        ],
    }


def today_page() -> dict[str, Any]:
    """A page as the API gives it today."""
    return {
        "id": 200,
        "name": "Ink",
        "description": None,
        "type": "LoCon",
        "poi": True,
        "minor": False,
        "nsfw": False,
        "nsfwLevel": 5,
        "availability": "Public",
        "allowCommercialUse": ["Image", "RentCivit"],
        "stats": {"downloadCount": None},
        "tags": ["ink"],
        "modelVersions": [
            {
                "id": 41,
                "index": 0,
                "name": "XL",
                "baseModel": "SDXL 1.0",
                "publishedAt": "2025-05-01T10:00:00.000Z",
                "availability": "Public",
                "nsfwLevel": 1,
                "files": [
                    {
                        "id": 51,
                        "name": "ink.safetensors",
                        "type": "Model",
                        "sizeKB": 100,
                        "hashes": {"AutoV3": "0123456789AB"},
                        "downloadUrl": "https://civitai.com/api/download/models/41?token=SECRET",
                    },
                    {"id": 52, "name": "sdxl.vae.safetensors", "type": "VAE", "sizeKB": 300_000},
                ],
                "images": [
                    {"id": 61, "url": "https://image/61.jpeg", "nsfwLevel": 1, "hasMeta": True, "type": "image"}
                ],
            },
            {"id": 42, "name": "Pony", "baseModel": "Pony", "nsfwLevel": 0, "files": [], "trainedWords": ["inky"]},
        ],
    }


def only(results: list[AdapterRecord | Rejection]) -> AdapterRecord:
    (record,) = results
    assert isinstance(record, AdapterRecord)
    return record


def rejection(results: list[AdapterRecord | Rejection]) -> Rejection:
    (refused,) = results
    assert isinstance(refused, Rejection)
    return refused


def with_version(**changes: Any) -> dict[str, Any]:
    page = old_page()
    page["modelVersions"][0].update(changes)
    return page


def test_the_shape_of_2023_is_read_whole() -> None:
    record = only(read_page(old_page()))
    assert (record.source, record.key) == ("civitai", "100/11/21")
    assert (record.model_id, record.version_id, record.file_id) == (100, 11, 21)
    assert (record.title, record.version_name, record.file_name) == ("Red Fox | Style", "v1", "redFox_v1.safetensors")
    assert (record.creator, record.kind, record.format) == ("vulpes", "lora", "safetensors")
    assert (record.base_model, record.family) == ("SD 1.5", "sd1")
    assert record.size == 1_049_088
    assert record.hashes == Hashes(sha256=SHA, autov2=SHA[:10], crc32="a6033de1")
    assert record.triggers == (("foxy", "red fur"),)
    assert record.tags == ("fox", "style")
    assert record.description == "Recommended weight: 0.6-0.8.\nBetter fur."
    assert [(seen.weight, seen.source, seen.image) for seen in record.weights] == [
        (0.7, "resources", "https://image/31.jpeg"),
        (0.6, "prose", None),
        (0.8, "prose", None),
    ]
    first, second = record.examples
    assert (first.prompt, first.negative, first.nsfw) == ("a fox <lora:redFox_v1:0.7>", "dog", 1)
    assert (second.image, second.prompt, second.nsfw) == ("https://image/32.jpeg", None, 2)
    assert record.licence.commercial == ("image", "rentcivit", "rent")
    assert record.licence.different_licence is False
    assert (record.nsfw, record.real_person, record.minor, record.available) == (3, False, None, True)
    assert (record.downloads, record.published) == (300, "2023-02-17T05:12:35.241Z")
    assert dict(record.provenance) == {
        "description": "page, version",
        "downloads": "version",
        "nsfw": "images",
        "weights": "images, prose",
    }


def test_todays_shape_is_read_and_its_token_is_not_kept() -> None:
    record, archived = read_page(today_page())
    assert isinstance(record, AdapterRecord)
    assert (record.kind, record.family, record.nsfw, record.real_person) == ("locon", "sdxl", 1, True)
    assert record.url == "https://civitai.com/api/download/models/41"
    assert record.hashes == Hashes(autov3="0123456789ab")
    assert record.licence.commercial == ("image", "rentcivit")
    assert record.licence.derivatives is None
    assert (record.creator, record.downloads) == (None, None)
    assert "SECRET" not in repr(record)
    assert isinstance(archived, AdapterRecord)
    assert (archived.key, archived.file_name, archived.available) == ("200/42/-", None, False)
    assert (archived.family, archived.triggers) == ("pony", (("inky",),))


def test_one_version_as_by_hash_answers_it_is_a_page() -> None:
    version = old_page()["modelVersions"][0]
    version["model"] = {"name": "Red Fox", "type": "LORA", "nsfw": False, "poi": True}
    record = only(read_page(version))
    assert (record.key, record.title, record.real_person) == ("100/11/21", "Red Fox", True)


def test_versions_may_have_different_bases_and_each_file_is_a_record() -> None:
    page = today_page()
    page["modelVersions"][1]["files"] = [
        {"id": 53, "name": "ink_pony.safetensors", "type": "Model"},
        {"id": 54, "name": "ink_pony_pruned.safetensors", "type": "Pruned Model"},
    ]
    records = read_page(page)
    assert [record.key for record in records if isinstance(record, AdapterRecord)] == [
        "200/41/51",
        "200/42/53",
        "200/42/54",
    ]
    assert [record.family for record in records if isinstance(record, AdapterRecord)] == ["sdxl", "pony", "pony"]


def test_other_types_are_rejected_by_name() -> None:
    for kind, words in (("Checkpoint", "Checkpoint"), (None, "no stated type"), (5, "no stated type")):
        refused = rejection(read_page(old_page() | {"type": kind}))
        assert words in refused.reason
        assert refused.locator == "civitai:100"
    assert only(read_page(old_page() | {"type": "lora"})).kind == "lora"
    assert only(read_page(old_page() | {"type": "TextualInversion"})).kind == "embedding"


def test_a_version_without_adapter_files_is_rejected_with_what_it_has() -> None:
    refused = rejection(read_page(with_version(files=[{"type": "Training Data", "name": "a.zip"}, {"type": "VAE"}])))
    assert refused.locator == "civitai:100@11"
    assert "Training Data, VAE" in refused.reason
    assert "no versions" in rejection(read_page(old_page() | {"modelVersions": []})).reason


def test_pickles_are_recorded_as_what_they_are() -> None:
    def form(**file: Any) -> str | None:
        return file_fields(file)["format"]

    assert form(name="a.pt") == "pickle"
    assert form(name="a.safetensors", metadata={"format": "PickleTensor"}) == "pickle"
    assert form(name="a.ckpt", metadata={"format": "SafeTensor"}) == "pickle"
    assert form(name="a", metadata={"format": "SafeTensor"}) == "safetensors"
    assert form(name="a") is None


def test_a_version_s_id_may_stand_in_its_address_alone() -> None:
    assert only(read_page(with_version(id=None))).version_id == 11
    page = with_version(id=None, downloadUrl=None)
    assert "no usable id" in rejection(read_page(page)).reason


@pytest.mark.parametrize(
    ("model", "version", "images", "level", "place"),
    [
        ({"nsfw": False}, {}, [], 3, "flag"),
        ({"nsfw": True}, {}, [], 28, "flag"),
        ({"nsfw": False, "nsfwLevel": 0}, {}, [], None, None),
        ({"nsfw": False}, {"nsfwLevel": 0}, [], None, None),
        ({"nsfw": False}, {}, ["None", "X"], 25, "images"),
        ({"nsfw": True}, {}, ["None"], 29, "images, flag"),
        ({"nsfw": True, "nsfwLevel": 4}, {}, [], 4, "page"),
        ({"nsfwLevel": 31}, {"nsfwLevel": 1}, [1], 1, "version"),
        ({"nsfwLevel": 31}, {"nsfwLevel": 1}, [16], 17, "version, images"),
        ({}, {}, [], None, None),
        ({"nsfw": "no"}, {}, [0], None, None),
    ],
)
def test_the_rating_comes_from_the_finest_place(
    model: dict[str, Any], version: dict[str, Any], images: list[Any], level: int | None, place: str | None
) -> None:
    pictures = [{"url": f"https://i/{n}", "nsfw": nsfw} for n, nsfw in enumerate(images)]
    fields = version_fields(version | {"images": pictures}, model)
    assert fields["nsfw"] == level
    assert dict(fields["provenance"]).get("nsfw") == place


@pytest.mark.parametrize(
    ("model", "version", "available"),
    [
        ({"mode": "Archived"}, {}, False),
        ({"mode": "TakenDown"}, {}, False),
        ({}, {"usageControl": "Generation"}, False),
        ({}, {"usageControl": "Download"}, True),
        ({}, {"availability": "EarlyAccess"}, None),
        ({}, {"earlyAccessDeadline": "2099-01-01"}, None),
        ({}, {"availability": "Private"}, False),
        ({}, {"files": []}, False),
        ({}, {"files": None}, None),
        ({}, {}, True),
    ],
)
def test_what_cannot_be_had_is_marked(model: dict[str, Any], version: dict[str, Any], available: bool | None) -> None:
    base = {"files": [{"type": "Model", "name": "a.safetensors", "downloadUrl": "https://x/y"}]}
    assert version_fields(base | version, model)["available"] is available


def test_a_part_of_a_page_tells_a_part_and_makes_nothing_up() -> None:
    fields = version_fields({}, {})
    told = {name: value for name, value in fields.items() if value is not None and value != ()}
    assert told.keys() <= {"family", "licence"}
    assert told["family"] == "unknown"


def test_pictures_of_all_three_endpoints_are_read() -> None:
    nested = {
        "url": "https://i/1",
        "nsfwLevel": "Mature",
        "browsingLevel": 4,
        "meta": {"id": 9, "meta": {"prompt": "a"}},
    }
    film = {"url": "https://i/2.mp4", "type": "video", "nsfwLevel": 1, "meta": {"prompt": "b"}}
    bare = {"url": "https://i/3", "nsfwLevel": 2}
    same = {"url": "https://i/3", "nsfwLevel": 2}
    examples = version_fields({"images": [nested, film, bare, same, None, {"url": "file:///x"}]}, {})["examples"]
    assert [(example.image, example.prompt, example.nsfw) for example in examples] == [
        ("https://i/1", "a", 4),
        (None, "b", 1),
        ("https://i/3", None, 2),
    ]


def test_of_too_many_pictures_those_with_prompts_are_kept() -> None:
    images = [{"url": f"https://i/{n}", "meta": {"prompt": str(n)} if n >= 70 else None} for n in range(100)]
    examples = version_fields({"images": images}, {})["examples"]
    assert len(examples) == 40
    assert [example.prompt for example in examples[:30]] == [str(n) for n in range(70, 100)]


def test_hashes_of_nothing_and_malformed_ones_are_refused() -> None:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert read_hashes({"SHA256": empty, "AutoV2": empty[:10], "AutoV3": empty[:12].upper()}) == Hashes()
    assert read_hashes({"SHA256": "xyz", "CRC32": 5, "BLAKE3": None, "AutoV1": "a05557ca "}) == Hashes(
        autov1="a05557ca"
    )
    assert read_hashes([SHA]) == Hashes()


def test_ids_fit_a_database_or_are_none() -> None:
    assert [read_id(value) for value in (5, "5", 5.0, 2**63 - 1)] == [5, 5, 5, 2**63 - 1]
    strange = (0, -1, 2**63, 1e30, 5.5, True, "", "5.0", "²", "9" * 50, None, [], float("nan"))
    assert [read_id(value) for value in strange] == [None] * len(strange)


def test_addresses_are_of_the_web_and_carry_no_secret() -> None:
    assert read_url("https://a/b?token=x") == "https://a/b"
    assert read_url("https://a/b?type=Model&token=x&format=y") == "https://a/b?type=Model&format=y"
    for strange in (
        "javascript:alert(1)",
        "file:///etc/passwd",
        "https://a/\nb",
        "https://a b",
        "https://" + "a" * 3000,
        5,
    ):
        assert read_url(strange) is None


@pytest.mark.parametrize(
    "page", [None, [], "page", 5, {}, {"id": 5}, {"modelVersions": []}, {"id": "x", "type": "LORA", "name": "n"}]
)
def test_what_is_no_page_is_refused_in_one_sentence(page: object) -> None:
    with pytest.raises(InputError) as refused:
        read_page(page)
    assert "\n" not in str(refused.value)


def test_huge_values_are_bounded_and_can_be_stored() -> None:
    page = old_page()
    page["name"] = "x" * 10**6
    page["description"] = "word " * 10**6
    page["tags"] = [f"tag {n}" for n in range(5_000)]
    page["creator"] = {"username": "\ud800" + "u" * 10**5}
    version = page["modelVersions"][0]
    version["trainedWords"] = ["w, " * 10**5] * 500
    version["stats"] = {"downloadCount": 2**80}
    version["images"] *= 2_000
    version["files"][0] |= {"id": 2**80, "sizeKB": 1e300, "name": "../../etc/" + "n" * 10**5 + ".safetensors"}
    record = only(read_page(page))
    assert record.key == "100/11/-0"
    assert (len(record.title), len(record.tags), len(record.description or "")) == (300, 100, 20_000)
    assert (record.downloads, record.size, record.file_name is None or "/" not in record.file_name) == (500, None, True)
    sqlite3.connect(":memory:").execute("select ?, ?, ?", (record.model_id, record.title, record.creator))


def test_the_record_does_not_depend_on_the_order_of_keys() -> None:
    shuffled = json.loads(json.dumps(old_page(), sort_keys=True))
    assert read_page(shuffled) == read_page(old_page())
