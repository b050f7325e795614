"""A file is known again by its tensors, whatever it is called and whatever its header says."""

from __future__ import annotations

import hashlib
import struct
from io import FileIO
from pathlib import Path

import pytest

from velatura.catalog.header import Header, read_header
from velatura.catalog.identity import fingerprint, good_hash, hash_file, read_scalar, title_of
from velatura.errors import UnreadableFile


def header_of(path: Path) -> Header:
    with FileIO(path) as file:
        return read_header(file, path.name)


def mark_of(path: Path) -> str:
    with FileIO(path) as file:
        return fingerprint(file, read_header(file, path.name))


def test_hashes_agree_with_an_independent_computation(write_adapter):
    path = write_adapter(tensors={"lora_unet_a.lora_down.weight": [700, 1000]}, metadata={"a": "b"})
    raw = path.read_bytes()
    tensors = raw[8 + struct.unpack("<Q", raw[:8])[0] :]

    hashes = hash_file(str(path), header_of(path))

    assert len(raw) > 1 << 20
    assert hashes.sha256 == hashlib.sha256(raw).hexdigest()
    assert hashes.autov2 == hashes.sha256[:10]
    assert hashes.autov3 == hashlib.sha256(tensors).hexdigest()[:12]
    assert (hashes.autov1, hashes.crc32, hashes.blake3) == (None, None, None)


def test_autov3_of_a_header_longer_than_one_chunk(write_adapter):
    path = write_adapter(metadata={"thumbnail": "x" * 3_000_000})
    raw = path.read_bytes()
    tensors = raw[8 + struct.unpack("<Q", raw[:8])[0] :]
    assert hash_file(str(path), header_of(path)).autov3 == hashlib.sha256(tensors).hexdigest()[:12]


def test_a_file_that_changes_while_it_is_hashed(write_adapter):
    path = write_adapter()
    header = header_of(path)
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(UnreadableFile, match="changed while it was read"):
        hash_file(str(path), header)


def test_the_fingerprint_outlives_a_rename_and_a_new_header(write_adapter):
    one = write_adapter("fox", metadata={"ss_output_name": "fox"})
    other = write_adapter("renamed", metadata={"modelspec.title": "Something else", "x": "y" * 5000})
    assert one.read_bytes() != other.read_bytes()
    assert mark_of(one) == mark_of(other)


def test_the_fingerprint_outlives_another_order_of_the_tensors(tmp_path, make_bytes):
    from safetensors.numpy import load_file, save_file

    names = ("lora_unet_a.lora_down.weight", "lora_unet_a.lora_up.weight", "lora_unet_b.alpha")
    first = tmp_path / "first.safetensors"
    first.write_bytes(make_bytes({names[2]: ("F32", []), names[1]: [320, 4], names[0]: [4, 320]}))
    again = tmp_path / "again.safetensors"
    save_file(load_file(first), again)
    assert header_of(first).tensors.begins != header_of(again).tensors.begins
    assert mark_of(first) == mark_of(again)


def test_the_fingerprint_tells_other_data_and_other_shapes_apart(write_adapter, sd1):
    shapes = {**sd1, next(iter(sd1)): [2, 640]}
    marks = [
        mark_of(write_adapter("a", seed=0)),
        mark_of(write_adapter("b", seed=1)),
        mark_of(write_adapter("c", tensors=shapes)),
        mark_of(write_adapter("d", tensors={f"x{name}": shape for name, shape in sd1.items()})),
    ]
    assert len(set(marks)) == 4


def test_a_file_without_tensors_has_a_fingerprint(write_adapter):
    assert mark_of(write_adapter(tensors={})) == mark_of(write_adapter("other", tensors={}, metadata={"a": "b"}))


@pytest.mark.parametrize(
    ("dtype", "raw", "value"),
    [
        ("F16", struct.pack("<e", 8), 8.0),
        ("F32", struct.pack("<f", 16), 16.0),
        ("F64", struct.pack("<d", 1), 1.0),
        ("BF16", struct.pack("<f", 4)[2:], 4.0),
        ("I64", struct.pack("<q", 32), 32.0),
        ("F32", struct.pack("<f", float("nan")), None),
        ("F32", struct.pack("<f", float("inf")), None),
    ],
)
def test_an_alpha_is_read_from_its_tensor(tmp_path, make_bytes, dtype, raw, value):
    content = make_bytes({"x.alpha": (dtype, [])})
    path = tmp_path / "fox.safetensors"
    path.write_bytes(content[: -len(raw)] + raw)
    with FileIO(path) as file:
        assert read_scalar(file, read_header(file, path.name), "x.alpha") == value


def test_an_alpha_that_is_no_scalar_is_not_read(write_adapter):
    path = write_adapter(tensors={"x.alpha": [4]})
    with FileIO(path) as file:
        assert read_scalar(file, read_header(file, path.name), "x.alpha") is None


EMPTY = hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize(
    ("claim", "length", "digest"),
    [
        ("ABCDEF0123", 10, "abcdef0123"),
        (" 0xABCDEF0123 ", 10, "abcdef0123"),
        (EMPTY, 64, None),
        (EMPTY[:12], 12, None),
        (EMPTY[:10].upper(), 10, None),
        ("af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262", 64, None),
        ("0" * 64, 64, None),
        ("abcdef012", 10, None),
        ("abcdef012g", 10, None),
        ("", 0, None),
        (None, 64, None),
        (1234567890, 10, None),
        ("a1" * 10_000, 64, None),
    ],
)
def test_a_claimed_digest_is_good_or_nothing(claim, length, digest):
    assert good_hash(claim, length) == digest


@pytest.mark.parametrize(
    ("stem", "trained_as", "folder", "title", "place"),
    [
        ("red_fox-v2", "last", "loras", "red fox-v2", "file name"),
        ("pytorch_lora_weights", "red_fox", "loras", "red fox", "header (kohya)"),
        ("adapter_model_bf16", None, "Red Fox", "Red Fox", "folder name"),
        ("last-000010", "lora", "last", "last-000010", "file name"),
        ("狐火", None, "x", "狐火", "file name"),
        ("___", None, "___", "___", "file name"),
    ],
)
def test_a_title_comes_from_the_first_name_that_says_something(stem, trained_as, folder, title, place):
    assert title_of(stem, trained_as, folder) == (title, place)
