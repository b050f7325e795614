from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

import velatura.catalog
from velatura.catalog import CivitaiDump, CivitaiLive, FolderSource, HuggingFaceDump, HuggingFaceLive, open_source
from velatura.errors import InputError

CIVITAI = {"id": 1, "name": "Fox", "type": "LORA", "modelVersions": []}
HUGGING_FACE = {"id": "a/b", "tags": ["lora"], "siblings": []}


def test_the_sites_are_words() -> None:
    live = open_source("civitai", resume_from="cursor")
    assert isinstance(live, CivitaiLive)
    assert isinstance(open_source("huggingface"), HuggingFaceLive)
    assert isinstance(open_source("civitai", kind="civitai"), CivitaiLive)


def test_a_folder_with_an_adapter_is_a_folder_whatever_else_lies_there(tmp_path: Path) -> None:
    (tmp_path / "a.civitai.json").write_text(json.dumps(CIVITAI))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.SafeTensors").touch()
    assert isinstance(open_source(tmp_path), FolderSource)


def test_an_empty_folder_is_a_folder_and_one_of_json_a_dump(tmp_path: Path) -> None:
    assert isinstance(open_source(tmp_path), FolderSource)
    (tmp_path / "0.json").write_text("broken")
    (tmp_path / "1.json").write_text(json.dumps(CIVITAI))
    assert isinstance(open_source(tmp_path), CivitaiDump)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.json", json.dumps(CIVITAI).encode(), CivitaiDump),
        ("a.json", json.dumps({"items": [CIVITAI]}).encode(), CivitaiDump),
        ("a.jsonl.gz", gzip.compress(json.dumps(CIVITAI).encode(), mtime=0), CivitaiDump),
        ("a.json", json.dumps({"id": 7, "modelId": 8, "files": []}).encode(), CivitaiDump),
        ("a.json", json.dumps([HUGGING_FACE]).encode(), HuggingFaceDump),
        ("a.jsonl", b"broken\n" + json.dumps(HUGGING_FACE).encode(), HuggingFaceDump),
    ],
)
def test_a_dump_is_known_by_its_first_item(tmp_path: Path, name: str, content: bytes, expected: type) -> None:
    (tmp_path / name).write_bytes(content)
    assert type(open_source(tmp_path / name)) is expected
    assert type(open_source(str(tmp_path / name))) is expected


def test_the_kind_decides_where_it_is_given(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(HUGGING_FACE))
    assert isinstance(open_source(tmp_path / "a.json", kind="civitai"), CivitaiDump)
    assert isinstance(open_source(tmp_path, kind="folder"), FolderSource)
    with pytest.raises(InputError, match="folder, civitai, huggingface"):
        open_source(tmp_path, kind="tensorhub")


def test_nothing_of_the_kind_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / "fox.safetensors").touch()
    (tmp_path / "other.json").write_text('{"name": "package", "version": "1"}')
    for what, words in (
        ("missing", "no file or folder"),
        ("x" * 5_000, "no file or folder"),
        ("nul\0byte", "no file or folder"),
        ("a.txt", "neither a folder nor a dump"),
        ("other.json", "neither a folder nor a dump"),
        ("fox.safetensors", "one adapter"),
    ):
        with pytest.raises(InputError, match=words) as refused:
            open_source(str(tmp_path / what))
        assert "\n" not in str(refused.value)


def test_every_public_name_is_there_and_the_import_is_light() -> None:
    assert all(hasattr(velatura.catalog, name) for name in velatura.catalog.__all__)
    with pytest.raises(AttributeError):
        velatura.catalog.missing  # noqa: B018
    heavy = "{'requests', 'huggingface_hub', 'torch', 'numpy', 'sqlalchemy', 'safetensors'}"
    code = f"import sys, velatura.catalog; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
