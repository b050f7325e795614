"""Threads search and compose while somebody else writes to the catalogue."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from shelf import BagEmbedder, Given, adapter

from velatura.composing import Composing
from velatura.db import Store, open_store
from velatura.db.known import Known
from velatura.records import Filter
from velatura.refiner.embed import embed
from velatura.retriever import Retriever
from velatura.settings import default_settings

THINGS = ("fox", "harbour", "castle", "tiger", "rocket", "garden", "violin", "lantern")
RECORDS = [
    adapter(
        f"{thing} {colour}",
        title=f"{colour} {thing}",
        model_id=number,
        triggers=((f"{colour} {thing}",),),
        tags=(thing, colour),
    )
    for number, (thing, colour) in enumerate((t, c) for t in THINGS for c in ("red", "blue", "golden"))
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with open_store(tmp_path / "c.db") as store:
        store.sync(Given(RECORDS))
        embed(store, BagEmbedder())
    return tmp_path / "c.db"


def no_model() -> object:
    raise AssertionError("no language model is asked")


def test_threads_are_answered_while_another_connection_writes(path: Path) -> None:
    """What is always there is always found, and what was written last is found when the writing is done."""
    stop = threading.Event()
    with open_store(path, read_only=True) as store, open_store(path) as writer:
        retriever = Retriever(store, BagEmbedder(), path.with_suffix(".faiss"))
        composing = Composing(store, default_settings(), no_model)  # type: ignore[arg-type]

        def ask(first: int) -> int:
            asked = 0
            while not stop.is_set() or asked < 5:
                thing = THINGS[(first + asked) % len(THINGS)]
                prompt = f"a red {thing} at night"
                wanted = Filter(family="sd1") if asked % 3 else Filter()
                candidates = retriever.search(prompt, wanted, 10)
                assert candidates[0].adapter.record.title == f"red {thing}"
                composition = composing.compose(prompt, candidates, retriever.allowed(wanted))
                assert composition.choices[0].adapter.title == f"red {thing}"
                asked += 1
            return asked

        with ThreadPoolExecutor(6) as threads:
            asking = [threads.submit(ask, number) for number in range(6)]
            try:
                for turn in range(8):
                    more = [
                        adapter(f"late {n}", title=f"Latecomer {n}", triggers=((f"zulu{n}",),)) for n in range(turn)
                    ]
                    writer.sync(Given([*RECORDS, *more]))
                    embed(writer, BagEmbedder())
            finally:
                stop.set()
            assert all(future.result(60) >= 5 for future in asking)
        [found, *_] = retriever.search("zulu6 in the rain")
        assert found.adapter.record.title == "Latecomer 6"


def test_search_leaves_out_what_is_less_likely(path: Path) -> None:
    with open_store(path, read_only=True) as store:
        retriever = Retriever(store, BagEmbedder())
        whole = retriever.search("a red fox at night", limit=20)
        least = whole[2].score
        assert retriever.search("a red fox at night", limit=20, least=least) == [
            found for found in whole if found.score >= least
        ]


def test_known_is_as_the_store_until_somebody_writes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_store(path) as store:
        known = Known(store)
        numbers = [3, 1, 999, 3]
        encoder = BagEmbedder.model, BagEmbedder.revision
        assert known.adapters(numbers) == store.adapters(numbers)
        assert known.identities(numbers) == store.identities(numbers)
        assert known.sketches_of(numbers) == known.probes(numbers) == {}
        assert known.vectors_of(*encoder, numbers).keys() == store.vectors_of(*encoder, numbers).keys()
        assert known.fresh() is known
        with monkeypatch.context() as patch:
            patch.setattr(Store, "adapters", lambda *_: pytest.fail("asked again"))
            assert [adapter.id for adapter in known.adapters([1, 3])] == [1, 3]
        store.sync(Given([*RECORDS[1:], adapter("fox red", title="Vixen", model_id=0)]))
        later = known.fresh()
        assert later is not known
        assert "Vixen" in {adapter.record.title for adapter in later.adapters(range(1, 30))}


def test_known_forgets_rather_than_grow(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("velatura.db.known._MOST", 5)
    with open_store(path, read_only=True) as store:
        known = Known(store)
        for start in range(1, 20, 4):
            numbers = list(range(start, start + 4))
            assert [adapter.id for adapter in known.adapters(numbers)] == numbers
        assert len(known._adapters._known) <= 5
