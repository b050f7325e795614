"""Readers go on while a writer works, and writers wait for each other."""

from __future__ import annotations

import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from velatura.db import full_text, open_store
from velatura.records import Filter

pytestmark = pytest.mark.usefixtures("every_step")

SCRIPT = Path(__file__).with_name("sync_process.py")
WRITES = Path(__file__).with_name("write_process.py")


def sync_at_once(target: str | Path, *scopes: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, SCRIPT, target, scope, "0", "300"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for scope in scopes
    ]
    for process in processes:
        output, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
        assert "SyncReport" in output


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
    sync_at_once(alone, "/adapters")
    sync_at_once(target, "/adapters", "/adapters")
    assert rows(target, numbers=False) == rows(alone, numbers=False)


def test_two_processes_may_read_different_sources_at_once(target: str | Path):
    sync_at_once(target, "/adapters", "/adapters/sub")
    with open_store(target) as store:
        assert store.stats().files == 300
        assert store.rejections() == []


def test_many_processes_that_write_lose_and_double_nothing(target: str | Path, another, rows):
    names = ("a", "b", "c", "d")
    processes = [subprocess.Popen([sys.executable, WRITES, target, name], stderr=subprocess.PIPE) for name in names]
    assert [process.communicate(timeout=120)[1] for process in processes] == [b""] * len(names)
    alone = another()
    with open_store(alone) as store:
        for name in names:
            runpy.run_path(str(WRITES))["work"](store, name)
    written = rows(target, numbers=False)
    assert written == rows(alone, numbers=False)
    assert {table: len(written[table]) for table in ("adapter", "rejection", "reply", "embedding", "passage")} == {
        "adapter": 40, "rejection": 2, "reply": 40, "embedding": 41, "passage": 80,
    }  # fmt: skip
