"""Search over a real catalogue with a small embedder made for the test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from shelf import BagEmbedder, Given, adapter

from velatura.db import Store, open_store
from velatura.errors import InputError
from velatura.records import Example, Filter, Licence
from velatura.refiner.embed import embed
from velatura.retriever import Retriever
from velatura.retriever import lists as lists_module
from velatura.retriever.lists import Lists
from velatura.retriever.paged import representative

RECORDS = [
    adapter("fox", title="Red Fox", triggers=(("rfox", "red fox"),), licence=Licence(commercial=("sell",))),
    adapter("ink", title="Sumi", triggers=(("inkwash style",),), description="wet brush on empty paper"),
    adapter("night", title="Quiet streets", examples=(Example(prompt="rain on asphalt, neon signs, umbrella"),)),
    adapter("xl", title="Red Fox XL", family="sdxl", triggers=(("red fox",),)),
    adapter("old", title="Harbour", model_id=7, version_id=1, triggers=(("harbour",),)),
    adapter("new", title="Harbour", model_id=7, version_id=2, triggers=(("harbour", "night harbour"),)),
    adapter("лиса", title="Рыжая лиса"),
    adapter("狐", title="赤い狐", tags=("動物",)),
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
    return Retriever(store, embedder, store.path.with_name("c.faiss"))


def keys(retriever: Retriever, prompt: str, filter: Filter | None = None, **options: object) -> list[str]:
    return [found.adapter.record.key for found in retriever.search(prompt, filter, **options)]  # type: ignore[arg-type]


def test_trigger_in_the_prompt_comes_first_and_is_shown(retriever: Retriever) -> None:
    first = retriever.search("a hill, (inkwash style:1.2), mist")[0]
    assert first.adapter.record.key == "ink"
    assert ("phrase", "inkwash style") in {(match.by, match.text) for match in first.matched}


def test_nearest_example_prompt_is_found_without_any_word_of_the_title(retriever: Retriever) -> None:
    first = retriever.search("neon signs and rain, one umbrella")[0]
    assert first.adapter.record.key == "night"
    assert ("meaning", "an example prompt") in {(match.by, match.text) for match in first.matched}


@pytest.mark.parametrize(("prompt", "key"), [("рыжая лиса в снегу", "лиса"), ("雪の中の狐", "狐")])
def test_other_scripts_are_searched(retriever: Retriever, prompt: str, key: str) -> None:
    assert keys(retriever, prompt)[0] == key


def test_versions_of_one_page_are_one_candidate_and_the_best_speaks(retriever: Retriever) -> None:
    found = [item for item in retriever.search("a night harbour") if item.adapter.record.model_id == 7]
    assert len(found) == 1
    assert found[0].adapter.record.key == "new"
    assert len(found[0].alternatives) == 1


def test_filter_acts_before_ranking(retriever: Retriever) -> None:
    assert keys(retriever, "red fox", limit=1) in (["fox"], ["xl"])
    assert keys(retriever, "red fox", Filter(family="sdxl"), limit=1) == ["xl"]
    assert "xl" not in keys(retriever, "red fox", Filter(family="sd1"), limit=50)
    assert keys(retriever, "red fox", Filter(commercial="sell"), limit=50) == ["fox"]


@pytest.mark.parametrize("depth", [1, 2, 500])
def test_filter_makes_nothing_more_likely(retriever: Retriever, monkeypatch: pytest.MonkeyPatch, depth: int) -> None:
    """Also where lists are so short that a filter brings in what stood beyond them."""
    monkeypatch.setattr(lists_module, "DEPTH", depth)
    prompt = "a red fox in the harbour, inkwash style"
    free = {found.adapter.record.key: found.score for found in retriever.search(prompt, limit=50)}
    for wanted in (Filter(family="sdxl"), Filter(commercial="sell"), Filter(family="sd1")):
        gated = {found.adapter.record.key: found.score for found in retriever.search(prompt, wanted, limit=50)}
        assert gated
        for key, score in gated.items():
            assert score == pytest.approx(free.get(key, score)), key


def test_scores_are_probabilities_in_order(retriever: Retriever) -> None:
    scores = [found.score for found in retriever.search("a red fox, inkwash style", limit=50)]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)


def test_prompts_together_are_answered_as_alone(retriever: Retriever) -> None:
    prompts = ["red fox", "harbour", "", "neon"] * 40
    together = list(retriever.search_all(prompts))
    assert together[:4] == [retriever.search(prompt) for prompt in prompts[:4]]
    assert together[:4] == together[-4:]


def test_empty_prompt_finds_nothing(retriever: Retriever) -> None:
    assert all(found.score < 0.5 for found in retriever.search("  ,, "))


def test_words_alone_work_without_an_embedder(store: Store) -> None:
    assert keys(Retriever(store), "a red fox", limit=2) == ["fox", "xl"]


def test_baselines_rank_by_one_list(retriever: Retriever) -> None:
    assert keys(retriever, "wet brush on empty paper", method="dense")[0] == "ink"
    assert keys(retriever, "wet brush on empty paper", method="bm25")[0] == "ink"
    with pytest.raises(InputError, match="fused, dense, bm25"):
        retriever.search("x", method="magic")  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["tfidf", "overlap", "random"])
def test_other_peoples_rankings_answer_within_the_filter(retriever: Retriever, method: str) -> None:
    found = retriever.search("red fox, umbrella", Filter(family="sd1"), 50, method)  # type: ignore[arg-type]
    assert found
    assert {candidate.adapter.record.family for candidate in found} == {"sd1"}
    scores = [candidate.score for candidate in found]
    assert scores == sorted(scores, reverse=True)
    if method != "random":
        assert found[0].adapter.record.title == "Red Fox"
        assert any(match.text == "red, fox" for match in found[0].matched)


def test_embedding_again_embeds_nothing(store: Store) -> None:
    embedder = BagEmbedder()
    first = embed(store, embedder)
    assert first.texts == embedder.texts > 0
    assert embed(store, embedder).adapters == 0


def test_only_what_changed_is_embedded_again(store: Store) -> None:
    embedder = BagEmbedder()
    embed(store, embedder)
    before = embedder.texts
    store.sync(Given([adapter("fox", title="Grey Fox"), *RECORDS[1:]]))
    assert embed(store, embedder).adapters == 1
    assert embedder.texts == before + 1


def test_another_revision_of_the_model_embeds_anew(store: Store) -> None:
    embed(store, BagEmbedder())
    newer = BagEmbedder()
    newer.revision = "2"
    assert embed(store, newer).adapters == len(RECORDS)


def test_index_file_is_extended_rebuilt_and_read_again(store: Store) -> None:
    path = store.path.with_name("c.faiss")
    embedder = BagEmbedder()
    embed(store, embedder)
    Retriever(store, embedder, path)
    made = path.stat().st_mtime_ns
    Retriever(store, embedder, path)
    assert path.stat().st_mtime_ns == made, "an index that is up to date is not written again"

    store.sync(Given([*RECORDS, adapter("owl", title="Night Owl", description="feathers moonlight")]))
    embed(store, embedder)
    grown = Retriever(store, embedder, path)
    assert keys(grown, "feathers moonlight", method="dense")[0] == "owl"
    assert keys(grown, "wet brush on empty paper", method="dense")[0] == "ink"

    store.sync(Given(RECORDS[2:]))
    shrunk = Retriever(store, embedder, path)
    assert "ink" not in keys(shrunk, "wet brush on empty paper", method="dense", limit=50)
    assert keys(shrunk, "Quiet streets", method="dense")[0] == "night"

    path.write_bytes(b"damaged" + path.read_bytes()[100:])
    assert keys(Retriever(store, embedder, path), "Quiet streets", method="dense")[0] == "night"


def test_trigger_that_many_pages_speak_of_calls_less(store: Store) -> None:
    """`smile` is the trigger of one adapter, and stands in the example prompts of all."""
    smiling = [adapter(f"p{n}", examples=(Example(prompt=f"portrait {n}, smile"),)) for n in range(8)]
    called = [
        adapter("grin", title="Grin", triggers=(("smile",),)),
        adapter("zed", title="Zed", triggers=(("zedhat",),)),
    ]
    store.sync(Given([*RECORDS, *smiling, *called]))
    found = Retriever(store).search("a girl, zedhat, smile", limit=20)
    rarity = {
        candidate.adapter.record.title: match.score
        for candidate in found
        for match in candidate.matched
        if match.by == "phrase"
    }
    assert rarity == {"Zed": 1.0, "Grin": pytest.approx(1 / 3)}
    assert found[0].adapter.record.title == "Zed"


def test_quoted_phrase_must_stand_as_it_is(retriever: Retriever) -> None:
    assert keys(retriever, "fox") != keys(retriever, 'fox "wet brush"')
    assert retriever.search('fox "wet brush"', quotes=True)[0].adapter.record.key == "ink"
    assert {found.adapter.record.key for found in retriever.search('"red fox"', limit=50, quotes=True)} == {"fox", "xl"}
    assert retriever.search('"fox red"', quotes=True) == []
    assert retriever.search('"red fox" "wet brush"', quotes=True) == []
    assert [found.adapter.record.key for found in retriever.search('"рыжая лиса"', quotes=True)] == ["лиса"]
    assert [found.adapter.record.key for found in retriever.search('"赤い狐"', quotes=True)] == ["狐"]


def test_snapshot_of_the_training_does_not_stand_for_its_page_because_its_page_is_shorter() -> None:
    nothing, numbers = np.zeros(3), np.arange(3)
    lists = Lists(
        query_words=(),
        words=np.array([0.0, 9.0, 10.0]),
        said=nothing,
        title=nothing,
        coverage=nothing,
        prompts=np.array([0.0, 0.5, 0.55]),
        card=nothing,
        meaning=nothing,
        triggers={1: 0.5, 2: 0.5},
        phrases={},
    )
    assert representative([1, 2], lists, numbers) == 1
    assert representative([1, 2], lists, numbers[::-1]) == 2, "rows may stand in any order"
    assert representative([1, 2], replace(lists, words=np.array([0.0, 5.0, 10.0])), numbers) == 2
    assert representative([1, 2], replace(lists, triggers={2: 0.5}), numbers) == 2
