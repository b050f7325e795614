"""Reading a source into the catalogue, and only what has changed of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from velatura.db import Store, full_text, open_store
from velatura.errors import InputError, SourceError, SourceUnavailable
from velatura.records import Example, Filter, Hashes, Licence, Refinement, Rejection, WeightEvidence


def titles(store: Store) -> set[str]:
    """What is found, by words."""
    hits = set().union(*store.mentions(["title", "renamed"], 100).values()) & set(store.select(Filter()).tolist())
    return {adapter.record.key for adapter in store.adapters(sorted(hits))}


def state(path: Path) -> list[tuple[str, bytes]]:
    return sorted((file.name, file.read_bytes()) for file in path.parent.iterdir() if not file.name.endswith("-shm"))


def test_records_come_out_as_they_went_in(store: Store, make):
    full = make.record(
        "a.safetensors",
        model_id=5,
        version_id="v/7",
        file_id=10**30,
        hashes=Hashes(sha256="ab" * 32, autov3="cd" * 6),
        triggers=(("red fox", "fur"), ("fox",)),
        tags=("animal", "ünï", "日本"),
        training_tags=(("fox", 12), ("1girl", 3)),
        examples=(Example(image="a.png", prompt="a <fox>", nsfw=1), Example()),
        weights=(WeightEvidence(weight=0.7, source="tips"),),
        licence=Licence(commercial=(), no_credit=False),
        provenance=(("title", "header"),),
        alpha=0.5,
        nsfw=0,
        minor=False,
        downloads=2**70,
        published="2026-01-01",
    )
    report = store.sync(make.source([make.entry("a", full)]))
    assert (report.offered, report.records, report.added, report.rejected) == (1, 1, 1, 0)
    assert store.adapter(1).record == full
    assert store.adapter(1).refinement.description is None


def test_unchanged_input_reads_and_writes_nothing(path: Path, make):
    reads: list[str] = []
    offers = [
        *(make.entry(f"{i}", make.record(f"{i}"), reads=reads) for i in range(30)),
        make.entry("bad", InputError("it is broken"), reads=reads),
        make.entry("half", make.record("half"), Rejection(source="folder", locator="half:2", reason="no"), reads=reads),
        Rejection(source="folder", locator="/adapters/secret", reason="it cannot be listed"),
    ]
    with open_store(path) as store:
        store.sync(make.source(offers), batch=7)
    before = state(path)
    reads.clear()
    with open_store(path) as store:
        report = store.sync(make.source(offers), batch=7)
        assert state(path)[0] == before[0]
    assert state(path) == before
    assert reads == []
    assert (report.offered, report.unchanged, report.added, report.updated) == (33, 32, 0, 0)


def test_an_entry_that_cannot_be_read_for_now_is_tried_again_and_writes_nothing(path: Path, make):
    reads: list[str] = []
    source = make.source([make.entry("a", OSError("the share is away"), reads=reads)])
    with open_store(path) as store:
        store.sync(source)
    before = state(path)
    with open_store(path) as store:
        report = store.sync(source)
        assert (report.rejected, report.unchanged) == (1, 0)
        assert len(store.rejections()) == 1
    assert state(path) == before
    assert reads == ["a", "a"]


def test_what_was_hashed_is_not_read_again_without_hashing(store: Store, make):
    reads: list[str] = []
    store.sync(make.source([make.entry("a", make.record("a"), stamp="x+hash", reads=reads)]))
    assert store.sync(make.source([make.entry("a", make.record("a"), stamp="x", reads=reads)])).unchanged == 1
    assert reads == ["a"]
    store.sync(make.source([make.entry("b", make.record("b"), stamp="x", reads=reads)]))
    store.sync(make.source([make.entry("b", make.record("b"), stamp="x+hash", reads=reads)]))
    assert reads == ["a", "b", "b"]


def test_a_changed_record_keeps_its_number_and_is_found_by_its_new_words(store: Store, make):
    store.sync(make.source([make.file("a"), make.file("b")]))
    store.put_refinements([(1, Refinement(description="it paints moonlight", writer="me"), "o")])
    report = store.sync(make.source([make.file("a", stamp="2", title="Renamed"), make.file("b")]))
    assert (report.updated, report.unchanged, report.added) == (1, 1, 0)
    assert store.adapter(1).record.title == "Renamed"
    assert store.adapter(1).refinement.description == "it paints moonlight"
    assert store.mentions(["renamed"], 9) == {"renamed": {1}}
    assert store.mentions(["title"], 9) == {"title": {2}}
    assert store.mentions(["moonlight"], 9) == {"moonlight": {1}}


def test_a_new_stamp_on_an_equal_record_is_no_update(store: Store, make, monkeypatch: pytest.MonkeyPatch):
    store.sync(make.source([make.file("a")]))
    monkeypatch.setattr(full_text, "replace", lambda *_: pytest.fail("the row was written again"))
    report = store.sync(make.source([make.file("a", stamp="2")]))
    assert (report.records, report.updated, report.unchanged) == (1, 0, 0)
    assert store.sync(make.source([make.file("a", stamp="2")])).unchanged == 1


def test_force_reads_everything_again(store: Store, make):
    store.sync(make.source([make.file("a"), make.file("b")]))
    report = store.sync(make.source([make.file("a"), make.file("b", title="Renamed")]), force=True)
    assert (report.records, report.updated, report.unchanged) == (2, 1, 0)


def test_one_bad_entry_costs_no_other(store: Store, make):
    offers = [
        make.file("a"),
        make.entry("input", InputError("the header ends early")),
        make.entry("bug", KeyError("oops\nsecond line")),
        make.entry("deep", RecursionError("too deep")),
        make.entry("none", None),
        make.entry("half", make.record("half"), make.record("x", title=None), {"title": 5}),
        make.file("z"),
    ]
    report = store.sync(make.source(offers))
    assert {adapter.record.key for adapter in store.adapters(range(1, 10))} == {"a", "half", "z"}
    reasons = {told.locator: told.reason for told in store.rejections()}
    assert reasons["input"] == "the header ends early"
    assert reasons["bug"] == "it could not be read: KeyError ('oops\\nsecond line')"
    assert "RecursionError" in reasons["deep"]
    assert report.rejected == store.stats().rejected == 6
    assert all("\n" not in reason for reason in reasons.values())


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), SystemExit()])
def test_what_must_end_the_run_ends_it(store: Store, make, error: BaseException):
    with pytest.raises(type(error)):
        store.sync(make.source([make.file("a"), make.entry("b", error)]))


@pytest.mark.parametrize("where", ["source", "entry"])
def test_what_a_failing_source_gave_is_kept(store: Store, make, where: str):
    error = SourceUnavailable("the site does not answer")
    failing = error if where == "source" else make.entry("fails", error)
    offers = [make.file("a"), make.file("b"), failing, make.file("c")]
    with pytest.raises(SourceError, match="does not answer"):
        store.sync(make.source(offers))
    assert store.stats().files == 2
    assert store.sync(make.source([make.file("a"), make.file("b"), make.file("c")])).added == 1


def test_a_rejection_goes_when_its_entry_reads_fine(store: Store, make):
    store.sync(make.source([make.entry("a", InputError("broken")), make.entry("b", InputError("broken too"))]))
    store.sync(make.source([make.file("a", stamp="2"), make.entry("b", InputError("broken too"))]))
    assert [told.locator for told in store.rejections()] == ["b"]


def test_a_file_that_breaks_is_hidden_and_told(store: Store, make):
    store.sync(make.source([make.file("a")]))
    report = store.sync(make.source([make.entry("a", InputError("cut short"), stamp="2")]))
    assert report.missing == 1
    assert titles(store) == set()
    assert store.sync(make.source([make.file("a", stamp="3")])).revived == 1
    assert store.rejections() == []


def test_a_file_that_cannot_be_read_for_now_stays(store: Store, make):
    store.sync(make.source([make.file("a")]))
    report = store.sync(make.source([make.entry("a", PermissionError("denied"), stamp="2")]))
    assert (report.missing, report.rejected) == (0, 1)
    assert titles(store) == {"a"}


def test_the_sources_own_rejections_are_kept_once(store: Store, make):
    def told(*pairs: tuple[str, str]) -> list[Rejection]:
        return [Rejection(source="folder", locator=locator, reason=reason) for locator, reason in pairs]

    first = told(("x", "no"), ("x", "no"), ("y", "never"))
    store.sync(make.source(first))
    store.sync(make.source(first))
    assert store.rejections() == [first[0], first[2]]
    assert store.rejections(1) == first[:1]
    store.sync(make.source(told(("x", "no, for another reason")), complete=False))
    assert {(r.locator, r.reason) for r in store.rejections()} == {("x", "no, for another reason"), ("y", "never")}
    store.sync(make.source([make.file("x")], complete=False))
    assert {r.locator for r in store.rejections()} == {"y"}
    store.sync(make.source([make.file("x")]))
    assert store.rejections() == []


def test_what_is_gone_is_hidden_and_kept_and_comes_back(store: Store, make):
    both = [make.file("a"), make.file("b")]
    store.sync(make.source(both))
    store.put_refinements([(1, Refinement(description="words", writer="me"), "o")])
    assert store.sync(make.source(both[1:])).missing == 1
    assert titles(store) == {"b"}
    assert store.select(Filter()).tolist() == [2]
    assert (store.stats().files, store.stats().missing) == (1, 1)
    assert store.find("a") == []
    assert store.find("1") == [1]
    assert store.adapter(1).refinement.description == "words"
    assert store.sync(make.source(both[1:])).missing == 0
    report = store.sync(make.source(both))
    assert (report.revived, report.added, report.missing) == (1, 0, 0)
    assert titles(store) == {"a", "b"}
    assert store.adapter(1).refinement.description == "words"


def test_an_incomplete_source_hides_nothing(store: Store, make):
    store.sync(make.source([make.file("a"), make.file("b")]))
    assert store.sync(make.source([make.file("b")], complete=False)).missing == 0
    assert titles(store) == {"a", "b"}


def test_scopes_and_sources_do_not_hide_each_other(store: Store, make):
    store.sync(make.source([make.file("a")], scope="/1"))
    store.sync(make.source([make.file("b")], scope="/2"))
    site = make.entry("a", make.record("a", source="civitai", path=None))
    store.sync(make.source([site], scope="/1", name="civitai"))
    assert store.stats().files == 3
    store.sync(make.source([], scope="/2"))
    assert store.select(Filter()).tolist() == [1, 3]


def test_a_page_that_loses_a_file_hides_it(store: Store, make):
    def page(*keys: str, stamp: str) -> object:
        return make.entry("page", *(make.record(key, path=None) for key in keys), stamp=stamp)

    store.sync(make.source([page("p/1", "p/2", stamp="1")]))
    report = store.sync(make.source([page("p/2", "p/3", stamp="2")], complete=False))
    assert (report.missing, report.added) == (1, 1)
    assert store.select(Filter()).tolist() == [2, 3]


def test_overlapping_folders_do_not_double(store: Store, make):
    inner = make.file("sub/b")
    store.sync(make.source([make.file("a"), inner], scope="/adapters"))
    report = store.sync(make.source([inner], scope="/adapters/sub"))
    assert (report.added, report.updated) == (0, 0)
    assert store.stats().files == 2
    # Deleted, and only the outer folder is looked through again: no ghost stays.
    assert store.sync(make.source([make.file("a")], scope="/adapters")).missing == 1
    # The inner folder still has it after all: its unchanged entry brings it back.
    assert store.sync(make.source([inner], scope="/adapters/sub")).revived == 1
    assert store.stats().files == 2


def test_a_page_shown_in_two_dumps_is_gone_when_neither_has_it(store: Store, make):
    page = make.entry("5", make.record("5/1/1", path=None))
    store.sync(make.source([page], scope="dump 1"))
    store.sync(make.source([page], scope="dump 2"))
    store.sync(make.source([], scope="dump 1"))
    assert store.stats().files == 1
    assert store.sync(make.source([], scope="dump 2")).missing == 1


def test_an_entry_offered_twice_counts_once_and_is_told_when_it_differs(store: Store, make):
    offers = [make.file("a"), make.file("a"), make.file("a", stamp="2", title="Other")]
    for _ in range(2):
        store.sync(make.source(offers))
        assert store.adapter(1).record.title == "Title of a"
        assert [told.reason for told in store.rejections()] == [
            "it was offered twice with different contents; the first was taken"
        ]
    store.sync(make.source(offers[:2]))
    assert store.rejections() == []


def test_a_batch_is_kept_as_a_whole_or_not_at_all(target, another, make, rows, monkeypatch: pytest.MonkeyPatch):
    offers = [make.file(f"{i}", tags=(f"tag{i}",)) for i in range(10)]
    insert = full_text.insert

    def fail_at_the_end(connection: object, written: list[tuple[int, tuple[str, ...]]]) -> None:
        insert(connection, written)
        if written[0][0] > 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(full_text, "insert", fail_at_the_end)
    with open_store(target) as store:
        with pytest.raises(KeyboardInterrupt):
            store.sync(make.source(offers), batch=4)
        assert store.stats().files == 4
        assert len(store.mentions(["title"], 99)["title"]) == 4
        monkeypatch.undo()
        report = store.sync(make.source(offers), batch=4)
        assert (report.unchanged, report.added) == (4, 6)
    other = another()
    with open_store(other) as store:
        store.sync(make.source(offers), batch=4)
    assert rows(target) == rows(other)


def test_a_live_source_goes_on_where_it_was(store: Store, make):
    pages = [make.entry(f"{i}", make.record(f"{i}"), bookmark=f"cursor {i}") for i in range(6)]
    assert store.bookmark("civitai", "live") is None
    with pytest.raises(SourceError):
        store.sync(make.source([*pages[:3], SourceUnavailable("503")], name="civitai", scope="live"), batch=2)
    assert store.bookmark("civitai", "live") == "cursor 2"
    assert store.bookmark("civitai", "elsewhere") is None
    store.sync(make.source(pages[3:], name="civitai", scope="live", complete=False), batch=2)
    assert store.bookmark("civitai", "live") is None
    assert store.stats().files == 6


def test_progress_is_told_after_every_batch(store: Store, make):
    told = []
    report = store.sync(make.source([make.file(f"{i}") for i in range(7)]), batch=3, progress=told.append)
    assert [step.offered for step in told] == [3, 6, 7]
    assert [step.added for step in told] == [3, 6, 7]
    assert replace(told[-1], seconds=0) == replace(report, seconds=0)


def test_hostile_texts_and_numbers_are_kept(store: Store, make):
    hostile = [
        make.record("nul\0byte", title="a\0b", tags=("\0",)),
        make.record("lone \udcff surrogate", path="/adapters/\udcff.safetensors", title="\ud800 owl"),
        make.record("huge", model_id=10**4000, nsfw=2**80, downloads=-(2**80), rank=2**100),
        make.record("negative", nsfw=-1, downloads=10**19),
        make.record("nan", alpha=float("nan"), weights=(WeightEvidence(weight=float("inf"), source="prose"),)),
        make.record("wrong", nsfw="PG", minor="no", downloads="many", real_person=1),
        make.record("long", description="word " * 200_000),
        make.record("'; DROP TABLE adapter; --", title='" OR *'),
    ]
    store.sync(make.source([make.entry(record.key, record) for record in hostile]))
    assert store.rejections() == []
    kept = [adapter.record for adapter in store.adapters(range(1, 99))]
    assert [repr(record) for record in kept] == [repr(record) for record in hostile]
    assert store.mentions(["owl"], 9) == {"owl": {2}}
    assert store.sync(make.source([make.entry(record.key, record) for record in hostile])).unchanged == len(hostile)


def test_huge_and_odd_numbers_are_no_adapter(store: Store):
    assert store.adapters([0, -1, 2**63, 10**30]) == []
    with pytest.raises(InputError, match="no adapter in the catalogue has the number 7"):
        store.adapter(7)
    store.put_refinements([(7, Refinement(description="text", writer="me"), "o")])
    assert store.refinements([7]) == {}
