"""Picture files that lie, and what is made of honest ones."""

from __future__ import annotations

import hashlib
import io
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_networks import noise

from velatura.errors import InputError, UnreadableFile
from velatura.eval.extract import pictures
from velatura.eval.extract.pictures import decode_picture, open_sample, read_picture_file
from velatura.eval.records import Sample


def encoded(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header promises more pixels than anybody has memory for."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_the_three_formats_are_read_as_rgb(kind):
    picture = decode_picture(encoded(noise(20, 10), kind), "x")
    assert picture.mode == "RGB"
    assert picture.size == (20, 10)


def test_what_is_transparent_becomes_white():
    clear = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    clear.putpixel((1, 0), (0, 0, 255, 255))
    assert np.asarray(decode_picture(encoded(clear), "x")).tolist() == [[[255, 255, 255], [0, 0, 255]]]


def test_grey_of_16_bits_is_scaled_and_not_cut_off():
    deep = Image.fromarray(np.array([[0, 32768, 65535]], np.uint16))
    assert np.asarray(decode_picture(encoded(deep), "x"))[0, :, 0].tolist() == [0, 128, 255]


def test_a_picture_lies_as_its_exif_says():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode_picture(encoded(noise(20, 10), "JPEG", exif=exif), "x").size == (10, 20)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no PNG, JPEG or WebP"),
        (b"GIF89a" + bytes(40), "no PNG, JPEG or WebP"),
        (bomb(60_000, 60_000), "more than 100,000,000 pixels"),
        (bomb(10_001, 10_000), "more than 100,000,000 pixels"),
        (bomb(9_000, 9_000), "damaged"),
        (encoded(noise(64, 64), "JPEG")[:300], "damaged"),
        (b"\xff\xd8" + b"\xff\xda" * 300, "more than 200 scans"),
    ],
)
def test_a_file_that_lies_is_refused_in_one_sentence(content, why):
    with pytest.raises(UnreadableFile, match=why) as caught:
        decode_picture(content, "odd.png")
    assert "odd.png" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_the_manifest_does_not_tell_of_is_refused(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(noise(8, 8)))
    told = hashlib.sha256(path.read_bytes()).hexdigest()
    sample = Sample(prompt_id="p", prompt="a fox", method="m", image=str(path), sha256=told.upper())
    assert open_sample(sample).size == (8, 8)
    path.write_bytes(encoded(noise(8, 8, seed=1)))
    with pytest.raises(InputError, match="not the picture that the manifest tells of"):
        open_sample(sample)


@pytest.mark.parametrize("name", ["nowhere.png", "nul\0.png", "."])
def test_what_is_no_file_is_refused(tmp_path, name):
    with pytest.raises(InputError):
        read_picture_file(f"{tmp_path}/{name}")


def test_a_file_that_is_too_large_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "MOST_BYTES", 1000)
    (tmp_path / "a.png").write_bytes(bytes(2000))
    with pytest.raises(UnreadableFile, match="larger than"):
        read_picture_file(tmp_path / "a.png")


def test_threads_that_decode_leave_the_filters_of_warnings_as_they_were(tmp_path):
    content = encoded(noise(64, 64))
    before = list(warnings.filters)

    def decode() -> None:
        for _ in range(20):
            decode_picture(content, "x")

    threads = [threading.Thread(target=decode) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


def test_a_path_may_be_a_path(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(encoded(noise(8, 8)))
    assert read_picture_file(tmp_path / "a.png").decode().size == (8, 8)
