"""A model that reads prompt and card together puts the best in another order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from shelf import BagEmbedder, Given, adapter

from velatura.db import Store, open_store
from velatura.errors import InputError
from velatura.records import Filter, RefinedAdapter
from velatura.refiner.embed import embed
from velatura.refiner.passages import card
from velatura.retriever import Retriever
from velatura.retriever.rerank import CrossEncoder

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "grey", "fox", "snow", "in", "den"]


class Longest:
    """A stand-in for a model: the longer the title, the better."""

    name = "longest"

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def score(self, prompt: str, adapters: Sequence[RefinedAdapter]) -> list[float]:
        self.asked.append((prompt, len(adapters)))
        return [len(found.record.title) / 100 for found in adapters]


RECORDS = [
    adapter("a", title="Red Fox", triggers=(("red fox",),)),
    adapter("b", title="Grey Fox in the snow"),
    adapter("c", title="Fox den"),
    adapter("d", title="Fox by the river, at dawn, in the fog"),
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "c.db") as store:
        store.sync(Given(RECORDS))
        embed(store, BagEmbedder())
        yield store


def network(folder: Path, outputs: int = 1) -> Path:
    """Write a small random cross-encoder."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=64, num_labels=outputs, initializer_range=1.0,
    )  # fmt: skip
    torch.manual_seed(0)
    BertForSequenceClassification(config).save_pretrained(folder, safe_serialization=True)
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def test_best_are_put_in_its_order_and_keep_the_probabilities(store: Store) -> None:
    plain = Retriever(store, BagEmbedder()).search("red fox", limit=4)
    judge = Longest()
    found = Retriever(store, BagEmbedder(), reranker=judge, reranked=3).search("red fox", limit=4)
    assert [item.adapter.record.key for item in found[:3]] == sorted(
        (item.adapter.record.key for item in plain[:3]), key=lambda key: -len(RECORDS["abcd".index(key)].title)
    )
    assert found[3].adapter.id == plain[3].adapter.id
    assert [item.score for item in found] == [item.score for item in plain]
    assert all(0 < item.score < 1 for item in found)
    assert judge.asked == [("red fox", 3)]
    assert found[0].because[0].startswith("placed by longest (0.")
    assert [item.matched[0].by == "reranker" for item in found] == [True, True, True, False]


def test_it_reads_more_than_are_shown(store: Store) -> None:
    found = Retriever(store, BagEmbedder(), reranker=Longest()).search("red fox", limit=1)
    assert found[0].adapter.record.key == "d"


def test_it_is_asked_within_the_filter(store: Store) -> None:
    judge = Longest()
    assert Retriever(store, reranker=judge).search("red fox", Filter(family="sdxl")) == []
    assert Retriever(store, reranker=judge).search("") == []


def test_baseline_ranks_the_nearest_cards_by_what_it_says(store: Store) -> None:
    judge = Longest()
    retriever = Retriever(store, BagEmbedder(), reranker=judge, reranked=1)
    found = retriever.search("red fox", limit=3, method="rerank")
    assert [item.adapter.record.key for item in found] == ["d", "b", "a"]
    assert [item.score for item in found] == [len(item.adapter.record.title) / 100 for item in found]
    assert judge.asked == [("red fox", 4)]
    retriever.search("red fox", method="dense")
    assert len(judge.asked) == 1, "Stylus's own retriever has none"


def test_baseline_without_a_model_is_one_sentence(store: Store) -> None:
    with pytest.raises(InputError, match="--reranker"):
        Retriever(store, BagEmbedder()).search("red fox", method="rerank")


@pytest.mark.parametrize("numbers", [[float("nan")] * 4, [-3.0, 7.0, float("inf"), 0.5]])
def test_numbers_out_of_bounds_do_no_harm(store: Store, numbers: list[float]) -> None:
    judge = Longest()
    judge.score = lambda prompt, adapters: numbers  # type: ignore[method-assign]
    found = Retriever(store, BagEmbedder(), reranker=judge).search("red fox", method="rerank")
    assert len(found) == 4
    assert all(0 <= item.score <= 1 for item in found)


def test_too_few_numbers_are_told(store: Store) -> None:
    judge = Longest()
    judge.score = lambda prompt, adapters: [0.5]  # type: ignore[method-assign]
    with pytest.raises(InputError, match="longest gave 1 numbers for 4"):
        Retriever(store, BagEmbedder(), reranker=judge).search("red fox")


def test_cross_encoder_reads_the_card_beside_the_prompt(tmp_path: Path) -> None:
    encoder = CrossEncoder(network(tmp_path / "tiny"), card)
    adapters = [RefinedAdapter(id=n, record=record) for n, record in enumerate(RECORDS, start=1)]
    given = encoder.score("(red:1.2) fox \ud800", adapters)
    assert encoder.name == "tiny"
    assert len(set(given)) > 1
    assert all(0 < number < 1 for number in given)
    assert given == pytest.approx([encoder.score("red fox ?", [one])[0] for one in adapters], abs=1e-5)
    assert given != pytest.approx(encoder.score("a grey den", adapters), abs=1e-5)
    assert encoder.score("red fox", []) == []


def test_model_with_several_outputs_is_told(tmp_path: Path) -> None:
    encoder = CrossEncoder(network(tmp_path / "three", outputs=3), card)
    with pytest.raises(InputError, match="gives 3 numbers"):
        encoder.score("red fox", [RefinedAdapter(id=1, record=RECORDS[0])])


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(InputError, match="pickles are never opened"):
        CrossEncoder(tmp_path, card)


def test_folder_that_is_no_model_is_told(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="cannot be loaded"):
        CrossEncoder(tmp_path, card, name="broken").score("x", [RefinedAdapter(id=1, record=RECORDS[0])])
