"""Index a folder of many adapters: cold, again unchanged, and with one file added.

    python benchmarks/folder.py [--files 20000] [--distinct] [--json]

The files have the headers of real SD 1.5 adapters, one half of 256 tensors in diffusers' spelling and one half of 792
in kohya's, of six ranks, over tensors that are holes: a file takes no more room than its header (1.5 GB for 20,000).
Each has a preview and a sidecar of Civitai Helper, A1111 or Lora Manager.

Files with the same tensors share the work on their headers; with --distinct no two files have the same ones.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from velatura.catalog.folder import FolderSource
from velatura.db import open_store

PLACES = [
    *(f"down_blocks.{block}.attentions.{layer}" for block in range(3) for layer in range(2)),
    *(f"up_blocks.{block}.attentions.{layer}" for block in range(1, 4) for layer in range(3)),
    "mid_block.attentions.0",
]
SUBJECTS = ("fox", "harbour at night", "ink wash", "brass robot", "alpine village", "paper cut", "glass whale")


def width_of(place: str) -> int:
    block = place.split(".")[1]
    if place.startswith("mid"):
        return 1280
    return (
        {"0": 320, "1": 640, "2": 1280}[block] if place.startswith("down") else {"1": 1280, "2": 640, "3": 320}[block]
    )


def attention(rank: int) -> Iterator[tuple[str, list[int]]]:
    """Yield the 256 tensors of an SD 1.5 adapter on all attentions, as diffusers writes them."""
    for place in PLACES:
        width = width_of(place)
        for attn, context in (("attn1", width), ("attn2", 768)):
            for part in ("to_q", "to_k", "to_v", "to_out.0"):
                inner = context if part in ("to_k", "to_v") else width
                name = f"unet.{place}.transformer_blocks.0.{attn}.{part}.lora"
                yield f"{name}.down.weight", [rank, inner]
                yield f"{name}.up.weight", [width, rank]


def kohya(rank: int) -> Iterator[tuple[str, list[int]]]:
    """Yield the 792 tensors of an SD 1.5 adapter on attentions, feed-forwards and the text encoder, kohya's way."""

    def module(name: str, inner: int, outer: int, convolution: bool = False) -> Iterator[tuple[str, list[int]]]:
        tail = [1, 1] if convolution else []
        yield f"{name}.alpha", []
        yield f"{name}.lora_down.weight", [rank, inner, *tail]
        yield f"{name}.lora_up.weight", [outer, rank, *tail]

    for layer in range(12):
        text = f"lora_te_text_model_encoder_layers_{layer}"
        yield from module(f"{text}_mlp_fc1", 768, 3072)
        yield from module(f"{text}_mlp_fc2", 3072, 768)
        for part in ("k", "out", "q", "v"):
            yield from module(f"{text}_self_attn_{part}_proj", 768, 768)
    for place in PLACES:
        width = width_of(place)
        name = f"lora_unet_{place.replace('.', '_')}"
        yield from module(f"{name}_proj_in", width, width, convolution=True)
        yield from module(f"{name}_proj_out", width, width, convolution=True)
        for attn, context in (("attn1", width), ("attn2", 768)):
            for part in ("to_q", "to_k", "to_v", "to_out_0"):
                inner = context if part in ("to_k", "to_v") else width
                yield from module(f"{name}_transformer_blocks_0_{attn}_{part}", inner, width)
        yield from module(f"{name}_transformer_blocks_0_ff_net_0_proj", width, 8 * width)
        yield from module(f"{name}_transformer_blocks_0_ff_net_2", 4 * width, width)


LAYOUTS = (attention, kohya)
RANKS = (4, 8, 16, 32, 64, 128)


def headers() -> list[tuple[str, int]]:
    """Return, for each kind of adapter, the entries of its header as JSON without braces and the bytes they promise."""
    made = []
    for rank in RANKS:
        for layout in LAYOUTS:
            entries: dict[str, object] = {}
            place = 0
            for name, shape in sorted(layout(rank)):
                size = 2
                for extent in shape:
                    size *= extent
                entries[name] = {"dtype": "F16", "shape": shape, "data_offsets": [place, place + size]}
                place += size
            made.append((json.dumps(entries, separators=(",", ":"))[1:-1], place))
    return made


def write_adapter(folder: Path, number: int, entries: str, data: int) -> None:
    """Write one adapter; its first tensor holds its number, all else is a hole."""
    subject = SUBJECTS[number % len(SUBJECTS)]
    stem = f"{subject.replace(' ', '_')}_{number}"
    metadata = {
        "format": "pt",
        "ss_output_name": stem,
        "ss_base_model_version": "sd_v1",
        "ss_network_dim": "4",
        "ss_tag_frequency": json.dumps({f"10_{subject}": {subject: 30, "outdoors": 12, f"detail {number % 97}": 7}}),
    }
    header = f'{{"__metadata__":{json.dumps(metadata)},{entries}}}'.encode()
    with (folder / f"{stem}.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + struct.pack("<Q", number + 1))
        file.truncate(8 + len(header) + data)
    write_sidecars(folder, stem, number, subject)


def write_sidecars(folder: Path, stem: str, number: int, subject: str) -> None:
    """Write two files beside an adapter: a preview, and by turns the sidecar of one of three tools."""
    (folder / f"{stem}.preview.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    version = {
        "id": 100_000 + number,
        "modelId": 50_000 + number,
        "name": "v1.0",
        "baseModel": "SD 1.5",
        "trainedWords": [f"{subject} style", subject],
        "description": f"<p>Drawn from {subject}. Best at weight 0.7.</p>",
        "model": {"name": f"{subject.title()} {number}", "type": "LORA", "nsfw": False, "poi": False},
        "images": [
            {
                "url": f"https://example.org/{number}-{picture}.jpeg",
                "nsfwLevel": 1,
                "meta": {"prompt": f"a {subject}, {stem}, soft light", "resources": [{"name": stem, "weight": 0.8}]},
            }
            for picture in range(2)
        ],
    }
    if number % 3 == 0:
        (folder / f"{stem}.civitai.info").write_text(json.dumps(version))
    elif number % 3 == 1:
        user = {"description": f"A {subject}", "activation text": subject, "preferred weight": 0.8, "notes": ""}
        (folder / f"{stem}.json").write_text(json.dumps(user))
    else:
        manager = {
            "file_name": stem,
            "model_name": f"{subject.title()} {number}",
            "sha256": f"{number * 2654435761 % 2**64:064x}",
            "base_model": "SD 1.5",
            "notes": "",
            "tags": [subject],
            "usage_tips": json.dumps({"strength": 0.7}),
            "civitai": version,
        }
        (folder / f"{stem}.metadata.json").write_text(json.dumps(manager))


def fill(root: Path, numbers: range, *, distinct: bool) -> None:
    """Write the adapters of these numbers into forty folders."""
    kinds = headers()
    for number in numbers:
        place = root / f"{number % 40:02d}"
        place.mkdir(parents=True, exist_ok=True)
        entries, data = kinds[number % len(kinds)]
        if distinct:
            entries += f',"zz{number}":{{"dtype":"F16","shape":[0],"data_offsets":[{data},{data}]}}'
        write_adapter(place, number, entries, data)


def measure(files: int, folder: Path, *, distinct: bool) -> dict[str, object]:
    """Make the folder, index it three times, and return the seconds of each."""
    root = folder / "adapters"
    fill(root, range(files), distinct=distinct)
    result: dict[str, object] = {"files": files, "distinct": distinct}

    start = time.perf_counter()
    found = list(FolderSource(root).entries())
    result["walk_seconds"] = round(time.perf_counter() - start, 3)
    sample = found[:: max(1, len(found) // 2000)]
    start = time.perf_counter()
    for entry in sample:
        entry.read()
    result["read_ms_per_file"] = round((time.perf_counter() - start) / len(sample) * 1000, 3)

    with open_store(folder / "catalogue.db") as store:
        for name in ("cold", "warm", "one_added"):
            if name == "one_added":
                fill(root, range(files, files + 1), distinct=distinct)
            start = time.process_time()
            report = store.sync(FolderSource(root))
            result[f"{name}_cpu_seconds"] = round(time.process_time() - start, 3)
            result[f"{name}_seconds"] = round(report.seconds, 3)
            result[f"{name}_read"] = report.offered - report.unchanged
            result[f"{name}_added"] = report.added
            print(f"{name}: {report}", file=sys.stderr)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--distinct", action="store_true", help="no two files have the same tensors")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="velatura-folder-") as folder:
        result = measure(options.files, Path(folder), distinct=options.distinct)
    if options.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:20} {value}")


if __name__ == "__main__":
    main()
