"""Names that climb, links that lead out, pipes, devices and pictures that are bombs, in a person's own folders."""

from __future__ import annotations

import json
import os
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from shelf import Given, adapter

from velatura.catalog.civitai_json import read_page
from velatura.catalog.folder import FolderSource
from velatura.catalog.programs import extra_model_paths
from velatura.composer.formats import FORMATS, read, write
from velatura.composer.formats.a1111 import read as read_a1111
from velatura.db import open_store
from velatura.errors import InputError, UnreadableFile, VelaturaError
from velatura.eval.datasets import read_prompts
from velatura.eval.judge.agreement import read_people
from velatura.generation.picture_text import read_texts
from velatura.generation.story import image_name, read_story
from velatura.protocols import Entry
from velatura.records import AdapterRecord, Choice, Composition, GenerationRequest, Rejection
from velatura.refiner.picture_file import decode_picture, read_picture_file

NAMES = (
    "../../x", "/etc/passwd", "..", ".", "~/x", "a\0b", "x" * 4000, "CON", "nul.safetensors", "com1.pt",
    "C:\\x", "\\\\h\\s",
    "a/../../b.safetensors", "fox\u202egnp.safetensors", "\ud800", "fox.safetensors\n", "-rf", "$(touch x)", "`x`",
    "a:b", "x.", "x ", "<b>", '"; rm', "％2e％2e", "．．／x", "é" * 300,
)  # fmt: skip
"""Climbing, absolute, reserved on Windows, endless, invisible, or a program's own signs."""
RESERVED = {"con", "prn", "aux", "nul", *(f"{kind}{n}" for kind in ("com", "lpt") for n in range(10))}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_a_page_is_only_a_name(name: str) -> None:
    files = [{"id": 1, "name": name, "type": "Model", "downloadUrl": f"https://x/{name}"}]
    made = {"id": 7, "name": name, "type": "LORA", "modelVersions": [{"id": 8, "name": name, "files": files}]}
    (record,) = read_page(json.loads(json.dumps(made)))
    assert isinstance(record, AdapterRecord)
    assert record.path is None
    assert record.key == "7/8/1"
    file = record.file_name or "x"
    assert "/" not in file
    assert "\\" not in file
    assert file not in ("", ".", "..")
    assert len(file) <= 255
    assert file.isprintable()


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_we_write_is_safe_on_every_system(name: str, tmp_path: Path) -> None:
    composition = Composition(prompt=name)
    file = image_name(GenerationRequest(composition=composition, model=name, seed=7), 0)
    assert file.endswith("-7.png")
    assert len(file.encode()) <= 255
    assert not set(file) & set('/\\:*?"<>|\0')
    assert file.isprintable()
    assert not file.startswith((".", "-"))
    assert file.partition(".")[0].lower() not in RESERVED
    record = AdapterRecord(source="folder", key=name, title=name, file_name=name, path=name)
    choices = (Choice(adapter=record, weight=1.0, span=""),)
    before = sorted(tmp_path.iterdir())
    for form in FORMATS:
        written = write(Composition(prompt="a fox", choices=choices), form, folder=str(tmp_path)).text
        written.encode()
        assert "\0" not in written
    assert sorted(tmp_path.iterdir()) == before, "names are names: nothing is opened or made"


def test_names_that_only_look_alike_are_two(tmp_path: Path) -> None:
    with open_store(str(tmp_path / "a.db")) as store:
        names = ("fox.safetensors", "fоx.safetensors", "ｆox.safetensors")  # Latin, Cyrillic, full width
        store.sync(Given([adapter(name, file_name=name, path=f"/loras/{name}", title="Fox") for name in names]))
        for name in names:
            keys = [store.adapter(number).record.key for number in store.find(name)]
            assert keys[:1] == [name]


def test_links_pipes_and_devices_in_a_folder_are_told_and_not_followed_blindly(tmp_path: Path) -> None:
    folder, outside = tmp_path / "loras", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / "loop").symlink_to(folder)
    (folder / "self.safetensors").symlink_to("self.safetensors")
    (folder / "passwd.safetensors").symlink_to("/etc/passwd")
    (folder / "zero.safetensors").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.safetensors")
    (folder / "gone.safetensors").symlink_to(outside / "gone")
    whole = json.dumps({"lora.up.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (outside / "x.safetensors").write_bytes(len(whole).to_bytes(8, "little") + whole + b"\0" * 4)
    (folder / "out").symlink_to(outside)
    (folder / "out.json").symlink_to("/etc/passwd")
    began = time.monotonic()
    told = {Path(one.locator).name: one for one in FolderSource(folder).entries()}
    assert time.monotonic() - began < 5
    assert sorted(told) == [
        "gone.safetensors", "passwd.safetensors", "pipe.safetensors", "self.safetensors", "x.safetensors",
        "zero.safetensors",
    ]  # fmt: skip
    for name in ("gone", "pipe", "self", "zero"):
        assert isinstance(told[f"{name}.safetensors"], Rejection), name
    passwd = told["passwd.safetensors"]
    assert isinstance(passwd, Entry)
    with pytest.raises(UnreadableFile) as refused:
        passwd.read()
    assert "x:0:0" not in str(refused.value)


def test_sidecars_that_are_links_pipes_or_endless_cost_nothing_but_themselves(tmp_path: Path) -> None:
    from velatura.catalog.sidecars import read_sidecars
    from velatura.catalog.told import Beside

    (tmp_path / "fox.json").symlink_to("/etc/passwd")
    with (tmp_path / "fox.metadata.json").open("wb") as file:
        file.truncate(10 << 30)  # a hole; nothing of it is on the disk
    (tmp_path / "fox.civitai.info").write_text("[" * 100_000)
    found = read_sidecars(
        f"{tmp_path}/", ["fox.json", "fox.metadata.json", "fox.civitai.info"], Beside("fox.safetensors", 1)
    )
    assert not found.told
    assert sorted(problem for _, problem in found.problems) == [
        "fox.civitai.info: nested too deeply", "fox.json: not JSON", "fox.metadata.json: too large to be a sidecar",
    ]  # fmt: skip


@pytest.mark.parametrize("piece", ["a: b\n", "- a\n", "[", "{a: ", "? ", "a: |\n x\n", "'"])
def test_settings_of_other_programs_take_no_time(tmp_path: Path, piece: str) -> None:
    path = tmp_path / "extra_model_paths.yaml"
    for size in (1_000_000, 30_000):
        path.write_text(piece * (size // len(piece)))
        began = time.process_time()
        assert extra_model_paths(path) == ([], [])
        assert time.process_time() - began < 4


@pytest.mark.parametrize("piece", [" ", "a ", "a:", "a: ", 'a: "', "a, ", "a - /", ", "])
@pytest.mark.parametrize("before", ["", 'Steps: 9, Seed: 1, Lora hashes: "a: abcdef0123', "Steps: 9, Seed: 1, Size: "])
def test_settings_of_pictures_take_no_time(before: str, piece: str) -> None:
    line = before + piece * (100_000 // len(piece))
    for ending in ("", '"', '", Model: x'):
        began = time.process_time()
        read_a1111(f"a fox\n{line}{ending}")
        assert time.process_time() - began < 2


# ---------------------------------------------------------------------------------------------------- pictures


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: bytes, width: int = 1, height: int = 1) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IEND", b"")


def test_a_picture_of_fifty_thousand_pixels_a_side_is_not_decoded(tmp_path: Path) -> None:
    rows = zlib.compress(b"\0" * 3_000_000, 9)
    bomb = png(*[chunk(b"IDAT", rows)] * 20, width=50_000, height=50_000)
    (tmp_path / "a.png").write_bytes(bomb)
    began = time.process_time()
    with pytest.raises(UnreadableFile, match="has more than 100,000,000 pixels"):
        read_picture_file(tmp_path / "a.png").decode()
    with pytest.raises(InputError, match="does not tell how it was made"):
        read_story(tmp_path / "a.png")
    assert time.process_time() - began < 2


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_of_many_frames_one_is_decoded(tmp_path: Path, form: str) -> None:
    frames = [Image.new("P" if form == "GIF" else "RGB", (16, 16), n) for n in range(400)]
    frames[0].save(tmp_path / "a", format=form, save_all=True, append_images=frames[1:])
    began = time.process_time()
    assert decode_picture((tmp_path / "a").read_bytes(), "a").size == (16, 16)
    assert time.process_time() - began < 2


def test_texts_that_unpack_without_end_are_refused_and_counted_once(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    bomb = chunk(b"zTXt", b"prompt\0\0" + zlib.compress(b"x" * (40 << 20), 9))
    path.write_bytes(png(bomb))
    with pytest.raises(UnreadableFile, match="unpacks to more than 16 MiB"):
        read_texts(path, ("prompt",))
    large = chunk(b"iTXt", b"prompt\0\1\0\0\0" + zlib.compress(b"y" * (12 << 20), 9))
    path.write_bytes(png(*[large] * 200, chunk(b"tEXt", b"parameters\0behind")))
    began = time.process_time()
    texts = read_texts(path, ("prompt", "parameters"))
    assert time.process_time() - began < 3
    assert texts["parameters"] == "behind"
    path.write_bytes(png(*[chunk(b"tEXt", b"")] * 150_000, chunk(b"tEXt", b"prompt\0x")))
    assert read_texts(path, ("prompt",)) == {}


@pytest.mark.parametrize("kind", [b"RIFF\0\0\0\0WEBPVP8 ", b"\xff\xd8\xff\xe1\xff\xffExif\0\0", b"GIF89a"])
def test_a_picture_with_a_hole_of_ten_gigabytes_is_not_held(tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "a.webp"
    with path.open("wb") as file:
        file.write(kind)
        file.truncate(10 << 30)
    with pytest.raises(UnreadableFile, match="is larger than 200 MB"):
        read_texts(path, ("prompt",))
    with pytest.raises(UnreadableFile, match="is larger than 50 MB"):
        read_picture_file(path)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), Path.mkdir])
def test_a_picture_that_is_no_file_is_not_waited_for(tmp_path: Path, make: Any) -> None:
    path = tmp_path / "a.png"
    make(path)
    with pytest.raises(VelaturaError, match="is no file"):
        read_texts(path, ("prompt",))
    with pytest.raises(VelaturaError, match="is no file"):
        read_picture_file(path)


# ---------------------------------------------------------------------------------------------------- tables


@pytest.mark.parametrize("reader", [read_prompts, read_people])
def test_a_wide_and_long_table_takes_no_time(tmp_path: Path, reader: Callable[[Path], object]) -> None:
    path = tmp_path / "a.csv"
    path.write_text("prompt" + ",x" * 50_000 + "\n" + "a\n" * 50_000)
    began = time.process_time()
    with pytest.raises(InputError, match="has more than 1,000 columns"):
        reader(path)
    with pytest.raises(InputError, match="more than 10,000 rows"):
        read("adapter,weight" + ",x" * 50_000 + "\n" + "a\n" * 50_000)
    assert time.process_time() - began < 3
