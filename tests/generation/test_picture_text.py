"""Texts of JPEG and WebP pictures are found where A1111 and ComfyUI put them."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from velatura.generation.picture_text import read_texts

WANTED = ("parameters", "prompt", "workflow")
TEXT = "a fox, 狐\nSteps: 20, Seed: 1, Size: 8x8"


def saved(path: Path, comment: bytes | None = None, tags: dict[int, str] | None = None) -> Path:
    picture = Image.new("RGB", (8, 8))
    exif = picture.getexif()
    for tag, text in (tags or {}).items():
        exif[tag] = text
    if comment is not None:
        exif.get_ifd(0x8769)[0x9286] = comment
    picture.save(path, exif=exif)
    return path


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + TEXT.encode("utf-16-be"),
        b"UNICODE\0" + TEXT.encode("utf-16-le"),
        b"ASCII\0\0\0" + TEXT.encode(),
        b"\0" * 8 + TEXT.encode(),
        TEXT.encode(),
    ],
)
def test_a_comment_is_read_in_every_spelling(tmp_path: Path, suffix: str, comment: bytes) -> None:
    assert read_texts(saved(tmp_path / f"x.{suffix}", comment), WANTED) == {"parameters": TEXT}


def test_comfyuis_webp_tells_its_workflow(tmp_path: Path) -> None:
    tags = {0x0110: 'prompt:{"1": {}}', 0x010F: 'workflow:{"nodes": []}', 0x010E: "made: by hand", 0x0131: "Photo: 1"}
    path = saved(tmp_path / "x.webp", tags=tags)
    assert read_texts(path, WANTED) == {"prompt": '{"1": {}}', "workflow": '{"nodes": []}'}
    assert read_texts(path, ("parameters",)) == {}
