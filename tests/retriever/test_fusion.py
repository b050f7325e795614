"""From what every way of looking says to one probability."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from shelf import Given, adapter

from velatura.db import Store, open_store
from velatura.records import Example
from velatura.retriever.corpus import Corpus
from velatura.retriever.fusion import FITTED, Coefficients, Features, features, found, probability
from velatura.retriever.lists import look, top
from velatura.retriever.paged import Paged, ranks

RECORDS = [
    adapter("fox", title="Red Fox", model_id=7, version_id=1, triggers=(("rfox",),)),
    adapter("fox2", title="Red Fox", model_id=7, version_id=2, triggers=(("rfox", "rfox tail"),)),
    adapter("ink", title="Sumi ink", examples=(Example(prompt="a red bird, wet brush"),)),
    adapter("owl", title="Night Owl", triggers=(("owl",),), tags=("red",)),
    *(adapter(f"other{n}", title=f"Something {n}", tags=("thing",)) for n in range(20)),
]


@pytest.fixture
def corpus(tmp_path: Path) -> Iterator[Corpus]:
    with open_store(tmp_path / "c.db") as store:
        store.sync(Given(RECORDS))
        yield Corpus(store)


def seen(corpus: Corpus, prompt: str) -> dict[str, dict[str, float]]:
    """The features of each page, by the title of its first row."""
    lists = look(corpus, prompt)
    pages = found(corpus, lists, corpus.all)
    table = features(corpus, lists, pages)
    firsts = [int(corpus.lexicon.numbers[pages.members(group)[0]]) for group in range(len(pages))]
    titles = [told.record.title for told in corpus.store.adapters(firsts)]
    return {
        title: {field.name: float(getattr(table, field.name)[group]) for field in fields(Features)}
        for group, title in enumerate(titles)
    }


def test_features_say_what_was_found(corpus: Corpus) -> None:
    told = seen(corpus, "rfox in the forest, wet brush")
    assert set(told) == {"Red Fox", "Sumi ink"}
    assert told["Red Fox"]["triggers"] == 1
    assert told["Sumi ink"]["triggers"] == 0
    assert told["Sumi ink"]["said_twice"] == 1
    assert told["Red Fox"]["said_twice"] == 0
    assert {page["called_twice"] for page in told.values()} == {1}
    assert max(page["words"] for page in told.values()) == 1
    assert {page["title_twice"] for page in told.values()} == {0}
    assert 0 < seen(corpus, "a night bird")["Night Owl"]["title_twice"] < 1


def test_what_is_called_comes_before_what_shares_its_words(corpus: Corpus) -> None:
    lists = look(corpus, "rfox, a red bird")
    pages = found(corpus, lists, corpus.all)
    chances = probability(features(corpus, lists, pages))
    best = int(np.argmax(chances))
    assert corpus.page_names[pages.pages[best]] == 7
    assert ((chances > 0) & (chances < 1)).all()


def test_nothing_speaks_for_nothing() -> None:
    nothing = Features(**{field.name: np.zeros(1) for field in fields(Features)})
    for name in ("words", "said_twice", "meaning", "triggers"):
        assert probability(replace(nothing, **{name: np.ones(1)})) > probability(nothing), name
    assert probability(nothing) < 0.001
    assert probability(replace(nothing, words=np.ones(1)), Coefficients(words=2.0, bias=-2.0)) == 0.5
    assert set(Coefficients.__slots__) == {*Features.__slots__, "bias"}
    assert FITTED.bias < -5


def test_versions_are_one_page_with_the_best_of_each(corpus: Corpus) -> None:
    pages = Paged(corpus, np.arange(4))
    assert len(pages) == 3
    versions = next(group for group in range(3) if len(pages.members(group)) == 2)
    scores = np.array([0.2, 0.7, 0.1, 0.4, *[0.0] * 20])
    assert pages.best(scores)[versions] == 0.7
    assert sorted(pages.best(scores).tolist()) == [0.1, 0.4, 0.7]
    assert len(Paged(corpus, np.array([], np.int64)).best(scores)) == 0


def test_equal_scores_share_the_better_rank_and_versions_take_one(corpus: Corpus) -> None:
    present = corpus.all.rows
    scores = np.array([0.9, 0.8, 0.9, 0.5, *[0.0] * 20])
    told = ranks(corpus, scores, np.array([0.9, 0.8, 0.5, 0.4, 0.0]), present)
    assert told.tolist() == pytest.approx([1, 10 / 12, 10 / 12, 0, 0])
    assert not ranks(corpus, np.zeros(24), np.array([0.3]), present).any()


def test_best_rows_are_among_those_asked_for() -> None:
    scores = np.array([5.0, 4.0, 3.0, 0.0, 9.0])
    rows = np.array([True, True, True, True, False])
    assert set(top(scores, rows, 2).tolist()) == {0, 1}
    assert set(top(scores, rows, 9).tolist()) == {0, 1, 2}


def test_probability_of_a_page_does_not_hang_on_who_else_is_there(tmp_path: Path) -> None:
    """A catalogue ten times as large moves what a trigger says by little."""
    chances = []
    for count in (30, 300):
        with open_store(tmp_path / f"{count}.db") as store:
            many = [adapter(f"more{n}", title=f"More {n}", tags=(f"tag{n}", "bird")) for n in range(count)]
            store.sync(Given([*RECORDS, *many]))
            corpus = Corpus(store)
            lists = look(corpus, "rfox by the river")
            pages = found(corpus, lists, corpus.all)
            chances.append(float(probability(features(corpus, lists, pages)).max()))
    assert chances[0] == pytest.approx(chances[1], abs=0.1)
    assert min(chances) > 0.5


def test_store_is_not_asked_again_for_the_same_filter(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    before = corpus.all
    monkeypatch.setattr(Store, "select", lambda *_: pytest.fail("asked again"))
    assert corpus.all is before
    assert corpus.refreshed() is corpus


def test_what_is_written_is_seen(corpus: Corpus) -> None:
    assert corpus.refreshed() is corpus
    corpus.store.sync(Given([*RECORDS, adapter("late", title="Latecomer", triggers=(("zulu",),))]))
    later = corpus.refreshed()
    assert list(seen(later, "zulu")) == ["Latecomer"]
    assert not seen(corpus, "zulu"), "a search that is under way sees what it began with"
