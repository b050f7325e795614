"""The header of a safetensors file is read without trusting it."""

from __future__ import annotations

import gc
import json
import random
import struct
import tracemalloc
from io import FileIO
from pathlib import Path
from weakref import ref

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from velatura.catalog.header import Header, Tensors, other_format, read_header, remembered
from velatura.errors import UnreadableFile


def read(path: Path) -> Header:
    with FileIO(path) as file:
        return read_header(file, path.name)


def refusal(path: Path) -> str:
    with pytest.raises(UnreadableFile) as caught:
        read(path)
    return str(caught.value)


def with_header(path: Path, header: bytes, data: bytes = b"", length: int | None = None) -> Path:
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + data)
    return path


def test_it_reads_what_the_reference_library_writes(tmp_path):
    path = tmp_path / "fox.safetensors"
    arrays = {"a.alpha": np.array(4, np.float32), "b": np.zeros((2, 3), np.float16), "c": np.zeros((0, 5), np.int64)}
    save_file(arrays, path, metadata={"ss_output_name": "fox"})

    header = read(path)

    assert header.metadata == {"ss_output_name": "fox"}
    assert {name: (type_.dtype, type_.shape) for name, type_ in header.tensors.types.items()} == {
        "a.alpha": ("F32", ()),
        "b": ("F16", (2, 3)),
        "c": ("I64", (0, 5)),
    }
    assert header.size == path.stat().st_size
    raw = path.read_bytes()
    begin = header.data_start + header.tensors.begins["a.alpha"]
    assert struct.unpack("<f", raw[begin : begin + 4]) == (4.0,)


def test_metadata_may_stand_last_and_values_that_are_no_text_are_left_out(tmp_path, make_bytes, sd1):
    path = tmp_path / "fox.safetensors"
    path.write_bytes(make_bytes(sd1, {"a": "text", "b": 7, "c": None}, metadata_last=True))
    assert read(path).metadata == {"a": "text"}


def test_adapters_of_one_shape_share_their_tensors(write_adapter):
    first = read(write_adapter("one", metadata={"ss_output_name": "one"}))
    second = read(write_adapter("two", metadata={"ss_output_name": "two", "more": "words"}))
    assert first.tensors is second.tensors
    assert (first.metadata["ss_output_name"], second.metadata["ss_output_name"]) == ("one", "two")


def test_what_is_worked_out_for_shared_tensors_is_forgotten_with_them():
    asked = []

    @remembered
    def answer(tensors: Tensors) -> int:
        asked.append(1)
        return tensors.size

    tensors = Tensors({}, {}, 7)
    gone = ref(tensors)
    assert (answer(tensors), answer(tensors), len(asked)) == (7, 7, 1)
    del tensors
    gc.collect()
    assert gone() is None


def test_a_header_larger_than_the_first_read(tmp_path, make_bytes, sd1):
    path = tmp_path / "fox.safetensors"
    path.write_bytes(make_bytes(sd1, {"ssmd_cover_images": "x" * 300_000}))
    assert len(read(path).metadata["ssmd_cover_images"]) == 300_000


def test_a_file_that_is_cut_off_says_both_sizes(write_adapter):
    path = write_adapter()
    whole = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-100])
    assert refusal(path) == (
        f"fox.safetensors is cut off: its header promises {whole} bytes and the file has {whole - 100};"
        " download it again"
    )


def test_a_file_with_more_bytes_than_its_header_knows(write_adapter):
    path = write_adapter()
    path.write_bytes(path.read_bytes() + b"\0")
    assert "is damaged" in refusal(path)


def test_a_file_that_ends_inside_its_header(write_adapter):
    path = write_adapter()
    path.write_bytes(path.read_bytes()[:40])
    assert "is cut off" in refusal(path)


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 10**12, 200_000_000])
def test_a_lying_length_allocates_nothing(tmp_path, length):
    path = with_header(tmp_path / "fox.safetensors", b"{}" + b" " * 1000, length=length)
    tracemalloc.start()
    reason = refusal(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "header" in reason
    assert peak < 1_000_000


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"{", "is a bare JSON text"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"\n<!DOCTYPE html><html>", "web page"),
        (b"PK\x03\x04" + b"\0" * 30, "pickle"),
        (b"\x80\x02}q\x00", "pickle"),
        (b"GGUF\x03\0\0\0", "GGUF"),
        (b'{"error": "Unauthorized"}', "bare JSON"),
        (b"\0" * 100, "does not begin with a header"),
        (b"abc", "does not begin with a header"),
    ],
)
def test_what_is_no_safetensors_file_is_named(tmp_path, content, words):
    path = tmp_path / "fox.safetensors"
    path.write_bytes(content)
    assert words in refusal(path)


def entry(dtype: object = "F16", shape: object = (2, 2), offsets: object = (0, 8)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    "entries",
    [
        {"a": entry(dtype="F17")},
        {"a": entry(dtype=None)},
        {"a": entry(dtype=["F16"])},
        {"a": entry(shape=[2, -2])},
        {"a": entry(shape=[2, 2.0])},
        {"a": entry(shape=[True, 4])},
        {"a": entry(shape="22")},
        {"a": entry(shape=None)},
        {"a": entry(shape={"2": 2})},
        {"a": entry(shape=[[2], 2])},
        {"a": entry(shape=[1] * 40)},
        {"a": entry(shape=[2**62, 2**62])},
        {"a": entry(shape=[10**4000, 2])},
        {"a": entry(offsets=[0])},
        {"a": entry(offsets=[0, 7])},
        {"a": entry(offsets=[-8, 0])},
        {"a": entry(offsets=["0", "8"])},
        {"a": entry(offsets=[False, 8])},
        {"a": entry(offsets=[0.0, 8.0])},
        {"a": entry(offsets=None)},
        {"a": entry(dtype="F4", shape=[1], offsets=[0, 0])},
        {"a": {"dtype": "F16", "shape": [2, 2]}},
        {"a": None},
        {"a": "F16"},
        {"a": entry(), "b": entry()},
        {"a": entry(), "b": entry(offsets=(4, 12))},
        {"a": entry(offsets=(8, 16))},
        {"a": entry(), "b": entry(offsets=(16, 24))},
    ],
)
def test_entries_that_contradict_themselves_are_refused(tmp_path, entries):
    header = json.dumps(entries).encode()
    assert "damaged header" in refusal(with_header(tmp_path / "fox.safetensors", header, b"\0" * 8))


def test_tensors_may_stand_in_any_order(tmp_path):
    entries = {"a": entry(offsets=(8, 16)), "b": entry(shape=[0], offsets=(8, 8)), "c": entry()}
    path = with_header(tmp_path / "fox.safetensors", json.dumps(entries).encode(), b"\0" * 16)
    assert read(path).tensors.begins == {"a": 8, "b": 8, "c": 0}


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"{" + b",".join([b'"a":{"dtype":"F16","shape":[0],"data_offsets":[0,0]}'] * 2) + b"}", "twice"),
        (b'{"__metadata__":{},"__metadata__":{}}', "twice"),
        (b'{"__metadata__":{"a":"b"}', "not JSON"),
        (b'{"__metadata__":{"a":"b"} "c":1}', "not JSON"),
        (b'{"__metadata__":{"a":"b"},}', "not JSON"),
        (b'{"a":NaN}', "not JSON"),
        (b'{"a":' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"\xff\xfe":{}}', "not UTF-8"),
        (b'{"a":' + b"[" * 200_000, "nested too deeply"),
        (b'{"__metadata__":' + b'{"a":' * 100_000, "nested too deeply"),
        (b"{not json}", "not JSON"),
    ],
)  # fmt: skip
def test_json_that_is_none_or_ambiguous_is_refused(tmp_path, header, words):
    assert words in refusal(with_header(tmp_path / "fox.safetensors", header))


def test_a_complaint_does_not_carry_a_name_s_control_characters(tmp_path):
    path = tmp_path / "fo\x1b[31mx\n.safetensors"
    path.write_bytes(b"")
    assert refusal(path).isprintable()


def test_other_formats_are_told_by_their_first_bytes():
    assert "pickle" in (other_format(b"\x80\x04\x95") or "")
    assert other_format(b"\x00\x01") is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def mutate(draw, content: bytes) -> bytes:
    """Damage a file in one of the ways in which files are damaged, and in some that only an enemy thinks of."""
    length = struct.unpack("<Q", content[:8])[0]
    header, data = bytearray(content[8 : 8 + length]), content[8 + length :]
    way = draw(st.sampled_from(["flip", "cut", "insert", "length", "json", "value", "swap"]))
    noise = random.Random(draw(st.integers(0, 2**32)))
    if way == "flip":
        for _ in range(noise.randint(1, 5)):
            header[noise.randrange(len(header))] = noise.randrange(256)
    elif way == "cut":
        return content[: noise.randrange(len(content))]
    elif way == "insert":
        place = noise.randrange(len(header))
        header[place:place] = noise.randbytes(noise.randint(1, 40))
    elif way == "length":
        return struct.pack("<Q", draw(st.integers(0, 2**64 - 1))) + bytes(header) + data
    else:
        parsed = json.loads(bytes(header))
        name = noise.choice(list(parsed))
        if way == "json":
            parsed[name] = draw(JSON)
        elif way == "value" and name != "__metadata__":
            parsed[name][noise.choice(["dtype", "shape", "data_offsets"])] = draw(JSON)
        else:
            other = noise.choice(list(parsed))
            parsed[name], parsed[other] = parsed[other], parsed[name]
        header = bytearray(json.dumps(parsed).encode("utf-8", "surrogatepass"))
    return struct.pack("<Q", len(header)) + bytes(header) + data


@given(data=st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_mutated_header_is_read_or_refused_in_one_sentence(data, tmp_path, make_bytes, sd1):
    path = tmp_path / "fox.safetensors"
    path.write_bytes(mutate(data.draw, make_bytes(sd1, {"ss_output_name": "fox", "nested": '{"a": 1}'})))
    header, reason = None, ""
    tracemalloc.start()
    try:
        header = read(path)
    except UnreadableFile as refused:
        reason = str(refused)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 3_000_000
    if header is None:
        assert reason.isprintable()
        assert "fox.safetensors" in reason
    else:
        assert header.data_start + header.tensors.size == header.size == path.stat().st_size
