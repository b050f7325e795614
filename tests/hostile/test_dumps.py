"""Dumps that are too large, too deep, packed too tight, or no files: told in a sentence, and little is held of them."""

from __future__ import annotations

import gzip
import json
import os
import random
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from velatura.catalog import json_dump
from velatura.catalog.civitai import CivitaiDump
from velatura.catalog.huggingface import HuggingFaceDump
from velatura.protocols import Entry
from velatura.records import AdapterRecord, Rejection


def page(number: int, **fields: Any) -> dict[str, Any]:
    files = [{"id": number, "name": "fox.safetensors", "type": "Model"}]
    versions = [{"id": number, "name": "v1", "files": files}]
    return {"id": number, "name": f"Fox {number}", "type": "LORA", "modelVersions": versions, **fields}


def offered(path: Path) -> tuple[list[Entry], list[str]]:
    """What a dump offers, and the reasons of what it cannot."""
    found = list(CivitaiDump(path).entries())
    entries = [one for one in found if isinstance(one, Entry)]
    return entries, [one.reason for one in found if isinstance(one, Rejection)]


def repeated(path: Path, begin: bytes, piece: bytes, size: int, end: bytes) -> Path:
    block = piece * (2**20 // len(piece))
    with path.open("wb") as file:
        file.write(begin)
        for _ in range(size >> 20):
            file.write(block)
        file.write(end)
    return path


@pytest.fixture
def held() -> Iterator[dict[str, float]]:
    """Holds a test to seconds and megabytes, which it may change."""
    most = {"seconds": 20.0, "megabytes": 400.0}
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10, time.process_time()
    yield most
    assert time.process_time() - began < most["seconds"]
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10) - before < most["megabytes"]


@pytest.mark.parametrize(
    ("begin", "piece", "end"),
    [
        (b"[0", b",0", b"]"),
        (b"[[]", b",[]", b"]"),
        (b'[{"id": 1, "modelVersions": [[]', b",[]", b"]}]"),
        (b'{"items": [{}', b",{}", b"]}"),
        (b"", b"[", b""),
        (b'{"x": [0', b",0", b"]}"),
    ],
)
def test_more_values_than_any_page_has_are_refused(
    tmp_path: Path, held: dict[str, float], begin: bytes, piece: bytes, end: bytes
) -> None:
    entries, reasons = offered(repeated(tmp_path / "a.json", begin, piece, 30 << 20, end))
    assert not entries
    assert reasons
    assert all(len(reason) < 200 and reason.isprintable() for reason in reasons)


def test_a_list_without_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("velatura.catalog.civitai.MOST_BROKEN", 50)
    monkeypatch.setattr("velatura.catalog.huggingface.MOST_BROKEN", 50)
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"{}\n" * 5000 + json.dumps(page(1)).encode())
    for source in (CivitaiDump(path), HuggingFaceDump(path)):
        told = list(source.entries())
        assert len(told) == 51
        assert isinstance(told[-1], Rejection)
        assert "the rest of it is not read" in told[-1].reason
        assert not source.complete


@pytest.mark.parametrize("seed", range(3))
def test_a_large_list_comes_item_by_item_as_it_would_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    draw = random.Random(seed)
    texts = ["é" * draw.randrange(30_000) for _ in range(200)]
    pages = [page(n, description=text, poi=draw.choice([None, 1.5, "🦊"])) for n, text in enumerate(texts, 1)]
    path = tmp_path / "a.json"
    text = json.dumps({"items": pages} if seed else pages, ensure_ascii=False, indent=draw.choice([None, 2]))
    path.write_bytes(b"\xef\xbb\xbf" * (seed == 2) + text.encode())
    whole, _ = offered(path)
    monkeypatch.setattr(json_dump, "HELD", 100_000)
    streamed, reasons = offered(path)
    assert not reasons
    assert [one.locator for one in streamed] == [one.locator for one in whole]
    assert [one.stamp for one in streamed] == [one.stamp for one in whole]
    path.write_bytes(text.encode()[: len(text) // 2])
    torn, reasons = offered(path)
    assert 0 < len(torn) < len(whole)
    assert len(reasons) == 1
    assert "torn off" in reasons[0]


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.json.gz"])
def test_a_bomb_is_not_unpacked(
    tmp_path: Path, held: dict[str, float], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(json_dump, "_LEAST_ROOM", 2**20)
    bomb = gzip.compress(gzip.compress(b"")[:0] + b"[" + b" " * (60 << 20), 9)
    assert len(bomb) < 70_000
    (tmp_path / name).write_bytes(gzip.compress(json.dumps(page(1)).encode() + b"\n") + bomb)
    entries, reasons = offered(tmp_path / name)
    assert len(entries) <= 1
    assert any("unpacks to more than 100 times its size" in reason for reason in reasons)


def test_a_card_of_fifty_megabytes_is_read_in_part(tmp_path: Path, held: dict[str, float]) -> None:
    path = repeated(
        tmp_path / "a.jsonl", json.dumps(page(1)).encode()[:-1] + b', "description": "',
        b"<p>fox &amp; weight 0.8 [a](b) <b>x</b></p>", 50 << 20, b'"}\n',
    )  # fmt: skip
    (entry,), reasons = offered(path)
    assert not reasons
    (record,) = entry.read()
    assert isinstance(record, AdapterRecord)
    assert record.description is not None
    assert len(record.description) <= 20_000
    assert record.description.startswith("fox & weight 0.8")


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jsonl")
    (tmp_path / "b.json").symlink_to("/dev/zero")
    (tmp_path / "c.json").symlink_to("c.json")
    (tmp_path / "d.json").symlink_to("/etc/passwd")
    (tmp_path / "e.json").mkdir()
    entries, reasons = offered(tmp_path)
    assert not entries
    assert reasons[:2] == ["is no file", "is no file"]
    assert len(reasons) == 4
    assert not any("x:0:0" in reason for reason in reasons), "what a link leads to is not told"


@pytest.mark.parametrize(
    ("changed", "into"),
    [
        ('"poi": 1', '"poi": ' + "9" * 10_000),
        ('"poi": 1', '"poi": NaN, "nsfwLevel": Infinity, "minor": -Infinity, "x": 1e999'),
        ('"poi": 1', '"id": 9, "name": "\\ud800 twice"'),
        ('"poi": 1', '"poi": ' + "[" * 400 + "]" * 400),
        ('"poi": 1', '"tags": ["\\ud83d", "\\u0000", "\\u202e"], "description": "&#' + "1" * 9000 + ';"'),
    ],
)
def test_odd_json_costs_no_page(tmp_path: Path, changed: str, into: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(page(1, poi=1)).replace(changed, into) + "\n" + json.dumps(page(2)))
    entries, reasons = offered(path)
    assert len(entries) == 2
    assert not reasons
    for entry in entries:
        (record,) = entry.read()
        assert isinstance(record, AdapterRecord)
        json.dumps(record.title).encode("utf-8")
        record.title.encode()
