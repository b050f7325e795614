"""More ways in than a prompt: like another adapter, and by what calls it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from shelf import BagEmbedder, Given, adapter

from velatura.db import Store, open_store
from velatura.errors import InputError
from velatura.records import Example, Filter, Hashes
from velatura.refiner.embed import embed
from velatura.retriever import Retriever

RECORDS = [
    adapter(
        "fox", title="Red Fox", triggers=(("rfox", "red fox"),), tags=("animal",), model_id=1, version_id=1,
        examples=(Example(prompt="fox in deep snow, moonlight"),), hashes=Hashes(sha256="ab" * 32),
    ),
    adapter("fox2", title="Red Fox", triggers=(("rfox",),), model_id=1, version_id=2),
    adapter("copy", title="Renard", triggers=(("rfox",),), model_id=2, hashes=Hashes(sha256="ab" * 32)),
    adapter("vulpes", title="Fox cub", tags=("animal",), model_id=3, family="sdxl"),
    adapter("snow", title="Winter", examples=(Example(prompt="deep snow, moonlight, fir trees"),), model_id=4),
    adapter("smile", title="Grin", triggers=(("smile", "red fox ears"),), model_id=5, path="/grin.safetensors"),
    adapter("laugh", title="Laugh", triggers=(("smile",),), model_id=6, downloads=9),
    adapter("beam", title="Beam", triggers=(("smile",),), model_id=7, downloads=10),
    adapter("tax", title="Tax form", triggers=(("taxform",),), description="paper", model_id=8),
]  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "c.db") as store:
        store.sync(Given(RECORDS))
        yield store


@pytest.fixture
def retriever(store: Store) -> Retriever:
    embedder = BagEmbedder()
    embed(store, embedder)
    return Retriever(store, embedder)


def number(store: Store, key: str) -> int:
    return next(found.id for found in store.adapters(range(1, 20)) if found.record.key == key)


def similar(retriever: Retriever, store: Store, key: str, filter: Filter | None = None) -> dict[str, set[str]]:
    """Return what is like an adapter, best first, each with what told so."""
    found = retriever.similar(number(store, key), filter)
    return {item.adapter.record.key: {f"{match.by}: {match.text}" for match in item.matched} for item in found}


def test_like_another_by_its_names_its_card_and_its_pictures(retriever: Retriever, store: Store) -> None:
    found = similar(retriever, store, "fox")
    assert {"vulpes", "snow"} <= set(found)
    assert {"title: fox", "tags: animal"} <= found["vulpes"]
    assert "meaning: an example prompt" in found["snow"]
    assert set(list(found)[:3]) == {"vulpes", "snow", "smile"}
    assert found.get("tax", set()) == set(), "what is far in meaning is no reason"


def test_own_page_and_copies_are_left_out(retriever: Retriever, store: Store) -> None:
    assert not {"fox", "fox2", "copy"} & set(similar(retriever, store, "fox"))
    assert {"fox", "fox2"} & set(similar(retriever, store, "vulpes"))


def test_likeness_is_between_0_and_1_and_falls(retriever: Retriever, store: Store) -> None:
    scores = [item.score for item in retriever.similar(number(store, "fox"))]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert scores[0] > scores[-1]


def test_likeness_is_asked_within_a_filter(retriever: Retriever, store: Store) -> None:
    assert list(similar(retriever, store, "fox", Filter(family="sdxl"))) == ["vulpes"]
    assert similar(retriever, store, "fox", Filter(family="flux1")) == {}


def test_likeness_goes_by_words_where_nothing_is_embedded(store: Store) -> None:
    found = similar(Retriever(store), store, "fox")
    assert next(iter(found)) in ("vulpes", "smile")
    assert not any(reason.startswith("meaning") for reasons in found.values() for reason in reasons)


def test_a_missing_adapter_can_still_be_asked_for(retriever: Retriever, store: Store) -> None:
    gone = number(store, "fox")
    store.sync(Given(RECORDS[3:]))
    assert {item.adapter.record.key for item in Retriever(store).similar(gone)} >= {"vulpes"}


def test_unknown_number_is_told(retriever: Retriever) -> None:
    with pytest.raises(InputError, match="999"):
        retriever.similar(999)


def test_trigger_is_exact_first_then_its_beginnings(retriever: Retriever) -> None:
    found = retriever.by_trigger("Red_Fox")
    assert [(item.adapter.record.key, item.matched[0].text) for item in found] == [
        ("fox", "red fox"),
        ("smile", "red fox ears"),
    ]
    assert found[0].score > 0.5 > found[1].score > 0
    assert [item.adapter.record.key for item in retriever.by_trigger("taxf")] == ["tax"]


def test_installed_comes_first_among_equals_then_what_many_have(retriever: Retriever) -> None:
    found = retriever.by_trigger("smile")
    assert [item.adapter.record.key for item in found] == ["smile", "beam", "laugh"]
    assert len({item.score for item in found}) == 1


def test_versions_that_one_phrase_calls_are_one_candidate(retriever: Retriever, store: Store) -> None:
    found = retriever.by_trigger("rfox")
    assert len(found) == 1
    others = {found[0].adapter.id, *found[0].alternatives}
    assert others == {number(store, key) for key in ("fox", "fox2", "copy")}


def test_trigger_is_asked_within_a_filter_and_that_makes_it_no_rarer(retriever: Retriever) -> None:
    gated = retriever.by_trigger("smile", Filter(installed=True))
    assert [item.adapter.record.key for item in gated] == ["smile"]
    assert gated[0].score == retriever.by_trigger("smile")[0].score
    assert retriever.by_trigger("smile", limit=1)[0].adapter.record.key == "smile"


@pytest.mark.parametrize("phrase", ["", " ,, ", "\ud800"])
def test_phrase_without_words_is_told(retriever: Retriever, phrase: str) -> None:
    with pytest.raises(InputError, match="no words"):
        retriever.by_trigger(phrase)


def test_what_nothing_is_called_by_finds_nothing(retriever: Retriever) -> None:
    assert retriever.by_trigger("nobody says this") == []
    assert retriever.by_trigger("fox") == [], "a trigger is asked from its beginning"
