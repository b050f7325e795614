"""What the hub keeps is told from what lies on this machine by its name, and what it does not give is one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from velatura.errors import InputError
from velatura.generation.hub import HUB_FILE, HUB_ID, hub_file, hub_folder, json_object


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("owner/name/a.safetensors", ("owner/name", "a.safetensors")),
        ("h94/IP-Adapter/models/ip-adapter_sd15.safetensors", ("h94/IP-Adapter", "models/ip-adapter_sd15.safetensors")),
        ("owner/name/my best model (1).safetensors", ("owner/name", "my best model (1).safetensors")),
        ("owner/name/a.ckpt", None),
        ("owner/name", None),
        ("owner/name/../../a.safetensors", None),
        ("owner/name/sub/../a.safetensors", None),
        ("owner/name//a.safetensors", None),
        ("owner/name/a\\b.safetensors", None),
        ("/home/name/a.safetensors", None),
        ("../name/a.safetensors", None),
        ("~/name/a.safetensors", None),
    ],
)
def test_a_file_on_the_hub_is_told_by_its_name(name: str, parts: tuple[str, str] | None) -> None:
    found = HUB_FILE.fullmatch(name)
    assert (found and (found["repository"], found["file"])) == parts


def test_a_repository_is_an_owner_and_a_name() -> None:
    assert HUB_ID.fullmatch("stable-diffusion-v1-5/stable-diffusion-v1-5")
    assert not any(map(HUB_ID.fullmatch, ("name", "a/b/c", "../b", "/a", "a /b", "a/")))


def test_what_is_nowhere_is_one_sentence() -> None:
    rest = (
        r" is not on this machine and the hub does not give it \(\w+\); download it where there is a network, or name"
    )
    with pytest.raises(InputError, match=f"^nobody/nothing/a.safetensors{rest}"):
        hub_file("nobody/nothing", "a.safetensors", local_files_only=True)
    with pytest.raises(InputError, match=f"^nobody/nothing{rest}"):
        hub_folder("nobody/nothing", ["config.json"], local_files_only=True)


@pytest.mark.parametrize("content", ["[1]", "null", "{", "[" * 99_999, '{"a": "' + "x" * 1_000_000 + '"}'])
def test_what_holds_no_object_gives_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(content)
    assert json_object(path) is None
    path.write_bytes(b"\xff\xfe\xfd")
    assert json_object(path) is None
    path.write_text('{"a": 1}')
    assert json_object(path) == {"a": 1}
