"""Files that lie, by the hundred: each is refused in one sentence or flagged, and the model stays as it was."""

from __future__ import annotations

import json
import math
import os
import random
import re
import signal
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import save, save_file
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from velatura.errors import InputError, UnreadableFile, VelaturaError
from velatura.generation.adapters.coverage import coverage
from velatura.generation.adapters.file import AdapterFile
from velatura.generation.adapters.measure import measure
from velatura.generation.adapters.names import targets
from velatura.generation.adapters.patch import Layers
from velatura.generation.adapters.plan import AdapterPlan, Plans, match, plan
from velatura.generation.adapters.side import SideBranch

SECONDS = 8
"""What no file may take longer than."""
VALUES = 1 << 21
"""Values of the largest tensor that reading, planning and laying may make; the largest module has under 3,000."""

Write = Callable[[Path], None]
Named = dict[str, Tensor]


class Case(NamedTuple):
    name: str
    write: Write
    says: str
    """An expression for the sentence that refuses the file, or for what flags it."""


class Net(nn.Module):
    """One module of every sort."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(24, 40)
        self.conv = nn.Conv2d(12, 20, 3)
        self.norm = nn.LayerNorm(24)
        self.other = nn.Linear(24, 24)


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))) / 4


LINEAR, CONV, NORM, PEFT = "lora_unet_linear", "lora_unet_conv", "lora_unet_norm", "unet.linear"
LORA = {f"{LINEAR}.lora_down.weight": draw(4, 24), f"{LINEAR}.lora_up.weight": draw(40, 4)}
RANK = {".alpha": torch.tensor(2.0)}


def on(stem: str, parts: Named) -> Named:
    return {stem + suffix: values for suffix, values in parts.items()}


KINDS: dict[str, Named] = {
    "lora": LORA | on(LINEAR, RANK),
    "locon": on(CONV, {".lora_down.weight": draw(4, 12, 3, 3), ".lora_up.weight": draw(20, 4, 1, 1), **RANK}),
    "tucker": on(
        CONV,
        {
            ".lora_down.weight": draw(4, 12, 1, 1),
            ".lora_up.weight": draw(20, 4, 1, 1),
            ".lora_mid.weight": draw(4, 4, 3, 3),
        },
    ),
    "lora bias": on(PEFT, {".lora_A.weight": draw(4, 24), ".lora_B.weight": draw(40, 4), ".lora_B.bias": draw(40)}),
    "dora": LORA | on(LINEAR, {".dora_scale": draw(40, 1)}),
    "dora by input": LORA | on(LINEAR, {".dora_scale": draw(1, 24)}),
    "peft dora": on(
        PEFT, {".lora_A.weight": draw(4, 24), ".lora_B.weight": draw(40, 4), ".lora_magnitude_vector": draw(40)}
    ),
    "loha": on(
        LINEAR,
        {f".hada_w{n}_{side}": draw(*shape) for n in (1, 2) for side, shape in (("a", (40, 4)), ("b", (4, 24)))} | RANK,
    ),
    "loha tucker": on(
        CONV,
        {f".hada_w{n}_{side}": draw(*shape) for n in (1, 2) for side, shape in (("a", (4, 20)), ("b", (4, 12)))}
        | {f".hada_t{n}": draw(4, 4, 3, 3) for n in (1, 2)},
    ),
    "lokr": on(LINEAR, {".lokr_w1": draw(4, 3), ".lokr_w2": draw(10, 8)}),
    "lokr products": on(
        LINEAR,
        {
            ".lokr_w1_a": draw(4, 2),
            ".lokr_w1_b": draw(2, 3),
            ".lokr_w2_a": draw(10, 2),
            ".lokr_w2_b": draw(2, 8),
            **RANK,
        },
    ),
    "lokr tucker": on(
        CONV,
        {
            ".lokr_w1": draw(4, 3),
            ".lokr_w2_a": draw(2, 5),
            ".lokr_w2_b": draw(2, 4),
            ".lokr_t2": draw(2, 2, 3, 3),
        },
    ),
    "glora": on(
        LINEAR,
        {".a1.weight": draw(24, 4), ".a2.weight": draw(4, 24), ".b1.weight": draw(40, 4), ".b2.weight": draw(4, 24)},
    ),
    "oft": on(LINEAR, {".oft_blocks": draw(8, 5, 5), ".rescale": draw(40, 1)}),
    "boft": on(LINEAR, {".oft_blocks": draw(2, 10, 4, 4)}),
    "ia3": on(LINEAR, {".weight": draw(40), ".on_input": torch.zeros(1)}),
    "full": on(LINEAR, {".diff": draw(40, 24), ".diff_b": draw(40)}),
    "norm": on(NORM, {".w_norm": draw(24), ".b_norm": draw(24)}),
    "t-lora": on(
        LINEAR,
        {
            f".{start}{part}": draw(*shape)
            for start in ("", "base_")
            for part, shape in (
                ("q_layer.weight" if not start else "q", (4, 24)),
                ("p_layer.weight" if not start else "p", (40, 4)),
                ("lambda_layer" if not start else "lambda", (1, 4)),
            )
        },
    ),
}
OPTIONAL = (
    ".alpha",
    ".rescale",
    ".diff",
    ".diff_b",
    ".w_norm",
    ".b_norm",
    ".bias",
    ".dora_scale",
    "_vector",
    "_mid.weight",
)
"""Parts without which a file is whole, or of another kind that is."""


# What is written


def tensors(values: Named, header: dict[str, str] | None = None) -> Write:
    return lambda path: path.write_bytes(saved(values, header)) and None


def saved(values: Named, header: dict[str, str] | None = None) -> bytes:
    return save({key: value.clone() for key, value in values.items()}, metadata=header)


def content(data: bytes) -> Write:
    return lambda path: path.write_bytes(data) and None


def headed(text: str | bytes, data: bytes = b"") -> bytes:
    encoded = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(encoded)) + encoded + data


def sparse(entries: dict[str, tuple[str, list[int]]]) -> Write:
    """Write a file whose data take no place on the disk, however large it claims to be."""
    size, made = 0, {}
    for key, (dtype, shape) in entries.items():
        count = int(re.sub(r"\D", "", dtype.partition("_")[0])) // 8
        for side in shape:
            count *= side
        made[key] = {"dtype": dtype, "shape": shape, "data_offsets": [size, size + count]}
        size += count
    start = headed(json.dumps(made))

    def write(path: Path) -> None:
        path.write_bytes(start)
        os.truncate(path, len(start) + size)

    return write


def entry(dtype: Any = "F32", shape: Any = (4, 24), offsets: Any = (0, 384), **more: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


DOWN, UP = LORA
DATA = b"\0" * (384 + 640)


def lora_header(down: Any = None, up: Any = None, meta: Any = None) -> str:
    made = {DOWN: down or entry(), UP: up or entry(shape=(40, 4), offsets=(384, 1024))}
    return json.dumps(({"__metadata__": meta} if meta is not None else {}) | made)


# The table

DAMAGED = "truncated or damaged"
NO_FIT = "fits no module of this model"


def cut_files() -> Iterator[Case]:
    whole = saved(KINDS["lora"], {"a": "b"})
    start = 8 + struct.unpack("<Q", whole[:8])[0]
    for end in (0, 1, 4, 7, 8, 9, 10, 16, 100, start - 2, start - 1, start, start + 1, start + 3, start + 4):
        yield Case(f"cut at {end}", content(whole[:end]), DAMAGED)
    for end in (-1, -2, -4, -384, -640):
        yield Case(f"cut {-end} before the end", content(whole[:end]), DAMAGED)
    chance = random.Random(1)
    for end in chance.sample(range(start, len(whole)), 10):
        yield Case(f"cut within the data at {end}", content(whole[:end]), DAMAGED)
    yield Case("longer than it says", content(whole + b"\0"), DAMAGED)
    yield Case("much longer than it says", content(whole * 2), DAMAGED)
    length = start - 8
    lies = [0, 1, 2, length - 1, length + 1, length + 8, len(whole), 2**25, 2**25 + 1, 2**31 - 1, 2**31, 2**32, 2**53]
    for lie in [*lies, 2**63 - 1, 2**63, 2**64 - 1]:
        yield Case(f"a header of {lie} bytes", content(struct.pack("<Q", lie) + whole[8:]), DAMAGED)
    yield Case("a length of the other endianness", content(struct.pack(">Q", length) + whole[8:]), DAMAGED)


def other_files() -> Iterator[Case]:
    for name, start in {"protocol 2": b"\x80\x02}q\0.", "protocol 4": b"\x80\x04N.", "zip": b"PK\x03\x04ab"}.items():
        yield Case(f"a pickle, {name}", content(start + b"\0" * 64), "is a pickle")
    texts = {
        "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "a page of HTML": b"<!DOCTYPE html><html><body>Please log in</body></html>",
        "JSON": b'{"error": "gated"}',
        "a picture": b"\x89PNG\r\n\x1a\n" + b"\0" * 40,
        "zeros": b"\0" * 4096,
        "ones": b"\xff" * 4096,
        "GGUF": b"GGUF\x03\0\0\0" + b"\0" * 99,
        "nothing": b"",
    }
    for name, data in texts.items():
        yield Case(name, content(data), DAMAGED)
    yield Case("a folder", lambda path: path.mkdir(), "is not a file that is there")
    yield Case("a folder with an adapter in it", _folder, "is not a file that is there")
    yield Case("a link to itself", lambda path: path.symlink_to(path), "cannot be read|is not a file")
    yield Case(
        "a link to nothing", lambda path: path.symlink_to(path.with_name("gone")), "cannot be read|is not a file"
    )
    yield Case("a pipe", lambda path: os.mkfifo(path), "is not a file that is there")
    yield Case("a device", lambda path: path.symlink_to("/dev/zero"), "is not a file that is there")
    yield Case("not there", lambda path: None, "cannot be read")


def _folder(path: Path) -> None:
    path.mkdir()
    save_file(LORA, path / "a.safetensors")


def broken_headers() -> Iterator[Case]:
    good = lora_header()
    texts: dict[str, str | bytes] = {
        "an empty object": "{}",
        "a list": "[]",
        "null": "null",
        "a number": "5",
        "a text": '"x"',
        "two objects": good + "{}",
        "a comma too many": good[:-1] + ",}",
        "single quotes": good.replace('"', "'"),
        "a comment": good[:-1] + "/* x */}",
        "a byte order mark": "\ufeff" + good,
        "UTF-16": good.encode("utf-16"),
        "no UTF-8": good.encode().replace(b"unet", b"un\xff\xfe"),
        "half a character": good.replace("unet", "\\ud800"),
        "NaN": lora_header(entry(shape=float("nan"))),
        "nested lists": '{"a":' + "[" * 200_000 + "]" * 200_000 + "}",
        "nested objects": '{"a":' * 100_000 + "1" + "}" * 100_000,
        "nested lists in an entry": good.replace('"dtype"', f'"x": {"[" * 9_999}{"]" * 9_999}, "dtype"', 1),
        "a number of 5,000 digits": good.replace("384", "9" * 5_000),
        "an entry that is null": json.dumps({DOWN: None}),
        "an entry that is a number": json.dumps({DOWN: 1}),
        "an entry that is a text": json.dumps({DOWN: "F32"}),
        "an empty entry": json.dumps({DOWN: {}}),
    }
    for name, text in texts.items():
        says = "none of its 0 tensors" if name == "an empty object" else "damaged"
        yield Case(f"a header that is {name}", content(headed(text, DATA if text != "{}" else b"")), says)
    lists = json.dumps({DOWN: ["F32", [4, 24], [0, 384]], UP: ["F32", [40, 4], [384, 1024]]})
    yield Case("entries that are lists", content(headed(lists, DATA)), "describes .* by a list")
    for name, key in {"down": DOWN, "up": UP}.items():
        for part in ("dtype", "shape", "data_offsets"):
            made = json.loads(good)
            del made[key][part]
            yield Case(f"{name} without its {part}", content(headed(json.dumps(made), DATA)), DAMAGED)
    doubled = good[:-1] + "," + good[1:]
    yield Case("every tensor twice", content(headed(doubled, DATA)), "damaged: its header names 'lora_unet_linear")
    for number, text in enumerate((f'"{UP}": {json.dumps(entry())}, ', f'"{UP}": {json.dumps(entry(dtype="F99"))}, ')):
        yield Case(f"one tensor twice, {number}", content(headed("{" + text + good[1:], DATA)), "damaged")
    inside = good.replace('"shape"', '"shape": [1], "shape"', 1)
    yield Case("a shape twice", content(headed(inside, DATA)), DAMAGED)
    many = {f"x{n}.lora_A.weight": entry(shape=(0,), offsets=(0, 0)) for n in range(66_000)}
    yield Case("66,000 tensors", content(headed(json.dumps(many))), "names 66,000 tensors")
    long = {f"{'x' * 70_000}{n}.lora_A.weight": entry(shape=(0,), offsets=(0, 0)) for n in range(64)}
    yield Case("names of megabytes", content(headed(json.dumps(long))), "names 64 tensors")


def false_places() -> Iterator[Case]:
    """Offsets, shapes and types of one of two tensors that cannot be."""
    offsets = [
        (0, 1024), (380, 1020), (383, 1023), (385, 1025), (388, 1028), (0, 640), (1024, 384), (384, 384), (384, 1023),
        (-640, 0), (384.0, 1024.0), ("384", "1024"), (384,), (384, 1024, 2048), (), None, 384, (2**63, 2**63 + 640),
        (2**64 - 640, 2**64), (384, 10**18), (True, False), ([384], [1024]),
    ]  # fmt: skip
    for place in offsets:
        up = entry(shape=(40, 4), offsets=place)
        yield Case(f"offsets {place}", content(headed(lora_header(up=up), DATA)), DAMAGED)
    shapes = [
        (40, 5), (41, 4), (40,), (), (-40, -4), (40.0, 4), ("40", "4"), (40, None), None, "40", 160, [[40, 4]],
        {"a": 1}, (2**32, 2**32), (2**63, 2), (10**9,), (10**9, 10**9), (2**64, 1), (True, 160), (40, 4, 2),
    ]  # fmt: skip
    for shape in shapes:
        up = entry(shape=shape, offsets=(384, 1024))
        yield Case(f"shape {shape}", content(headed(lora_header(up=up), DATA)), DAMAGED)
    for dimensions in (9, 70, 3_000):
        up = entry(shape=(40, 4, *[1] * (dimensions - 2)), offsets=(384, 1024))
        yield Case(f"{dimensions} dimensions", content(headed(lora_header(up=up), DATA)), f"{dimensions} dimensions")
    for dtype in ("F99", "f32", "float32", "", None, 5, ["F32"], "I4", "STRING", "F32\n"):
        up = entry(dtype=dtype, shape=(40, 4), offsets=(384, 1024))
        yield Case(f"dtype {dtype!r}", content(headed(lora_header(up=up), DATA)), DAMAGED)


def wrong_values() -> Iterator[Case]:
    numbers = (torch.bool, torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64, torch.complex64)
    for part, key in {"down": DOWN, "up": UP}.items():
        for dtype in numbers:
            yield Case(f"{part} of {dtype}", tensors(LORA | {key: LORA[key].to(dtype)}), "which are no weights")
    for dtype, size in {"F8_E8M0": 1, "F8_E4M3FNUZ": 1, "F8_E5M2FNUZ": 1, "U16": 2, "U32": 4, "U64": 8}.items():
        up = entry(dtype=dtype, shape=(40, 4), offsets=(384, 384 + 160 * size))
        data = b"\0" * (384 + 160 * size)
        yield Case(f"up of {dtype}", content(headed(lora_header(up=up), data)), "which are no weights")
    for kind, parts in KINDS.items():
        for key, values in parts.items():
            for number in (float("nan"), float("-inf"), 1e30):
                if key.endswith("on_input") or (number == 1e30 and key.endswith((".diff_b", "b_norm"))):
                    continue
                spoilt = values.flatten().clone()
                spoilt[-1] = number
                says = "beyond all measure" if number == 1e30 else "NaN or infinity"
                yield Case(f"{number} in {kind}: {key}", tensors(parts | {key: spoilt.view(values.shape)}), says)
    for number in (65_504.0, -65_504.0):
        large = {key: torch.full_like(values, number, dtype=torch.float16) for key, values in LORA.items()}
        made = tensors(large | on(LINEAR, {".alpha": torch.tensor(1e4)}))
        yield Case(f"float16 at its limit, {number}", made, "strength of their own")


def wrong_parts() -> Iterator[Case]:
    """Of each kind, each part: left out, and of every shape that it cannot have."""
    for kind, parts in KINDS.items():
        for key, values in parts.items():
            if not key.endswith(OPTIONAL):
                yield Case(f"{kind} without {key}", tensors({k: v for k, v in parts.items() if k != key}), ".")
            shape = tuple(values.shape)
            wrong = {(*shape, 3), (*shape, 2, 2), (3, *shape)}
            if shape:
                wrong |= {
                    (*shape[:-1], shape[-1] + 1),
                    (shape[0] + 1, *shape[1:]),
                    (0, *shape[1:]),
                    (values.numel() + 1,),
                }
            if len(shape) > 1 and min(shape[:2]) > 1:
                wrong |= {(shape[1], shape[0], *shape[2:])} - {shape}
                wrong |= {(values.numel(),), (1, values.numel())}
            for other in sorted(wrong):
                yield Case(f"{kind}: {key} of shape {other}", tensors(parts | {key: draw(*other)}), ".")
    for suffix in (".dora_scale", ".lora_magnitude_vector"):
        for stem in (LINEAR, CONV, PEFT, NORM):
            name = f"{suffix} alone on {stem}"
            yield Case(name, tensors({stem + suffix: draw(40)}), "magnitude without a direction")
    for kind in ("oft", "ia3", "norm"):
        stem = next(iter(KINDS[kind])).rpartition(".")[0]
        extra = {f"{stem}.dora_scale": draw(40, 1)}
        yield Case(f"a magnitude over {kind}", tensors(KINDS[kind] | extra), "without a direction|1 of another shape")


def mixed_kinds() -> Iterator[Case]:
    on_linear = [kind for kind, parts in KINDS.items() if next(iter(parts)).startswith(LINEAR)]
    for place, one in enumerate(on_linear):
        for other in on_linear[:place]:
            if {one, other} <= {"lora", "dora", "dora by input"} or {one, other} == {"oft", "boft"}:
                continue
            if {one, other} == {"lokr", "lokr products"}:
                continue
            both = KINDS[other] | KINDS[one]
            yield Case(f"{one} and {other} on one stem", tensors(both), "two kinds of network at once|two differences")
    for stem in (PEFT, "base_model.model.linear", "lycoris_linear"):
        again = on(stem, {".lora_down.weight": draw(2, 24), ".lora_up.weight": draw(40, 2)})
        if not stem.startswith("lycoris"):
            again = on(stem, {".lora_A.weight": draw(2, 24), ".lora_B.weight": draw(40, 2)})
        yield Case(f"one module under two names, {stem}", tensors(LORA | again), "names unet.linear.weight twice")
    again = {f"{LINEAR}.lora.down.weight": draw(4, 24)}
    yield Case("one part under two names", tensors(LORA | again), "has two down parts")


def strengths() -> Iterator[Case]:
    """Alphas and ranks that no trainer writes."""
    alphas: dict[str, tuple[Tensor, str]] = {
        "0": (torch.tensor(0.0), "alpha 0"),
        "-0": (torch.tensor(-0.0), "alpha 0"),
        "negative": (torch.tensor(-4.0), "strength of their own"),
        "1e6": (torch.tensor(1e6), "strength of their own"),
        "1e13": (torch.tensor(1e13), "beyond all measure"),
        "3e38": (torch.tensor(3e38), "beyond all measure"),
        "1e300": (torch.tensor(1e300, dtype=torch.float64), "NaN or infinity"),
        "NaN": (torch.tensor(float("nan")), "NaN or infinity"),
        "infinite": (torch.tensor(float("inf")), "NaN or infinity"),
        "2^62": (torch.tensor(2**62), "beyond all measure"),
        "two": (torch.tensor([1.0, 2.0]), "is not one number"),
        "none": (torch.zeros(0), "is not one number"),
        "a matrix": (torch.ones(4, 4), "is not one number"),
        "complex": (torch.tensor(1j), "which are no weights"),
    }
    for name, (alpha, says) in alphas.items():
        for kind in ("lora", "loha", "lokr products"):
            stem = LINEAR
            yield Case(f"{kind} of alpha {name}", tensors(KINDS[kind] | {f"{stem}.alpha": alpha}), says)
    for rank in (25, 100, 3_000):
        made = on(LINEAR, {".lora_down.weight": draw(rank, 24) / rank, ".lora_up.weight": draw(40, rank)})
        yield Case(f"rank {rank} over a width of 24", tensors(made), "a rank above the width")
    for rank in (0,):
        made = on(LINEAR, {".lora_down.weight": torch.ones(rank, 24), ".lora_up.weight": torch.ones(40, rank)})
        yield Case(f"rank {rank}", tensors(made), "has an empty factor")
    for dtype in ("F32", "F16", "F8_E4M3"):
        pair = {
            f"{LINEAR}.lora_down.weight": (dtype, [6_000_000, 24]),
            f"{LINEAR}.lora_up.weight": (dtype, [40, 6_000_000]),
        }
        yield Case(f"rank 6,000,000 of {dtype}", sparse(pair), "holds far more than the weight|larger than any matrix")
        giant = {DOWN: (dtype, [10**9]), UP: (dtype, [40, 4])}
        yield Case(f"10^9 values of {dtype}", sparse(giant), "larger than any matrix|which is no LoRA")
        wide = {DOWN: (dtype, [4, 25 * 10**7]), UP: (dtype, [40, 4])}
        yield Case(f"10^9 values of {dtype} as a matrix", sparse(wide), "larger than any matrix")
        apart = {"x.lora_down.weight": (dtype, [4, 2**27]), "x.lora_up.weight": (dtype, [40, 4])}
        yield Case(f"10^9 values of {dtype} for nobody", sparse(apart), "larger than any matrix")
    for name, sides in {"wide": (5_000, 5_000), "tall": (20_000, 3), "flat": (3, 20_000)}.items():
        kron = {f"{LINEAR}.lokr_w{n}": ("F16", list(sides)) for n in (1, 2)}
        yield Case(f"a Kronecker product of 10^14 values, {name}", sparse(kron), NO_FIT)
    hada = {
        f"{LINEAR}.hada_w{n}_{s}": ("F16", side) for n in (1, 2) for s, side in (("a", [10**6, 2]), ("b", [2, 10**6]))
    }
    yield Case("a Hadamard product of 10^12 values", sparse(hada), NO_FIT)
    tall = {f"{CONV}.hada_t{n}": ("F16", [1, 600_000, 3, 3]) for n in (1, 2)}
    tall |= {f"{CONV}.hada_w{n}_a": ("F16", [1, 20]) for n in (1, 2)}
    tall |= {f"{CONV}.hada_w{n}_b": ("F16", [600_000, 12]) for n in (1, 2)}
    yield Case("a Tucker core far wider than the weight", sparse(tall), "holds far more than the weight")
    mid = {
        f"{CONV}.lora_mid.weight": ("F16", [4, 900_000, 3, 3]),
        f"{CONV}.lora_down.weight": ("F16", [900_000, 12, 1, 1]),
    }
    mid |= {f"{CONV}.lora_up.weight": ("F16", [20, 4, 1, 1])}
    yield Case("a LoCon core far wider than the weight", sparse(mid), "holds far more than the weight")


def metadata() -> Iterator[Case]:
    """Metadata of wrong types, and settings that lie."""
    for wrong in ([], [["a", "b"]], "a", 1, True, {"a": 1}, {"a": None}, {"a": True}, {"a": ["b"]}, {"a": {"b": "c"}}):
        yield Case(f"metadata {wrong}", content(headed(lora_header(meta=wrong), DATA)), DAMAGED)
    repeated = lora_header(meta={"a": "b"}).replace('"a"', '"a": "c", "a"', 1)
    yield Case("a field of the metadata twice", content(headed(repeated, DATA)), "damaged")
    alphas = ['"8"', "[8]", "true", "NaN", "-Infinity", "1e999", "1e300", "9" * 400, "{}"]
    for part in ("unet.lora_alpha", "unet.alpha_pattern"):
        for alpha in alphas:
            if part == "unet.alpha_pattern":
                alpha = f'{{"linear": {alpha}}}'
            header = {"lora_adapter_metadata": f'{{"{part}": {alpha}}}'}
            made = {f"{PEFT}.lora_A.weight": draw(4, 24), f"{PEFT}.lora_B.weight": draw(40, 4)}
            yield Case(f"settings of {part} {alpha[:40]}", tensors(made, header), "is not a number that can be used")
    header = {
        "lora_adapter_metadata": json.dumps({"unet.alpha_pattern": {"[": 1, "(a+)+$": 1, ".linear": 1, "linear": -9}})
    }
    made = {f"{PEFT}.lora_A.weight": draw(4, 24), f"{PEFT}.lora_B.weight": draw(40, 4)}
    yield Case("settings of expressions", tensors(made, header), "strength of their own")
    many = json.dumps({"unet.alpha_pattern": {f"x{n}": 1 for n in range(100_000)} | {"linear": 0}})
    yield Case("settings of 100,000 patterns", tensors(made, {"lora_adapter_metadata": many}), "alpha 0")
    for rank in ('"8"', "0", "-1", "true", "1e400", "9" * 400, "[1]", "{}", "null", "0.5"):
        for settings in (f'{{"unet.r": {rank}, "unet.alpha": 4}}', f'{{"unet.rank_pattern": {{"linear": {rank}}}}}'):
            header = {"lora_adapter_metadata": settings}
            # What tells nothing is passed over.
            yield Case(f"settings {settings[:40]}", tensors(KINDS["lokr"], header), "")
    foreign = {"ss_base_model_version": "flux1\x1b[31m\n" + "x" * 3_000_000}
    for field in ("ss_base_model_version", "modelspec.architecture"):
        made = {f"{stem}_x.lora_{role}.weight": draw(4, 4) for stem in (LINEAR, CONV) for role in ("down", "up")}
        yield Case(
            f"a family of megabytes in {field}", tensors(made, {field: foreign["ss_base_model_version"]}), NO_FIT
        )
    walk = {"unet": "[" * 100_000, "text_encoder": '["' + "x" * 100_000}
    made = {"unet:0:down": draw(4, 24), "unet:0:up": draw(40, 4)}
    yield Case("a walk that is no JSON", tensors(made, walk), NO_FIT)


def names() -> Iterator[Case]:
    """Names that climb, command, or are no names: alone they fit nothing, and beside a good adapter they are told."""
    stems = [
        "../../../etc/passwd", "/etc/passwd", "C:\\Windows\\System32", "file:///etc/passwd", "~/.ssh/id_rsa", "$(id)",
        "`id`", "'; DROP TABLE adapters; --", "%s%s%n", "{0.__class__}", "__class__", "unet.__class__", "unet.linear.",
        "unet..linear", ".linear", "a\0b", "a\nb\r\nc", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\u202eevil",
        "\u200b", "\ufeff", "\x7f", "\x85", "\u2028", "\U000e0001", "ａ", "🦊" * 50, "x" * 5_000, "\x01" * 3_000,
        "a." * 2_000, ".lora_A" * 500, "unet.linear.weight", "lora_unet_linear ", " lora_unet_linear",
        "LORA_UNET_LINEAR", "lora_unet_", "lora_te_text_model_encoder_layers_0_mlp_fc1", "first_stage_model.x",
        "model.diffusion_model.out.2",
    ]  # fmt: skip
    for stem in stems:
        pair = {f"{stem}.lora_down.weight": draw(4, 24), f"{stem}.lora_up.weight": draw(40, 4)}
        title = ascii(stem[:30])
        yield Case(f"the name {title} alone", tensors(pair), f"{NO_FIT}|has two|letters")
        yield Case(
            f"the name {title} beside a good one",
            tensors(LORA | pair),
            "1 of its 2 networks|missing|left_out|has two|letters",
        )
        yield Case(f"the key {title}", tensors(LORA | {stem: draw(2)}), "dropped|letters")
    yield Case("a name that is empty", tensors(LORA | {"": draw(2)}), "dropped")
    yield Case(
        "no stem", tensors({".lora_down.weight": draw(4, 24), ".lora_up.weight": draw(40, 4)}), "none of its 2 tensors"
    )
    for key in ("emb_params", "<s1>", "clip_l", "bundle_emb.x.string_to_param.*"):
        yield Case(f"an embedding of {key!r} alone", tensors({key: draw(2, 8)}), "textual inversion")
        yield Case(f"an embedding of {key!r} beside", tensors(LORA | {key: draw(2, 8)}), "tokens")


GROUPS = (
    cut_files, other_files, broken_headers, false_places, wrong_values, wrong_parts, mixed_kinds, strengths, metadata,
    names,
)  # fmt: skip


@cache
def cases(group: Callable[[], Iterator[Case]]) -> tuple[Case, ...]:
    return tuple(group())


# What must hold


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(3)
    return Net().eval()


@pytest.fixture(scope="module")
def modules(net: nn.Module) -> dict[str, nn.Module]:
    return targets(unet=net)


@pytest.fixture(scope="module")
def good(modules: dict[str, nn.Module], tmp_path_factory: pytest.TempPathFactory) -> AdapterPlan:
    path = tmp_path_factory.mktemp("good") / "good.safetensors"
    path.write_bytes(saved(KINDS["lora"] | KINDS["locon"] | KINDS["norm"]))
    return plan(AdapterFile(path), modules)


class Watch(TorchDispatchMode):
    """Notes the largest tensor that anything makes."""

    largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for one in made if isinstance(made, tuple | list) else (made,):
            if isinstance(one, Tensor):
                self.largest = max(self.largest, one.numel())
        return made


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise TimeoutError(f"this takes longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Bits:
    """The bits of a model's parameters, and whether they are there still, at the same place."""

    def __init__(self, net: nn.Module) -> None:
        self._places = [(values, values.data_ptr()) for values in net.parameters()]
        self._seen = [values.detach().numpy() for values in net.parameters()]
        self._before = [values.tobytes() for values in self._seen]

    def same(self) -> bool:
        return all(values.data_ptr() == place for values, place in self._places) and self._before == [
            values.tobytes() for values in self._seen
        ]


def checked(error: VelaturaError, path: Path) -> str:
    sentence = str(error)
    assert "\n" not in sentence, sentence
    assert sentence.isprintable(), ascii(sentence)
    assert 0 < len(sentence) <= 400, sentence
    assert path.stem[:20] in sentence, sentence
    return sentence


def told(path: Path, modules: dict[str, nn.Module]) -> tuple[str, AdapterPlan | None]:
    """What is said of a file, refused or not, and the plan that whoever forces it gets."""
    try:
        said, found = "", Plans(modules).of(path)
    except VelaturaError as error:
        said, found = checked(error, path), None
    try:
        found = found or plan(AdapterFile(path), modules, force=True)
        report = coverage(match(found.file, modules), modules)
    except VelaturaError as error:
        return f"{said}; {checked(error, path)}", None
    flags = [*report.warnings, *(name for name in FLAGS if getattr(report, name))]
    return "; ".join(filter(None, [said, report.refusal, *flags])), found


FLAGS = ("missing", "mismatched", "left_out", "dropped", "tokens")


def lay(bad: AdapterPlan, bits: Bits, modules: dict[str, nn.Module], good: AdapterPlan) -> str:
    """Lay a file alone, with a good one in either order, and after it; return what was said last."""
    said = ""
    layers = Layers(modules)
    for first, then in (
        ({}, {bad: 1.0}),
        ({}, {good: 1.0, bad: 0.5}),
        ({}, {bad: 0.5, good: 1.0}),
        ({good: 1.0}, {bad: 1.0}),
    ):
        layers.lay(first)
        try:
            layers.lay(then)
            assert layers.laid == then
        except VelaturaError as error:
            said = checked(error, bad.file.path)
            # What is refused at once leaves the set that lay; what fails in the middle leaves nothing.
            assert layers.laid in ({}, first), said
            assert layers.laid or bits.same(), said
        assert layers.laid == then or layers.verify() == (), said
        layers.restore()
        assert bits.same(), said
    layers.lay({good: 1.0})
    assert layers.verify() == ()
    layers.restore()
    assert bits.same()
    return said


def wear(bad: AdapterPlan, bits: Bits, modules: dict[str, nn.Module], good: AdapterPlan) -> str:
    """Wear a file beside the weights, as another image wears a good one."""
    said = ""
    try:
        with torch.no_grad(), SideBranch(modules) as side:
            side.wear([{bad: 1.0}, {good: 1.0}])
            modules["unet.linear"](torch.ones(2, 24))
            modules["unet.norm"](torch.ones(2, 24))
            modules["unet.conv"](torch.ones(2, 12, 5, 5))
    except VelaturaError as error:
        said = checked(error, bad.file.path)
    assert bits.same(), said
    assert not any(module._forward_hooks for module in modules.values())
    return said


def treat(path: Path, bits: Bits, modules: dict[str, nn.Module], good: AdapterPlan) -> str:
    """Do all that can be done with a file; return everything that was said."""
    said, bad = told(path, modules)
    if bad is None:
        return said
    return "; ".join(filter(None, [said, lay(bad, bits, modules, good), wear(bad, bits, modules, good)]))


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.__name__)
def test_a_hostile_file_is_refused_or_flagged_and_leaves_no_trace(
    group: Callable[[], Iterator[Case]],
    tmp_path: Path,
    net: nn.Module,
    modules: dict[str, nn.Module],
    good: AdapterPlan,
) -> None:
    failed = []
    for number, case in enumerate(cases(group)):
        path = tmp_path / f"hostile{number}.safetensors"
        case.write(path)
        try:
            with limited(SECONDS), Watch() as watch:
                said = treat(path, Bits(net), modules, good)
            if not re.search(case.says, said):
                failed.append(f"{case.name}: {said or 'nothing is said'}")
            if watch.largest > VALUES:
                failed.append(f"{case.name}: {watch.largest:,} values at once")
        except Exception as error:
            failed.append(f"{case.name}: {type(error).__name__}: {error}")
    assert not failed, f"{len(failed)} of {len(cases(group))}:\n" + "\n".join(failed)


def test_the_table_is_long() -> None:
    assert sum(len(cases(group)) for group in GROUPS) >= 300


SHAPED = (wrong_values, wrong_parts, mixed_kinds, strengths, metadata)
"""Of files that nothing opens there is nothing to measure."""


@pytest.mark.parametrize("group", SHAPED, ids=lambda group: group.__name__)
def test_measuring_a_hostile_file_is_a_number_or_one_sentence(
    group: Callable[[], Iterator[Case]], tmp_path: Path
) -> None:
    failed = []
    for number, case in enumerate(cases(group)):
        path = tmp_path / f"hostile{number}.safetensors"
        case.write(path)
        try:
            with limited(SECONDS):
                found = measure(path)
            assert all(math.isfinite(block.norm) for block in found.blocks)
        except VelaturaError as error:
            checked(error, path)
        except Exception as error:
            failed.append(f"{case.name}: {type(error).__name__}: {error}")
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize("length", [640, 896, 1152, 1408, 19280])
def test_a_header_as_long_as_a_pickle_begins_is_no_pickle(length: int, tmp_path: Path) -> None:
    """The first two bytes of such a file are those of a pickle or of an archive of one."""
    header = lora_header().encode()
    padded = header + b" " * (length - len(header))
    (tmp_path / "a.safetensors").write_bytes(headed(padded, DATA))
    assert AdapterFile(tmp_path / "a.safetensors").kinds == {"LoRA": 1}


FILE_NAMES = (
    "two\nlines", "\x1b[31mred\x1b[0m", "\u202ednet", "\u200b", "\r", "tab\there", "x" * 240, "\x01" * 240, "é" * 120,
    "half \udc80", "%s{0}", " ", "a" * 100 + "\n" * 100, "🦊" * 60,
)  # fmt: skip


@pytest.mark.parametrize("name", FILE_NAMES, ids=ascii)
def test_a_files_own_name_never_breaks_the_sentence(
    name: str, tmp_path: Path, modules: dict[str, nn.Module], good: AdapterPlan
) -> None:
    foreign = {f"{name!a}\n{stem}.lora_{role}.weight": draw(4, 4) for stem in "ab" for role in ("down", "up")}
    spoilt = LORA | {UP: torch.full((40, 4), float("nan"))}
    again = on(PEFT, {".lora_A.weight": draw(4, 24), ".lora_B.weight": draw(40, 4)})
    settings = {"lora_adapter_metadata": '{"unet.lora_alpha": "x"}'}
    path = tmp_path / f"{name}.safetensors"
    contents: tuple[Write, ...] = (
        content(b""),
        content(b"\x80\x04N."),
        tensors(spoilt),
        tensors(foreign),
        tensors(LORA | again),
        tensors(again, settings),
        tensors(KINDS["t-lora"]),
    )
    for write in contents:
        write(path)
        layers = Layers(modules)
        with pytest.raises(VelaturaError) as caught:
            layers.lay({Plans(modules).of(path): 1.0, good: 1.0})
        sentence = str(caught.value)
        assert sentence.isprintable(), ascii(sentence)
        assert len(sentence) <= 400
        layers.restore()
    path.unlink()
    with pytest.raises(InputError) as caught:
        Plans(modules).of(path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "path", ["", ".", "a\0b", "x" * 5_000, "a/" * 3_000, "~nobody-of-this-name/a", "/dev/zero", "\udc80"]
)
def test_a_path_that_cannot_be_is_one_sentence(path: str, modules: dict[str, nn.Module]) -> None:
    for use in (Plans(modules).of, AdapterFile, measure):
        with pytest.raises(InputError) as caught:
            use(Path(path))
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) <= 400


class Opened:
    """A file that is planned, and then something happens to it."""

    def __init__(self, folder: Path, modules: dict[str, nn.Module]) -> None:
        self.path = folder / "a.safetensors"
        wide = {key: values.repeat(256, 1) for key, values in LORA.items() if key == DOWN}
        wide |= {UP: draw(40, 4 * 256) / 99}
        self.path.write_bytes(saved(wide))
        self.plan = plan(AdapterFile(self.path), modules, force=True)


@pytest.fixture
def opened(tmp_path: Path, modules: dict[str, nn.Module]) -> Opened:
    return Opened(tmp_path, modules)


def test_a_file_that_is_cut_while_it_is_open_is_refused(
    opened: Opened, net: nn.Module, modules: dict[str, nn.Module], good: AdapterPlan
) -> None:
    """Reading what is mapped and gone would end the process."""
    bits = Bits(net)
    os.truncate(opened.path, 4_000)
    layers = Layers(modules)
    layers.lay({good: 1.0})
    with pytest.raises(UnreadableFile, match=r"a\.safetensors has changed since it was opened"):
        layers.lay({opened.plan: 1.0})
    assert bits.same()


def test_a_file_that_is_rewritten_while_it_is_open_is_refused(
    opened: Opened, net: nn.Module, modules: dict[str, nn.Module]
) -> None:
    bits = Bits(net)
    content = opened.path.read_bytes()
    with opened.path.open("r+b") as stream:
        stream.write(content[:-640] + b"\x7f" * 640)
    os.utime(opened.path, (1, 1))
    with pytest.raises(UnreadableFile, match="has changed since it was opened"):
        Layers(modules).lay({opened.plan: 1.0})
    assert bits.same()


@pytest.mark.parametrize("happens", ["replaced", "deleted"])
def test_a_file_that_is_replaced_or_deleted_while_it_is_open_is_laid_as_it_was(
    happens: str, opened: Opened, net: nn.Module, modules: dict[str, nn.Module]
) -> None:
    bits, layers = Bits(net), Layers(modules)
    layers.lay({opened.plan: 1.0})
    expected = net.linear.weight.detach().clone()
    layers.restore()
    if happens == "deleted":
        opened.path.unlink()
    else:
        other = opened.path.with_name("b.safetensors")
        other.write_bytes(b"no adapter at all")
        other.replace(opened.path)
    layers.lay({opened.plan: 1.0})
    assert torch.equal(net.linear.weight, expected)
    assert layers.verify() == ()
    layers.restore()
    assert bits.same()
    with pytest.raises(InputError):
        Plans(modules).of(opened.path)


def test_a_changed_file_is_planned_anew(tmp_path: Path, modules: dict[str, nn.Module]) -> None:
    plans, path = Plans(modules), tmp_path / "a.safetensors"
    path.write_bytes(saved(LORA))
    first = plans.of(path)
    assert plans.of(path) is first
    path.write_bytes(saved(LORA | {UP: draw(40, 4) * 2}))
    os.utime(path, (2, 2))
    assert plans.of(path) is not first
    path.write_bytes(b"")
    with pytest.raises(UnreadableFile, match="truncated or damaged"):
        plans.of(path)
