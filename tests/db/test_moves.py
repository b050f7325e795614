"""A file that is renamed or put elsewhere keeps its number, its description and its vectors."""

from __future__ import annotations

import numpy as np
import pytest

from velatura.db import Store
from velatura.errors import SourceError, SourceUnavailable
from velatura.records import Filter, Hashes, Refinement


def keys(store: Store) -> dict[int, str]:
    return {adapter.id: adapter.record.key for adapter in store.adapters(store.select(Filter()))}


def test_a_renamed_file_keeps_everything(store: Store, make):
    store.sync(make.source([make.file("old.safetensors", "F"), make.file("other.safetensors", "G")]))
    store.put_refinements([(1, Refinement(description="it paints moonlight", writer="me"), "o")])
    store.set_passages([(1, [("card", "d1")])], "1")
    store.put_vectors("m", "r", {"d1": np.ones(3, np.float32)})
    report = store.sync(make.source([make.file("other.safetensors", "G"), make.file("sub/new.safetensors", "F")]))
    assert (report.moved, report.added, report.missing) == (1, 0, 0)
    assert keys(store) == {1: "sub/new.safetensors", 2: "other.safetensors"}
    moved = store.adapter(1)
    assert (moved.refinement.description, moved.record.path) == ("it paints moonlight", "/adapters/sub/new.safetensors")
    assert store.find("new") == [1]
    assert store.find("old") == []
    assert store.mentions(["moonlight"], 9) == {"moonlight": {1}}
    assert store.mentions(["new"], 9) == {"new": {1}}
    assert store.vector_rows("m", "r")[1].tolist() == [1]
    assert store.stats().missing == 0


def test_a_number_is_never_given_twice(store: Store, make):
    store.sync(make.source([make.file("old", "F")]))
    store.sync(make.source([make.file("new", "F")]))
    store.sync(make.source([make.file("new", "F"), make.file("next", "H")]))
    assert keys(store) == {1: "new", 3: "next"}


def test_a_copy_is_no_move(store: Store, make):
    store.sync(make.source([make.file("a", "F")]))
    report = store.sync(make.source([make.file("a", "F"), make.file("copy", "F")]))
    assert (report.moved, report.added) == (0, 1)
    assert keys(store) == {1: "a", 2: "copy"}


def test_copies_are_matched_by_name_first(store: Store, make):
    store.sync(make.source([make.file(f"x/{name}", "F") for name in ("a", "b", "c")]))
    moved = [make.file(f"y/{name}", "F") for name in ("c", "z", "b")]
    report = store.sync(make.source(moved))
    assert (report.moved, report.added, report.missing) == (3, 0, 0)
    assert keys(store) == {1: "y/z", 2: "y/b", 3: "y/c"}


def test_more_arrivals_than_losses(store: Store, make):
    store.sync(make.source([make.file("a", "F"), make.file("b", "F")]))
    report = store.sync(make.source([make.file("b", "F"), make.file("c", "F"), make.file("d", "F")]))
    assert (report.moved, report.added, report.missing) == (1, 1, 0)
    assert keys(store) == {1: "c", 2: "b", 4: "d"}


def test_more_losses_than_arrivals(store: Store, make):
    store.sync(make.source([make.file("a", "F"), make.file("b", "F"), make.file("c", "F")]))
    report = store.sync(make.source([make.file("z", "F")]))
    assert (report.moved, report.added, report.missing) == (1, 0, 2)
    assert keys(store) == {1: "z"}


def test_a_tensor_hash_has_the_last_word(store: Store, make):
    def file(key: str, autov3: str | None) -> object:
        return make.file(key, "F", hashes=Hashes(autov3=autov3))

    store.sync(make.source([file("a", "1" * 12), file("b", "2" * 12)]))
    report = store.sync(make.source([file("c", "2" * 12), file("d", "3" * 12)]))
    assert (report.moved, report.added, report.missing) == (1, 1, 1)
    assert keys(store) == {2: "c", 4: "d"}


def test_a_file_moved_between_folders_keeps_its_number(store: Store, make):
    store.sync(make.source([make.file("1/a", "F")], scope="/1"))
    store.sync(make.source([], scope="/1"))
    assert store.sync(make.source([make.file("2/a", "F")], scope="/2")).moved == 1
    assert keys(store) == {1: "2/a"}


def test_an_old_copy_is_not_merged_into_a_later_loss(store: Store, make, monkeypatch):
    monkeypatch.setattr("velatura.db.settle.os.path.lexists", lambda _: True)
    store.sync(make.source([make.file("a", "F")], scope="/1"))
    store.sync(make.source([make.file("b", "F")], scope="/2"))
    store.sync(make.source([], scope="/1"))
    assert store.sync(make.source([make.file("b", "F"), make.file("c", "G")], scope="/2")).moved == 0
    assert keys(store) == {2: "b", 3: "c"}


def test_pages_of_a_site_do_not_move(store: Store, make):
    def page(key: str) -> object:
        return make.entry(key, make.record(key, source="civitai", path=None, fingerprint="F"))

    store.sync(make.source([page("1/1/1")], name="civitai"))
    report = store.sync(make.source([page("2/2/2")], name="civitai"))
    assert (report.moved, report.missing, report.added) == (0, 1, 1)


def test_a_move_is_seen_although_the_run_was_cut_off(store: Store, make):
    old = [make.file(f"old/{i}", f"F{i}") for i in range(6)]
    new = [make.file(f"new/{i}", f"F{i}") for i in range(6)]
    store.sync(make.source(old))
    with pytest.raises(SourceError):
        store.sync(make.source([*new[:4], SourceUnavailable("gone")]), batch=2)
    report = store.sync(make.source(new), batch=2)
    assert (report.moved, report.added, report.missing) == (6, 0, 0)
    assert keys(store) == {number: f"new/{number - 1}" for number in range(1, 7)}


def test_a_thousand_equal_files_move_at_once(store: Store, make):
    store.sync(make.source([make.file(f"old/{i}", "F") for i in range(1000)]))
    report = store.sync(make.source([make.file(f"new/{i}", "F") for i in range(1000)]))
    assert report.moved == 1000
    assert keys(store) == {number: f"new/{number - 1}" for number in range(1, 1001)}


def test_a_move_in_an_overlapping_folder_is_not_undone_there(store: Store, make):
    before, after = make.file("sub/a", "F"), make.file("sub/b", "F")
    store.sync(make.source([before], scope="/adapters"))
    store.sync(make.source([before], scope="/adapters/sub"))
    assert store.sync(make.source([after], scope="/adapters")).moved == 1
    report = store.sync(make.source([after], scope="/adapters/sub"))
    assert (report.missing, report.added, report.moved) == (0, 0, 0)
    assert keys(store) == {1: "sub/b"}
    assert store.sync(make.source([after], scope="/adapters/sub")).unchanged == 1
