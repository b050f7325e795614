"""The words of the catalogue as an index in step with it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shelf import Given, adapter

from velatura.db import COLUMNS, Store, open_store
from velatura.records import AdapterRecord, Example, Refinement
from velatura.retriever import lexicon as lexicon_module
from velatura.retriever.lexicon import Lexicon
from velatura.retriever.postings import build, load, save, word_hash

RECORDS = [
    adapter("fox", title="Red Fox", triggers=(("rfox", "bushy tail"),), description="a fox in the snow " * 40),
    adapter("snow", title="Snow", tags=("winter", "red"), description="deep snow"),
    adapter("细节", title="细节调整 Detail Tweaker"),
    adapter("лиса", title="Рыжая лиса"),
    adapter("hunt", title="Fox hunt", examples=(Example(prompt="a red fox, (masterpiece:1.2) <lora:rfox:1>"),)),
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "c.db") as store:
        store.sync(Given(RECORDS))
        yield store


def scores(lexicon: Lexicon, words: list[str], fields: tuple[str, ...] = COLUMNS) -> dict[int, float]:
    told = lexicon.bm25(lexicon.ask(words), fields)
    return {int(number): float(score) for number, score in zip(lexicon.numbers, told, strict=True) if score > 0}


def answers(lexicon: Lexicon, words: list[str]) -> list[object]:
    """What it says of each adapter, whatever its row."""
    asked = lexicon.ask(words)
    told = [lexicon.bm25(asked, COLUMNS), lexicon.best_word(asked, "title"), lexicon.coverage(asked)]
    rows = lexicon.rows_of(np.array(sorted(set(lexicon.numbers.tolist()))))
    return [sorted(np.round(part[rows[rows >= 0]], 5).tolist()) for part in told]


@pytest.mark.parametrize("column", COLUMNS)
def test_scores_are_those_of_fts5(store: Store, column: str) -> None:
    """SQLite's own BM25 over the same words is what ours is measured against."""
    words = ["fox", "red", "snow", "winter", "rfox", "bushy", "detail", "лиса", "a", "nobody"]
    connection = sqlite3.connect(store.path)
    asked = " OR ".join(f'"{word}"' for word in words)
    table = f"words_{column}"
    expected = dict(connection.execute(f"SELECT rowid, -bm25({table}) FROM {table} WHERE {table} MATCH ?", (asked,)))
    connection.close()
    assert scores(Lexicon(store), words, (column,)) == pytest.approx(expected, rel=1e-5)


def test_only_the_fields_asked_for_count(store: Store) -> None:
    lexicon = Lexicon(store)
    assert set(scores(lexicon, ["snow"], ("title",))) == {2}
    assert set(scores(lexicon, ["snow"], ("title", "description"))) == {1, 2}
    assert scores(lexicon, ["fox"], ()) == {}


def test_every_script_is_found_and_pairs_tell_more_than_characters(store: Store) -> None:
    lexicon = Lexicon(store)
    assert set(scores(lexicon, ["лиса"])) == {4}
    assert set(scores(lexicon, ["细节"])) == {3}
    assert scores(lexicon, ["节细"]) == {}


def test_the_word_of_the_title_that_says_most_counts(store: Store) -> None:
    lexicon = Lexicon(store)
    asked = lexicon.ask(["red", "fox", "hunt"])
    best = dict(zip(lexicon.numbers.tolist(), lexicon.best_word(asked, "title").tolist(), strict=True))
    weights = dict(zip(asked.words, asked.weights.tolist(), strict=True))
    assert weights["hunt"] > weights["fox"]
    assert best[5] == weights["hunt"]
    assert best[1] == max(weights["red"], weights["fox"])
    assert best[3] == 0


def test_share_of_a_trigger_phrase_counts_its_words_by_what_they_say(store: Store) -> None:
    lexicon = Lexicon(store)
    row = int(lexicon.rows_of(np.array([1]))[0])
    assert lexicon.coverage(lexicon.ask(["tail", "bushy"]))[row] == pytest.approx(1)
    assert 0 < lexicon.coverage(lexicon.ask(["tail"]))[row] < 1
    assert not lexicon.coverage(lexicon.ask(["snow"])).any()
    assert lexicon.called(["rfox", "tail", "bushy tail"]) == {"rfox": [row], "bushy tail": [row]}


def test_rows_where_a_word_stands_anywhere(store: Store) -> None:
    lexicon = Lexicon(store)
    assert set(lexicon.numbers[lexicon.speaking("red")].tolist()) == {1, 2, 5}
    assert not len(lexicon.speaking("nobody"))


def changes() -> list[AdapterRecord]:
    grey = adapter("fox", title="Grey Fox", triggers=(("gfox",),))
    return [grey, *RECORDS[2:], adapter("owl", title="Night owl", triggers=(("red owl",),))]


@pytest.mark.parametrize("few", [0, 500])
def test_what_came_and_went_since_is_as_in_a_new_index(store: Store, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    """With 0 the file is made anew, with 500 the changes stand beside it."""
    monkeypatch.setattr(lexicon_module, "_FEW", few)
    path = store.path.with_name("c.words")
    lexicon = Lexicon(store, path)
    before = path.stat().st_mtime_ns
    assert lexicon.refresh() is False
    store.sync(Given(changes()))
    assert lexicon.refresh() is True
    assert lexicon.refresh() is False
    assert (path.stat().st_mtime_ns == before) is (few > 0)
    assert lexicon.called(["rfox", "bushy tail"]) == {}
    assert {int(lexicon.numbers[row]) for rows in lexicon.called(["gfox", "red owl"]).values() for row in rows} == {
        1,
        6,
    }
    fresh = Lexicon(store)
    for reread in (lexicon, Lexicon(store, path)):
        assert set(scores(reread, ["fox", "owl", "grey"])) == set(scores(fresh, ["fox", "owl", "grey"])) == {1, 5, 6}
        assert scores(reread, ["owl"], ("title",))[6] == pytest.approx(scores(fresh, ["owl"], ("title",))[6], rel=0.2)
    if not few:
        assert answers(lexicon, ["red", "fox", "owl"]) == answers(fresh, ["red", "fox", "owl"])


@pytest.mark.parametrize("number", [1, 2, 4, 5])
def test_adapter_that_is_written_again_as_it_was_says_what_it_said(store: Store, number: int) -> None:
    """Its words stand in the second index then: by the same averages, and as common as in the whole."""
    words = ["tail", "red", "fox", "snow", "лиса", "hunt"]
    lexicon = Lexicon(store, store.path.with_name("c.words"))
    before = answers(lexicon, words)
    for dots in (".", ".."):
        store.put_refinements([(number, Refinement(description=dots, writer="test"), "o")])
        assert lexicon.refresh() is True
        assert answers(lexicon, words) == before
    assert len(lexicon) == len(RECORDS) + 1
    assert answers(Lexicon(store, store.path.with_name("c.words")), words) == before


def test_file_of_another_catalogue_or_damaged_is_made_anew(store: Store, tmp_path: Path) -> None:
    path = store.path.with_name("c.words")
    Lexicon(store, path)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 0x40
    with open_store(tmp_path / "other.db") as other:
        other.sync(Given([adapter("cat", title="Cat"), *RECORDS]))
        assert set(scores(Lexicon(other, path), ["cat"])) == {1}
    for damaged in (whole[:-100], whole[:40], b"", b"damaged" + whole, whole.replace(b'"rows"', b'"ro\\ws"'), flipped):
        path.write_bytes(damaged)
        assert set(scores(Lexicon(store, path), ["fox"])) == {1, 5}
    assert set(scores(Lexicon(store, path), ["fox"])) == {1, 5}


def test_what_another_process_wrote_is_seen(store: Store) -> None:
    lexicon = Lexicon(store, store.path.with_name("c.words"))
    script = (
        "import sys; from velatura.db import open_store; from velatura.records import Refinement\n"
        "told = Refinement(description='it paints moonlight', writer='test')\n"
        "with open_store(sys.argv[1]) as store: store.put_refinements([(3, told, 'o')])"
    )
    subprocess.run([sys.executable, "-c", script, str(store.path)], check=True, timeout=60)
    assert lexicon.refresh() is True
    assert set(scores(lexicon, ["moonlight"])) == {3}


def test_empty_catalogue_says_nothing(tmp_path: Path) -> None:
    with open_store(tmp_path / "empty.db") as store:
        lexicon = Lexicon(store, tmp_path / "empty.words")
        assert len(lexicon) == 0
        assert answers(lexicon, ["fox"]) == [[], [], []]
        assert lexicon.called(["fox"]) == {}
        assert not (tmp_path / "empty.words").exists()


@given(
    texts=st.lists(st.lists(st.sampled_from(["a", "b", "c", "dd", "山", "水"]), max_size=6).map(" ".join), max_size=5)
)
@settings(max_examples=40, deadline=None)
def test_index_is_the_same_when_it_is_read_again(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("postings") / "words"
    rows = [(number, (text,) * len(COLUMNS)) for number, text in enumerate(texts, start=1)]
    made = build(rows, [(text, number) for number, (text, *_) in rows if text])
    save(made, path, [1, 2])
    found = load(path)
    assert found is not None
    assert found[1] == [1, 2]
    for name in made.__dataclass_fields__:
        assert np.array_equal(getattr(made, name), getattr(found[0], name)), name
    places = made.places(np.array([word_hash("a"), word_hash("nobody")], np.uint64))
    assert (places[0] >= 0) == any("a" in text.split() for text in texts)
    assert places[1] == -1


def test_words_that_stand_in_each_field_are_those_of_the_texts(store: Store) -> None:
    """Told from the index, and beside it by the database from the texts themselves; also of what came since."""
    asked = ["fox", "red", "snow", "tail", "rfox", "лиса", "nobody", "细", "masterpiece"]
    lexicon = Lexicon(store, store.path.with_name("c.words"))
    store.put_refinements([(2, Refinement(description="it paints a red tail", writer="test"), "o")])
    lexicon.refresh()
    numbers = [5, 1, 2, 3, 4]
    told = lexicon.standing(asked, lexicon.rows_of(np.array(numbers)))
    expected = store.matched_words(numbers, asked)
    for number, fields in zip(numbers, told, strict=True):
        assert {field: sorted(words) for field, words in fields.items()} == {
            field: sorted(words) for field, words in expected.get(number, {}).items()
        }
    assert "tail" in told[2]["description"]
