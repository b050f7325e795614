"""Adapters are found by what people call them."""

from __future__ import annotations

from pathlib import Path

import pytest

from velatura.db import Store
from velatura.records import Hashes

SHA = "0123456789abcdef" * 4


@pytest.fixture
def filled(store: Store, make) -> Store:
    site = {"source": "civitai", "path": None}
    records = [
        make.record(
            "10/20/30",
            title="Detail Tweaker (细节)",
            model_id=10,
            version_id=20,
            file_name="add_detail.safetensors",
            hashes=Hashes(sha256=SHA),
            **site,
        ),
        make.record(
            "10/21/31",
            title="Detail Tweaker (细节)",
            model_id=10,
            version_id=21,
            file_name="Add_Detail_v2.safetensors",
            hashes=Hashes(autov2="abcdef0123"),
            **site,
        ),
        make.record(
            "sub/ink.v2.safetensors",
            title="Ink",
            model_id=10,
            version_id=20,
            file_name="ink.v2.safetensors",
            hashes=Hashes(autov3="00ff00ff00ff"),
        ),
        make.record("me/repo", source="huggingface", model_id="me/repo", version_id="main", path=None),
        make.record("4/3/2", title="1", model_id=4, version_id=3, file_name=None, **site),
    ]
    store.sync(make.source([make.entry(record.key, record) for record in records]))
    return store


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("2", [2]),
        ("1", [1, 5]),  # the number, then the title
        ("3", [3, 5]),  # the number, then the version
        ("/adapters/sub/ink.v2.safetensors", [3]),
        ("/adapters/sub/../sub/nothing", []),
        ("10@20", [3, 1]),  # what lies on this machine comes first
        ("civitai:10@20", [1, 3]),
        ("urn:air:sdxl:lora:civitai:10@20", [1, 3]),
        ("urn:air:sd1:lora:civitai:10@21+31", [2]),
        ("me/repo@main", [4]),
        ("huggingface:10@20", [3]),
        ("10@99", []),
        ("add_detail.safetensors", [1]),
        ("ADD_DETAIL", [1]),
        ("ink.v2", [3]),
        ("ink", [3]),  # the title
        (SHA, [1]),
        (SHA[:8].upper(), [1]),
        ("0x" + SHA[:12], [1]),
        (SHA[:7], []),
        ("abcdef01", [2]),
        ("abcdef0123" + "5" * 54, [2]),
        ("00ff00ff00ff", [3]),
        ("21", [2]),
        ("10", [3, 1, 2]),
        ("me/repo", [4]),
        ("detail tweaker (细节)", [1, 2]),
        ("nothing of the kind", []),
        ("", []),
        (" \0 ", []),
        ("%", []),
        ("9" * 5000, []),
        ("@", []),
        ("\udcff", []),
        ("~nobody/x", []),
    ],
)
def test_a_name_means(filled: Store, text: str, numbers: list[int]):
    assert filled.find(text) == numbers


def test_a_path_is_understood_from_where_one_stands(store: Store, make, tmp_path: Path, monkeypatch):
    store.sync(make.source([make.file("a", path=str(tmp_path / "a.safetensors"), file_name=None)]))
    monkeypatch.chdir(tmp_path)
    assert store.find("a.safetensors") == [1]
