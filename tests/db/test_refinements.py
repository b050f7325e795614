"""What describers say is kept beside the records, found by its words, and never paid for twice."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from hypothesis import given
from hypothesis import strategies as st

from velatura.db import Store, driver, migrate, open_store
from velatura.db.connect import Database, url_of
from velatura.db.refinements import Reply, dump, load
from velatura.errors import CatalogueError
from velatura.records import CATEGORIES, FACETS, Refinement, Usage

MOON = Refinement(
    description="it paints moonlight",
    category="style",
    facets=(("medium", "ink wash"), ("mood", "calm")),
    avoid="daylight",
    triggers=(("moonstyle", "silver"), ("moonlit",)),
    weight=0.7,
    evidence="the median of 12 pictures",
    writer="card/1",
)


@pytest.fixture
def filled(store: Store, make) -> Store:
    store.sync(make.source([make.file("a"), make.file("b", minor=False), make.file("c")]))
    return store


def found(store: Store, phrase: str) -> set[int]:
    return store.mentions([phrase], 9)[phrase]


def say(store: Store, number: int, text: str | None, writer: str = "me", origin: str = "o") -> None:
    store.put_refinements([(number, Refinement(description=text, writer=writer), origin)])


def test_a_refinement_comes_back_as_it_was(filled: Store):
    filled.put_refinements([(2, MOON, "origin")])
    assert filled.adapter(2).refinement == MOON
    assert filled.adapter(1).refinement == Refinement()
    assert filled.refinements([1, 2, 99]) == {2: ("origin", "card/1")}
    assert filled.stats().described == 1


def test_its_words_are_found_but_not_what_it_is_not_for(filled: Store):
    filled.put_refinements([(2, MOON, "o")])
    assert found(filled, "moonlight") == found(filled, "ink wash") == found(filled, "style") == {2}
    assert found(filled, "daylight") == found(filled, "medium") == set()
    say(filled, 2, "it paints stars")
    assert found(filled, "stars") == {2}
    assert found(filled, "moonlight") == set()


def test_its_words_outlive_a_change_of_the_record(filled: Store, make):
    filled.put_refinements([(2, MOON, "o")])
    filled.sync(make.source([make.file("a"), make.file("b", stamp="2", title="Renamed"), make.file("c")]))
    assert found(filled, "moonlight") == found(filled, "renamed") == {2}
    assert filled.adapter(2).refinement == MOON


def test_only_what_says_something_else_changes_words_and_passages(filled: Store):
    filled.put_refinements([(2, MOON, "o")])
    filled.set_passages([(number, [("card", "x")]) for number in (1, 2, 3)], "1")
    state = filled.words_state()
    same = Refinement(description=MOON.description, category="style", facets=MOON.facets, weight=1.0, writer="vlm/1")
    filled.put_refinements([(2, same, "other"), (3, Refinement(writer="vlm/1"), "none")])
    assert filled.words_state() == state
    assert filled.stale_passages("1") == []
    assert filled.adapter(2).refinement.writer == filled.adapter(3).refinement.writer == "vlm/1"
    say(filled, 2, "it paints stars")
    assert filled.words_changed(state) == [2]
    assert filled.stale_passages("1") == [2]


def test_stale_is_what_another_writer_said_or_of_another_record(filled: Store, make):
    assert filled.stale_refinements("me") == [1, 2, 3]
    say(filled, 1, "words")
    say(filled, 2, None)
    assert filled.stale_refinements("me") == [3]
    assert filled.stale_refinements("you") == [1, 2, 3]
    filled.sync(make.source([make.file("a", stamp="2", title="Renamed"), make.file("b")]))
    assert filled.stale_refinements("me") == [1], "3 is missing"


def test_nobody_describes_what_depicts_a_minor(store: Store, make):
    store.sync(make.source([make.file("a", minor=True), make.file("b", minor=False), make.file("c", minor=None)]))
    assert store.stale_refinements("me") == [2, 3]


def test_what_came_of_an_older_record_is_stale(target: str | Path, filled: Store, make):
    say(filled, 2, "words")
    assert filled.stale_refinements("me") == [1, 3]
    assert filled.refinements([2]) == {2: ("o", "me")}
    with open_store(target) as other:
        other.sync(make.source([make.file(name, stamp="2", title="Renamed") for name in "abc"]))
    say(filled, 1, "of the old title")
    say(filled, 2, "of the old title")
    assert filled.stale_refinements("me") == [1, 2, 3]
    say(filled, 1, "of the new title")
    assert filled.stale_refinements("me") == [2, 3]


def test_refinements_can_be_taken_away(filled: Store):
    for number in (1, 2, 3):
        filled.put_refinements([(number, MOON, "o")])
    filled.put_replies("card/1", [Reply(origin="o", refinement=MOON)])
    filled.set_passages([(number, [("card", "x")]) for number in (1, 2, 3)], "1")
    filled.clear_refinements([2, 99])
    assert filled.adapter(2).refinement == Refinement()
    assert found(filled, "moonlight") == {1, 3}
    assert filled.stale_passages("1") == [2]
    filled.clear_refinements()
    assert found(filled, "moonlight") == set()
    assert (filled.stats().described, filled.refinements([1, 2, 3])) == (0, {})
    assert filled.replies("card/1", ["o"]) == {"o": Reply(origin="o", refinement=MOON)}


def test_replies_are_kept_by_writer_and_origin(filled: Store):
    usage = Usage(calls=2, read=1000, cached=900, written=50)
    replies = [
        Reply(origin="told", refinement=MOON, usage=usage),
        Reply(origin="failed", failure="it gave no JSON", usage=usage),
        Reply(origin="refused", failure="it will not", refused=True),
    ]
    filled.put_replies("card/1", replies)
    assert filled.replies("card/1", ["told", "failed", "refused", "other"]) == {
        reply.origin: reply for reply in replies
    }
    assert filled.replies("card/2", ["told"]) == {}
    filled.put_replies("card/1", [Reply(origin="failed", refinement=MOON)])
    assert filled.replies("card/1", ["failed"])["failed"].refinement == MOON


def test_more_replies_than_one_statement_takes(filled: Store):
    filled.put_replies("w", (Reply(origin=f"{number}", refinement=MOON) for number in range(1200)))
    assert len(filled.replies("w", (f"{number}" for number in range(2000)))) == 1200


def test_failures_are_told_until_it_succeeds(filled: Store, rows, target: str | Path):
    filled.put_replies("me", [Reply(origin="x", failure="no"), Reply(origin="y", failure="never", refused=True)])
    filled.put_unrefined("me", [(3, "y"), (1, "x"), (99, "x")])
    assert filled.unrefined_failures("me") == [(1, "no", False), (3, "never", True)]
    assert filled.unrefined_failures("you") == []
    filled.put_unrefined("me", [(3, "y"), (1, "x")])
    say(filled, 1, "words")
    assert filled.unrefined_failures("me") == [(3, "never", True)]
    filled.clear_refinements()
    assert filled.unrefined_failures("me") == []


def test_a_missing_adapter_keeps_its_refinement_and_its_failure_is_not_told(filled: Store, make):
    filled.put_refinements([(1, MOON, "o")])
    filled.put_replies("me", [Reply(origin="x", failure="no")])
    filled.put_unrefined("me", [(3, "x")])
    filled.sync(make.source([make.file("b")]))
    assert filled.adapter(1).refinement == MOON
    assert filled.unrefined_failures("me") == []


def test_nothing_is_written_through_a_catalogue_opened_for_reading(filled: Store, target: str | Path):
    with open_store(target, read_only=True) as reader, pytest.raises(CatalogueError, match="reading only"):
        say(reader, 1, "words")


# ---------------------------------------------------------------- hostile values


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "7", '"x"', "[" * 100_000, '{"weight": ' + "9" * 5000 + "}", "\x01"],
)
def test_a_damaged_row_is_no_refinement(filled: Store, target: str | Path, text: str, damage):
    filled.put_refinements([(1, MOON, "o"), (2, MOON, "o")])
    filled.put_replies("card/1", [Reply(origin="o", refinement=MOON)])
    damage(target, "UPDATE refinement SET json = ? WHERE adapter_id = 1", text)
    damage(target, "UPDATE reply SET json = ?", text)
    assert [adapter.refinement for adapter in filled.adapters([1, 2])] == [Refinement(), MOON]
    assert filled.replies("card/1", ["o"]) == {}
    filled.put_refinements([(1, MOON, "o")])
    assert filled.adapter(1).refinement == MOON


def test_counts_that_are_none_are_nought(path: Path, make, damage):
    with open_store(path) as store:
        store.put_replies("me", [Reply(origin="o", refinement=MOON, usage=Usage(calls=1, read=5))])
        damage(path, "UPDATE reply SET calls = 'many', read = -5, refused = 'perhaps'")
        assert store.replies("me", ["o"])["o"].usage == Usage()


def test_what_is_not_of_its_type_is_left_out():
    told = """{"description": 7, "category": ["style"], "facets": [["mood", "calm"], ["mood"], "mood", ["taste", "x"],
        ["era", null], [[], {}], null], "avoid": {}, "triggers": [["a", 1, "", null], "b", [], ["c"]],
        "weight": "0.5", "evidence": true, "writer": "somebody else", "nobody": 1}"""
    assert load(told, "me") == Refinement(facets=(("mood", "calm"),), triggers=(("a",), ("c",)), writer="me")
    for weight in ("NaN", "Infinity", "1e999", "true", "101", "9" * 400, "null", "[]"):
        assert load(f'{{"weight": {weight}}}', "") == Refinement(), weight
    assert load('{"weight": -0.5, "category": "spaceship"}', "") == Refinement(weight=-0.5)
    assert load('{"description": "\\ud800"}', "") == Refinement(description="\\ud800")


def test_a_hostile_refinement_can_be_kept(filled: Store):
    hostile: Any = Refinement(
        description="\ud800 \0 owl" * 3,
        category="spaceship",
        facets=(("mood", "\udfff"), ("taste", "x")),
        weight=float("nan"),
        triggers=(("\udc80",),),
        writer="\ud800",
    )
    filled.put_refinements([(1, hostile, "o")])
    filled.put_replies("\ud800", [Reply(origin="o", refinement=hostile), Reply(origin="x", failure="\ud800")])
    filled.put_unrefined("\ud800", [(2, "x")])
    kept = filled.adapter(1).refinement
    assert (kept.category, kept.weight, kept.facets) == (None, None, (("mood", "\\udfff"),))
    assert found(filled, "owl") == {1}
    assert set(filled.replies("\ud800", ["o", "x"])) == {"o", "x"}
    assert filled.unrefined_failures("\ud800") == [(2, "\\ud800", False)]
    assert filled.stale_refinements("\ud800") == [2, 3]


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(
    st.builds(
        Refinement,
        description=st.none() | texts,
        category=st.none() | st.sampled_from(CATEGORIES),
        facets=st.lists(st.tuples(st.sampled_from(FACETS), texts)).map(tuple),
        avoid=st.none() | texts,
        triggers=st.lists(st.lists(texts, min_size=1).map(tuple)).map(tuple),
        weight=st.none() | st.floats(-100, 100),
        evidence=st.none() | texts,
        writer=texts,
    )
)
def test_every_refinement_survives(refinement: Refinement):
    assert load(dump(refinement), refinement.writer or "") == refinement


# ---------------------------------------------------------------- from before


def test_descriptions_of_an_older_catalogue_are_carried_over(path: Path):
    """At step 0004 a description and its writer stood beside the record."""
    with closing(Database(url_of(path))) as database, database.writing() as connection:
        config = migrate._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
        for number, description, writer in ((1, 'it "paints"\nmoonlight', "me"), (2, None, None), (3, "stars", None)):
            driver.execute(
                connection,
                "INSERT INTO adapter (id, source, key, digest, title, title_key, family, kind, described, "
                "passages_from) VALUES (?, 'folder', ?, ?, 't', 't', 'sd1', 'lora', ?, ?)",
                (number, f"{number}", f"d{number}", description and "x", f"d{number}+{'x' if description else ''}+2"),
            )
            driver.execute(
                connection,
                "INSERT INTO record VALUES (?, ?, ?, ?)",
                (number, f'{{"source":"folder","key":"{number}","title":"t"}}', description, writer),
            )
    with pytest.raises(CatalogueError, match="older version"):
        open_store(path, read_only=True)
    with open_store(path) as store:
        assert [adapter.refinement for adapter in store.adapters([1, 2, 3])] == [
            Refinement(description='it "paints"\nmoonlight', writer="me"),
            Refinement(),
            Refinement(description="stars"),
        ]
        assert store.refinements([1, 2, 3]) == {1: (None, "me"), 3: (None, "")}
        assert store.stale_refinements("me") == [2, 3]
        assert store.stale_passages("2") == [], "nothing is embedded again"
        store.clear_refinements()
        assert store.stale_refinements("me") == [1, 2, 3]
