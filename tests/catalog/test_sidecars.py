"""Every tool's sidecar is read, told apart, and none can cost the adapter."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from velatura.catalog.adapter_file import read_adapter
from velatura.catalog.sidecars import owner_of
from velatura.records import AdapterRecord, Hashes, Rejection

SHA = "ab12" * 16
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

Read = Callable[..., AdapterRecord]


@pytest.fixture
def read(write_adapter, tmp_path) -> Read:
    """Return the record of `fox.safetensors` with the given sidecars, contents by suffix."""

    def read_it(sidecars: dict[str, object], **adapter: object) -> AdapterRecord:
        path: Path = write_adapter("fox", **adapter)
        names = []
        for suffix, content in sidecars.items():
            beside = tmp_path / f"fox{suffix}"
            if isinstance(content, bytes):
                beside.write_bytes(content)
            else:
                beside.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
            names.append(beside.name)
        record = read_adapter(f"{path.parent}/", path.name, names)
        assert isinstance(record, AdapterRecord)
        return record

    return read_it


def version(**changes: object) -> dict[str, object]:
    """A version as Civitai's API gives it."""
    return {
        "id": 20,
        "modelId": 10,
        "name": "v2",
        "trainedWords": ["foxy, red fur"],
        "baseModel": "Pony",
        "description": "<p>Version words.</p>",
        "model": {"name": "Red Fox", "type": "LORA", "nsfw": False, "poi": False, "tags": ["animal"]},
        "files": [{"id": 5, "name": "fox.safetensors", "type": "Model", "hashes": {"SHA256": SHA.upper()}}],
        "images": [
            {
                "url": "https://example.org/1.jpeg",
                "nsfwLevel": 2,
                "meta": {"prompt": "foxy in snow", "civitaiResources": [{"weight": 0.6, "modelVersionId": 20}]},
            }
        ],
        "downloadUrl": "https://example.org/20",
    } | changes


def model() -> dict[str, object]:
    """A page as Civitai's API gives it, with two versions."""
    return {
        "id": 10,
        "name": "Red Fox",
        "type": "LORA",
        "nsfw": False,
        "tags": ["animal"],
        "creator": {"username": "somebody"},
        "description": "<p>Page words.</p>",
        "allowCommercialUse": ["Image"],
        "modelVersions": [
            {"id": 21, "name": "v3", "baseModel": "SD 1.5", "files": [{"name": "fox3.safetensors", "type": "Model"}]},
            {"id": 20, "name": "v2", "baseModel": "SD 1.5", "files": [{"name": "fox.safetensors", "type": "Model"}]},
        ],
    }


def user(**changes: object) -> dict[str, object]:
    """A1111's user metadata."""
    return {
        "description": "My fox.",
        "sd version": "SD1",
        "activation text": "my foxy, tail || winter foxy",
        "preferred weight": 0.8,
        "negative text": "wolf",
        "notes": "Use with care.",
    } | changes


def manager(**changes: object) -> dict[str, object]:
    """Lora Manager's metadata."""
    return {
        "file_name": "fox",
        "model_name": "The Fox",
        "sha256": SHA,
        "base_model": "SD 1.5",
        "notes": "From the manager.",
        "tags": ["fur"],
        "modelDescription": "<p>Managed words.</p>",
        "usage_tips": '{"strength": 0.6, "strength_min": 0.3}',
        "preview_nsfw_level": 4,
        "civitai": version(),
    } | changes


def place_of(record: AdapterRecord, field: str) -> str | None:
    return next((place for name, place in record.provenance if name == field), None)


def weights_of(record: AdapterRecord) -> set[tuple[float, str]]:
    return {(seen.weight, seen.source) for seen in record.weights}


def test_civitai_helper(read, sdxl):
    record = read({".civitai.info": version()}, tensors=sdxl)
    assert (record.title, record.version_name, record.model_id, record.version_id) == ("Red Fox", "v2", 10, 20)
    assert record.triggers == (("foxy", "red fur"),)
    assert (record.family, record.base_model) == ("pony", "Pony")
    assert record.hashes == Hashes(sha256=SHA, autov2=SHA[:10])
    assert (record.file_id, record.url) == (5, "https://example.org/20")
    assert weights_of(record) == {(0.6, "civitaiResources")}
    assert record.examples[0].prompt == "foxy in snow"
    assert record.nsfw == 2
    assert place_of(record, "title") == "fox.civitai.info (Civitai Helper)"


def test_a_file_of_another_size_has_other_hashes(read):
    files = [{"id": 5, "name": "fox.safetensors", "sizeKB": 144_000.5, "type": "Model", "hashes": {"SHA256": SHA}}]
    record = read({".civitai.info": version(files=files)})
    assert (record.hashes, record.file_id) == (Hashes(), None)
    assert record.title == "Red Fox"


def test_the_one_file_of_a_renamed_adapter_is_it_when_the_size_agrees(read, write_adapter):
    size = write_adapter("fox").stat().st_size
    file = {"id": 5, "name": "original.safetensors", "sizeKB": size / 1024, "hashes": {"AutoV3": "ABCDEF012345"}}
    other = {**file, "id": 6, "sizeKB": size / 1024 * 2}
    record = read({".civitai.info": version(files=[other, file])})
    assert (record.hashes, record.file_id) == (Hashes(autov3="abcdef012345"), 5)


def test_pictures_that_name_the_file_are_evidence_even_without_a_list_of_files(read):
    images = [{"url": "https://example.org/1", "meta": {"prompt": "<lora:fox:0.45> foxy"}}]
    record = read({".civitai.info": version(images=images, files=[], description=None)})
    assert weights_of(record) == {(0.45, "prompt")}
    assert record.available is None


def test_a_skeleton_tells_only_what_it_knows(read):
    skeleton = version(
        id="", modelId="", name="fox", baseModel="Unknown", description="", images=[], skeleton_file=True,
        model={"name": "fox", "type": "LORA", "nsfw": "", "poi": ""}, trainedWords=[],
    )  # fmt: skip
    record = read({".civitai.info": skeleton}, metadata={"modelspec.title": "A Fox"})
    assert (record.title, record.model_id, record.version_name, record.triggers) == ("A Fox", None, None, ())
    assert record.hashes.sha256 == SHA


def test_a1111(read):
    record = read({".json": user()})
    assert record.triggers == (("my foxy", "tail"), ("winter foxy",))
    assert (record.description, record.notes, record.negative) == ("My fox.", "Use with care.", "wolf")
    assert weights_of(record) == {(0.8, "preferred")}
    assert (record.family, record.base_model) == ("sd1", "SD1")
    assert place_of(record, "triggers") == "fox.json (A1111)"


@pytest.mark.parametrize("weight", [0, 0.0, None, "0", "", float("nan"), 1e9, True, [1]])
def test_a_preferred_weight_that_is_none(read, weight):
    assert read({".json": user(**{"preferred weight": weight})}).weights == ()


def test_browser_plus_adds_ids_and_a_hash(read):
    record = read({".json": user(sha256=SHA.upper(), modelId=10, modelVersionId="20")})
    assert (record.model_id, record.version_id, record.hashes.sha256) == (10, 20, SHA)


def test_sd_next_keeps_the_page_under_a1111_s_name(read):
    record = read({".json": model()})
    assert (record.title, record.version_id, record.version_name, record.creator) == ("Red Fox", 20, "v2", "somebody")
    assert record.description == "Page words."
    assert record.licence.commercial == ("image",)
    assert place_of(record, "title") == "fox.json (SD.Next)"


def test_a_page_whose_version_cannot_be_told_still_tells_about_the_page(read, write_adapter, tmp_path):
    write_adapter("wolf")
    (tmp_path / "wolf.json").write_text(json.dumps(model()))
    record = read_adapter(f"{tmp_path}/", "wolf.safetensors", ["wolf.json"])
    assert isinstance(record, AdapterRecord)
    assert (record.title, record.model_id, record.version_id) == ("Red Fox", 10, None)


@pytest.mark.parametrize(
    "content",
    [
        {"unet_lr": 1e-4, "network_dim": 16, "notes": ""},
        {"LoRA_type": "Standard", "adaptive_noise_scale": 0},
        {"training_method": "LORA", "description": "x", "model_type": "STABLE_DIFFUSION_15"},
        {},
    ],
)
def test_a_trainer_s_settings_tell_nothing(read, content):
    bare = read({})
    assert read({".json": content}) == bare


def test_lora_manager(read):
    record = read({".metadata.json": manager()})
    assert (record.title, record.notes, record.description) == ("The Fox", "From the manager.", "Managed words.")
    assert record.tags == ("fur",)
    assert weights_of(record) == {(0.6, "tips"), (0.6, "civitaiResources")}
    assert record.nsfw == 2 | 4
    assert record.hashes.sha256 == SHA
    assert (record.model_id, record.triggers) == (10, (("foxy", "red fur"),))


def test_lora_manager_s_range_gives_its_ends(read):
    tips = '{"strength_min": 0.3, "strength_max": 0.8, "strength_range": "0.3-0.8", "clip_skip": 2}'
    record = read({".metadata.json": manager(usage_tips=tips, civitai={})})
    assert weights_of(record) == {(0.3, "tips"), (0.8, "tips")}


@pytest.mark.parametrize(
    "tips", ["", "{", "[]", "null", "{}", '{"strength": "much"}', None, {"strength": 1}, "[" * 99_999]
)
def test_usage_tips_that_say_nothing(read, tips):
    assert read({".metadata.json": manager(usage_tips=tips, civitai={})}).weights == ()


def test_a_page_that_is_gone_keeps_its_words(read):
    record = read({".metadata.json": manager(civitai_deleted=True)})
    assert record.available is False
    assert (record.title, record.triggers) == ("The Fox", (("foxy", "red fur"),))


def test_lora_manager_calls_an_unknown_file_by_its_name(read):
    data = manager(model_name="fox", base_model="Unknown", civitai=None)
    record = read({".metadata.json": data}, metadata={"modelspec.title": "A Fox"})
    assert record.title == "A Fox"


def test_a_hash_computed_for_a_file_of_another_size_is_stale(read):
    assert read({".metadata.json": manager(size=7, civitai={})}).hashes == Hashes()


def test_what_a_language_model_made_up_is_believed_last(read):
    data = manager(metadata_source="agent:enrich", civitai=None)
    metadata = {"modelspec.description": "The author's words.", "modelspec.tags": "author"}
    record = read({".metadata.json": data}, metadata=metadata)
    assert (record.description, record.tags) == ("The author's words.", ("author",))
    assert record.notes == "From the manager."
    assert read({".metadata.json": data}).description == "Managed words."


def test_what_the_owner_excluded_is_not_offered(write_adapter, tmp_path):
    write_adapter("fox")
    (tmp_path / "fox.metadata.json").write_text(json.dumps(manager(exclude=True)))
    rejection = read_adapter(f"{tmp_path}/", "fox.safetensors", ["fox.metadata.json"])
    assert isinstance(rejection, Rejection)
    assert rejection.reason == "fox.safetensors is excluded in fox.metadata.json (Lora Manager)"


def test_stability_matrix(read):
    record = read(
        {
            ".cm-info.json": {
                "ModelId": 10,
                "ModelName": "Red Fox",
                "ModelDescription": "<p>Page words.</p>",
                "Nsfw": True,
                "Tags": ["animal"],
                "ModelType": "LORA",
                "VersionId": 20,
                "VersionName": "v2",
                "BaseModel": "SD 1.5",
                "Hashes": {"SHA256": SHA, "CRC32": "89ABCDEF"},
                "TrainedWords": ["foxy"],
                "UserTitle": "My own fox",
                "AuthorUsername": "somebody",
            }
        }
    )
    assert (record.title, record.creator, record.version_name) == ("My own fox", "somebody", "v2")
    assert (record.triggers, record.tags, record.description) == ((("foxy",),), ("animal",), "Page words.")
    assert record.nsfw is not None
    assert record.nsfw & 4
    assert record.hashes == Hashes(sha256=SHA, autov2=SHA[:10], crc32="89abcdef")
    assert record.available is None


def test_rgthree(read):
    words = [
        {"word": "mine", "user": True},
        {"word": "foxy", "civitai": True},
        {"word": "tail", "count": 9, "metadata": True},
    ]
    images = [{"url": "https://example.org/1", "positive": "foxy in snow", "negative": "wolf", "nsfwLevel": 1}]
    data = {"name": "Red Fox - v2", "baseModel": "SD 1.5", "sha256": SHA, "trainedWords": words, "images": images}
    record = read({".safetensors.rgthree-info.json": data})
    assert (record.title, record.hashes.sha256) == ("Red Fox - v2", SHA)
    assert record.triggers == (("mine",),)
    assert (record.examples[0].prompt, record.examples[0].nsfw) == ("foxy in snow", 1)
    record = read({".safetensors.rgthree-info.json": {**data, "trainedWords": words[1:]}})
    assert record.triggers == (("foxy",),)


def test_rgthree_s_raw_answer_of_the_site(read):
    record = read({".safetensors.rgthree-info.json": {"trainedWords": [], "raw": {"civitai": version()}}})
    assert (record.title, record.version_id, record.triggers) == ("Red Fox", 20, (("foxy", "red fur"),))


@pytest.mark.parametrize("prefix", ["", "modelspec."])
def test_swarm(read, prefix):
    data = {
        f"{prefix}title": "Swarm Fox",
        f"{prefix}trigger_phrase": "foxy",
        f"{prefix}thumbnail": "data:image/png;base64,XX",
    }
    record = read({".swarm.json": {**data, f"{prefix}lora_default_weight": 0.9}})
    assert (record.title, record.triggers) == ("Swarm Fox", (("foxy",),))
    assert weights_of(record) == {(0.9, "preferred")}
    assert "base64" not in repr(record)


@pytest.mark.parametrize(
    ("text", "triggers", "description"),
    [
        ("foxy, red fox\n", (("foxy", "red fox"),), None),
        ("\ufefffoxy", (("foxy",),), None),
        ("A fox in the snow. Use at 0.7.", (), "A fox in the snow. Use at 0.7."),
        ("this adapter draws many foxes", (), "this adapter draws many foxes"),
        ("foxy\nred fox", (), "foxy\nred fox"),
        ("https://civitai.com/models/10", (), "https://civitai.com/models/10"),
        ("", (), None),
    ],
)
def test_a_text_file_holds_triggers_or_a_description(read, text, triggers, description):
    record = read({".txt": text})
    assert (record.triggers, record.description) == (triggers, description)


def test_a_description_file(read):
    assert read({".description.txt": "foxy"}).description == "foxy"


def test_text_in_another_encoding_is_not_lost(read):
    assert "fox" in (read({".description.txt": "Füchse, fox. Bon.".encode("latin-1")}).description or "")


def test_the_pictures_of_all_tools_are_previews(read, tmp_path):
    suffixes = (".png", ".preview.webp", ".thumb.jpg", ".example.0.jpeg", ".mp4", ".PNG")
    record = read(dict.fromkeys(suffixes, b"x"))
    assert set(record.previews) == {str(tmp_path / f"fox{suffix}") for suffix in suffixes}


def test_precedence(read):
    everything = {
        ".metadata.json": manager(notes="", model_name="fox", modelDescription=None, tags=[]),
        ".json": user(description=""),
        ".civitai.info": version(),
        ".safetensors.rgthree-info.json": {"trainedWords": [{"word": "mine", "user": True}]},
    }
    metadata = {"modelspec.title": "Header Fox", "modelspec.trigger_phrase": "headfox", "modelspec.author": "author"}

    def without(*suffixes: str) -> AdapterRecord:
        return read({suffix: data for suffix, data in everything.items() if suffix not in suffixes}, metadata=metadata)

    record = without()
    assert record.triggers == (("mine",),)
    assert place_of(record, "triggers") == "fox.safetensors.rgthree-info.json (rgthree)"
    record = without(".safetensors.rgthree-info.json")
    assert record.triggers == (("my foxy", "tail"), ("winter foxy",))
    assert (record.title, record.notes, record.creator) == ("Red Fox", "Use with care.", "author")
    assert place_of(record, "creator") == "header (ModelSpec)"
    record = without(".safetensors.rgthree-info.json", ".json")
    assert record.triggers == (("foxy", "red fur"),)
    assert place_of(record, "triggers") == "fox.metadata.json (Lora Manager)"
    record = without(*everything)
    assert (record.triggers, record.title) == ((("headfox",),), "Header Fox")


def test_evidence_of_weights_adds_up_and_counts_once(read):
    record = read({".metadata.json": manager(), ".json": user(), ".civitai.info": version()})
    assert sorted(weights_of(record)) == [(0.6, "civitaiResources"), (0.6, "tips"), (0.8, "preferred")]
    assert len(record.weights) == 3


def test_a_child_of_sdxl_is_believed_before_its_parent(read, sdxl):
    sidecars = {".json": user(**{"sd version": "SDXL"}), ".civitai.info": version(baseModel="Illustrious")}
    record = read(sidecars, tensors=sdxl, metadata={"ss_base_model_version": "sdxl_base_v1-0"})
    assert (record.family, record.base_model) == ("illustrious", "Illustrious")


def test_names_do_not_talk_tensors_into_another_architecture(read):
    record = read({".json": user(**{"sd version": "SDXL"}), ".civitai.info": version(baseModel="Flux.1 D")})
    assert (record.family, record.base_model) == ("sd1", None)
    assert [place for field, place in record.provenance if field == "family"] == [
        "tensors (cross-attention width 768)",
        "fox.json (A1111) says SDXL, which the tensors contradict",
        "fox.civitai.info (Civitai Helper) says Flux.1 D, which the tensors contradict",
    ]


def test_names_decide_where_the_tensors_are_silent(read):
    tensors = {"lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": [4, 768]}
    record = read({".civitai.info": version(baseModel="Pony")}, tensors=tensors)
    assert (record.family, record.base_model) == ("pony", "Pony")
    assert read({".civitai.info": version(baseModel="Sora 2")}, tensors=tensors).family == "other"


@pytest.mark.parametrize("claim", [EMPTY, EMPTY.upper(), "0" * 64, "xyz", "ab12", 7, None, ["ab"]])
def test_claims_that_are_no_hashes(read, claim):
    files = [{"name": "fox.safetensors", "type": "Model", "hashes": {"SHA256": claim, "AutoV3": claim}}]
    record = read({".metadata.json": manager(sha256=claim, autov3=claim, civitai=version(files=files))})
    assert record.hashes == Hashes()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[1]", "no JSON object"),
        (b"null", "no JSON object"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b'{"a":' * 100_000, "nested too deeply"),
    ],
)
@pytest.mark.parametrize("suffix", [".json", ".civitai.info", ".metadata.json", ".cm-info.json", ".swarm.json"])
def test_a_damaged_sidecar_is_noted_and_costs_nothing_else(read, suffix, content, problem):
    record = read({suffix: content, ".description.txt": "A fox."})
    assert record.description == "A fox."
    assert place_of(record, "sidecar") == f"fox{suffix}: {problem}"


def test_a_sidecar_that_cannot_be_opened_is_noted(write_adapter, tmp_path):
    write_adapter("fox")
    record = read_adapter(f"{tmp_path}/", "fox.safetensors", ["fox.json"])
    assert isinstance(record, AdapterRecord)
    assert place_of(record, "sidecar") == "fox.json: cannot be read (No such file or directory)"


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("fox.png", "fox"),
        ("fox.v2.png", "fox.v2"),
        ("fox.preview.png", "fox"),
        ("fox.example.12.png", "fox"),
        ("fox.other.png", None),
        ("foxy.png", None),
        ("fox", None),
        ("png", None),
        ("fox.safetensors.rgthree-info.json", "fox"),
        ("wolf.safetensors.rgthree-info.json", None),
        ("fox.pt.rgthree-info.json", None),
    ],
)
def test_a_file_lies_beside_the_adapter_of_its_name(name, owner):
    assert owner_of(name, {"fox", "fox.v2"}) == owner


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
RGTHREE = {"trainedWords": [{"word": "x"}], "images": [], "raw": {"civitai": version()}}
CM_INFO = {"ModelId": 1, "UserTitle": "x", "Hashes": {}, "TrainedWords": ["y"]}
CONTENTS = {
    ".json": user(),
    ".metadata.json": manager(),
    ".civitai.info": version(),
    ".swarm.json": {"title": "x", "tags": ["y"]},
    ".cm-info.json": CM_INFO,
    ".safetensors.rgthree-info.json": RGTHREE,
}


@given(data=st.data())
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_values_of_any_type_never_cost_the_adapter(data, read):
    suffix = data.draw(st.sampled_from(sorted(CONTENTS)))
    content = dict(CONTENTS[suffix])
    for key in data.draw(st.lists(st.sampled_from(sorted(content)), min_size=1, max_size=3)):
        content[key] = data.draw(JSON)
    record = read({suffix: json.dumps(content)})
    assert record.title
    assert all(-20 <= seen.weight <= 20 for seen in record.weights)
    assert repr(record).encode()
