"""Readers go on while a writer works, and writers wait for each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from catalogue_writers import at_once, sync, write, write_everything

from velatura.db import full_text, open_store
from velatura.records import Filter

pytestmark = pytest.mark.usefixtures("every_step")

FILES = 60


def test_readers_see_the_last_whole_batch(target: str | Path, make, monkeypatch: pytest.MonkeyPatch):
    seen: list[int] = []
    insert: Callable[..., None] = full_text.insert
    with open_store(target) as store, open_store(target, read_only=True) as reader:

        def look_before_it_is_kept(connection: object, rows: list[tuple[int, tuple[str, ...]]]) -> None:
            insert(connection, rows)
            assert len(reader.select(Filter())) == reader.stats().files == len(reader.adapters(range(1, 999)))
            assert len(reader.mentions(["title"], 999)["title"]) == reader.stats().files
            seen.append(reader.stats().files)

        monkeypatch.setattr(full_text, "insert", look_before_it_is_kept)
        store.sync(make.source([make.file(f"{i}") for i in range(50)]), batch=10)
    assert seen == [0, 10, 20, 30, 40]


def test_two_processes_may_read_the_same_source_at_once(target: str | Path, another, rows):
    alone = another()
    sync(alone, "/adapters", 0, FILES)
    assert at_once(sync, *2 * [(target, "/adapters", 0, FILES)]) == [0, 0]
    assert rows(target, numbers=False) == rows(alone, numbers=False)


def test_two_processes_may_read_different_sources_at_once(target: str | Path):
    assert at_once(sync, *((target, scope, 0, FILES) for scope in ("/adapters", "/adapters/sub"))) == [0, 0]
    with open_store(target) as store:
        assert store.stats().files == FILES
        assert store.rejections() == []


def test_many_processes_that_write_lose_and_double_nothing(target: str | Path, another, rows):
    names = ("a", "b", "c", "d")
    assert at_once(write_everything, *((target, name) for name in names)) == [0, 0, 0, 0]
    alone = another()
    with open_store(alone) as store:
        for name in names:
            write(store, name)
    written = rows(target, numbers=False)
    assert written == rows(alone, numbers=False)
    assert {table: len(written[table]) for table in ("adapter", "rejection", "reply", "embedding", "passage")} == {
        "adapter": 16, "rejection": 2, "reply": 16, "embedding": 17, "passage": 32,
    }  # fmt: skip
