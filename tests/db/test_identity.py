"""Which files are the same thing, and where a page's file lies."""

from __future__ import annotations

import hashlib

import pytest

from velatura.db import Store
from velatura.records import Hashes

EMPTY = hashlib.sha256(b"").hexdigest()


def groups(store: Store) -> list[tuple[str, tuple[int, ...]]]:
    return [(group.why, group.adapters) for group in store.duplicates()]


def fill(store: Store, make, *cards: dict[str, object]) -> None:
    store.sync(make.source([make.file(f"{n}", stamp=repr(card), **card) for n, card in enumerate(cards, start=1)]))


def test_every_reason_surest_first(store: Store, make):
    fill(
        store,
        make,
        {"model_id": 1, "version_id": 1},
        {"model_id": 1, "version_id": 2},
        {"fingerprint": "F"},
        {"fingerprint": "F", "hashes": Hashes(autov3="aa")},
        {"hashes": Hashes(autov3="bb", sha256="11")},
        {"hashes": Hashes(autov3="bb", sha256="22")},
        {"hashes": Hashes(sha256="22")},
        {"title": "alone"},
    )
    assert groups(store) == [
        ("same file", (6, 7)),
        ("same tensors", (5, 6)),
        ("probably the same tensors", (3, 4)),
        ("other version of the same model", (1, 2)),
    ]


def test_a_group_is_told_once_for_its_surest_reason(store: Store, make):
    same = {"hashes": Hashes(sha256="11", autov3="aa"), "fingerprint": "F", "model_id": 1}
    fill(store, make, {**same, "version_id": 1}, {**same, "version_id": 2}, {"fingerprint": "F"})
    assert groups(store) == [("same file", (1, 2)), ("probably the same tensors", (1, 2, 3))]


def test_tensor_hashes_overrule_fingerprints(store: Store, make):
    fill(
        store,
        make,
        {"fingerprint": "F", "hashes": Hashes(autov3="aa")},
        {"fingerprint": "F", "hashes": Hashes(autov3="bb")},
    )
    assert groups(store) == []


@pytest.mark.parametrize("bogus", [EMPTY, EMPTY[:12], EMPTY[:10].upper(), ""])
def test_the_hash_of_nothing_makes_no_duplicates(store: Store, make, bogus: str):
    hashes = Hashes(sha256=bogus, autov2=bogus, autov3=bogus)
    fill(store, make, {"hashes": hashes}, {"hashes": hashes})
    assert groups(store) == []
    assert store.installed(make.record("x", path=None, hashes=hashes)) is None


def test_files_of_one_version_are_no_duplicates(store: Store, make):
    fill(store, make, {"model_id": 1, "version_id": 1}, {"model_id": 1, "version_id": 1})
    assert groups(store) == []


def test_sources_are_linked_not_doubled_and_missing_files_do_not_count(store: Store, make):
    hashes = Hashes(sha256="11")
    fill(store, make, {"hashes": hashes}, {"hashes": hashes})
    page = make.entry("5", make.record("5/6/7", source="civitai", path=None, hashes=hashes))
    store.sync(make.source([page], name="civitai"))
    assert groups(store) == [("same file", (1, 2))]
    assert store.installed(store.adapter(3).record) == "/adapters/1"
    fill(store, make, {"title": "changed"}, {"hashes": hashes})
    assert groups(store) == []
    assert store.installed(store.adapter(3).record) == "/adapters/2"
    store.sync(make.source([]))
    assert store.installed(store.adapter(3).record) is None


def test_a_file_is_found_by_any_of_its_hashes(store: Store, make):
    fill(store, make, {"hashes": Hashes(sha256="ab" * 32, autov3="cd" * 6), "model_id": 1, "version_id": 2})

    def located(**fields: object) -> str | None:
        return store.installed(make.record("x", source="civitai", path=None, **fields))

    assert located(hashes=Hashes(sha256="AB" * 32)) == "/adapters/1"
    assert located(hashes=Hashes(autov2="ab" * 5)) == "/adapters/1"
    assert located(hashes=Hashes(autov3="cd" * 6)) == "/adapters/1"
    assert located(model_id=1, version_id=2) == "/adapters/1"
    assert located(model_id=3, version_id=2) is None
    # Of the same version, but both hashes are known and differ: another file.
    assert located(hashes=Hashes(sha256="ef" * 32), model_id=1, version_id=2) is None
    assert store.installed(make.record("x", path="/elsewhere")) == "/elsewhere"


def test_what_tells_adapters_apart_is_read_without_their_records(store: Store, make):
    fill(
        store,
        make,
        {"title": "One", "downloads": 3, "path": "/a"},
        {"title": "Two", "hashes": Hashes(sha256="AB" * 32)},
    )
    found = store.identities([2, 1, 99])
    assert sorted(found) == [1, 2]
    assert (found[1].title, found[1].path, found[1].downloads, found[1].sha256) == ("One", "/a", 3, None)
    assert (found[2].sha256, found[2].autov2) == ("ab" * 32, "ab" * 5)
    assert not found[1].is_same_file(found[2])
    assert not found[1].is_same_file(found[1]), "nothing known is nothing shared"
    assert found[2].is_same_file(found[2])
