from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from velatura.catalog import json_dump
from velatura.catalog.civitai import CivitaiDump
from velatura.errors import InputError
from velatura.protocols import Entry
from velatura.records import AdapterRecord, Rejection


def page(number: int, **changes: Any) -> dict[str, Any]:
    version = {
        "id": number * 10,
        "files": [{"id": number * 100, "name": f"a{number}.safetensors", "type": "Model"}],
    }
    return {"id": number, "name": f"Adapter {number}", "type": "LORA", "modelVersions": [version], **changes}


def lines(pages: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(item).encode() + b"\n" for item in pages)


def entries(source: CivitaiDump) -> list[Entry]:
    return [offered for offered in source.entries() if isinstance(offered, Entry)]


def rejections(source: CivitaiDump) -> list[Rejection]:
    return [offered for offered in source.entries() if isinstance(offered, Rejection)]


def found(source: CivitaiDump) -> list[int]:
    records = [record for entry in entries(source) for record in entry.read()]
    return [record.model_id for record in records if isinstance(record, AdapterRecord)]  # type: ignore[misc]


THREE = [page(1), page(2), page(3)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("pages.jsonl", lines(THREE)),
        ("pages.ndjson", b"\n\n" + lines(THREE).replace(b"\n", b"\r\n\n")),
        ("pages.json", lines(THREE)),
        ("list.json", json.dumps(THREE).encode()),
        ("list.json", json.dumps(THREE, indent=2).encode()),
        ("page.json", json.dumps({"items": THREE, "metadata": {"nextCursor": "x"}}).encode()),
        ("page.json", json.dumps({"metadata": {}, "items": THREE}, indent=1).encode()),
        ("pages.jsonl", lines([{"items": THREE[:2]}, {"metadata": {}, "items": THREE[2:]}])),
        ("bom.json", b"\xef\xbb\xbf" + json.dumps(THREE).encode()),
        ("utf16.json", json.dumps(THREE).encode("utf-16")),
        ("pages.jsonl.gz", gzip.compress(lines(THREE), mtime=0)),
        ("no-extension-of-gzip.jsonl", gzip.compress(lines(THREE), mtime=0)),
        ("list.json.gz", gzip.compress(json.dumps(THREE).encode(), mtime=0)),
    ],
)
def test_every_form_of_dump_gives_the_same_models(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    source = CivitaiDump(tmp_path / name)
    assert found(source) == [1, 2, 3]
    assert [entry.locator for entry in entries(source)] == ["civitai:1", "civitai:2", "civitai:3"]
    assert (source.name, source.scope, source.complete) == ("civitai", str(tmp_path / name), True)


def test_a_folder_is_read_to_its_depth_and_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "b" / "c").mkdir(parents=True)
    (tmp_path / "b" / "c" / "3.json").write_text(json.dumps(page(3), indent=1))
    (tmp_path / "b" / "2.json").write_text(json.dumps(page(2)))
    (tmp_path / "1.jsonl.gz").write_bytes(gzip.compress(lines([page(1)])))
    (tmp_path / "notes.txt").write_text("not JSON")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert sorted(found(CivitaiDump(tmp_path))) == [1, 2, 3]
    assert rejections(CivitaiDump(tmp_path)) == []


def test_single_models_and_versions_are_pages_of_their_own(tmp_path: Path) -> None:
    version = page(5)["modelVersions"][0] | {"modelId": 5, "model": {"name": "Five", "type": "LORA"}}
    other = version | {"id": 51}
    (tmp_path / "dump.jsonl").write_bytes(lines([version, other, page(6)]))
    offered = entries(CivitaiDump(tmp_path / "dump.jsonl"))
    assert [entry.locator for entry in offered] == ["civitai:5@50", "civitai:5@51", "civitai:6"]
    assert found(CivitaiDump(tmp_path / "dump.jsonl")) == [5, 5, 6]


def test_a_broken_line_costs_itself_alone_and_says_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "pages.jsonl"
    broken = [b'{"id": 9, "name": "cut off', b"not json at all", b'{"no": "page"}', b"null", b"[" * 100_000, b"7"]
    path.write_bytes(lines([page(1)]) + b"\n".join(broken) + b"\n" + lines([page(2)]))
    source = CivitaiDump(path)
    assert found(source) == [1, 2]
    refused = rejections(source)
    assert [item.locator for item in refused] == [f"{path}:{number}" for number in (2, 3, 4, 5, 6, 7)]
    assert all(item.reason and "\n" not in item.reason and "Traceback" not in item.reason for item in refused)
    assert not source.complete


def test_a_line_that_breaks_after_its_id_is_refused_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pages.jsonl"
    path.write_bytes(json.dumps(page(1)).encode()[:-3] + b"\n" + lines([page(2)]))
    first, second = entries(CivitaiDump(path))
    with pytest.raises(InputError, match=r"pages\.jsonl:1: not JSON"):
        first.read()
    assert len(second.read()) == 1


def test_a_list_that_breaks_gives_what_stands_before(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    for content in (
        json.dumps(THREE)[:-40],
        json.dumps({"items": THREE})[:-40],
        json.dumps(THREE[:2])[:-1] + ", {nonsense",
    ):
        path.write_text(content)
        source = CivitaiDump(path)
        assert found(source) == [1, 2]
        assert [item.locator for item in rejections(source)] == [f"{path}#3"]
        assert not source.complete


def test_json_lines_under_another_name_survive_a_broken_first_line(tmp_path: Path) -> None:
    path = tmp_path / "pages.json"
    path.write_bytes(b'{"id": broken\n' + lines(THREE))
    assert found(CivitaiDump(path)) == [1, 2, 3]
    assert [item.locator for item in rejections(CivitaiDump(path))] == [f"{path}:1"]


def test_a_torn_archive_gives_what_came_before_the_tear(tmp_path: Path) -> None:
    path = tmp_path / "pages.jsonl.gz"
    whole = gzip.compress(lines(page(n, description=f"{n * 7919 % 10007} " * 50) for n in range(1, 500)))
    path.write_bytes(whole[: len(whole) // 2])
    source = CivitaiDump(path)
    models = found(source)
    assert 50 < len(models) < 499
    assert models == list(range(1, len(models) + 1))
    (refused,) = rejections(source)
    assert "torn" in refused.reason
    assert not source.complete
    path.write_bytes(b"\x1f\x8b" + b"nonsense" * 100)
    assert found(CivitaiDump(path)) == []
    assert len(rejections(CivitaiDump(path))) == 1


def test_an_endless_line_is_skipped_without_being_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_dump, "LINE_LIMIT", 2_000)
    path = tmp_path / "pages.jsonl"
    path.write_bytes(lines([page(1)]) + b'{"id": 2, "name": "' + b"x" * 3_000_000 + b'"}\n' + lines([page(3)]))
    source = CivitaiDump(path)
    assert found(source) == [1, 3]
    assert [item.locator for item in rejections(source)] == [f"{path}:2"]


def test_wrong_bytes_and_endless_numbers_are_no_reason_to_refuse(tmp_path: Path) -> None:
    path = tmp_path / "pages.jsonl"
    odd = json.dumps(page(1)).encode().replace(b"Adapter", b"Adap\xff\xfeter")
    huge = json.dumps(page(2, poi="@")).encode().replace(b'"@"', b"1" * 10_000)
    path.write_bytes(odd + b"\n" + huge + b"\n")
    titles = [record.title for entry in entries(CivitaiDump(path)) for record in entry.read()]  # type: ignore[union-attr]
    assert titles == ["Adap\ufffd\ufffdter 1", "Adapter 2"]


def test_stamps_change_with_the_bytes_and_only_with_them(tmp_path: Path) -> None:
    path = tmp_path / "pages.jsonl"
    path.write_bytes(lines(THREE))
    before = {entry.locator: entry.stamp for entry in entries(CivitaiDump(path))}
    path.write_bytes(lines([page(2, name="New"), page(1), page(3)]))
    after = {entry.locator: entry.stamp for entry in entries(CivitaiDump(path))}
    assert {locator for locator in before if before[locator] != after[locator]} == {"civitai:2"}


def test_a_model_that_stands_twice_is_offered_once(tmp_path: Path) -> None:
    path = tmp_path / "pages.jsonl"
    path.write_bytes(lines([page(1), page(2), page(1)]))
    assert found(CivitaiDump(path)) == [1, 2]
    assert rejections(CivitaiDump(path)) == []
    path.write_bytes(lines([page(1), page(1, name="Other")]))
    source = CivitaiDump(path)
    assert found(source) == [1]
    (refused,) = rejections(source)
    assert refused.locator == f"{path}:2"
    assert "civitai:1" in refused.reason


def test_nothing_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        CivitaiDump(tmp_path / "missing.json")
    with pytest.raises(InputError, match="does not exist"):
        CivitaiDump("x" * 5_000)
    (tmp_path / "empty.jsonl").touch()
    assert [item.reason for item in rejections(CivitaiDump(tmp_path))] == ["is empty"]
    (tmp_path / "empty.jsonl").unlink()
    assert len(rejections(CivitaiDump(tmp_path))) == 1


def test_unchanged_lines_are_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pages.jsonl"
    path.write_bytes(lines(THREE))

    def refuse(raw: bytes, where: str) -> None:
        raise AssertionError(f"{where} was parsed")

    source = CivitaiDump(path)
    monkeypatch.setattr(json_dump, "parse", refuse)
    assert len(entries(source)) == 3


@pytest.mark.real_data
def test_every_model_of_the_real_dump_is_read(real_data: Path) -> None:
    source = CivitaiDump(real_data / "civitai" / "models.jsonl.gz")
    results = [result for entry in source.entries() if isinstance(entry, Entry) for result in entry.read()]
    records = [result for result in results if isinstance(result, AdapterRecord)]
    refused = [result for result in results if isinstance(result, Rejection)]
    assert len({record.model_id for record in records}) == 4_253
    assert len({record.version_id for record in records}) == 6_406
    assert len(records) == len({record.key for record in records}) == 6_433
    assert [item.reason for item in refused] == ["no adapter among its files: Training Data"]
    assert sum(bool(record.weights) for record in records) > 4_000
    assert sum("patreon" in (record.description or "").lower() for record in records) < 10
    assert not any(
        "<" in phrase for record in records for group in record.triggers for phrase in group if ">" in phrase[1:]
    )
