from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from velatura.catalog.huggingface import HuggingFaceDump, HuggingFaceLive
from velatura.catalog.huggingface_json import read_model
from velatura.errors import InputError, SourceError, SourceUnavailable
from velatura.protocols import Entry
from velatura.records import AdapterRecord, Example, Rejection

SHA = "ab" * 16 + "cd" * 16


def model(**changes: Any) -> dict[str, Any]:
    return {
        "id": "vulpes/red_fox-style",
        "author": "vulpes",
        "sha": "0123abcd",
        "lastModified": "2025-05-02T00:00:00.000Z",
        "createdAt": "2025-05-01T00:00:00.000Z",
        "downloads": 12,
        "pipeline_tag": "text-to-image",
        "tags": [
            "diffusers",
            "lora",
            "fox",
            "region:us",
            "license:apache-2.0",
            "base_model:adapter:stabilityai/stable-diffusion-xl-base-1.0",
            "base_model:stabilityai/stable-diffusion-xl-base-1.0",
            "en",
        ],
        "cardData": {
            "license": "apache-2.0",
            "base_model": "stabilityai/stable-diffusion-xl-base-1.0",
            "instance_prompt": "TOK fox, ink",
            "widget": [
                {"text": "a TOK fox", "output": {"url": "images/a b.png"}, "parameters": {"negative_prompt": "dog"}},
                {"text": "-", "output": {"url": "https://elsewhere/c.png"}},
                {"text": "-", "output": {"url": "../../etc/passwd"}},
            ],
        },
        "siblings": [
            {"rfilename": "README.md"},
            {
                "rfilename": "pytorch_lora_weights.safetensors",
                "size": 900,
                "lfs": {"sha256": SHA, "size": 900, "pointerSize": 9},
            },
            {"rfilename": "old/pytorch_lora_weights.bin"},
            {"rfilename": "checkpoint-500/pytorch_lora_weights.safetensors"},
            {"rfilename": "checkpoint-500/optimizer.bin"},
            {"rfilename": "unet/diffusion_pytorch_model.safetensors"},
            {"rfilename": "fox_emb.safetensors"},
        ],
        "readme": (
            "---\nlicense: x\n---\n# Red Fox\n![shot](a.png) See [the guide](https://x/y). Weight: 0.8\n\n"
            "Join my Discord!"
        ),
        **changes,
    }


def records(results: list[AdapterRecord | Rejection]) -> list[AdapterRecord]:
    return [result for result in results if isinstance(result, AdapterRecord)]


def reason(results: list[AdapterRecord | Rejection]) -> str:
    (refused,) = results
    assert isinstance(refused, Rejection)
    return refused.reason


def test_each_adapter_file_of_a_repository_is_a_record() -> None:
    first, old, embedding = records(read_model(model()))
    assert first.key == "vulpes/red_fox-style/pytorch_lora_weights.safetensors"
    assert (first.source, first.model_id, first.version_id) == ("huggingface", "vulpes/red_fox-style", "0123abcd")
    assert (first.title, first.creator, first.kind, first.format) == ("red fox style", "vulpes", "lora", "safetensors")
    assert (first.base_model, first.family) == ("stabilityai/stable-diffusion-xl-base-1.0", "sdxl")
    assert (first.size, first.hashes.sha256, first.hashes.autov2) == (900, SHA, SHA[:10])
    assert first.url == "https://huggingface.co/vulpes/red_fox-style/resolve/main/pytorch_lora_weights.safetensors"
    assert first.triggers == (("TOK fox", "ink"),)
    assert first.tags == ("lora", "fox")
    assert first.description == "# Red Fox\nSee the guide. Weight: 0.8"
    assert [seen.weight for seen in first.weights] == [0.8]
    assert first.licence.name == "apache-2.0"
    assert first.licence.commercial is not None
    assert (first.nsfw, first.available, first.downloads) == (None, True, 12)
    assert first.published == "2025-05-01T00:00:00.000Z"
    assert (old.file_name, old.format) == ("pytorch_lora_weights.bin", "pickle")
    assert (embedding.file_name, embedding.kind) == ("fox_emb.safetensors", "embedding")


def test_examples_come_from_the_widget_and_stay_in_the_repository() -> None:
    assert records(read_model(model()))[0].examples == (
        Example(
            image="https://huggingface.co/vulpes/red_fox-style/resolve/main/images/a%20b.png",
            prompt="a TOK fox",
            negative="dog",
        ),
        Example(image="https://elsewhere/c.png"),
    )


def test_an_empty_card_is_no_obstacle() -> None:
    card = {"instance_prompt": None, "widget": None, "base_model": ["runwayml/stable-diffusion-v1-5", "x/y"]}
    (record,) = records(read_model(model(cardData=card, siblings=None, readme=None)))
    assert (record.key, record.file_name) == ("vulpes/red_fox-style/-", None)
    assert record.url == "https://huggingface.co/vulpes/red_fox-style"
    assert (record.triggers, record.examples, record.description) == ((), (), None)
    assert (record.family, record.licence.name) == ("sd1", "apache-2.0")


def test_checkpoints_of_the_training_count_when_there_is_nothing_else() -> None:
    files = [{"rfilename": f"checkpoint-{n}/pytorch_lora_weights.safetensors"} for n in (100, 200)]
    assert len(records(read_model(model(siblings=files)))) == 2


def test_both_spellings_of_the_keys_are_read() -> None:
    snake = model()
    snake["card_data"] = snake.pop("cardData")
    snake["created_at"] = snake.pop("createdAt")
    snake["last_modified"] = snake.pop("lastModified")
    snake["modelId"] = snake.pop("id")
    assert read_model(snake) == read_model(model())


@pytest.mark.parametrize(
    ("changes", "base", "family"),
    [
        ({"cardData": {}}, "stabilityai/stable-diffusion-xl-base-1.0", "sdxl"),
        ({"cardData": {"base_model": "somebody/merge"}, "tags": ["lora"]}, "somebody/merge", "other"),
        ({"cardData": {"base_model": "x/y"}, "tags": ["lora", "flux"]}, "x/y", "flux1"),
        ({"cardData": {"base_model": 5}, "tags": ["lora"]}, None, "unknown"),
        (
            {"cardData": None, "tags": ["lora", "base_model:black-forest-labs/FLUX.1-dev"]},
            "black-forest-labs/FLUX.1-dev",
            "flux1",
        ),
    ],
)
def test_the_base_is_the_cards_or_the_tags(changes: dict[str, Any], base: str | None, family: str) -> None:
    record = records(read_model(model(**changes)))[0]
    assert (record.base_model, record.family) == (base, family)


def test_what_is_no_adapter_for_pictures_is_rejected_with_the_reason() -> None:
    assert "nowhere that it is an adapter" in reason(read_model(model(tags=["diffusers"], cardData={})))
    language = model(
        tags=["peft", "base_model:adapter:meta-llama/Llama-3-8B"], cardData={}, pipeline_tag="text-generation"
    )
    assert "text-generation" in reason(read_model(language))
    assert "no adapter file" in reason(read_model(model(siblings=[{"rfilename": "README.md"}])))


def test_flags_of_the_site_are_kept() -> None:
    gated = records(read_model(model(gated="auto", tags=["lora", "not-for-all-audiences"], disabled=False)))[0]
    assert gated.available is None
    assert gated.nsfw == 28
    assert records(read_model(model(disabled=True)))[0].available is False
    embedding = records(read_model(model(tags=["textual_inversion"], siblings=[{"rfilename": "learned_embeds.bin"}])))[
        0
    ]
    assert (embedding.kind, embedding.format) == ("embedding", "pickle")


@pytest.mark.parametrize(
    "bad", [None, [], 5, {}, {"id": 5}, {"id": "../../etc"}, {"id": "a/b/c"}, {"id": "a b"}, {"id": "a/.."}]
)
def test_what_has_no_repository_is_refused(bad: Any) -> None:
    with pytest.raises(InputError, match="no Hugging Face model"):
        read_model(bad)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("models.json", json.dumps([model(), model(id="a/b")]).encode()),
        ("models.json", json.dumps([model(), model(id="a/b")], indent=1).encode()),
        ("models.jsonl", b"\n".join(json.dumps(item).encode() for item in (model(), model(id="a/b"), model()))),
        ("models.json.gz", gzip.compress(json.dumps([model(), model(id="a/b")]).encode(), mtime=0)),
    ],
)
def test_saved_listings_of_every_form_are_read(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    source = HuggingFaceDump(tmp_path / name)
    offered = list(source.entries())
    assert [entry.locator for entry in offered if isinstance(entry, Entry)] == [
        "huggingface:vulpes/red_fox-style",
        "huggingface:a/b",
    ]
    assert source.complete
    assert all(len(records(list(entry.read()))) == 3 for entry in offered if isinstance(entry, Entry))


def test_a_broken_line_of_a_listing_costs_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "models.jsonl"
    path.write_text("\n".join([json.dumps(model()), '{"id": "x/', "5", json.dumps(model(id="a/b"))]))
    source = HuggingFaceDump(path)
    offered = list(source.entries())
    assert len([entry for entry in offered if isinstance(entry, Entry)]) == 2
    assert [item.locator for item in offered if isinstance(item, Rejection)] == [f"{path}:2", f"{path}:3"]
    assert not source.complete


class Hub:
    """Stands in for `huggingface_hub.HfApi`."""

    def __init__(self, models: list[Any], error: Exception | None = None) -> None:
        self.models, self.error = models, error
        self.options: dict[str, Any] = {}

    def list_models(self, **options: Any) -> Any:
        self.options = options
        yield from self.models
        if self.error is not None:
            raise self.error


def test_the_hub_s_own_objects_are_read_like_a_saved_listing() -> None:
    from huggingface_hub import ModelInfo

    info = ModelInfo(**(model() | {"createdAt": "2025-05-01T00:00:00.000Z"}))
    assert info.created_at == datetime(2025, 5, 1, tzinfo=UTC)
    hub = Hub([info, ModelInfo(id="a/b", tags=["lora"], pipeline_tag="text-to-image")])
    source = HuggingFaceLive(hub, filters=["lora", "base_model:adapter:x/y"], limit=5, options={"sort": "downloads"})
    first, second = source.entries()
    assert isinstance(first, Entry)
    assert isinstance(second, Entry)
    (live, *_), (saved, *_) = records(list(first.read())), records(read_model(model()))
    for field in ("key", "title", "family", "triggers", "examples", "licence", "url", "tags", "downloads", "kind"):
        assert getattr(live, field) == getattr(saved, field), field
    assert len(records(list(second.read()))) == 1
    assert hub.options["filter"] == ["lora", "base_model:adapter:x/y"]
    assert (hub.options["limit"], hub.options["sort"], hub.options["pipeline_tag"]) == (5, "downloads", "text-to-image")
    assert (hub.options["full"], hub.options["cardData"]) == (True, True)
    assert (source.name, source.complete) == ("huggingface", False)
    assert [entry.stamp for entry in source.entries() if isinstance(entry, Entry)] == [first.stamp, second.stamp]


class Refusal(OSError):
    def __init__(self, status: int | None) -> None:
        super().__init__("told with a hf_secret")
        self.response = type("Response", (), {"status_code": status})() if status else None


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Refusal(503), SourceUnavailable),
        (Refusal(429), SourceUnavailable),
        (ConnectionError("down"), SourceUnavailable),
        (Refusal(401), SourceError),
        (ValueError("no such sort"), SourceError),
    ],
)
def test_a_hub_that_fails_is_one_sentence_after_what_it_gave(error: Exception, kind: type[Exception]) -> None:
    offered = HuggingFaceLive(Hub([model()], error)).entries()
    assert isinstance(next(offered), Entry)
    with pytest.raises(kind) as failed:
        next(offered)
    assert "hf_secret" not in str(failed.value)
    assert (type(failed.value) is SourceError) == (kind is SourceError)


def test_the_hub_s_own_client_offline_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    # The client reads its environment when it is first imported, which another test may have caused.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(SourceUnavailable, match="does not answer"):
        next(HuggingFaceLive().entries())


def test_error_of_the_transport_is_one_sentence() -> None:
    class ConnectError(Exception):
        """As the transport below the hub's client raises it: no OSError."""

    class Cut:
        def list_models(self, **_: Any) -> Iterator[Any]:
            raise ConnectError("name or service not known")

    with pytest.raises(SourceUnavailable, match=r"does not answer \(ConnectError\)"):
        next(HuggingFaceLive(Cut()).entries())


odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=10),
    st.lists(st.none() | st.text(max_size=3)),
    st.sampled_from(
        [2**70, "\ud800", "x" * 100_000, [[]] * 300, {"a": {"b": []}}, [{"rfilename": 5}, {"text": []}, 7]]
    ),
)
keys = st.sampled_from([*model(), "card_data", "gated", "disabled", "modelId"])


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.dictionaries(keys, odd, max_size=4), st.dictionaries(st.sampled_from(list(model()["cardData"])), odd, max_size=3)
)
def test_mutated_models_are_read_or_refused(changes: dict[str, Any], card: dict[str, Any]) -> None:
    mutated = model()
    mutated["cardData"] |= card
    try:
        results = read_model(mutated | changes)
    except InputError:
        return
    assert results
    for result in results:
        if isinstance(result, AdapterRecord):
            json.dumps([result.title, result.tags, result.triggers, result.url, result.file_name]).encode("utf-8")
            repr(result).encode("utf-8")
