"""A picture is read as it is meant, and a hostile file costs one sentence."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from velatura.errors import InputError, UnreadableFile
from velatura.generation import pictures
from velatura.generation.pictures import cells, fitted, pasted, read_mask, read_picture
from velatura.records import Picture


def gradient(width: int = 40, height: int = 24) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x * 255 // width, y * 255 // height, 0 * x + 90], axis=2).astype(np.uint8))


def saved(path: Path, picture: Image.Image, **options: object) -> Picture:
    picture.save(path, **options)
    return Picture(path=str(path))


def png(width: int, height: int) -> bytes:
    """A PNG whose header promises that many pixels, and which has none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def test_a_picture_comes_with_the_digest_of_its_file(tmp_path: Path) -> None:
    asked = saved(tmp_path / "a.png", gradient())
    picture, digest = read_picture(asked)
    assert picture.tobytes() == gradient().tobytes()
    assert digest == hashlib.sha256((tmp_path / "a.png").read_bytes()).hexdigest()
    assert read_picture(Picture(path=asked.path, sha256=digest.upper()))[1] == digest


def test_a_file_that_has_changed_is_refused(tmp_path: Path) -> None:
    asked = saved(tmp_path / "a.png", gradient())
    told = Picture(path=asked.path, sha256=read_picture(asked)[1])
    saved(tmp_path / "a.png", gradient(41))
    with pytest.raises(InputError, match=r"a\.png has changed since the request was made"):
        read_picture(told)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif"])
def test_the_common_formats_are_read(suffix: str, tmp_path: Path) -> None:
    picture, _ = read_picture(saved(tmp_path / f"a.{suffix}", gradient()))
    assert (picture.mode, picture.size) == ("RGB", (40, 24))
    difference = np.asarray(picture).astype(int) - np.asarray(gradient())
    assert abs(difference).mean() < 8


def test_a_photo_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, picture in (
        ("a.png", gradient()),
        ("b.png", gradient().convert("RGBA")),
        ("c.png", gradient().convert("P")),
    ):
        upright, _ = read_picture(saved(tmp_path / name, picture, exif=exif))
        assert upright.size == (24, 40)
        mask, _ = read_mask(Picture(path=str(tmp_path / name)))
        assert mask.size == (24, 40)
    assert (
        read_picture(Picture(path=str(tmp_path / "a.png")))[0].tobytes()
        == gradient().rotate(-90, expand=True).tobytes()
    )


def test_what_is_transparent_becomes_white_and_in_a_mask_black(tmp_path: Path) -> None:
    clear = gradient().convert("RGBA")
    clear.putalpha(Image.new("L", clear.size, 0))
    asked = saved(tmp_path / "a.png", clear)
    assert read_picture(asked)[0].getextrema() == ((255, 255),) * 3
    assert read_mask(asked)[0].getextrema() == (0, 0)
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([10, 20, 30])
    assert read_picture(saved(tmp_path / "b.gif", palette, transparency=0))[0].getpixel((0, 0)) == (255, 255, 255)


def test_sixteen_bits_are_scaled_and_not_cut_off(tmp_path: Path) -> None:
    depths = np.linspace(0, 65535, 40 * 24).reshape(24, 40).round().astype(np.uint16)
    picture, _ = read_picture(saved(tmp_path / "a.png", Image.fromarray(depths)))
    expected = (depths / 257).round()
    assert (np.asarray(picture) == expected[..., None]).all()


def test_other_modes_are_read(tmp_path: Path) -> None:
    assert read_mask(saved(tmp_path / "a.png", Image.new("1", (9, 9), 1)))[0].getextrema() == (255, 255)
    assert read_picture(saved(tmp_path / "b.jpg", Image.new("CMYK", (9, 9), (0, 0, 0, 0))))[0].mode == "RGB"
    assert read_picture(saved(tmp_path / "c.png", Image.new("L", (9, 9), 7)))[0].getpixel((0, 0)) == (7, 7, 7)


def test_of_an_animation_the_first_frame_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for suffix in ("gif", "webp", "png"):
        options = {"save_all": True, "append_images": frames[1:]} | ({"lossless": True} if suffix == "webp" else {})
        picture, _ = read_picture(saved(tmp_path / f"a.{suffix}", frames[0], **options))
        assert picture.getpixel((4, 4)) == (255, 0, 0)


def _truncated(folder: Path) -> None:
    content = io.BytesIO()
    gradient(200, 200).save(content, "PNG")
    (folder / "x").write_bytes(content.getvalue()[: len(content.getvalue()) // 2])


def _scans(folder: Path) -> None:
    content = io.BytesIO()
    gradient(200, 200).save(content, "JPEG", progressive=True)
    (folder / "x").write_bytes(content.getvalue() + b"\xff\xda" * 300)


HOSTILE: list[tuple[str, Callable[[Path], object]]] = [
    ("there is no picture", lambda folder: None),
    ("is no file", lambda folder: (folder / "x").mkdir()),
    ("is no file", lambda folder: os.mkfifo(folder / "x")),
    ("is no PNG, JPEG, WebP or GIF picture", lambda folder: (folder / "x").write_bytes(b"")),
    ("is no PNG, JPEG, WebP or GIF picture", lambda folder: (folder / "x").write_text("<svg/>")),
    ("is no PNG, JPEG, WebP or GIF picture", lambda folder: gradient().save(folder / "x", "TIFF")),
    ("is a damaged picture", _truncated),
    ("is a damaged picture", _scans),
    ("is a damaged picture", lambda folder: (folder / "x").write_bytes(png(4000, 4000))),
    ("has more than 100,000,000 pixels", lambda folder: (folder / "x").write_bytes(png(20_000, 20_000))),
    ("has more than 100,000,000 pixels", lambda folder: (folder / "x").write_bytes(png(2**31 - 1, 2**31 - 1))),
]


@pytest.mark.parametrize(("sentence", "make"), HOSTILE)
def test_a_hostile_file_costs_one_sentence(sentence: str, make: Callable[[Path], object], tmp_path: Path) -> None:
    make(tmp_path)
    for read in (read_picture, read_mask):
        with pytest.raises(InputError, match=sentence) as caught:
            read(Picture(path=str(tmp_path / "x")))
        assert "\n" not in str(caught.value)


def test_a_file_is_not_read_beyond_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = saved(tmp_path / "a.png", gradient())
    monkeypatch.setattr(pictures, "MOST_BYTES", 10)
    with pytest.raises(UnreadableFile, match="is larger than 0 MB"):
        read_picture(asked)


def test_a_name_that_no_file_can_have_is_refused() -> None:
    for name in ("a\0b", "a" * 5000, "~nobody-of-that-name/a.png"):
        with pytest.raises(UnreadableFile, match="cannot be read"):
            read_picture(Picture(path=name))


def test_fitting_keeps_the_aspect_and_the_middle() -> None:
    picture = Image.new("RGB", (300, 100), "blue")
    picture.paste("red", (100, 0, 200, 100))
    assert np.asarray(fitted(picture, 64, 64))[:, 4:-4].reshape(-1, 3).tolist() == [[255, 0, 0]] * 64 * 56
    assert fitted(picture, 300, 100) is picture
    assert fitted(Image.new("RGB", (20_000, 1)), 512, 512).size == (512, 512)


def test_a_thin_line_of_a_mask_is_not_lost_between_the_cells() -> None:
    mask = Image.new("L", (64, 32), 0)
    mask.putpixel((13, 21), 128)
    mask.putpixel((50, 3), 127)
    touched = np.asarray(cells(mask, 8)) == 255
    assert np.argwhere(touched).min(axis=0).tolist() == [16, 8]
    assert np.argwhere(touched).max(axis=0).tolist() == [23, 15]
    assert touched.sum() == 64


def test_what_a_mask_keeps_is_the_originals_to_the_byte() -> None:
    rng = np.random.default_rng(0)
    painted, original = (Image.fromarray(rng.integers(0, 256, (512, 640, 3), dtype=np.uint8)) for _ in range(2))
    mask = Image.new("L", painted.size, 0)
    assert pasted(painted, original, mask).tobytes() == original.tobytes()
    mask.paste(255, (100, 100, 300, 300))
    found, keep = np.asarray(pasted(painted, original, mask)), np.asarray(mask) == 0
    assert (found[keep] == np.asarray(original)[keep]).all()
    assert (found[104:296, 104:296] == np.asarray(painted)[104:296, 104:296]).all()
    assert (found[100:300, 100] != np.asarray(original)[100:300, 100]).any()
    assert pasted(painted, original, Image.new("L", painted.size, 255)).tobytes() == painted.tobytes()


def test_the_rim_of_a_mask_runs_over_and_grey_mixes() -> None:
    white, black = (Image.new("RGB", (512, 512), colour) for colour in ("white", "black"))
    mask = Image.new("L", (512, 512), 0)
    mask.paste(255, (256, 0, 512, 512))
    assert np.asarray(pasted(white, black, mask))[9, 254:262, 0].tolist() == [0, 0, 64, 128, 191, 255, 255, 255]
    assert pasted(white, black, Image.new("L", (512, 512), 100)).getpixel((9, 9)) == (100, 100, 100)
    small = Image.new("L", (64, 64), 0)
    small.paste(255, (32, 0, 64, 64))
    sharp = pasted(white.resize((64, 64)), black.resize((64, 64)), small)
    assert np.asarray(sharp)[9, 30:34, 0].tolist() == [0, 0, 255, 255]
